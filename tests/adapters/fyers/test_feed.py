"""The feed of Fyers against the loopback server: what it brings, asks for, survives, and keeps to itself."""

import asyncio
import gc
import logging
import pickle
import re
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from livetrade import calendars
from livetrade.adapters.fyers.feed import FyersFeed
from livetrade.adapters.fyers.patience import ONE_CONNECTION
from livetrade.calendars import TradingCalendar
from livetrade.core.kinds import FeedState
from livetrade.core.ticks import Tick
from livetrade.errors import FeedError, OrderError
from livetrade.handle import Handle
from livetrade.ports import Feed
from livetrade.testing import FyersServer, wire
from tests.adapters.fyers.market import (
    CRUDE,
    FUTURE,
    INFY,
    NEVER,
    NIFTY,
    RELIANCE,
    RUPEE,
    SBIN,
    Market,
    MovedTime,
    act,
    feed_of,
    moved,
    quick,
    running,
    until,
)


def shown(tick: Tick) -> tuple[Decimal | None, ...]:
    return tick.bid, tick.ask, tick.last, tick.volume, tick.bid_size, tick.ask_size


def decimals(*texts: str | None) -> tuple[Decimal | None, ...]:
    return tuple(None if text is None else Decimal(text) for text in texts)


async def answer(handle: Handle[Any]) -> Any:
    return await asyncio.wait_for(asyncio.wrap_future(handle._future), 30)


# ── what it is made with ─────────────────────────────────────────────────────────────────────────────────────────────


def test_it_is_a_feed_of_live_prices() -> None:
    feed = FyersFeed([SBIN, NIFTY], "A:b.c.d")
    assert isinstance(feed, Feed)
    assert feed.start_ns(Market.zone) is None
    assert feed.symbols == (SBIN, NIFTY)
    assert repr(feed) == f"<FyersFeed {SBIN}, {NIFTY} mode=full>"
    assert (feed.max_retries, feed.stale_after, feed.reconnects, feed.refused) == (5, 10.0, 0, {})
    assert feed.depth(SBIN) is None
    assert FyersFeed(SBIN, stale_after=timedelta(seconds=30)).stale_after == 30


@pytest.mark.parametrize(
    ("symbols", "terms", "words"),
    [
        ([], {}, "at least one symbol"),
        ([SBIN, SBIN], {}, "listed twice"),
        (["SBIN"], {}, "write its exchange"),
        ([f"NSE:S{number}-EQ" for number in range(5001)], {}, "at most 5,000 symbols"),
        ([NIFTY], {"mode": "depth"}, "no market depth"),
        (SBIN, {"mode": "fast"}, "mode must be one of full, lite, depth"),
        (SBIN, {"max_retries": -1}, "max_retries"),
        (SBIN, {"max_retries": True}, "max_retries"),
        (SBIN, {"stale_after": 0}, "stale_after"),
        (SBIN, {"calendar": "NSE"}, "calendar must be a TradingCalendar, not str"),
        (SBIN, {"socket_url": "ws://socket.fyers.in/hsm"}, "socket_url must be a wss://"),
        (SBIN, {"socket_url": "wss:///hsm"}, "socket_url must be a wss://"),
        (SBIN, {"data_url": "http://api-t1.fyers.in/data"}, "data_url must be an https://"),
        (SBIN, {"static_url": "public.fyers.in"}, "static_url must be an https://"),
    ],
)
def test_wrong_use_is_an_order_error(symbols: Any, terms: dict[str, Any], words: str) -> None:
    with pytest.raises(OrderError, match=words):
        FyersFeed(symbols, "A:b.c.d", **terms)


def test_more_than_five_thousand_are_refused_while_it_runs_too() -> None:
    feed = FyersFeed([f"NSE:S{number}-EQ" for number in range(5000)])
    with pytest.raises(OrderError, match="at most 5,000 symbols"):
        feed.subscribe(SBIN)
    assert len(feed.symbols) == 5000


def test_a_missing_extra_is_told() -> None:
    code = (
        "import sys; sys.modules['httpx'] = None\n"
        "from livetrade.adapters.fyers.feed import FyersFeed\n"
        "try: FyersFeed('NSE:SBIN-EQ')\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == 'the feed of Fyers needs httpx: pip install "livetrade[fyers]"\n'


def test_one_feed_serves_one_engine() -> None:
    async def story(server: FyersServer) -> None:
        feed, market = feed_of(server), Market()
        async with running(feed, market):
            await until(lambda: market.is_live)
            with pytest.raises(FeedError, match="already serves another engine"):
                await feed.run(Market())
        assert market.states[-1] == (FeedState.CLOSED, "the feed was closed")
        again = Market()
        async with running(feed, again):
            await until(lambda: again.is_live)
            assert feed.reconnects == 0

    with FyersServer() as server:
        asyncio.run(story(server))


# ── what it brings ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_ticks_are_exact() -> None:
    async def story(server: FyersServer) -> None:
        server.quote(
            SBIN, last="549.05", bid="549.00", ask="549.10", volume=12, bid_size=3, ask_size=4, time=1_800_000_000
        )
        market = Market()
        async with running(feed_of(server, SBIN, NIFTY, RUPEE, CRUDE), market):
            await until(lambda: market.is_live)
            first = market.quotes[SBIN]
            assert shown(first) == decimals("549.00", "549.10", "549.05", "12", "3", "4")
            assert first.time_ns == 1_800_000_000 * 10**9
            assert shown(market.quotes[NIFTY]) == decimals(None, None, "25974.90", None, None, None)
            assert shown(market.quotes[RUPEE])[:3] == decimals("90.1225", "90.1275", "90.1250")
            assert shown(market.quotes[CRUDE])[:3] == decimals("5309.00", "5311.00", "5310.00")

            await act(server.quote, SBIN, last="549.10", time=1_800_000_001)
            await until(lambda: market.last(SBIN) == Decimal("549.10"))
            assert shown(market.quotes[SBIN]) == decimals("549.00", "549.10", "549.10", "12", "3", "4")
            await act(server.quote, SBIN, ask=0, ask_size=0, time=1_800_000_002)  # nobody sells any more
            await until(lambda: market.quotes[SBIN].ask is None)
            assert shown(market.quotes[SBIN])[:3] == decimals("549.00", None, "549.10")
            await act(server.quote, NIFTY, last="25975.05")
            await until(lambda: market.last(NIFTY) == Decimal("25975.05"))
            await act(server.quote, RUPEE, bid="90.1200", ask="90.1201")
            await until(lambda: market.quotes[RUPEE].ask == Decimal("90.1201"))
            assert market.quotes[RUPEE].bid == Decimal("90.1200")

        assert all(tick.received_ns > 0 and tick.source == "fyers" for tick in market.ticks)
        assert market.quarantined == {}
        assert server.modes == ["F"]

    for trimmed in (False, True):
        with FyersServer(trimmed=trimmed) as server:
            asyncio.run(story(server))


def test_a_snapshot_may_lack_what_there_is_not() -> None:
    async def story(server: FyersServer) -> None:
        server.clear(SBIN)
        server.quote(SBIN, last="549.05")
        market = Market()
        async with running(feed_of(server), market):
            await until(lambda: market.is_live)
            assert shown(market.quotes[SBIN]) == decimals(None, None, "549.05", None, None, None)
            await act(server.quote, SBIN, bid="549.00")
            await until(lambda: market.quotes[SBIN].bid)
            assert shown(market.quotes[SBIN]) == decimals("549.00", None, "549.05", None, None, None)

    with FyersServer() as server:
        asyncio.run(story(server))


def test_lite_is_the_last_price_alone() -> None:
    async def story(server: FyersServer) -> None:
        market = Market()
        async with running(feed_of(server, SBIN, NIFTY, mode="lite"), market):
            await until(lambda: market.is_live)
            await act(server.quotes, [(SBIN, {"last": "551.20", "bid": "551.15"}), (NIFTY, {"last": "26000.00"})])
            await until(lambda: market.last(NIFTY) == 26000)
            assert market.last(SBIN) == Decimal("551.20")
        assert server.modes == ["L"]

    with FyersServer() as server:
        asyncio.run(story(server))


def test_depth_has_five_levels_and_ticks_carry_the_best() -> None:
    async def story(server: FyersServer) -> None:
        bids = [(f"548.{9 - level}5", 100 + level, 1 + level) for level in range(5)]
        asks = [(f"549.{level}5", 200 + level, 2 + level) for level in range(5)]
        await act(server.depth, SBIN, bids, asks)
        feed, market = feed_of(server, mode="depth"), Market()
        async with running(feed, market):
            await until(lambda: market.is_live)
            assert shown(market.quotes[SBIN]) == decimals("548.95", "549.05", None, None, "100", "200")
            depth = feed.depth(SBIN)
            assert depth is not None
            assert depth.bid_prices == decimals(*(price for price, _, _ in bids))
            assert depth.ask_prices == decimals(*(price for price, _, _ in asks))
            assert [(level.size, level.orders) for level in depth.bids] == [bid[1:] for bid in bids]
        assert server.subscriptions == [["dp|nse_cm|3045"]]

    with FyersServer() as server:
        asyncio.run(story(server))


# ── what it says on the wire ─────────────────────────────────────────────────────────────────────────────────────────


def test_every_so_many_frames_are_acknowledged_and_pings_go_out() -> None:
    async def story(server: FyersServer) -> None:
        market = Market()
        async with running(feed_of(server, _timing=quick(ping=0.001)), market):
            await until(lambda: market.is_live)
            for paise in range(1, 10):
                await act(server.quote, SBIN, last=f"550.0{paise}")
            await until(lambda: market.last(SBIN) == Decimal("550.09"))
            await until(lambda: len(server.acks) >= 3)
            assert server.acks == [3, 6, 9]
            await until(lambda: server.pings > 3)

    with FyersServer(ack_every=3) as server:
        asyncio.run(story(server))


def test_a_ping_goes_out_at_once_and_then_every_ten_seconds() -> None:
    async def story(server: FyersServer) -> None:
        clock = MovedTime()
        market = Market(clock)
        async with running(feed_of(server, _timing=moved(clock)), market):
            await until(lambda: server.pings == 1)
            await until(lambda: market.is_live)
            for number in range(2, 5):
                await until(lambda: clock.asked.count(10.0) >= server.pings)
                clock.move(10)
                await until(lambda number=number: server.pings == number)

    with FyersServer() as server:
        asyncio.run(story(server))


def test_many_symbols_go_in_frames_of_1500() -> None:
    symbols = {f"NSE:S{number}-EQ": f"1010000000{number}" for number in range(1, 5001)}

    async def story(server: FyersServer) -> None:
        feed, market = feed_of(server, *symbols, _timing=quick(gap=0.02)), Market()
        async with running(feed, market):
            await until(lambda: market.is_live)
            assert [len(topics) for topics in server.subscriptions] == [1500, 1500, 1500, 500]
            assert set(market.quotes) == set(symbols) == server.subscribed
            assert [len(asked) for asked in server.asked] == [500] * 10

    with FyersServer(symbols) as server:
        asyncio.run(story(server))


# ── symbols come and go ──────────────────────────────────────────────────────────────────────────────────────────────


def test_symbols_are_added_and_given_up_while_it_runs() -> None:
    async def story(server: FyersServer) -> None:
        feed, market = feed_of(server, SBIN), Market()
        before = feed.subscribe(INFY)
        async with running(feed, market):
            await until(lambda: market.is_live)
            assert await answer(before) == (INFY,)
            assert await answer(await asyncio.to_thread(feed.subscribe, RELIANCE, NIFTY)) == (RELIANCE, NIFTY)
            assert market.last(NIFTY) == Decimal("25974.90")
            assert feed.symbols == (SBIN, INFY, RELIANCE, NIFTY)
            assert server.subscribed == set(feed.symbols)

            assert await answer(feed.subscribe(SBIN)) == (SBIN,)  # it is there already
            assert await answer(feed.unsubscribe(SBIN, FUTURE)) == (SBIN,)
            await until(lambda: server.subscribed == {INFY, RELIANCE, NIFTY})
            assert server.unsubscriptions == [["sf|nse_cm|3045"]]
            assert await answer(feed.subscribe(SBIN)) == (SBIN,)
            await act(server.quote, SBIN, last="561.00")
            await until(lambda: market.last(SBIN) == 561)
            assert len(server.asked) == 2  # once at the beginning, once for the two that were new

            await act(server.fail, "reset")
            await until(lambda: server.connections == 2)
            assert await answer(feed.subscribe(FUTURE)) == (FUTURE,)
            await until(lambda: market.lived(2))
            assert server.subscribed == set(feed.symbols) == {SBIN, INFY, RELIANCE, NIFTY, FUTURE}
            late = feed.subscribe(CRUDE)
            assert await answer(late) == (CRUDE,)
            pending = feed.subscribe("NSE:TCS-EQ")
        with pytest.raises(FeedError, match=r"NSE:TCS-EQ: (the feed has ended|Fyers does not know it)"):
            await answer(pending)
        assert await answer(feed.unsubscribe(SBIN)) == (SBIN,)

    with FyersServer() as server:
        asyncio.run(story(server))


def test_any_thread_may_add_symbols_at_any_time() -> None:
    symbols = {f"NSE:S{number}-EQ": f"1010000000{number}" for number in range(1, 301)}

    async def story(server: FyersServer) -> None:
        first, *others = symbols
        feed, market = feed_of(server, first), Market()
        async with running(feed, market):
            with ThreadPoolExecutor(8) as pool:
                asked = [asyncio.wrap_future(pool.submit(feed.subscribe, symbol)) for symbol in others]
                await until(lambda: server.connections)
                await act(server.fail, "reset")
                handles = await asyncio.gather(*asked)
            assert [await answer(handle) for handle in handles] == [(symbol,) for symbol in others]
            await until(lambda: market.is_live)
            assert server.subscribed == set(symbols)

    with FyersServer(symbols) as server:
        asyncio.run(story(server))


def test_everything_may_be_given_up() -> None:
    async def story(server: FyersServer) -> None:
        feed, market = feed_of(server, SBIN), Market()
        async with running(feed, market):
            await until(lambda: market.is_live)
            assert await answer(feed.unsubscribe(SBIN)) == (SBIN,)
            await act(server.fail, "close")
            await until(lambda: market.lived(2))
            assert server.subscribed == frozenset()
            assert await answer(feed.subscribe(SBIN)) == (SBIN,)

    with FyersServer() as server:
        asyncio.run(story(server))


def test_unknown_symbols_are_named_and_the_others_go_on() -> None:
    async def story(server: FyersServer) -> None:
        feed, market = feed_of(server, SBIN, "NSE:NOSUCH-EQ"), Market()
        async with running(feed, market):
            await until(lambda: market.is_live)
            assert market.why == "NSE:NOSUCH-EQ: Fyers does not know it"
            assert feed.symbols == (SBIN,)
            assert feed.refused == {"NSE:NOSUCH-EQ": "Fyers does not know it"}
            with pytest.raises(FeedError, match="NSE:NEITHER-EQ: Fyers does not know it"):
                await answer(feed.subscribe(INFY, "NSE:NEITHER-EQ"))
            await until(lambda: server.subscribed == {SBIN, INFY})
            assert market.alarms[0] == "Fyers: no prices for NSE:NOSUCH-EQ: Fyers does not know it"

    with FyersServer() as server:
        asyncio.run(story(server))


def test_two_names_of_one_thing_are_not_mixed_up() -> None:
    async def story(server: FyersServer) -> None:
        feed, market = feed_of(server, "NSE:ONE-EQ", "NSE:OTHER-EQ"), Market()
        async with running(feed, market):
            await until(lambda: market.is_live)
            assert feed.refused == {"NSE:OTHER-EQ": "Fyers sends it as NSE:ONE-EQ"}

    with FyersServer({"NSE:ONE-EQ": "10100000003045", "NSE:OTHER-EQ": "10100000003045"}) as server:
        asyncio.run(story(server))


@pytest.mark.parametrize("max_retries", [5, None])
def test_none_that_is_known_is_final(max_retries: int | None) -> None:
    async def story(server: FyersServer) -> None:
        market = Market()
        await feed_of(server, "NSE:NOSUCH-EQ", max_retries=max_retries).run(market)
        assert market.how is FeedState.FAILED
        assert "none of the symbols has prices at Fyers: NSE:NOSUCH-EQ" in market.why
        assert server.connections == 0

    with FyersServer() as server:
        asyncio.run(story(server))


def test_a_failed_look_up_costs_only_what_was_asked_for() -> None:
    async def story(server: FyersServer) -> None:
        feed, market = feed_of(server, SBIN), Market()
        async with running(feed, market):
            await until(lambda: market.is_live)
            server.fail("rest", status=502)
            with pytest.raises(FeedError, match=f"{INFY}: Fyers does not work at the moment"):
                await answer(feed.subscribe(INFY))
            assert feed.symbols == (SBIN,)
            assert await answer(feed.subscribe(INFY)) == (INFY,)
            assert server.connections == 1

    with FyersServer() as server:
        asyncio.run(story(server))


def test_a_symbol_without_a_snapshot_is_asked_for_once_more(caplog: pytest.LogCaptureFixture) -> None:
    async def story(server: FyersServer) -> None:
        server.fail("silent", symbols=[INFY])
        market = Market()
        async with running(feed_of(server, SBIN, INFY, _timing=quick(snapshot=0.1)), market):
            await until(lambda: market.is_live)
            assert market.why == ""
            assert server.subscriptions == [["sf|nse_cm|3045", "sf|nse_cm|1594"], ["sf|nse_cm|1594"]]
            assert f"no prices yet of {INFY}; subscribing once more" in caplog.text

    with FyersServer() as server:
        asyncio.run(story(server))


def test_a_symbol_that_stays_silent_is_named_and_stale() -> None:
    async def story(server: FyersServer) -> None:
        server.fail("silent", symbols=[INFY, NIFTY], times=99)
        feed, market = feed_of(server, SBIN, INFY, _timing=quick(snapshot=0.05)), Market()
        async with running(feed, market):
            await until(lambda: market.is_live)
            assert market.why == f"no prices of {INFY}"
            assert market.alarms == [f"Fyers sends no prices of {INFY}"]
            assert list(market.losses) == [INFY]
            await answer(feed.subscribe(NIFTY))
            assert market.why == f"no prices of {INFY}, {NIFTY}"
            await answer(feed.unsubscribe(INFY))
            assert market.losses[INFY] == "the feed was unsubscribed from it"

    with FyersServer() as server:
        asyncio.run(story(server))


def test_one_that_speaks_after_all_is_silent_no_more(caplog: pytest.LogCaptureFixture) -> None:
    async def story(server: FyersServer) -> None:
        server.fail("silent", symbols=[INFY], times=99)
        market = Market()
        async with running(feed_of(server, SBIN, INFY, _timing=quick(snapshot=0.05)), market):
            await until(lambda: market.is_live)
            values = [160_005, 7, wire.NOTHING, 1_800_000_000]
            await act(server.send, wire.data(9, [wire.snapshot(77, "sf|nse_cm|1594", values, 1, 2, INFY)]))
            await until(lambda: market.last(INFY) == Decimal("1600.05"))
            assert market.states[-1] == (FeedState.LIVE, "")
            await act(server.send, wire.answer(wire.SUBSCRIBE, "N"))
            await until(lambda: "Fyers refused to subscribe: N" in caplog.text)

    with FyersServer() as server:
        asyncio.run(story(server))


def test_no_snapshot_at_all_is_no_connection() -> None:
    async def story(server: FyersServer) -> None:
        server.fail("mute", times=2)
        market = Market()
        async with running(feed_of(server, _timing=quick(snapshot=0.05)), market):
            await until(lambda: market.is_live)
            assert market.told(FeedState.RECONNECTING) == ["Fyers sent no price of any symbol"]

    with FyersServer() as server:
        asyncio.run(story(server))


# ── what it survives ─────────────────────────────────────────────────────────────────────────────────────────────────

LOST: dict[str, tuple[dict[str, Any], str]] = {
    "close": ({"code": 1000, "message": "bye"}, r"Fyers closed the connection \(1000 bye\)"),
    "reset": ({}, "the connection was lost: it broke off"),
    "torn": ({}, "the connection was lost: it broke off"),
    "hang": ({}, "the connection was lost: its pings were not answered"),
    "refuse": ({}, "cannot connect to ws://127.0.0.1"),
    "garbage": ({}, "Fyers sent a damaged frame"),
    "truncated": ({}, "Fyers sent a damaged frame"),
}


async def goes_on(server: FyersServer, market: Market, feed: FyersFeed, connections: int) -> None:
    """Everything is subscribed to again, fresh prices come, and none was ever wrong."""
    await until(lambda: market.is_live and server.connections == connections, f"{market.states[-3:]}")
    assert server.subscribed == set(feed.symbols)
    await act(server.quotes, [(SBIN, {"last": "560.05", "bid": "560.00", "ask": "560.10"}), (NIFTY, {"last": 26001})])
    await until(lambda: market.last(SBIN) == Decimal("560.05") and market.last(NIFTY) == 26001)
    assert {tick.last for tick in market.ticks if tick.symbol == SBIN} <= set(decimals("549.00", "550.00", "560.05"))
    assert {tick.last for tick in market.ticks if tick.symbol == NIFTY} <= set(decimals("25974.90", "26001"))


@pytest.mark.parametrize("fault", LOST)
def test_a_lost_connection_is_made_anew(fault: str) -> None:
    terms, reason = LOST[fault]

    async def story(server: FyersServer) -> None:
        feed, market = feed_of(server, SBIN, NIFTY, max_retries=None, _timing=quick(keepalive=0.1)), Market()
        async with running(feed, market):
            await until(lambda: market.is_live)
            await act(server.quote, SBIN, last="550.00")
            await until(lambda: market.last(SBIN) == 550)
            await act(server.fail, fault, **terms)
            await until(lambda: market.how is FeedState.RECONNECTING)
            if fault == "refuse":
                await until(lambda: "cannot connect" in market.why)
                await act(server.heal)
            await goes_on(server, market, feed, 2)
            assert feed.reconnects == 1
        whys = " ".join(market.told(FeedState.RECONNECTING))
        assert re.search(reason, whys), whys

    with FyersServer() as server:
        asyncio.run(story(server))


def test_frames_that_are_odd_but_whole_harm_nothing() -> None:
    async def story(server: FyersServer) -> None:
        feed, market = feed_of(server, SBIN, NIFTY), Market()
        async with running(feed, market):
            await until(lambda: market.is_live)
            await act(server.quote, SBIN, last="550.00")
            await until(lambda: market.last(SBIN) == 550)
            await act(server.fail, "huge")
            for frame in (
                "",
                "pong",
                b"",
                b"\0",
                b"\0\x09\x0d\x01",
                b"\0\x09\x63\x01",
                b"\0\x09\x01\x07",
                wire.data(1, []),
            ):
                await act(server.send, frame)
            await act(server.send, wire.data(2, [wire.update(999, [1]), wire.lite(998, 2)]))
            await goes_on(server, market, feed, 1)
            assert feed.reconnects == 0
        assert [state for state, _ in market.states] == [FeedState.CONNECTING, FeedState.LIVE, FeedState.CLOSED]
        assert market.quarantined["unknown frame"] == 5
        assert market.quarantined["unknown topic id"] == 2

    with FyersServer() as server:
        asyncio.run(story(server))


def test_a_frame_that_is_too_large_costs_the_connection_alone() -> None:
    async def story(server: FyersServer) -> None:
        feed, market = feed_of(server, SBIN, NIFTY), Market()
        async with running(feed, market):
            await until(lambda: market.is_live)
            await act(server.send, bytes(33 << 20))
            await goes_on(server, market, feed, 2)
            assert market.told(FeedState.RECONNECTING) == ["the connection was lost: a frame was larger than 32 MiB"]

    with FyersServer() as server:
        asyncio.run(story(server))


@pytest.mark.parametrize(
    ("fault", "terms", "reason"),
    [
        ("status", {"status": 401}, "Fyers refused the token (HTTP 401); run `livetrade login fyers`"),
        ("status", {"status": 403}, "Fyers refused the token (HTTP 403); run `livetrade login fyers`"),
        ("status", {"status": 404}, "there is nothing at ws://127.0.0.1"),
        ("status", {"status": 502}, "Fyers does not work at the moment (HTTP 502)"),
        ("rest", {"status": 500}, "Fyers does not work at the moment (HTTP 500: out of order)"),
        ("deny", {}, "Fyers refused the token (N); run `livetrade login fyers`"),
        ("deaf", {}, "Fyers did not answer within 0.1 s"),
    ],
)
def test_what_fails_at_the_beginning_is_told_and_tried_again(fault: str, terms: dict[str, Any], reason: str) -> None:
    async def story(server: FyersServer) -> None:
        server.fail(fault, times=3, **terms)
        feed, market = feed_of(server, SBIN, NIFTY, _timing=quick(answer=0.1 if fault == "deaf" else 10)), Market()
        async with running(feed, market):
            await goes_on(server, market, feed, 1)
            assert feed.reconnects == 0
        told = market.told(FeedState.RECONNECTING)
        assert len(told) == 1  # the same thing is told once
        assert reason in told[0]

    with FyersServer() as server:
        asyncio.run(story(server))


def test_it_does_not_speak_in_the_clear_to_a_server_that_should_be_encrypted() -> None:
    async def story(server: FyersServer) -> None:
        market = Market()
        await feed_of(server, max_retries=0, socket_url=server.socket_url.replace("ws:", "wss:")).run(market)
        assert market.how is FeedState.FAILED
        assert "cannot connect to wss://127.0.0.1" in market.why
        assert "given up after failing once" in market.why
        assert server.connections == 0

    with FyersServer() as server:
        asyncio.run(story(server))


def test_asked_too_often_it_waits_longer() -> None:
    async def story(server: FyersServer) -> None:
        server.fail("status", status=429, retry_after=120)
        clock = MovedTime()
        market = Market(clock)
        async with running(feed_of(server, _timing=moved(clock)), market):
            await until(lambda: market.how is FeedState.RECONNECTING)
            await until(lambda: 120.0 in clock.asked)
            assert market.why == "Fyers was asked too often (HTTP 429)"
            clock.move(120)
            await until(lambda: market.is_live)

    with FyersServer() as server:
        asyncio.run(story(server))


def test_it_gives_up_after_so_many_failures_in_a_row(caplog: pytest.LogCaptureFixture) -> None:
    async def story(server: FyersServer) -> None:
        clock = MovedTime()
        feed, market = feed_of(server, _timing=moved(clock)), Market(clock)
        async with running(feed, market) as task:
            await until(lambda: market.is_live)
            clock.move(3600)
            await act(server.fail, "refuse")
            delays = []
            for _ in range(5):
                await until(lambda: market.how is FeedState.RECONNECTING and clock.sleeping() == 1)
                delays.append(clock.asked[-1])
                clock.move(clock.asked[-1])
            await asyncio.wait_for(task, 30)
        assert market.how is FeedState.FAILED
        assert "given up after failing 6 times in a row" in market.why
        assert "max_retries=None" in market.why
        assert market.why in caplog.text
        assert all(most / 2 <= delay <= most for delay, most in zip(delays, (1, 2, 4, 8, 16), strict=True))

    with FyersServer() as server:
        asyncio.run(story(server))


def test_delays_grow_to_half_a_minute_and_unattended_it_never_gives_up() -> None:
    async def story(server: FyersServer) -> None:
        await act(server.fail, "refuse")
        clock = MovedTime()
        feed, market = feed_of(server, max_retries=None, _timing=moved(clock)), Market(clock)
        async with running(feed, market):
            for number in range(1, 30):
                await until(lambda number=number: len(clock.asked) == number)
                clock.move(clock.asked[-1])
            assert all(15 <= delay <= 30 for delay in clock.asked[5:])
            await act(server.heal)
            await until(lambda: clock.sleeping() or market.is_live)
            clock.move(30)
            await until(lambda: market.is_live)

    with FyersServer() as server:
        asyncio.run(story(server))


def test_sent_away_again_and_again_it_names_the_second_connection() -> None:
    async def story(server: FyersServer) -> None:
        server.fail("kick", code=1008, message="only one", times=3)
        market = Market()
        async with running(feed_of(server, max_retries=1), market):
            await until(lambda: server.connections == 4 and market.is_live)
        told = market.told(FeedState.RECONNECTING)
        assert [ONE_CONNECTION in why for why in told] == [False, True, True]
        assert all("Fyers closed the connection (1008 only one)" in why for why in told)

    with FyersServer() as server:
        asyncio.run(story(server))


def test_what_fyers_says_is_told() -> None:
    async def story(server: FyersServer) -> None:
        market = Market()
        async with running(feed_of(server), market):
            await until(lambda: market.is_live)
            await act(server.fail, "message", code=51001, message="Symbol limit exceeded")
            await until(lambda: market.why)
            assert market.states[-1] == (FeedState.LIVE, "Fyers says: Symbol limit exceeded (code 51001)")
            assert market.alarms == ["Fyers says: Symbol limit exceeded (code 51001)"]
            await act(server.fail, "close", code=1000)
            await until(lambda: market.lived(2))
            assert market.told(FeedState.RECONNECTING) == [
                "Fyers says: Symbol limit exceeded (code 51001); Fyers closed the connection (1000)"
            ]

    with FyersServer() as server:
        asyncio.run(story(server))


# ── silence ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_mute_connection_is_stale_and_then_made_anew() -> None:
    async def story(server: FyersServer) -> None:
        clock = MovedTime()
        feed, market = feed_of(server, stale_after=10, _timing=moved(clock)), Market(clock)
        async with running(feed, market):
            await until(lambda: market.is_live)
            await act(server.fail, "mute")
            await until(lambda: 10.0 in clock.asked)
            clock.move(9.9)
            await asyncio.sleep(0)
            assert market.is_live
            clock.move(0.1)
            await until(lambda: market.how is FeedState.STALE)
            await until(lambda: clock.asked[-1] == 10)
            clock.move(10)
            await until(lambda: market.how is FeedState.RECONNECTING)
            assert market.why == "no prices came although the market is open"
            await until(lambda: clock.asked[-1] <= 1)
            clock.move(1)
            await until(lambda: market.is_live)
            assert server.connections == 2

    with FyersServer() as server:
        asyncio.run(story(server))


def test_a_price_ends_the_staleness() -> None:
    async def story(server: FyersServer) -> None:
        clock = MovedTime()
        market = Market(clock)
        async with running(feed_of(server, stale_after=10, _timing=moved(clock)), market):
            await until(lambda: market.is_live and clock.sleeping() == 3)
            clock.move(10)
            await until(lambda: market.how is FeedState.STALE)
            await act(server.quote, SBIN, last="550.00")
            await until(lambda: market.is_live)
            assert server.connections == 1

    with FyersServer() as server:
        asyncio.run(story(server))


def test_outside_of_the_hours_silence_is_normal() -> None:
    async def story(server: FyersServer) -> None:
        clock = MovedTime()
        market = Market(clock)
        async with running(feed_of(server, stale_after=10, calendar=NEVER, _timing=moved(clock)), market):
            await until(lambda: market.is_live and clock.sleeping() == 3)
            for _ in range(20):
                before = len(clock.asked)
                clock.move(10)
                await until(lambda before=before: len(clock.asked) > before and clock.sleeping() == 3)
            assert [state for state, _ in market.states] == [FeedState.CONNECTING, FeedState.LIVE]
            assert server.connections == 1

    with FyersServer() as server:
        asyncio.run(story(server))


HOLIDAY = "2026-01-26"  # a Monday
MUTE = "no prices came for a while although the market is open"


@pytest.mark.parametrize(
    ("symbol", "moment", "overrides"),
    [
        (SBIN, f"{HOLIDAY} 12:00", {}),
        (SBIN, "2026-01-25 12:00", {}),  # a Sunday
        (SBIN, "2026-01-27 20:00", {}),
        (SBIN, "2026-01-27 12:00", {"2026-01-27": None}),
        (CRUDE, "2026-01-27 23:58", {}),
    ],
)
def test_while_a_market_is_closed_a_mute_feed_is_live(symbol: str, moment: str, overrides: dict[str, None]) -> None:
    async def story(server: FyersServer) -> None:
        clock = MovedTime(moment)
        feed = feed_of(server, symbol, stale_after=10, calendar=TradingCalendar(overrides), _timing=moved(clock))
        market = Market(clock)
        async with running(feed, market):
            await until(lambda: market.is_live and clock.sleeping() == 3)
            for _ in range(30):
                before = len(clock.asked)
                clock.move(10)
                await until(lambda before=before: len(clock.asked) > before and clock.sleeping() == 3)
            assert market.states == [(FeedState.CONNECTING, "connecting to Fyers"), (FeedState.LIVE, "")]
            assert (server.connections, market.alarms) == (1, [])

    with FyersServer() as server:
        asyncio.run(story(server))


@pytest.mark.parametrize(
    ("symbols", "moment", "overrides", "doubt"),
    [
        ([SBIN], "2026-01-27 12:00", {}, ""),
        ([SBIN], f"{HOLIDAY} 12:00", {HOLIDAY: ("11:00", "13:00")}, ""),
        ([SBIN], "2026-02-01 12:00", {}, ""),  # a Sunday, the budget
        ([SBIN], "2026-11-08 18:00", {}, "there is a session on 2026-11-08, and its hours are not known: give Trad"),
        ([SBIN], "2040-01-02 12:00", {}, "the sessions of "),
        ([SBIN, CRUDE], "2026-01-27 20:00", {}, "the holidays of currencies and commodities are not known"),
    ],
)
def test_while_a_market_is_or_may_be_open_a_mute_feed_is_stale(
    symbols: list[str], moment: str, overrides: dict[str, tuple[str, str]], doubt: str
) -> None:
    async def story(server: FyersServer) -> None:
        clock = MovedTime(moment)
        calendar = TradingCalendar(overrides)  # type: ignore[arg-type]
        token = server.new_token(timedelta(days=365 * 30))
        feed = feed_of(server, *symbols, token=token, stale_after=10, calendar=calendar, _timing=moved(clock))
        market = Market(clock)
        async with running(feed, market):
            await until(lambda: market.is_live and clock.sleeping() == 3)
            clock.move(10)
            await until(lambda: market.how is FeedState.STALE)
            assert market.why.startswith(f"{MUTE}, as far as is known ({doubt}" if doubt else MUTE)
            assert bool(doubt) or market.why == MUTE

    with FyersServer() as server:
        asyncio.run(story(server))


def test_the_calendar_is_read_in_a_silence_and_before_it_is_asked() -> None:
    async def story(server: FyersServer) -> None:
        clock = MovedTime(f"{HOLIDAY} 12:00")
        market, feed = Market(clock), feed_of(server, stale_after=10, calendar=None, _timing=moved(clock))
        async with running(feed, market):
            await until(lambda: market.is_live and clock.sleeping() == 3)
            clock.move(4)
            await act(server.quote, SBIN, last="550.00")
            await until(lambda: len(market.ticks) == 2)
            clock.move(1)  # five seconds since it is live, and one since a price
            await until(lambda: clock.asked[-1] == 4)
            assert not feed._markets.are_known
            clock.move(4)
            await until(lambda: feed._markets.are_known and clock.asked[-1] == 5)
            clock.move(5)
            await until(lambda: clock.asked[-2:] == [10, 10])  # a ping, and the next look
            assert [state for state, _ in market.states] == [FeedState.CONNECTING, FeedState.LIVE]

    with FyersServer() as server:
        asyncio.run(story(server))


def test_without_the_extra_a_holiday_is_watched_and_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(server: FyersServer) -> None:
        clock = MovedTime(f"{HOLIDAY} 12:00")
        market, feed = Market(clock), feed_of(server, stale_after=10, calendar=None, _timing=moved(clock))
        async with running(feed, market):
            await until(lambda: market.is_live and clock.sleeping() == 3)
            clock.move(5)
            await until(
                lambda: clock.sleeping() == 3 and feed._markets._shares._lacking.startswith("holidays are not known")
            )
            clock.move(5)
            await until(lambda: market.how is FeedState.STALE)
            assert market.why == (
                f"{MUTE}, as far as is known (holidays are not known: TradingCalendar needs exchange_calendars: "
                'pip install "livetrade[calendar]")'
            )

    calendars._known_days.cache_clear()
    monkeypatch.setitem(sys.modules, "exchange_calendars", None)
    with FyersServer() as server:
        asyncio.run(story(server))


KEYLESS = "APP-100:e30.e30.e30"  # its payload is {}

# ── the token ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_expired_token_is_told_before_anything_is_sent() -> None:
    async def story(server: FyersServer) -> None:
        server.new_token(timedelta(hours=-1))
        market = Market()
        await feed_of(server).run(market)
        assert market.how is FeedState.FAILED
        assert "the Fyers token expired at" in market.why
        assert "livetrade login fyers" in market.why
        assert (server.asked, server.connections) == ([], 0)

    with FyersServer() as server:
        asyncio.run(story(server))


@pytest.mark.parametrize("text", ["", "nonsense", "APP-100:not.a.token", KEYLESS])
def test_without_a_token_it_says_how_to_get_one(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(server: FyersServer) -> None:
        market = Market()
        await FyersFeed(SBIN, text or None, **server.urls, _timing=quick()).run(market)
        assert market.how is FeedState.FAILED
        assert "livetrade login fyers" in market.why or "APPID:JWT" in market.why

    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    monkeypatch.delenv("FYERS_AUTH_TOKEN", raising=False)
    with FyersServer() as server:
        asyncio.run(story(server))


def test_a_token_that_expires_while_it_runs_ends_it() -> None:
    async def story(server: FyersServer) -> None:
        clock = MovedTime()
        token = server.new_token(timedelta(seconds=90))
        feed, market = feed_of(server, token=token, _timing=moved(clock)), Market(clock)
        async with running(feed, market) as task:
            await until(lambda: market.is_live and clock.sleeping() == 3)
            clock.move(60)
            await until(lambda: clock.sleeping() == 3)
            clock.move(31)
            await until(lambda: market.how is FeedState.RECONNECTING)
            assert market.why == "the token expired; run `livetrade login fyers`"
            await until(lambda: clock.sleeping() == 1)
            clock.move(1)
            await asyncio.wait_for(task, 30)
        assert market.how is FeedState.FAILED
        assert "livetrade login fyers" in market.why

    with FyersServer() as server:
        asyncio.run(story(server))


def test_unattended_it_looks_for_a_new_token_every_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(server: FyersServer) -> None:
        clock = MovedTime()
        monkeypatch.setenv("FYERS_AUTH_TOKEN", server.new_token(timedelta(seconds=30)))
        feed = FyersFeed([SBIN, NIFTY], max_retries=None, **server.urls, _timing=moved(clock))
        market = Market(clock)
        async with running(feed, market):
            await until(lambda: market.is_live and clock.sleeping() == 3)
            clock.move(31)
            await until(lambda: market.how is FeedState.RECONNECTING and clock.sleeping() == 1)
            clock.move(1)
            for number in range(1, 4):
                await until(lambda number=number: clock.asked.count(60.0) == number, f"{clock.asked}")
                assert "the Fyers token expired at" in market.why
                assert market.how is FeedState.RECONNECTING
                if number == 3:
                    monkeypatch.setenv("FYERS_AUTH_TOKEN", server.new_token())
                clock.move(60)
            await until(lambda: market.is_live)
            assert server.subscribed == {SBIN, NIFTY}
            assert len(server.asked) == 2  # another day: what symbols are called is asked again

    with FyersServer() as server:
        asyncio.run(story(server))


# ── what it keeps to itself ──────────────────────────────────────────────────────────────────────────────────────────


class Everything(logging.Handler):
    """Every record of every logger, with its traceback and its arguments."""

    def __init__(self) -> None:
        super().__init__(0)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{self.format(record)} {record.args!r} {vars(record)!r}")


@contextmanager
def all_that_is_logged() -> Iterator[list[str]]:
    handler = Everything()
    root = logging.getLogger()
    names = ("livetrade", "livetrade.fyers.socket", "websockets", "websockets.client", "httpx", "httpcore", "asyncio")
    before = {name: logging.getLogger(name).level for name in ("", *names)}
    root.addHandler(handler)
    for name in before:
        logging.getLogger(name).setLevel(1)
    try:
        yield handler.lines
    finally:
        root.removeHandler(handler)
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


LATER = ("status", "deny", "deaf", "kick")


def complaints(feed: FyersFeed) -> str:
    """Tracebacks that show the locals of every frame, as some notebooks do."""
    shown = ""
    for refused in (lambda: pickle.dumps(feed), lambda: feed.subscribe("nse:x"), lambda: feed.unsubscribe("x")):
        try:
            refused()
        except (TypeError, OrderError) as error:
            shown += "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    return shown


def test_a_secret_is_shown_nowhere() -> None:
    async def anew(server: FyersServer, market: Market, fault: str, **terms: Any) -> None:
        """Loses the connection by a fault, or with one to come."""
        connections = server.connections
        await act(server.fail, fault, **terms)
        if fault in LATER:
            await act(server.fail, "reset", status=403)
        await until(lambda: market.is_live and server.connections > connections)

    async def story(server: FyersServer) -> tuple[FyersFeed, Market]:
        feed = feed_of(server, SBIN, NIFTY, max_retries=None, _timing=quick(answer=0.5))
        market = Market()
        key = server._keys.hsm_key
        server.fail("rest", status=403, message=f"no such token: {server.token}")
        async with running(feed, market):
            await until(lambda: market.is_live)
            await act(server.fail, "message", code=51001, message=f"{key} is not allowed with {server._keys.jwt}")
            await until(lambda: "51001" in market.why)
            await act(server.fail, "garbage")
            for fault in ("close", "reset", "torn", *LATER):
                await anew(server, market, fault, message=key, status=403)
            await anew(server, market, "close", message=f"bad token {server._keys.jwt[:100]}")  # a part tells too
        return feed, market

    with all_that_is_logged() as lines, FyersServer() as server:
        feed, market = asyncio.run(story(server))
        known = *(repr(vars(part)) for part in (feed, feed._wanted, feed._connections)), repr(market.states)
        shown = "\n".join([*lines, repr(feed), str(feed), *known, complaints(feed)])
    assert len(lines) > 30
    assert "is not allowed with" in shown
    assert "connection is OPEN" not in shown  # the WebSocket's own words at the level of debugging
    assert "bad token ***" in shown
    assert "no such token: LOOPBACK01-100:***" in shown
    _, payload, signature = server._keys.jwt.split(".")
    for secret in (server._keys.hsm_key, payload, signature):
        assert not any(secret[start : start + 16] in shown for start in range(len(secret) - 15))


def test_it_is_not_pickled() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(FyersFeed(SBIN, "A:b.c.d"))


# ── it is a good neighbour ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_storm_of_ticks_lets_others_have_their_turn() -> None:
    async def story(server: FyersServer) -> None:
        market = Market()
        turns = 0

        async def neighbour() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        seen: set[int] = set()
        market.tick = lambda tick: (seen.add(turns), market.ticks.append(tick))  # type: ignore[assignment, func-returns-value]
        async with running(feed_of(server), market):
            await until(lambda: market.is_live)
            client = server._clients[-1]
            topic = client.ids["sf|nse_cm|3045"]
            frames = [
                wire.data(number, [wire.update(topic, [55_000 + number * 500 + item]) for item in range(500)])
                for number in range(1, 101)
            ]
            other = asyncio.create_task(neighbour())
            for frame in frames:
                await act(server.send, frame)
            await until(lambda: len(market.ticks) >= 50_000)
            other.cancel()
        assert len(seen) > 10

    with FyersServer() as server:
        asyncio.run(story(server))


def belongings() -> tuple[int, int, int]:
    """Tasks, threads and open descriptors."""
    gc.collect()
    return len(asyncio.all_tasks()), threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no list of open descriptors here")
@pytest.mark.parametrize("times", [30, pytest.param(1000, marks=[pytest.mark.campaign, pytest.mark.timeout(1800)])])
def test_many_reconnects_leave_nothing_behind(times: int) -> None:
    faults: Iterable[str] = ("reset", "close", "torn", "reset", "close")

    async def story(server: FyersServer) -> None:
        feed, market = feed_of(server, SBIN, NIFTY, RUPEE, max_retries=None), Market()
        async with running(feed, market):
            await until(lambda: market.is_live)
            start = None
            for number in range(times):
                await act(server.fail, list(faults)[number % 5])
                await until(lambda number=number: market.is_live and server.connections == number + 2)
                assert server.subscribed == set(feed.symbols)
                if number == 9:
                    await until(lambda: server.open_connections == 1)
                    start = belongings()
            await act(server.quote, SBIN, last="549.05")
            await until(lambda: market.last(SBIN) == Decimal("549.05"))
            assert feed.reconnects == times
            await until(lambda: server.open_connections == 1)
            await until(lambda: belongings() <= start, f"{start} {belongings()}")

    with FyersServer() as server:
        asyncio.run(story(server))
