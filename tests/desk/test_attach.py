"""An engine that is attached: the same figures as the desk's, whatever happens to the connection."""

import asyncio
import json
import os
import random
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from socket import SO_RCVBUF, SO_SNDBUF, SOL_SOCKET
from socket import socket as new_socket
from typing import Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from websockets.sync.client import connect

import livetrade as lt
from livetrade.core.history import FillTable, OrderTable
from livetrade.desk import broadcast, client
from livetrade.desk.desk import Desk
from tests.core.kit import same_state
from tests.desk.kit import attached_to, serving
from tests.desk.proxy import Wire, wire_to
from tests.support import FREE, INFY, SBIN, picture, quoted, soon, trading

A_PING = 60
"""Bytes: every command is longer than what a connection says by itself."""
FRAMES: dict[str, Callable[[Any], pd.DataFrame]] = {
    "positions": lambda e: e.positions(closed=True, exact=True),
    "positions by strategy": lambda e: e.positions(by="strategy", closed=True),
    "orders": lambda e: e.orders(exact=True),
    "open orders": lambda e: e.orders(open=True),
    "fills": lambda e: e.fills(exact=True),
    "risk_orders": lambda e: e.risk_orders(exact=True),
    "equity": lambda e: e.equity(exact=True),
    "round_trips": lambda e: e.round_trips(exact=True),
    "explain": lambda e: e.explain(exact=True),
    "quotes": lambda e: e.stream.quotes(exact=True),
    "ticks": lambda e: e.ticks(SBIN, exact=True),
    "bars": lambda e: e.bars(SBIN, "1s"),
    "pnl": lambda e: e.pnl(exact=True).to_frame(),
    "pnl by symbol": lambda e: e.pnl(by="symbol", exact=True).to_frame(),
}


def same(engine: lt.LiveTradingEngine, attached: lt.AttachedEngine) -> None:
    """Every DataFrame, and everything behind them."""
    soon(lambda: attached.account.seq == engine._read(lambda account: account.seq), "the replica did not come so far")
    attached._ask("barrier", {}).result(30)  # prices follow on their own
    assert attached.stream.hub is not engine.stream.hub
    for name, frame in FRAMES.items():
        try:
            assert_frame_equal(frame(engine), frame(attached))
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
    with attached._replica.lock:
        same_state(engine._read(lambda account: account), attached.account)
        assert picture(attached.account) == engine._read(picture)


def traded(engine: Any, seed: int, steps: int = 60) -> None:
    """A little of everything, with good and bad ends."""
    rng = random.Random(seed)
    handles: list[Any] = []
    for _ in range(steps):
        symbol = rng.choice((SBIN, INFY))
        price, few, many = rng.randint(53_000, 56_000), rng.randint(1, 9), rng.randint(1, 50)
        below = (price - rng.randint(1, 300)) / 100
        engine.stream.update(symbol, bid=price / 100, ask=(price + few) / 100, last=price / 100)
        actions: list[Callable[[], Any]] = [
            lambda: engine.market_buy(symbol, many, stop_loss_pct=1, take_profit_pct=1),  # noqa: B023  called at once
            lambda: engine.market_buy(symbol, few, tag="more"),  # noqa: B023
            lambda: engine.market_sell(symbol, many, tag=rng.choice(("a", "b"))),  # noqa: B023
            lambda: engine.limit_buy(symbol, few, below),  # noqa: B023
            lambda: engine.stop_sell(symbol, few, below),  # noqa: B023
            lambda: engine.set_trailing_stop(symbol, amount=few),  # noqa: B023
            lambda: engine.cancel_all(symbol),  # noqa: B023
            lambda: engine.close_position(symbol, few),  # noqa: B023
            rng.choice((engine.halt, engine.resume)),
        ]
        handles.append(rng.choice(actions)())
    for handle in handles:
        handle.result(30)


@contextmanager
def desk_and_attached(**terms: Any) -> Iterator[tuple[lt.LiveTradingEngine, Desk, lt.AttachedEngine]]:
    with trading(**terms) as engine, serving(engine) as desk, attached_to(desk) as attached:
        yield engine, desk, attached


@contextmanager
def wired(**terms: Any) -> Iterator[tuple[lt.LiveTradingEngine, Wire, lt.AttachedEngine]]:
    """An engine whose attached one hangs on a wire that can be cut."""
    with trading(**terms) as engine, serving(engine) as desk, wire_to(desk.port) as wire:
        attached = lt.attach(url=wire.url, token=desk.token)
        try:
            yield engine, wire, attached
        finally:
            attached.close()


# ── the same figures ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(3))
def test_whoever_trades_both_show_the_same(seed: int) -> None:
    with desk_and_attached(limits=lt.Limits(allow_short=True)) as (engine, _, attached):
        traded(attached, seed)
        traded(engine, seed + 100, 30)
        attached.resume().result(10)
        same(engine, attached)


def test_each_answered_order_is_in_the_next_frame() -> None:
    with desk_and_attached() as (_, __, attached):
        for number in range(200):
            order = attached.market_buy(SBIN, 1).result(10).raise_if_failed().order
            assert order is not None
            row = attached.orders().loc[order.client_order_id]
            assert row["status"] == "FILLED"
            assert attached.position(SBIN).quantity == number + 1


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_long_past_comes_from_the_journal(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcast, "KEPT", 50)
    monkeypatch.setattr(broadcast, "PAGE", 2_000)
    journal = tmp_path / "past.journal" if kind == "file" else None
    with trading(journal=journal) as engine, serving(engine) as desk:
        traded(engine, 1, 80)
        with attached_to(desk) as attached:
            same(engine, attached)
            traded(attached, 2, 40)
            same(engine, attached)


def test_a_restarted_engine_is_attached_to_with_its_past(tmp_path: Path) -> None:
    path = tmp_path / "again.journal"
    with trading(journal=path) as engine:
        traded(engine, 5)
    with trading(cash=None, journal=path) as engine, serving(engine) as desk, attached_to(desk) as attached:
        engine.stream.update(SBIN, bid=540, ask=541, last=540)
        engine.stream.update(INFY, bid=540, ask=541, last=540)
        same(engine, attached)


# ── callbacks, ticks, handles ────────────────────────────────────────────────────────────────────────────────────────


def test_callbacks_hear_of_what_others_do() -> None:
    fills: list[lt.Fill] = []
    orders: list[str] = []
    with desk_and_attached() as (engine, _, attached):
        attached.on_fill(fills.append)
        attached.on_order(lambda order: orders.append(order.status))
        engine.market_buy(SBIN, 7).result(10)
        soon(lambda: fills and "FILLED" in orders)
        assert fills[0] == engine._read(lambda account: account.fill_history.fills[0])


def test_ticks_are_read_as_they_come() -> None:
    with desk_and_attached() as (engine, _, attached):
        seen: list[Any] = []

        async def read(ticks: AsyncIterator[Any]) -> None:
            async for tick in ticks:
                seen.append(tick)
                if len(seen) == 300:
                    return

        async def story() -> None:
            reader = asyncio.create_task(read(attached.stream.ticks(SBIN)))
            for number in range(300):
                engine.stream.update(SBIN, last=500 + number, time=1_800_000_000_000_000_000 + number)
                if number % 50 == 0:
                    await asyncio.sleep(0.01)
            await asyncio.wait_for(reader, 30)

        asyncio.run(story())
        assert [int(tick.last) for tick in seen] == [500 + number for number in range(300)]
        assert seen[-1].time == engine.stream.last(SBIN).time
        assert not any(tick.missed for tick in seen)


def test_what_is_posted_here_is_seen_here_at_once() -> None:
    with desk_and_attached() as (_, __, attached):
        for price in range(500, 550):
            attached.stream.update(SBIN, last=price)
            assert attached.stream.last(SBIN).last == price


def test_a_desk_with_a_feed_takes_no_prices(tmp_path: Path) -> None:
    feed = lt.SimulatedFeed([SBIN], ticks_per_second=50)
    with desk_and_attached(stream=lt.LivePriceStream(), feed=feed) as (_, __, attached):
        with pytest.raises(lt.OrderError, match="feed of its own"):
            attached.stream.update(SBIN, last=1)
        before = attached.account.ticks
        soon(lambda: attached.account.ticks > before + 5)
        assert attached.health()["feed"] == "LIVE"


def test_an_instrument_that_is_registered_here_is_known_there() -> None:
    future = lt.Instrument("NSE:NIFTY26MARFUT", kind="FUTURE", tick_size="0.05", lot_size=75, multiplier=2)
    with desk_and_attached() as (engine, _, attached):
        attached.stream.register(future)
        assert engine.stream.instrument(future.symbol) == future
        attached.stream.update(future.symbol, bid=22_000, ask="22000.05")
        assert attached.market_buy(future.symbol, lots=1).result(10).success is False  # 3.3 million
        with pytest.raises(lt.OrderError, match="tick"):
            attached.limit_buy(future.symbol, 75, "22000.01")
        with pytest.raises(lt.OrderError, match="already has prices"):
            attached.stream.register(lt.Instrument(future.symbol, scale=4))


def test_an_order_is_followed_to_its_end() -> None:
    with desk_and_attached() as (engine, _, attached):
        handle = attached.limit_buy(SBIN, 10, 540)
        filled = handle.wait_for("FILLED", 30)
        assert handle.result(10).success
        assert not filled.done()
        engine.stream.update(SBIN, bid=538, ask=539, last=539)
        assert filled.result(10).success


def test_it_reads_as_what_it_is() -> None:
    with desk_and_attached(name="reads") as (_, __, attached):
        assert repr(attached).startswith("<AttachedEngine reads PAPER attached: 500,000.00 INR, P&L +0.00")
        attached.close()
        assert "detached, last known: " in repr(attached)
        assert attached.positions().empty
        with pytest.raises(lt.EngineClosedError, match="attach"):
            attached.market_buy(SBIN, 1)


# ── finding a desk ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_desk_is_found_by_its_name_or_alone() -> None:
    with pytest.raises(lt.DeskError, match="no desk is running here"):
        lt.attach()
    with trading(name="one") as one, serving(one), lt.attach() as alone:
        assert alone.name == "one"
        with trading(name="two") as two, serving(two), lt.attach("two") as second:
            assert second.name == "two"
            with pytest.raises(lt.DeskError, match=r"several desks are running \(one, two\)"):
                lt.attach()
            with pytest.raises(lt.DeskError, match="no desk 'three'"):
                lt.attach("three")


def test_a_file_that_is_not_the_users_own_leads_nowhere(own_runtime_folder: Path) -> None:
    with trading(name="mine") as engine, serving(engine):
        file = own_runtime_folder / "mine.json"
        assert file.stat().st_mode & 0o777 == 0o600
        assert set(json.loads(file.read_text())) == {"url", "token", "pid", "name"}
        file.chmod(0o644)
        with pytest.raises(lt.DeskError, match="no desk is running here"):
            lt.attach()
        file.chmod(0o600)
        lt.attach("mine").close()
    assert not file.exists()


def test_the_file_of_a_killed_desk_is_taken_away(own_runtime_folder: Path) -> None:
    own_runtime_folder.mkdir(exist_ok=True)
    file = own_runtime_folder / "gone.json"
    file.write_text(json.dumps({"url": "http://127.0.0.1:1", "token": "t", "pid": 2**22 - 1, "name": "gone"}))
    file.chmod(0o600)
    with pytest.raises(lt.DeskError, match="no desk is running here"):
        lt.attach("gone")
    assert not file.exists()


@pytest.mark.parametrize("token", ["wrong", "", None])
def test_a_wrong_token_attaches_nobody(token: str | None) -> None:
    with trading() as engine, serving(engine) as desk, pytest.raises(lt.DeskError, match="token"):
        lt.attach(url=desk.url, token=token)


@pytest.mark.parametrize(("terms", "words"), [({"url": "127.0.0.1:5000"}, "url"), ({"token": "x"}, "url")])
def test_what_cannot_be_a_desk_is_told(terms: dict[str, str], words: str) -> None:
    with pytest.raises(lt.DeskError, match=words):
        lt.attach(**terms)  # type: ignore[arg-type]


def test_where_nobody_listens() -> None:
    with trading() as engine, serving(engine) as desk:
        url = desk.url
    with pytest.raises(lt.DeskError, match="cannot be reached"):
        lt.attach(url=url, token="t")


def test_a_second_of_one_name_takes_the_place_of_the_first() -> None:
    with trading(name="main") as engine, serving(engine) as desk:
        first = lt.attach(url=desk.url, token=desk.token)
        second = lt.attach(url=desk.url, token=desk.token)
        assert (first.is_open, second.is_open, engine.is_open) == (False, True, True)
        second.close()


def test_no_thread_is_left() -> None:
    import threading

    with trading() as engine, serving(engine) as desk:
        for _ in range(20):
            lt.attach(url=desk.url, token=desk.token).close()
        soon(lambda: not [t for t in threading.enumerate() if t.name.startswith("livetrade-desk")])


# ── the connection breaks ────────────────────────────────────────────────────────────────────────────────────────────


def test_cut_again_and_again_nothing_is_lost_or_done_twice() -> None:
    with wired() as (engine, wire, attached):
        handles = []
        for number in range(120):
            handles.append(attached.market_buy(SBIN, 1, client_order_id=f"cut{number}"))
            if number % 40 == 25:
                wire.cut()
            time.sleep(0.01)
        answers = [handle.result(30) for handle in handles]
        soon(lambda: attached.health()["connection"] == "CONNECTED")
        known = engine._read(lambda account: dict(account.orders))
        for number, answer in enumerate(answers):
            order = known.get(f"cut{number}")
            if answer.success:
                assert order is not None
                assert order.status == "FILLED"
            elif answer.message.startswith("Connection lost"):
                assert order is None, answer
        assert engine.position(SBIN).quantity == len(known)
        assert sum(answer.success for answer in answers) > 20
        assert attached.health()["connection_losses"] >= 1
        same(engine, attached)


def test_an_answer_that_is_lost_is_asked_for() -> None:
    with wired() as (engine, wire, attached):
        wire.swallow_down = True
        handle = attached.market_buy(SBIN, 3, client_order_id="asked")
        soon(lambda: engine.order("asked"))
        wire.swallow_down = False
        wire.cut()
        assert handle.result(30).success
        assert engine.position(SBIN).quantity == 3


def test_a_command_that_is_lost_is_told_and_not_sent_again() -> None:
    with wired() as (engine, wire, attached):
        wire.swallow_up = True
        buying = attached.market_buy(SBIN, 3)
        soon(lambda: wire.swallowed > A_PING)
        before = wire.swallowed
        moving = attached.transfer(1_000)
        soon(lambda: wire.swallowed > before + A_PING)
        wire.swallow_up = False
        wire.cut()
        for handle in (buying, moving):
            answer = handle.result(30)
            assert (answer.success, answer.message.split(":")[0]) == (False, "Connection lost")
        assert not engine.position(SBIN)
        assert engine.cash == 500_000


def test_old_numbers_are_not_shown_as_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FRESH_WAIT", 0.1)
    with wired() as (engine, wire, attached):
        attached.market_buy(SBIN, 10).result(10)
        wire.refuses = True
        wire.cut()
        soon(lambda: attached.health()["connection"] == "RECONNECTING")
        for read in (attached.positions, attached.pnl, lambda: attached.position(SBIN), lambda: attached.cash):
            with pytest.raises(lt.DeskError, match="not connected"):
                read()
        answer = attached.market_buy(SBIN, 1).result(10)
        assert answer.message.startswith("Connection lost")
        assert (attached.panel_snapshot(None)["stale"], attached.health()["feed"]) == (True, "RECONNECTING")
        assert "not connected" in repr(attached)
        shown = attached._repr_html_()
        assert "not connected, last known" in shown
        assert re.search(rf"<td[^>]*>{SBIN}</td><td[^>]*>10</td>", shown)
        assert SBIN in attached.stream._repr_html_()
        engine.market_buy(SBIN, 5).result(10)
        wire.refuses = False
        soon(lambda: attached.health()["connection"] == "CONNECTED")
        assert attached.position(SBIN).quantity == 15
        assert attached.panel_snapshot(None)["stale"] is False


def test_a_desk_that_is_mute_is_connected_to_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    from livetrade.desk import link

    monkeypatch.setattr(link, "MUTE_LOOKS", 8)
    monkeypatch.setattr(link, "OPEN_SECONDS", 0.5)
    with wired() as (_, wire, attached):
        before = wire.connections
        wire.swallow_down = True
        soon(lambda: wire.connections > before)
        wire.swallow_down = False
        soon(lambda: attached.health()["connection"] == "CONNECTED")


def test_a_desk_that_was_restarted_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "goes-on.journal"
    with trading(journal=path) as first, serving(first) as desk:
        port, token = desk.port, desk.token
        attached = lt.attach(url=desk.url, token=token)
        attached.market_buy(SBIN, 10, stop_loss_price=500).result(10)
        desk.stop()
        first.close()
        with trading(cash=None, journal=path) as second, serving(second, port=port, token=token):
            soon(lambda: attached.health()["connection"] == "CONNECTED")
            second.stream.update(SBIN, bid=499, ask=500, last=499)
            soon(lambda: not attached.position(SBIN))
            same_state(second._read(lambda account: account), attached.account)
            attached.close()


def test_another_account_at_the_same_place_replaces_what_was_known() -> None:
    with trading() as first, serving(first) as desk:
        port, token = desk.port, desk.token
        attached = lt.attach(url=desk.url, token=token)
        attached.market_buy(SBIN, 10).result(10)
        desk.stop()
        with trading(cash=777, name="other") as second, serving(second, port=port, token=token):
            soon(lambda: attached.name == "other" and attached.health()["connection"] == "CONNECTED")
            assert attached.cash == 777
            assert attached.orders().empty
            attached.close()


def test_whoever_took_the_only_desk_keeps_to_it() -> None:
    with trading() as engine, serving(engine), trading(name="second") as other:
        attached = lt.attach()
        with serving(other):
            assert attached.url == lt.attach("main").url
        attached.close()


# ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_desk_is_not_shut_down_under_a_position() -> None:
    with desk_and_attached() as (_, desk, attached):
        attached.market_buy(SBIN, 10, stop_loss_price=540).result(10)
        with pytest.raises(lt.DeskError, match=r"nobody would watch 10 NSE:SBIN-EQ, 1 exit any more"):
            attached.shutdown_desk()
        assert not desk.stopped.is_set()
        attached.flatten().result(10)
        assert attached.shutdown_desk() == "The desk ends"
        assert desk.stopped.wait(10)
        assert not attached.is_open


def test_by_force_it_is() -> None:
    with desk_and_attached() as (_, desk, attached):
        attached.market_buy(SBIN, 10).result(10)
        attached.shutdown_desk(force=True)
        assert desk.stopped.wait(10)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # 3.12 and newer warn of forking beside threads
def test_a_forked_child_is_detached() -> None:
    with desk_and_attached() as (_, __, attached):
        attached.market_buy(SBIN, 1).result(10)
        child = os.fork()
        if child == 0:
            try:
                attached.market_buy(SBIN, 1)
            except lt.EngineClosedError:
                os._exit(0 if attached.position(SBIN).quantity == 1 else 2)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert attached.market_buy(SBIN, 1).result(10).success


# ── the stream, for any program ──────────────────────────────────────────────────────────────────────────────────────


def test_the_stream_is_a_snapshot_and_then_events_without_a_gap() -> None:
    with trading(fees=FREE) as engine, serving(engine) as desk:
        engine.market_buy(SBIN, 5, stop_loss_price=540).result(10)
        url = f"{desk.url.replace('http', 'ws')}/api/live-trading/stream"
        with connect(url, additional_headers={"Authorization": f"Bearer {desk.token}"}) as socket:
            snapshot = json.loads(socket.recv(10))
            assert (snapshot["type"], snapshot["portfolio"]["portfolio_value"]) == ("snapshot", "500000.00")
            assert [row["symbol"] for row in snapshot["positions"]] == [SBIN]
            assert [row["kind"] for row in snapshot["risk_orders"]] == ["STOP_LOSS"]
            engine.stream.update(SBIN, bid=539, ask=540, last=539)
            expected, names, ticks = snapshot["seq"] + 1, [], 0
            while "ExitEnded" not in names:
                message = json.loads(socket.recv(10))
                if message["type"] == "event":
                    assert message["seq"] == expected
                    expected += 1
                    names.append(message["event"][0])
                elif message["type"] == "ticks":
                    ticks += len(message["ticks"])
                    assert message["ticks"][0]["bid"] == "539.00"
            assert "ExitFired" in names
            assert ticks == 1


def test_one_who_does_not_read_hurts_nobody_and_misses_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcast, "KEPT", 200)
    with trading(stream=quoted()) as engine, serving(engine) as desk:
        url = f"{desk.url.replace('http', 'ws')}/api/live-trading/stream"
        headers = {"Authorization": f"Bearer {desk.token}"}
        desk._socket.setsockopt(SOL_SOCKET, SO_SNDBUF, 4096)  # those that it accepts have it too
        narrow = new_socket()
        narrow.setsockopt(SOL_SOCKET, SO_RCVBUF, 4096)
        narrow.connect(("127.0.0.1", desk.port))
        with connect(url, sock=narrow, additional_headers=headers, max_queue=1) as sleeper, attached_to(desk) as other:
            seq = json.loads(sleeper.recv(10))["seq"]
            for number in range(30_000):
                engine.stream.update(SBIN, last=500 + number % 50)
                if number % 100 == 0:
                    engine.market_buy(SBIN, 1)
            assert other.market_buy(SBIN, 1).result(10).success
            same_state(engine._read(lambda account: account), other.account)
            last, missed, ticks, counted = engine._outbox.durable_seq, 0, 0, 0
            while seq < last or counted < 30_001:  # events that come from the journal overtake ticks
                message = json.loads(sleeper.recv(10))
                if message["type"] == "event":
                    assert message["seq"] == seq + 1
                    seq += 1
                elif message["type"] == "ticks":
                    counted = message["tick"]
                    ticks += len(message["ticks"])
                    missed += sum(message["missed"].values())
            assert missed > 1_000
            assert ticks + missed <= 30_001


def test_too_many_listeners_are_told_to_come_later(monkeypatch: pytest.MonkeyPatch) -> None:
    from websockets.exceptions import ConnectionClosed

    from livetrade.desk import sockets

    monkeypatch.setattr(sockets, "MOST_LISTENERS", 0)
    with trading() as engine, serving(engine) as desk:
        url = f"{desk.url.replace('http', 'ws')}/api/live-trading/stream"
        with (
            connect(url, additional_headers={"Authorization": f"Bearer {desk.token}"}) as socket,
            pytest.raises(ConnectionClosed, match="1013"),
        ):
            socket.recv(10)


# ── strategies and bars, in this process on a desk's prices ──────────────────────────────────────────────────────────


def test_a_strategy_runs_here_and_trades_there() -> None:
    async def ladder(engine: Any, symbol: str, steps: int) -> str:
        bought = 0
        async for tick in engine.stream.ticks(symbol):
            await engine.market_buy(symbol, 1, stop_loss_price=500)
            bought += 1
            if bought == steps:
                return f"{engine.position(symbol).quantity} held, the last at {tick.last}"
        return "too early"

    with desk_and_attached() as (engine, _, attached):
        handle = attached.start(ladder, SBIN, steps=3)
        soon(lambda: attached.stream.hub.active)
        for price in (549, 550, 551):
            engine.stream.update(SBIN, bid=price - 1, ask=price, last=price)
            soon(lambda price=price: engine.position(SBIN).quantity == price - 548)
        assert handle.result(10) == "3 held, the last at 551.00"
        assert set(engine.orders()["strategy"]) == {"ladder"}
        assert set(engine.orders()["source"]) == {"STRATEGY"}
        attached.close()
        assert engine.risk_orders().iloc[-1]["status"] == "ARMED"
        with pytest.raises(lt.EngineClosedError):
            attached.start(ladder, SBIN, steps=1)


def test_bars_begin_with_those_that_the_desk_knows() -> None:
    second = 1_000_000_000
    start = 1_800_000_000 * second
    with desk_and_attached() as (engine, _, attached):
        for number in range(40):
            engine.stream.update(INFY, last=1500 + number, time=start + number * second // 4)
        assert engine.stream.last(INFY).last == 1539  # all of them were taken

        async def read(source: Any) -> list[Any]:
            bars = source.stream.bars(INFY, "1s", warmup=3)
            for number in range(40, 50):
                engine.stream.update(INFY, last=1500 + number, time=start + number * second // 4)
            return [await asyncio.wait_for(anext(bars), 30) for _ in range(5)]

        there = asyncio.run(read(attached))
        table = attached.bars(INFY, "1s", exact=True)
        for bar in there:
            row = table.loc[bar.time]
            assert (bar.open, bar.high, bar.low, bar.close) == tuple(row[["open", "high", "low", "close"]])
        assert [bar.time for bar in there] == list(table.index[6:11])


@pytest.mark.parametrize("ask", [lambda engine: engine.why("A1"), lambda engine: engine._levels(SBIN)])
def test_what_reads_all_events_holds_up_no_command(
    ask: Callable[[lt.AttachedEngine], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    with desk_and_attached(stream=quoted()) as (engine, _, attached), ThreadPoolExecutor(1) as pool:
        attached.market_buy(SBIN, 10, client_order_id="A1").result(10).raise_if_failed()
        began, go_on, past = threading.Event(), threading.Event(), engine.journal.past()

        def slow() -> object:
            began.set()
            assert go_on.wait(60)
            return past

        monkeypatch.setattr(engine.journal, "past", slow)
        asked = pool.submit(ask, attached)
        try:
            assert began.wait(30)
            attached.flatten().result(10).raise_if_failed()
        finally:
            go_on.set()
        assert asked.result(30) is not None


def test_what_reads_all_events_may_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "OVERDUE_SECONDS", 0.5)
    with desk_and_attached(stream=quoted()) as (engine, _, attached):
        attached.market_buy(SBIN, 10, client_order_id="A1").result(10).raise_if_failed()
        past = engine.journal.past()

        def slow() -> object:
            time.sleep(2)
            return past

        monkeypatch.setattr(engine.journal, "past", slow)
        assert attached.why("A1").sentence.startswith("A1 bought 10")


def test_who_reads_changes_nothing_that_an_interrupted_cell_could_leave_half_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    writers = set()
    for table in (OrderTable, FillTable):

        def extend(self: Any, columns: Any, extend: Any = table.extend) -> None:
            writers.add(threading.current_thread().name)
            extend(self, columns)

        monkeypatch.setattr(table, "extend", extend)
    with desk_and_attached(stream=quoted()) as (_, desk, attached):
        for number in range(1, 11):
            attached.market_buy(SBIN, 1).result(10).raise_if_failed()
            assert len(attached.orders()) == len(attached.fills()) == number
        with attached_to(desk) as late:
            assert len(late.orders()) == len(late.fills()) == 10
    assert writers
    assert threading.current_thread().name not in writers


def test_the_brokers_books_are_read_through_the_desk(tmp_path: Path) -> None:
    from livetrade.testing import FyersServer
    from tests.adapters.fyers.broker_kit import SBIN as SYMBOL
    from tests.adapters.fyers.broker_kit import live, quote

    with FyersServer() as server, live(server, tmp_path / "real.journal") as engine:
        quote(server, engine, "548.95", "549.00")
        with serving(engine) as desk, attached_to(desk) as attached:
            attached.market_buy(SYMBOL, 10).result(15).raise_if_failed()
            server.exchange.trade_elsewhere(SYMBOL, 5)
            shown = attached.broker_orders()
            assert shown["foreign"].tolist() == [False, True]
            assert_frame_equal(shown, engine.broker_orders())
            assert attached.reconcile(exact=True).iloc[0].tolist() == [SYMBOL, "INTRADAY", 10, 10, 0]
            assert attached.mode == "REAL"
            server.fail("expired")
            with pytest.raises(lt.BrokerError, match="token has expired"):
                attached.broker_orders()
