"""kill -9 with real orders: as `test_crash.py`, but of an engine with the `FyersFeed` and the `FyersBroker`, at a
loopback Fyers whose calls are answered late, lost, refused or not at all, and whose sockets break."""

from pathlib import Path
from random import Random
from typing import ClassVar

import pytest

from tests.crash.fyers_venue import REFUSED, FyersExchange
from tests.crash.test_crash import SYNCS, campaign, seeds
from tests.crash.trial import EXPECTED, Figures, Record, Trial
from tests.support import soon


class FyersTrial(Trial):
    trader: ClassVar[Path] = Path(__file__).with_name("fyers_trader.py")
    expected: ClassVar[set[str]] = {*EXPECTED, "exit failed", "order look-up", "order socket"}
    never_came: ClassVar[tuple[str, ...]] = ("never got it", "never arrived", "before it was sent", REFUSED)

    @property
    def where(self) -> str:
        return str(self.exchange.place)

    def until_it_rests(self, process: object) -> None:
        soon(lambda: b"\nREST\n" in self.told.read_bytes() or process.poll() is not None, "it never came to rest")
        self.exchange.calm()


def trial_of(folder: Path, seed: int) -> FyersTrial:
    return FyersTrial(folder, seed, FyersExchange(seed, folder))


def killed(trial: FyersTrial, kills: int) -> Figures:
    dice = Random(trial.seed)
    with trial:
        for _ in range(kills):
            trial.kill(dice, longest=4.0)
        trial.end_well(10)
        return trial.figures()


@pytest.mark.parametrize("seed", [1, *seeds(2, 8)])
def test_killed(seed: int, tmp_path: Path, record: Record, request: pytest.FixtureRequest) -> None:
    kills = 25 if request.node.get_closest_marker("campaign") else 2
    record(request.node.name, killed(trial_of(tmp_path, seed), kills))


def killed_at(calls: str, number: int, folder: Path, record: Record) -> None:
    with trial_of(folder, number) as trial:
        struck = trial.kill_at(calls, number)
        trial.end_well(10)
        record(f"{number} of {calls}: {struck}", trial.figures())


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("number", [12])
def test_killed_at_a_sync(number: int, tmp_path: Path, record: Record) -> None:
    killed_at(SYNCS, number, tmp_path, record)


@campaign
@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("number", range(1, 101))
def test_killed_at_each_sync(number: int, tmp_path: Path, record: Record) -> None:
    killed_at(SYNCS, number, tmp_path, record)
