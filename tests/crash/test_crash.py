"""kill -9 at random moments, and at each of the first syncs: no acknowledged order is lost, none is sent twice, and the
books say what the exchange says (promise M2).

A failing case prints its seed and where its journal is; `pytest "tests/crash/test_crash.py::test_killed[8]"` runs it
again (with `-m campaign` where it is one of the campaign). How long anything takes is printed, never asserted.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.crash.trial import Trial
from tests.crash.venue import Exchange

campaign = pytest.mark.campaign
Say = Callable[[str], None]
SYNCS = "fsync,fdatasync"


@pytest.fixture
def say(request: pytest.FixtureRequest) -> Say:
    """Writes a line that is seen without `-s`."""
    terminal = request.config.pluginmanager.getplugin("terminalreporter")
    return lambda line: terminal.write_line(f"\n  {line}")


def _seeds(first: int, count: int) -> list[object]:
    return [pytest.param(seed, marks=campaign) for seed in range(first, first + count)]


def _kills(request: pytest.FixtureRequest) -> int:
    return 25 if request.node.get_closest_marker("campaign") else 8


@pytest.mark.parametrize("seed", [1, *_seeds(2, 8)])
def test_killed(seed: int, tmp_path: Path, say: Say, request: pytest.FixtureRequest) -> None:
    dice = Random(seed)
    with Trial(tmp_path, seed, Exchange(seed)) as trial:
        for _ in range(_kills(request)):
            trial.kill(dice)
        trial.end_well()
        say(trial.summary())


@pytest.mark.parametrize("seed", [1, *_seeds(2, 4)])
def test_killed_on_paper(seed: int, tmp_path: Path, say: Say, request: pytest.FixtureRequest) -> None:
    dice = Random(seed)
    with Trial(tmp_path, seed) as trial:
        for _ in range(_kills(request) // 2):
            trial.kill(dice)
        trial.end_well()
        say(trial.summary())


# ── at a system call ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def strace() -> None:
    """Skips where there is no strace, or none that may trace; not in the CI."""
    found = shutil.which("strace")
    works = found is not None and subprocess.run([found, "-o", os.devnull, "true"], check=False).returncode == 0
    if not works and os.environ.get("CI") == "true":
        pytest.fail("the CI needs strace, and to be allowed to trace")
    if not works:
        pytest.skip("strace is missing, or may not trace")


def _numbers(few: tuple[int, ...], last: int) -> list[object]:
    return [*few, *(pytest.param(n, marks=campaign) for n in range(1, last + 1) if n not in few)]


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("number", _numbers((4, 11, 40), 100))
def test_killed_at_a_sync(number: int, tmp_path: Path, say: Say) -> None:
    """Of a new journal: the first nine syncs make it, the others are commits. Each thread counts its own."""
    with Trial(tmp_path, number, Exchange(number)) as trial:
        say(f"sync {number}: {trial.kill_at(SYNCS, number)}")
        trial.end_well(10)


@campaign
@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("number", range(1, 13))
def test_killed_at_a_sync_of_a_journal_that_goes_on(number: int, tmp_path: Path, say: Say) -> None:
    """What made the journal is not counted: the first syncs of its second life are commits, and the next of its third
    what an opening does after a kill."""
    with Trial(tmp_path, number, Exchange(number)) as trial:
        trial.kill(Random(number))
        say(f"commit {number}: {trial.kill_at('fdatasync', number)}")
        say(f"head or folder: {trial.kill_at('fsync', 1 + number % 2)}")
        trial.end_well(10)


@campaign
@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("number", range(1, 101))
def test_killed_at_a_write(number: int, tmp_path: Path, say: Say) -> None:
    """Between the writes of a commit, or of a head."""
    with Trial(tmp_path, number, Exchange(number)) as trial:
        say(f"write {number}: {trial.kill_at('pwrite64', number)}")
        trial.end_well(10)
