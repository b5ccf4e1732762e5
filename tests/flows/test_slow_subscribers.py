"""Whoever does not listen hurts nobody but himself (promise R6): a callback that blocks, a reader that never reads, a
screen that is not drawn."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import livetrade as lt
from livetrade.core import events as ev
from livetrade.core.account import Account
from livetrade.readers import QUEUE_LENGTH
from tests.support import SBIN, soon, trading

ROUNDS = 40
TICKS_A_ROUND = 60
IN_ALL = ROUNDS * (TICKS_A_ROUND + 2)
"""More than two full queues."""


class Steps(lt.MemoryJournal):
    """Remembers which events came together."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Sequence[ev.Event]] = []

    def append(self, events: Sequence[ev.Event], durable: Callable[[], None]) -> None:
        self.steps.append(events)
        super().append(events, durable)


@contextmanager
def reading(engine: lt.LiveTradingEngine) -> Iterator[list[lt.Tick]]:
    """What a reader in a thread of its own gets."""
    ticks: list[lt.Tick] = []
    reader = engine.stream.ticks(SBIN)

    async def read() -> None:
        async for tick in reader:
            ticks.append(tick)  # noqa: PERF401  they are looked at while they come

    thread = threading.Thread(target=lambda: asyncio.run(read()), daemon=True)
    thread.start()
    try:
        yield ticks
    finally:
        asyncio.run(reader.aclose())
        thread.join()


class Blocked:
    """Everybody who does not listen, until `go` is set."""

    def __init__(self, engine: lt.LiveTradingEngine) -> None:
        self.go, self.stuck = threading.Event(), threading.Event()
        self.fills: list[lt.Fill] = []
        self.orders: list[lt.Order] = []
        self.ticks: list[lt.Tick] = []
        engine.on_fill(self._on_fill)
        engine.on_order(self.orders.append)
        engine.stream.on_tick(self.ticks.append)
        self.reader = engine.stream.ticks(SBIN)
        self._woken = threading.Event()
        engine.panel_watch(self._woken.set)
        self._screen = threading.Thread(target=self._draw, args=[engine], daemon=True)
        self._screen.start()

    def _on_fill(self, fill: lt.Fill) -> None:
        self.stuck.set()
        self.go.wait(120)
        self.fills.append(fill)

    def _draw(self, engine: lt.LiveTradingEngine) -> None:
        self._woken.wait(120)
        engine.panel_snapshot(None)
        self.go.wait(120)

    def release(self) -> None:
        self.go.set()
        self._screen.join()


def trade(engine: lt.LiveTradingEngine, quick: list[lt.Tick]) -> None:
    """Buys, is stopped out, and so on, with ticks in between; each stop has sold as soon as its tick was posted."""
    posted = 0
    for _ in range(ROUNDS):
        engine.stream.update(SBIN, bid="549.95", ask="550.00")
        assert engine.market_buy(SBIN, 10, stop_loss_price=540).result(30).success
        for number in range(TICKS_A_ROUND):
            engine.stream.update(SBIN, bid=f"{545 + number % 5}.05", ask="550.00")
        engine.stream.update(SBIN, bid="539.95", ask="540.00")
        assert not engine.position(SBIN)
        posted += TICKS_A_ROUND + 2
        soon(lambda posted=posted: len(quick) == posted, "a reader that reads is behind")


def told_step_by_step(steps: Sequence[Sequence[ev.Event]]) -> list[lt.Order]:
    """Each order that a step changed, as that step left it."""
    account, told = Account(), []
    for events in steps:
        before = dict(account.orders)
        for event in events:
            account.apply(event)
        told += [order for key, order in account.orders.items() if order is not before.get(key)]
    return told


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_who_does_not_listen_hurts_only_himself(kind: str, tmp_path: Path) -> None:
    journal: Any = Steps() if kind == "memory" else tmp_path / "account.journal"
    with trading(stream=lt.LivePriceStream(), journal=journal) as engine, reading(engine) as quick:
        blocked = Blocked(engine)
        trade(engine, quick)

        assert blocked.stuck.is_set()
        assert [tick.missed for tick in quick] == [0] * IN_ALL
        assert len(engine.fills()) == 2 * ROUNDS
        assert blocked.fills == blocked.orders == []
        assert engine.health()["subscribers"] == QUEUE_LENGTH
        assert len(engine.stream.hub.pending) == blocked.reader.behind == QUEUE_LENGTH
        of_ticks = [job for job in engine._user._jobs if not isinstance(job, partial)]  # the others tell of orders
        assert len(of_ticks) < 10

        blocked.release()
        fills = list(engine._read(lambda account: account.fill_history.copy()["fill"]))
        soon(lambda: len(blocked.fills) == 2 * ROUNDS)
        assert blocked.fills == fills
        if kind == "memory":
            soon(lambda: blocked.orders == told_step_by_step(journal.steps))
        soon(lambda: len(blocked.ticks) + sum(tick.missed for tick in blocked.ticks) == IN_ALL)
        assert len(blocked.ticks) <= QUEUE_LENGTH + 10
        late = asyncio.run(anext(blocked.reader))
        assert late.missed == IN_ALL - QUEUE_LENGTH
