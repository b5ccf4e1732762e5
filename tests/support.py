"""Short words for tests that run a real engine."""

import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd

import livetrade as lt
from livetrade.core import events as ev
from livetrade.core.account import Account
from livetrade.core.ledger import Book
from livetrade.core.state import State
from livetrade.core.values import Order
from livetrade.core.venue import Venue
from livetrade.ports import Sink, Statement

SBIN = "NSE:SBIN-EQ"
INFY = "NSE:INFY-EQ"
PATIENCE = 30.0
FREE = lt.NoFees()


def quoted(symbol: str = SBIN, bid: Any = "548.95", ask: Any = "549.00", last: Any = "549.00") -> lt.LivePriceStream:
    """A stream that knows one quote."""
    stream = lt.LivePriceStream()
    stream.update(symbol, bid=bid, ask=ask, last=last)
    return stream


@contextmanager
def trading(
    cash: Any = 500_000, stream: lt.LivePriceStream | None = None, **terms: Any
) -> Iterator[lt.LiveTradingEngine]:
    """An open engine without fees, closed at the end without a word about what is no longer watched."""
    if stream is None and "feed" not in terms:
        stream = quoted()
    engine = lt.LiveTradingEngine(cash, stream, **{"fees": FREE, **terms})
    try:
        yield engine
    finally:
        quietly_close(engine)


def quietly_close(engine: lt.LiveTradingEngine) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        engine.close()


def soon(check: Callable[[], Any], what: str = "") -> Any:
    """What `check` gives once it is true; fails where that never comes."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := check()):
        assert time.monotonic() < deadline, what or "it never came true"
        threading.Event().wait(0.001)
    return answer


_KEPT = [name for name in Book.__slots__ if name not in ("low_raw", "high_raw")]  # extremes come from ticks


def picture(account: State, *, refusals: bool = True) -> dict[str, Any]:
    """Everything an account holds, to be compared. Without `refusals` the denied orders are left out."""
    ledger = account.ledger
    orders = {key: order for key, order in account.orders.items() if refusals or order.status != "DENIED"}
    return {
        "ledger": (ledger.cash_raw, ledger.put_in_raw, ledger.realized_raw, ledger.fees_raw, ledger.cost_raw),
        "margin": (ledger.margin_raw, account.blocked_raw),
        "books": {key: [getattr(book, name) for name in _KEPT] for key, book in ledger.books.items()},
        "orders": orders,
        "open": dict(account.open_orders),
        "working": {symbol: dict(market.working) for symbol, market in account.markets.items() if market.working},
        "risks": dict(account.risks),
        "brackets": {key: dict(bracket) for key, bracket in account.brackets.items()},
        "closing": dict(account.closing),
        "halted": account.halted,
        "feed": account.feed,
        "day": (account.day, account.day_base_raw, list(account.day_bases)),
        "alarms": list(account.alarms),
        "fills": account.fill_history.copy(),
    }


def picture_of(engine: lt.LiveTradingEngine, *, refusals: bool = True) -> dict[str, Any]:
    return engine._read(lambda account: picture(account, refusals=refusals))


def events_of(engine: lt.LiveTradingEngine) -> list[ev.Event]:
    journal = engine.journal
    assert isinstance(journal, lt.MemoryJournal)
    return engine._read(lambda _: list(journal.events))


def folded(events: Sequence[ev.Event]) -> Account:
    """A fresh account that has only been told what happened."""
    account = Account()
    for event in events:
        account.apply(event)
    return account


def recording(prices: Sequence[float], symbol: str = SBIN, spread: float = 0.1, seconds: float = 1) -> pd.DataFrame:
    """A tick every so many seconds from the opening of a day; the ask is `spread` above the bid."""
    times = pd.date_range("2026-03-02 09:15", periods=len(prices), freq=pd.Timedelta(seconds=seconds))
    bids = pd.Series(prices, dtype="float64")
    return pd.DataFrame(
        {
            "time": times,
            "symbol": symbol,
            "bid": bids.round(2),
            "ask": (bids + spread).round(2),
            "last": bids.round(2),
        }
    )


class ScriptedFeed:
    """A feed that does what a test says, on the engine's loop."""

    def __init__(self, script: Callable[[Sink], Any]) -> None:
        self._script = script

    def start_ns(self, _: Any) -> None:
        return None

    async def run(self, sink: Sink) -> None:
        await self._script(sink)


class ScriptedBroker:
    """A broker in the place of a real one: it shows what was asked of it, and reports what a test says."""

    real = False
    venue: Venue | None = None

    def __init__(self, known: Statement | None = None) -> None:
        self.known = known
        self.asked: list[ev.Request] = []
        self._report: Callable[[ev.Report], None] | None = None
        self._loop: Any = None
        self._failure: BaseException | None = None

    async def statement(self, orders: Sequence[Order]) -> Statement:
        """What a test said it knows; else nothing of what it is asked."""
        return self.known or Statement({order.client_order_id: () for order in orders})

    async def run(self, requests: Callable[[], Sequence[ev.Request]], report: Callable[[ev.Report], None]) -> None:
        import asyncio

        self._report, self._loop = report, asyncio.get_running_loop()
        while self._failure is None:
            self.asked += requests()
            await asyncio.sleep(0.001)
        raise self._failure

    def say(self, *reports: ev.Report) -> None:
        """Reports, from any thread."""
        soon(lambda: self._report)
        for report in reports:
            self._loop.call_soon_threadsafe(self._report, report)

    def fail(self, error: BaseException) -> None:
        self._failure = error

    def wait_for(self, kind: type, count: int = 1) -> Any:
        """The newest request of a kind, once there were so many."""
        return soon(lambda: [r for r in self.asked if type(r) is kind][count - 1 :])[-1]
