"""What is read back is what was: events and the ticks between them, after a close, a kill, and while it is written."""

import asyncio
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import livetrade as lt
from livetrade.core import events as ev
from livetrade.core.account import Account
from livetrade.core.state import State
from livetrade.core.ticks import Tick
from livetrade.journal.chain import START, Head
from livetrade.journal.file import FileJournal
from livetrade.journal.past import Past, check
from livetrade.journal.store import EVENTS, TICKS, Store, connect, last_number
from livetrade.journal.verify import reading
from livetrade.journal.writer import Writer
from tests.core.kit import same_state
from tests.journal.kit import WITHIN_A_DAY, Item, copied, nothing, put, read_back, session, written
from tests.support import FREE, INFY, SBIN, recording, trading

FRAMES = ("positions", "orders", "fills", "risk_orders", "equity", "round_trips", "explain")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "account.journal"


def marks(account: State, *, held: bool = False) -> dict[str, tuple[int, int, int]]:
    """The lowest, the highest and the last mark of each symbol, of those that ever were held only where it is said."""
    markets = [market for market in account.markets.values() if market.books or not held]
    return {market.instrument.symbol: (market.low_raw, market.high_raw, market.mark_raw) for market in markets}


# ── random sessions ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_a_day_is_read_back_to_the_last_mark(path: Path, seed: int, killed: bool) -> None:
    desk = session(seed, 150, kinds=WITHIN_A_DAY, live=seed % 2 == 1)
    assert sum(isinstance(event, ev.DayStarted) for event in desk.events) == 1
    store = written(path, desk.items)
    found = copied(path, path.parent / "killed") if killed else path
    store.close()
    state, notes = read_back(found)
    assert (state.told, notes) == (desk.events, [])
    same_state(desk.account, state)
    assert marks(state) == marks(desk.account)


@pytest.mark.parametrize("seed", range(8))
def test_days_are_read_back_to_the_last_mark(path: Path, seed: int) -> None:
    """Of earlier days only what they left to the last is read: the marks of what was ever held."""
    desk = session(seed, 150)
    assert sum(isinstance(event, ev.DayStarted) for event in desk.events) > 2
    written(path, desk.items).close()
    state, notes = read_back(path)
    assert not notes
    assert state.told == desk.events
    same_state(desk.account, state, marks=False)
    assert state.market_value_raw == desk.account.market_value_raw
    last = {symbol: mark for symbol, (_, _, mark) in marks(state, held=True).items()}
    assert last == {symbol: mark for symbol, (_, _, mark) in marks(desk.account, held=True).items()}


@pytest.mark.parametrize("seed", [13, 32])
def test_extremes_of_earlier_days_are_read_back(path: Path, seed: int) -> None:
    desk = session(seed, 150, live=bool(seed % 2))
    written(path, desk.items).close()
    state, _ = read_back(path)
    same_state(desk.account, state)
    assert marks(state, held=True) == marks(desk.account, held=True)


@pytest.mark.parametrize("seed", range(4))
def test_who_follows_sees_what_the_account_saw(path: Path, seed: int) -> None:
    """Read bit by bit, over midnights, it is exact: no tick is passed over."""
    desk = session(seed, 120)
    store = Store(path)
    store.open()
    store.continue_from(Head(START, START))
    writer = Writer(store, lambda job: job(), nothing)
    state = State()
    past = Past(state)
    for number, item in enumerate(desk.items):
        put(writer, item)
        if number % 7 == 0 or number == len(desk.items) - 1:
            assert writer.work()
            with reading(path) as connection:
                past.fold(connection, check(connection, EVENTS, store.head.events, past.end))
            assert (state.seq, past.end) == (store.head.events.seq, store.head.events)
    store.close()
    same_state(desk.account, state)
    assert marks(state) == marks(desk.account)
    assert past.last_ns == times(desk.items)[-1]


def times(items: Sequence[Item]) -> list[int]:
    return [item[-1].received_ns if isinstance(item[-1], Tick) else item[-1].ts for item in items]


@pytest.mark.parametrize("seed", range(3))
def test_an_account_as_it_was_at_any_time(path: Path, seed: int) -> None:
    def look(account: Account) -> Any:
        books = {key: (book.quantity_raw, book.cost_raw) for key, book in account.ledger.books.items()}
        values = {symbol: market.value_raw for symbol, market in account.markets.items() if market.books}
        return books, values, account.ledger.cash_raw

    desk = session(seed, 120, look)
    written(path, desk.items).close()
    pictures = dict(desk.pictures)  # the last of each time
    for time, following in list(pairwise([*sorted(pictures), desk.ts + 2]))[::3]:
        for until_ns in {time, (time + following) // 2}:
            account = Account()
            with reading(path) as connection:
                Past(account).fold(connection, check(connection, EVENTS, until_ns=until_ns), until_ns)
            assert look(account) == pictures[time], (time, until_ns)


def test_without_ticks_what_is_held_is_worth_its_cost_until_the_next_one(path: Path) -> None:
    desk = session(2, 150, kinds=WITHIN_A_DAY)
    written(path, [item for item in desk.items if not isinstance(item[0], Tick)]).close()
    state, notes = read_back(path)
    assert (state.told, notes) == (desk.events, [])
    same_state(desk.account, state, marks=False)
    assert {mark for _, _, mark in marks(state).values()} == {0}
    assert state.unrealized_raw == 0 != desk.account.unrealized_raw


# ── ticks from before the last day ───────────────────────────────────────────────────────────────────────────────────


def day_rows(path: Path) -> tuple[int, int]:
    """The last row of ticks that are all from before the last day, and the last of all."""
    with closing(connect(path, read_only=True)) as connection:
        rows = [data for (data,) in connection.execute("SELECT data FROM events ORDER BY number")]
        (row,) = [data for data in rows if b'["DayStarted",' in data][-1:]
        ticks = json.loads(row)[2][0][0]
        return last_number(connection, TICKS, ticks), last_number(connection, TICKS)


def edited(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)


@pytest.mark.parametrize("seed", [1, 4, 6])
@pytest.mark.parametrize("edit", ["UPDATE ticks SET data = x'00'", "DELETE FROM ticks", "UPDATE ticks SET seq = 0"])
def test_ticks_from_before_the_last_day_are_not_needed(path: Path, seed: int, edit: str) -> None:
    desk = session(seed, 150)
    written(path, desk.items).close()
    before, last = day_rows(path)
    whole, _ = read_back(path)
    assert 1 < before < last
    edited(path, f"{edit} WHERE number < {before - 1}")
    state, notes = read_back(path)
    assert not notes
    assert marks(state) == marks(whole)


@pytest.mark.parametrize("claim", [0, 1, 10**6, "'x'", "NULL"])
def test_a_row_that_counts_wrong_misleads_nobody(path: Path, claim: object) -> None:
    """Where the last day's ticks begin is found by what the rows say of themselves."""
    desk = session(4, 150)
    written(path, desk.items).close()
    before, last = day_rows(path)
    whole, _ = read_back(path)
    for number in range(before, last + 1):
        damaged = copied(path, path.parent / "copy")
        edited(damaged, f"UPDATE ticks SET seq = {claim} WHERE number = {number}")
        state, notes = read_back(damaged)
        assert notes or marks(state) == marks(whole), number


# ── a real engine ────────────────────────────────────────────────────────────────────────────────────────────────────


def trade(engine: lt.LiveTradingEngine) -> None:
    """Ticks and orders in turns, with exits that trail, fire and wait."""
    stream = engine.stream
    stream.update(INFY, bid="1500", ask="1501", last="1500.5")
    assert engine.market_buy(SBIN, 100, stop_loss_price="545", take_profit_price="560").result(5).success
    for price in (549, 552, 547, 550):
        stream.update(SBIN, bid=price, ask=f"{price}.05", last=price)
        stream.update(INFY, bid=price + 950, ask=price + 951, last=price + 950)
    assert engine.market_buy(INFY, 10, trailing_stop=25).result(5).success
    assert engine.limit_buy(SBIN, 10, "540", time_in_force="GTC").result(5).success
    for price in (551, 558, 548, 553):
        stream.update(SBIN, bid=price, ask=f"{price}.05", last=price)
        stream.update(INFY, bid=price + 950, ask=price + 951, last=price + 950)
    assert engine.market_sell(SBIN, 40).result(5).success
    stream.update(SBIN, bid="551.20", ask="551.30")  # no last: it stays
    stream.update(SBIN, bid="556.20", ask="556.30", last="556.25")


def all_of(engine: lt.LiveTradingEngine) -> dict[str, Any]:
    shown = {name: getattr(engine, name)(exact=True) for name in FRAMES}
    del shown["risk_orders"]["distance"], shown["risk_orders"]["distance_pct"]  # from a price that is yet to come
    shown["pnl"] = engine.pnl(exact=True).to_frame()
    return shown


def extremes(engine: lt.LiveTradingEngine) -> object:
    def question(account: Account) -> object:
        return marks(account), {key: (b.low_raw, b.high_raw) for key, b in account.ledger.books.items()}

    return engine._read(question)


def check_same(before: dict[str, pd.DataFrame], after: dict[str, pd.DataFrame]) -> None:
    for name, frame in before.items():
        pd.testing.assert_frame_equal(frame, after[name], obj=name)


@pytest.mark.parametrize("killed", [False, True])
def test_the_next_engine_shows_what_the_last_one_showed(path: Path, tmp_path: Path, killed: bool) -> None:
    with trading(journal=path, fees=lt.DEFAULT_FEES) as engine:
        trade(engine)
        engine.halt().result(5)  # durable, and the ticks before it
        before, seen = all_of(engine), extremes(engine)
        if killed:
            path = copied(path, tmp_path / "killed")
    with trading(None, lt.LivePriceStream(), journal=path, fees=lt.DEFAULT_FEES) as engine:
        check_same(before, all_of(engine))
        assert extremes(engine) == seen
        assert ("did not end in good order" in " ".join(engine.health()["alarms"])) is killed


@pytest.mark.parametrize("killed", [False, True])
def test_without_ticks_only_the_value_after_a_kill_is_another(path: Path, tmp_path: Path, killed: bool) -> None:
    with trading(journal=FileJournal(path, ticks=False)) as engine:
        trade(engine)
        engine.halt().result(5)
        before, seen = all_of(engine), engine.position(SBIN)
        if killed:
            path = copied(path, tmp_path / "killed")
    with trading(None, lt.LivePriceStream(), journal=path) as engine:
        after, position = all_of(engine), engine.position(SBIN)
        if not killed:
            check_same(before, after)
            return
        for name in ("orders", "fills", "risk_orders", "equity", "round_trips"):
            pd.testing.assert_frame_equal(before[name], after[name])
        assert (position.last_price, position.market_value) == (None, position.cost_basis)
        assert (position.quantity, position.cost_basis) == (seen.quantity, seen.cost_basis)
        engine.stream.update(SBIN, bid="556.20", ask="556.30", last="556.25")
        assert engine.position(SBIN) == seen


def lock_step(feed: lt.RecordedFeed, engine: lt.LiveTradingEngine) -> dict[int, pd.DataFrame]:
    """Plays a recording, trading on it; gives back what `positions` showed after each tick, by the time of it."""
    seen: dict[int, pd.DataFrame] = {}

    async def run() -> None:
        ticks = engine.stream.ticks(SBIN)
        played = feed.play()
        async for tick in ticks:
            if len(seen) % 9 == 2:
                await engine.market_buy(SBIN, 10 + len(seen), stop_loss_pct="0.9", trailing_stop=6)
            elif len(seen) % 9 == 7 and engine.position(SBIN).quantity > 3:
                await engine.market_sell(SBIN, 3)
            seen[tick.received_ns] = engine.positions(closed=True, exact=True)
        await played

    asyncio.run(run())
    return seen


@pytest.mark.parametrize("killed", [False, True])
def test_days_of_a_recording_are_read_back(path: Path, tmp_path: Path, killed: bool) -> None:
    """Two midnights pass, with something held over both; each moment is shown as it was then."""
    prices = [549 + (7 * hour) % 11 for hour in range(50)]
    feed = lt.RecordedFeed(recording(prices, seconds=3600), speed=None, autoplay=False)
    with trading(feed=feed, stream=None, journal=path, fees=FREE) as engine:
        seen = lock_step(feed, engine)
        engine.halt().result(5)
        before = all_of(engine)
        if killed:
            path = copied(path, tmp_path / "killed")
    assert len(seen) == 50
    past = lt.open_journal(path)
    for time, frame in seen.items():
        for moment in (time, time + 1800 * 10**9):
            then = past.positions(as_of=pd.Timestamp(moment, tz="UTC"), closed=True, exact=True)
            pd.testing.assert_frame_equal(then, frame)
    with trading(None, lt.LivePriceStream(), journal=path) as engine:
        after = all_of(engine)
        for shown in (before, after):
            shown["pnl"] = shown["pnl"].drop("day_pnl")  # its clock shows another day
        check_same(before, after)


def test_items_are_what_they_seem() -> None:
    """The kit hands over as an engine does: ticks before what they caused, and no two batches in a row."""
    items = session(1, 200).items
    kinds = [isinstance(item[0], Tick) for item in items]
    assert not any(one and other for one, other in pairwise(kinds))
    assert times(items) == sorted(times(items))
