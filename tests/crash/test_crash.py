"""kill -9 at random moments, and at each of the first syncs: no acknowledged order is lost, none is sent twice, and the
books say what the exchange says (promise M2).

A failing case prints its seed and where its journal is; `pytest "tests/crash/test_crash.py::test_killed[8]"` runs it
again (with `-m campaign` where it is one of the campaign). How long anything takes is printed, never asserted.
"""

from pathlib import Path
from random import Random

import pytest

from tests.crash.trial import Figures, Record, Trial
from tests.crash.venue import Exchange

campaign = pytest.mark.campaign
SYNCS = "fsync,fdatasync"


def seeds(first: int, count: int) -> list[object]:
    return [pytest.param(seed, marks=campaign) for seed in range(first, first + count)]


def killed(trial: Trial, kills: int) -> Figures:
    """Lives that end at random moments, and a last one that ends well."""
    dice = Random(trial.seed)
    with trial:
        for _ in range(kills):
            trial.kill(dice, longest=0.6 if kills < 10 else 1.2)
        trial.end_well()
        return trial.figures()


@pytest.mark.parametrize("seed", [1, *seeds(2, 8)])
def test_killed(seed: int, tmp_path: Path, record: Record, request: pytest.FixtureRequest) -> None:
    kills = 25 if request.node.get_closest_marker("campaign") else 8
    record(request.node.name, killed(Trial(tmp_path, seed, Exchange(seed)), kills))


@pytest.mark.parametrize("seed", [1, *seeds(2, 6)])
def test_killed_on_paper(seed: int, tmp_path: Path, record: Record, request: pytest.FixtureRequest) -> None:
    kills = 25 if request.node.get_closest_marker("campaign") else 4
    record(request.node.name, killed(Trial(tmp_path, seed), kills))


# ── at a system call ─────────────────────────────────────────────────────────────────────────────────────────────────


def killed_at(calls: str, number: int, folder: Path, record: Record) -> None:
    with Trial(folder, number, Exchange(number)) as trial:
        struck = trial.kill_at(calls, number)
        trial.end_well(10)
        record(f"{number} of {calls}: {struck}", trial.figures())


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("number", [4, 11, 40])
def test_killed_at_a_sync(number: int, tmp_path: Path, record: Record) -> None:
    """Of a new journal: the first syncs make it, the others are commits. Each thread counts its own."""
    killed_at(SYNCS, number, tmp_path, record)


@campaign
@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("number", range(1, 101))
def test_killed_at_each_sync(number: int, tmp_path: Path, record: Record) -> None:
    killed_at(SYNCS, number, tmp_path, record)


@campaign
@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("number", range(1, 101))
def test_killed_at_each_write(number: int, tmp_path: Path, record: Record) -> None:
    """Between the writes of a commit, or of a head."""
    killed_at("pwrite64", number, tmp_path, record)


@campaign
@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("number", range(1, 13))
def test_killed_at_a_sync_of_a_journal_that_goes_on(number: int, tmp_path: Path, record: Record) -> None:
    """What makes a journal is not counted here: in its second life the first commits end it, in its third what an
    opening does after a kill, in its fourth the first writes."""
    with Trial(tmp_path, number, Exchange(number)) as trial:
        trial.kill(Random(number))
        calls = ("fdatasync", number), ("fsync", 1 + number % 2), ("pwrite64", number)
        struck = [trial.kill_at(*call) for call in calls]
        trial.end_well(10)
        record(f"{number}: {' and later '.join(struck)}", trial.figures())
