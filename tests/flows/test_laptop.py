"""A laptop is closed and opened again: the process stood still, and the wall clock has gone on without it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest

import livetrade as lt
from livetrade.clock import Clock
from livetrade.testing import FyersServer
from tests.adapters.fyers.market import feed_of, quick
from tests.support import FREE, quietly_close, soon

SBIN = "NSE:SBIN-EQ"
HOUR = 3600


class Laptop:
    """Its wall clock; a sleep puts it ahead, while the monotonic clock stood still with the process."""

    def __init__(self) -> None:
        self._slept_ns = 0

    def __call__(self) -> int:
        return time.time_ns() + self._slept_ns

    def sleep(self, seconds: float) -> None:
        self._slept_ns += round(seconds * 1e9)


@contextmanager
def trading_on(laptop: Laptop, **terms: Any) -> Iterator[lt.LiveTradingEngine]:
    class Carried(lt.LiveTradingEngine):
        _new_clock = staticmethod(lambda: Clock(laptop, time.monotonic_ns))

    engine = Carried(500_000, fees=FREE, **terms)
    try:
        yield engine
    finally:
        quietly_close(engine)


def wakes(laptop: Laptop, engine: lt.LiveTradingEngine, seconds: float) -> None:
    """It was asleep for so long, and the engine has noticed."""
    before = engine._read(lambda _: engine.now_ns())
    laptop.sleep(seconds)
    soon(lambda: engine._read(lambda _: engine.now_ns()) >= before + seconds * 1e9)


@pytest.mark.parametrize("asleep", [60, 3 * HOUR, 30 * HOUR])
def test_nothing_happens_because_of_the_time_and_the_stop_fires_at_the_next_price(asleep: int) -> None:
    laptop = Laptop()
    with trading_on(laptop) as engine:
        engine.stream.update(SBIN, bid="548.95", ask="549.00", last="549.00")
        assert engine.market_buy(SBIN, 100, stop_loss_price="545.00").result(5).success
        orders = list(engine.orders().index)
        wakes(laptop, engine, asleep)

        assert list(engine.orders().index) == orders
        refused = engine.market_buy(SBIN, 1).result(5).message
        assert refused.startswith("Stale price: the clock jumped by +")
        assert refused.endswith("s (the machine slept?), no tick since")
        assert list(engine.risk_orders()["status"]) == ["ARMED"]

        engine.stream.update(SBIN, bid="540.00", ask="540.05", last="540.00")  # the market has gone on meanwhile
        soon(lambda: not engine.position(SBIN))
        assert engine.fills(exact=True)["price"].iloc[-1] == Decimal("540.00")
        assert engine.market_buy(SBIN, 1).result(5).success


def test_what_was_for_the_day_ends_with_it() -> None:
    laptop = Laptop()
    with trading_on(laptop) as engine:
        engine.stream.update(SBIN, bid="548.95", ask="549.00", last="549.00")
        day = engine.limit_buy(SBIN, 10, "540.00").result(5).order
        kept = engine.limit_buy(SBIN, 10, "540.00", time_in_force="GTC").result(5).order
        assert day is not None
        assert kept is not None
        wakes(laptop, engine, 24 * HOUR)
        soon(lambda: engine.order(day.client_order_id).status == "EXPIRED")
        assert list(engine.orders(open=True).index) == [kept.client_order_id]


@pytest.mark.parametrize("fault", ["reset", "hang"])
def test_a_feed_that_was_cut_off_comes_back_and_the_stop_fires_at_its_first_price(fault: str) -> None:
    """The connection did not outlive the sleep: broken off, or open on our side alone."""
    laptop = Laptop()
    with FyersServer() as server:
        feed = feed_of(server, SBIN, _timing=quick(keepalive=0.1))
        with trading_on(laptop, feed=feed) as engine:
            soon(lambda: engine.health()["feed"] == "LIVE")
            assert engine.market_buy(SBIN, 10, stop_loss_price="545.00").result(5).success
            wakes(laptop, engine, HOUR)
            assert not engine.market_buy(SBIN, 1).result(5).success
            server.fail(fault)
            server.quote(SBIN, last="540.00", bid="539.95", ask="540.05")  # nobody hears of it
            soon(lambda: not engine.position(SBIN))
            assert list(engine.fills(exact=True)["price"]) == [Decimal("549.00"), Decimal("539.95")]
            assert engine.health()["reconnects"] == 1
            assert engine.market_buy(SBIN, 1).result(5).message == "Bought 1 NSE:SBIN-EQ at 540.05"
