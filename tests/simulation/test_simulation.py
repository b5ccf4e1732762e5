"""Faults at random: a seeded disk, venue, market and clock around the real engine, in one thread and in no real time.

The real account, outbox, answers, look-up and journal writer run in it; `rules.py` says what must always be true. A
seed that fails prints how to run it alone. Figures of a run: `pytest tests/simulation -s`.
"""

import logging
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from livetrade import engine
from livetrade.core import events as ev
from livetrade.core.account import Account
from livetrade.journal.writer import Writer
from livetrade.outbox import Outbox
from tests.simulation import market
from tests.simulation.disk import Mode
from tests.simulation.session import Outcome, play

STEPS = 200
SEED = os.environ.get("LIVETRADE_SEED")
SEEDS = range(60) if SEED is None else [int(SEED)]
CAMPAIGN = range(int(os.environ.get("LIVETRADE_SEEDS_FROM", "1000")), int(os.environ.get("LIVETRADE_SEEDS_TO", "6000")))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What is logged would only cost time."""
    log = logging.getLogger("livetrade")
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    yield
    log.setLevel(before)


@cache
def played(seed: int) -> Outcome:
    return play(seed, STEPS)


def told(outcome: Outcome) -> str:
    lines = [
        f"seed {outcome.seed} is broken; alone: LIVETRADE_SEED={outcome.seed} pytest tests/simulation -k any_seed",
        *outcome.broken[:10],
        "after",
        *outcome.trace,
    ]
    return "\n".join(lines)


@pytest.mark.parametrize("seed", SEEDS)
def test_any_seed(seed: int) -> None:
    outcome = played(seed)
    assert not outcome.broken, told(outcome)


@pytest.mark.campaign
@pytest.mark.timeout(0)
def test_many_seeds() -> None:
    counts: Counter[str] = Counter()
    broken = []
    for seed in CAMPAIGN:
        outcome = play(seed, STEPS)
        counts.update(outcome.counts)
        if outcome.broken:
            broken.append(seed)
            sys.stdout.write(told(outcome) + "\n\n")
    sys.stdout.write(f"{len(CAMPAIGN)} seeds: {dict(counts)}\n")
    assert not broken


# ── that it can be relied upon ───────────────────────────────────────────────────────────────────────────────────────


def test_a_seed_gives_the_same_bytes_every_time() -> None:
    for seed in (2, 3, 4):
        one, other = played(seed), play(seed, STEPS)
        assert one.events > 20
        assert one == other


def test_a_seed_gives_the_same_bytes_in_another_process() -> None:
    code = f"from tests.simulation.session import play; print(play(5, {STEPS}).digest)"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONWARNINGS": "ignore"}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == played(5).digest


def test_the_seeds_are_worth_their_name() -> None:
    """They meet every fault, and what follows from it."""
    counts: Counter[str] = Counter()
    for seed in range(30):
        counts.update(played(seed).counts)
    wanted = [
        *(f"write {mode}" for mode in Mode if mode is not Mode.STALLED),
        "faulty steps",
        "crash",
        "restart",
        "a failed commit was there",
        "refused before it left",
        "sent while faulty",
        "sent before it was durable",
        "answered success",
        "answered Not confirmed",
        "answered Journal unavailable",
        *("Filled", "ExitFired", "ExitRetry", "TrailMoved", "Modified", "RequestRejected", "Unknown", "DayStarted"),
    ]
    assert [name for name in wanted if not counts[name]] == []


def test_a_broken_engine_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these would cost money, and some seed notices it."""

    def answers_at_once(_: Outbox, answer: Any) -> None:
        answer()

    def sends_at_once(self: Outbox, events: Any, answer: Any = None) -> None:
        put(self, events, answer)
        self._release_held()

    def forgets(self: Writer, events: Any, durable: Any) -> None:
        if len(events) != 3:
            append(self, events, durable)
        else:
            durable()

    async def sends_again(broker: Any, account: Account, take: Any, send: Any) -> None:
        for order in list(account.open_orders.values()):
            send(ev.Submit(account.ts, order))

    def opens_anyway(*_: Any) -> None:
        """Nobody hears that the journal is faulty."""

    def believes(quote: Any, update: Any) -> Any:
        return update if update.bid_raw > 0 else merge(quote, update)

    put, append, merge = Outbox.put, Writer.append, vars(sys.modules["livetrade.core.account"])["merge"]
    broken: dict[str, tuple[Any, str, Any]] = {
        "confirmed too early": (Outbox, "when_safe", answers_at_once),
        "sent before it was durable": (Outbox, "put", sends_at_once),
        "something durable is missing": (Writer, "append", forgets),
        "was handed over twice": (engine, "look_up", sends_again),
        "opened while faulty": (Outbox, "_block", opens_anyway),
        "and the price is": (sys.modules["livetrade.core.account"], "merge", believes),
    }
    for words, (owner, name, replacement) in broken.items():
        with monkeypatch.context() as changed:
            changed.setattr(owner, name, replacement)
            found = (finding for seed in range(40) for finding in findings(seed))
            assert any(words in finding for finding in found), f"nobody noticed: {words}"


def findings(seed: int) -> list[str]:
    try:
        return list(play(seed, STEPS).broken)
    except (AssertionError, KeyError) as error:  # it cannot even be opened again
        return [repr(error)]


def test_bad_prices_are_far_away() -> None:
    """Believed, they would fire every stop."""
    assert 100 * market.LOW < market.MIDDLE < market.HIGH / 100
