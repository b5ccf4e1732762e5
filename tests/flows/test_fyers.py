"""The engine on prices of the loopback Fyers, through the real feed: while all goes well, and while it does not."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import livetrade as lt
from livetrade.adapters.fyers.feed import FyersFeed
from livetrade.adapters.fyers.patience import Timing
from livetrade.clock import Clock
from livetrade.errors import FeedError
from livetrade.testing import FyersServer
from tests.adapters.fyers.market import FUTURE, INFY, NIFTY, RUPEE, SBIN, MovedTime, feed_of, quick
from tests.support import FREE, events_of, quietly_close, soon


@pytest.fixture
def server() -> Iterator[FyersServer]:
    with FyersServer() as server:
        yield server


def how(engine: lt.LiveTradingEngine) -> str:
    return str(engine.health()["feed"])


@contextmanager
def trading_on(feed: FyersFeed, kind: type[lt.LiveTradingEngine] = lt.LiveTradingEngine, **terms: Any) -> Iterator[Any]:
    engine = kind(500_000, feed=feed, fees=FREE, **terms)
    try:
        soon(lambda: how(engine) == "LIVE")
        yield engine
    finally:
        quietly_close(engine)


def quoted(engine: lt.LiveTradingEngine, symbol: str, last: str) -> Callable[[], bool]:
    def check() -> bool:
        tick = engine.stream.last(symbol)
        return tick is not None and tick.last == Decimal(last)

    return check


# ── all goes well ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_position_is_opened_and_its_stop_fires(server: FyersServer) -> None:
    with trading_on(feed_of(server, SBIN, NIFTY)) as engine:
        bought = engine.market_buy(SBIN, 100, stop_loss_price="545.00").result(5)
        assert bought.message == "Bought 100 NSE:SBIN-EQ at 549.00"
        server.quote(SBIN, last="551.20", bid="551.15", ask="551.25")
        soon(lambda: engine.pnl(exact=True)["total_pnl"] == Decimal("220.00"))
        server.quote(SBIN, last="544.90", bid="544.90", ask="545.00")
        soon(lambda: not engine.position(SBIN))
        sold = engine.fills(exact=True).iloc[-1]
        assert (sold["price"], sold["source"], sold["price_source"]) == (Decimal("544.90"), "STOP_LOSS", "BID")
        assert engine.pnl(exact=True)["total_pnl"] == Decimal("-410.00")
        assert engine.stream.last(NIFTY).last == Decimal("25974.90")
        assert engine.health()["quarantined"] == {}


def test_a_currency_is_traded_to_its_last_decimal(server: FyersServer) -> None:
    with trading_on(feed_of(server, RUPEE)) as engine:
        assert engine.market_buy(RUPEE, 1000).result(5).message == f"Bought 1000 {RUPEE} at 90.1275"
        server.quote(RUPEE, last="90.2001", bid="90.2000", ask="90.2025")
        soon(lambda: engine.pnl(exact=True)["total_pnl"] == Decimal("72.6"))


def test_a_registered_instrument_stands(server: FyersServer) -> None:
    lots = lt.Instrument(FUTURE, kind="FUTURE", lot_size=75, tick_size="0.05")
    with trading_on(feed_of(server, FUTURE), instruments=[lots]) as engine:
        assert engine.stream.last(FUTURE).instrument.lot_size == 75
        with pytest.raises(lt.OrderError, match="lot of 75"):
            engine.market_buy(FUTURE, 50)


def test_symbols_are_added_from_a_notebook(server: FyersServer) -> None:
    feed = feed_of(server, SBIN)
    with trading_on(feed) as engine:
        assert feed.subscribe(INFY).result(30) == (INFY,)
        assert engine.stream.last(INFY).ask == Decimal("1600.00")
        with pytest.raises(FeedError, match="Fyers does not know it"):
            feed.subscribe("NSE:NOSUCH-EQ").result(30)
        assert feed.unsubscribe(INFY).result(30) == (INFY,)
        soon(lambda: server.subscribed == {SBIN})


def test_what_is_odd_is_counted(server: FyersServer) -> None:
    with trading_on(feed_of(server, SBIN)) as engine:
        server.fail("garbage")
        server.quote(SBIN, last="550.00")
        soon(quoted(engine, SBIN, "550.00"))
        assert engine.health()["quarantined"]["unknown frame"] > 3


# ── the connection is lost ───────────────────────────────────────────────────────────────────────────────────────────


def test_while_it_is_lost_nothing_is_opened_and_everything_may_be_closed(server: FyersServer) -> None:
    feed = feed_of(server, SBIN, max_retries=None)
    with trading_on(feed) as engine:
        assert engine.market_buy(SBIN, 10).result(5).success
        server.fail("refuse")
        soon(lambda: how(engine) == "RECONNECTING")
        refused = engine.market_buy(SBIN, 10).result(5)
        assert not refused.success
        assert refused.message.startswith("Connection lost: the feed is RECONNECTING (")
        assert engine.market_sell(SBIN, 4).result(5).success
        assert engine.flatten().result(5).success

        server.quote(SBIN, last="552.00", bid="551.95", ask="552.05")
        server.heal()
        soon(lambda: how(engine) == "LIVE")
        assert engine.market_buy(SBIN, 10).result(5).message == "Bought 10 NSE:SBIN-EQ at 552.05"
        assert engine.health()["reconnects"] == feed.reconnects == 1


@pytest.mark.parametrize("fault", ["close", "reset", "torn", "hang", "garbage", "truncated"])
def test_a_stop_fires_at_the_first_price_after_a_loss(server: FyersServer, fault: str) -> None:
    with trading_on(feed_of(server, SBIN, _timing=quick(keepalive=0.1))) as engine:
        assert engine.market_buy(SBIN, 10, stop_loss_price="545.00").result(5).success
        server.fail(fault)
        server.quote(SBIN, last="540.00", bid="539.95", ask="540.05")  # nobody hears of it
        soon(lambda: not engine.position(SBIN))
        fills = engine.fills(exact=True)
        assert list(fills["price"]) == [Decimal("549.00"), Decimal("539.95")]
        assert engine.health()["reconnects"] == 1


def test_a_stale_feed_opens_nothing(server: FyersServer) -> None:
    clock = MovedTime()

    class Moved(lt.LiveTradingEngine):
        _new_clock = staticmethod(lambda: Clock(clock, clock))

    feed = feed_of(server, SBIN, stale_after=10, _timing=quick(sleep=clock.sleep))
    with trading_on(feed, Moved) as engine:

        def move(seconds: float) -> None:
            engine._loop.call_soon_threadsafe(clock.move, seconds)

        assert engine.market_buy(SBIN, 10, stop_loss_price="545.00").result(5).success
        server.fail("mute")
        soon(lambda: 10.0 in clock.asked[1:])
        move(10.5)
        soon(lambda: how(engine) == "STALE")
        refused = engine.market_buy(SBIN, 1).result(5)
        assert refused.message == "Stale price: no prices came for a while although the market is open"
        assert engine.market_sell(SBIN, 1).result(5).success
        server.quote(SBIN, last="540.00", bid="539.95", ask="540.05")
        soon(lambda: clock.sleeping() == 3)
        move(10.5)
        soon(lambda: how(engine) == "RECONNECTING" and clock.sleeping() == 1)
        move(1)
        soon(lambda: not engine.position(SBIN))
        soon(lambda: how(engine) == "LIVE")
        assert engine.market_buy(SBIN, 1).result(5).message == "Bought 1 NSE:SBIN-EQ at 540.05"


def test_a_feed_that_has_given_up_says_what_to_do(server: FyersServer) -> None:
    server.fail("expired")
    engine = lt.LiveTradingEngine(500_000, feed=feed_of(server, SBIN, max_retries=1))
    soon(lambda: how(engine) == "FAILED")
    engine.stream.update(SBIN, bid="548.95", ask="549.00", last="549.00")
    refused = engine.market_buy(SBIN, 1).result(5).message
    assert refused.startswith("Connection lost: the feed is FAILED (Fyers refused the token")
    assert "livetrade login fyers" in refused
    engine.close()


@pytest.mark.parametrize("fault", ["", "hang", "refuse", "deaf", "mute"])
def test_an_engine_closes_whatever_its_feed_does(server: FyersServer, fault: str) -> None:
    if fault == "deaf":
        server.fail("deaf", times=99)
    feed = feed_of(server, SBIN, _timing=Timing())
    engine = lt.LiveTradingEngine(500_000, feed=feed)
    if fault != "deaf":
        soon(lambda: how(engine) == "LIVE")
        if fault:
            server.fail(fault)
    engine.close()
    assert not engine._thread.is_alive()
    assert how(engine) == "CLOSED"
    soon(lambda: server.open_connections == 0 or fault == "hang")


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_token_is_in_no_journal_and_no_frame(server: FyersServer, tmp_path: Path) -> None:
    place = tmp_path / "day.journal"
    key, jwt = server._keys.hsm_key, server._keys.jwt
    with trading_on(feed_of(server, SBIN), journal=place) as engine:
        server.fail("message", code=51001, message=f"not for {key} and {jwt}")
        server.fail("close", message=key)
        soon(lambda: engine.health()["reconnects"] == 1 and how(engine) == "LIVE")
        engine.market_buy(SBIN, 1).result(5)
        shown = (
            engine._repr_html_()
            + repr(engine)
            + repr(engine.health())
            + engine.orders().to_csv()
            + repr(engine.panel_snapshot(None))
        )
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"not for" in kept
    for secret in (key, jwt, jwt.split(".")[1]):
        assert secret.encode() not in kept
        assert secret not in shown


def test_every_change_of_the_feed_is_in_the_journal(server: FyersServer) -> None:
    with trading_on(feed_of(server, SBIN)) as engine:
        server.fail("reset")
        soon(lambda: engine.health()["reconnects"] == 1 and how(engine) == "LIVE")
        changes = [event for event in events_of(engine) if type(event).__name__ == "FeedChanged"]
        assert [change.state for change in changes][-2:] == ["RECONNECTING", "LIVE"]
        assert changes[-2].reason == "the connection was lost: it broke off"
        assert changes[-1].ts <= time.time_ns() + 10**9
