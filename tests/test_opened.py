"""A journal's past, read without touching it: as it is, as it was, and while somebody writes it."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import livetrade as lt
from livetrade.core import events as ev
from livetrade.core.account import Account
from livetrade.encoding import Decoder
from livetrade.journal.rows import unpacked_steps
from livetrade.journal.store import EVENTS, rows_of
from livetrade.journal.verify import reading
from livetrade.opened import OpenedJournal
from tests.journal.kit import RecordedDesk, contents, copied, session, written
from tests.support import FREE, INFY, SBIN, picture, trading

FRAMES = ("positions", "orders", "fills", "risk_orders", "equity", "round_trips", "explain")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "account.journal"


def same_reads(one: Any, other: Any) -> None:
    for name in FRAMES:
        ours, theirs = (getattr(account, name)(exact=True) for account in (one, other))
        if name == "risk_orders":  # how far a price is away is told by a quote, which is no part of the past
            ours, theirs = (frame.drop(columns=["distance", "distance_pct"]) for frame in (ours, theirs))
        pd.testing.assert_frame_equal(ours, theirs, obj=name)
    pd.testing.assert_series_equal(one.pnl(exact=True), other.pnl(exact=True))
    assert one.order("A1") == other.order("A1")
    assert one.cash == other.cash


# ── the same reads ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_shows_what_the_engine_shows(path: Path) -> None:
    with trading(journal=path) as engine:
        past = lt.open_journal(path)
        engine.market_buy(SBIN, 10, client_order_id="A1", tag="swing", stop_loss_price=540).result(5)
        engine.market_sell(INFY, 5).result(5)
        for price in (550, 545, "551.50"):
            engine.stream.update(SBIN, bid=price, ask=price, last=price)
        engine.market_sell(SBIN, 4).result(5)
        same_reads(past, engine)
        ticks = engine.ticks(SBIN)
        pd.testing.assert_frame_equal(past.ticks(SBIN), ticks)
        pd.testing.assert_frame_equal(past.bars(SBIN, "1s"), engine.bars(SBIN, "1s"))
        assert past.symbols == [INFY, SBIN]
        engine.close()
        assert past.position(SBIN) == engine.position(SBIN)
        assert repr(past) == f"<OpenedJournal account.journal: {engine.account.seq:,} events>"
    assert past.damage == ""


def test_it_touches_nothing(path: Path, tmp_path: Path) -> None:
    with trading(journal=path) as engine:
        engine.market_buy(SBIN, 10).result(5)
        for found in (path, copied(path, tmp_path / "killed")):
            before = contents(found)
            assert lt.open_journal(found).position(SBIN).quantity == 10
            assert contents(found) == before
        engine.close()
    before = contents(path)
    assert lt.open_journal(path).position(SBIN).quantity == 10
    assert {suffix: contents(path)[suffix] for suffix in before} == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_nobody_may_write_to(path: Path) -> None:
    with trading(journal=path) as engine:
        engine.market_buy(SBIN, 10).result(5)
    path.parent.chmod(0o500)
    assert lt.open_journal(path).position(SBIN).quantity == 10
    path.parent.chmod(0o700)


# ── as it was ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_positions_at_every_event_and_between_them(path: Path) -> None:
    """What a live engine showed at that time; the prices of that moment count, those of later do not."""
    seen: dict[int, pd.DataFrame] = {}
    with trading(journal=path) as engine:

        def look() -> None:
            ts = engine._read(lambda account: account.ts)
            seen[ts] = engine.positions(closed=True, exact=True)

        for number, price in enumerate((549, 552, 547, 550, 541, 553)):
            engine.stream.update(SBIN, bid=price, ask=f"{price}.05", last=price)
            look()
            engine.market_buy(SBIN, 10 + number, stop_loss_price=540).result(5)
            look()
            if number % 2:
                engine.market_sell(SBIN, 7).result(5)
                look()
    past = lt.open_journal(path)
    times = sorted(seen)
    for time, following in zip(times, [*times[1:], times[-1] + 2], strict=True):
        for moment in {time, (time + following) // 2, following - 1}:
            shown = past.positions(as_of=pd.Timestamp(moment, tz="UTC"), closed=True, exact=True)
            pd.testing.assert_frame_equal(shown, seen[time], obj=f"{time} at {moment}")
    assert past.positions(as_of=pd.Timestamp(times[0] - 10**12, tz="UTC"), closed=True).empty


@pytest.mark.parametrize(
    ("as_of", "held"),
    [
        ("2026-03-02", 0),
        ("2026-03-03", 1),
        ("2026-03-03 09:15:00", 0),
        ("2026-03-03 09:15:01", 1),
        (pd.Timestamp("2026-03-03 09:15:00"), 0),
        (pd.Timestamp("2026-03-03 03:45:01", tz="UTC"), 1),
        (date(2026, 3, 2), 0),
        (date(2026, 3, 3), 1),
    ],
)
def test_what_an_as_of_may_be(path: Path, as_of: Any, held: int) -> None:
    desk = RecordedDesk()
    desk.quote(100, 101, 100)
    desk.quote(110, 111, 110, after=86_400)
    desk.pass_time(1)
    desk.buy(10)
    desk.quote(120, 121, 120, after=86_400)
    written(path, desk.items).close()
    frame = lt.open_journal(path).positions(as_of=as_of)
    assert len(frame) == held
    assert frame["last_price"].tolist() == [110] * held


def test_what_an_as_of_may_not_be(path: Path) -> None:
    written(path, RecordedDesk().items).close()
    with pytest.raises(lt.OrderError):
        lt.open_journal(path).positions(as_of="yesteryear")


# ── while it is written ──────────────────────────────────────────────────────────────────────────────────────────────


def boundaries(path: Path) -> dict[int, list[ev.Event]]:
    """The events of each step, by the number of its last."""
    ends: dict[int, list[ev.Event]] = {0: []}
    decoder, seq = Decoder(), 0
    with reading(path) as connection:
        for row in rows_of(connection, EVENTS):
            for step in unpacked_steps(row[4], seq + 1, decoder):  # type: ignore[arg-type]
                seq += len(step.events)
                ends[seq] = list(step.events)
    return ends


@contextmanager
def busy(engine: lt.LiveTradingEngine) -> Iterator[threading.Event]:
    """Somebody trades, until it is left."""
    enough = threading.Event()

    def trade() -> None:
        number = 0
        while not enough.is_set():
            number += 1
            engine.stream.update(SBIN, bid=540 + number % 9, ask=541 + number % 9, last=540 + number % 9)
            order = engine.market_buy if number % 2 else engine.market_sell
            order(SBIN, 3, stop_loss_price=530 if number % 2 else None).result(30)

    thread = threading.Thread(target=trade)
    thread.start()
    try:
        yield enough
    finally:
        enough.set()
        thread.join(60)


def test_whoever_follows_an_engine_never_sees_half_a_step(path: Path) -> None:
    seen: list[tuple[int, int, int, int]] = []

    def question(account: Account) -> tuple[int, int, int, int]:
        filled = sum(order.filled_raw > 0 for order in account.orders.values())
        return account.seq, len(account.fill_history.fills), filled, len(account.open_orders)

    with trading(journal=path) as engine:
        past = lt.open_journal(path)
        with busy(engine):
            while len(seen) < 60 or len({entry[0] for entry in seen}) < 15:
                seen.append(past._read(question))
                if len(seen) % 20 == 0:
                    fresh = lt.open_journal(path)
                    assert fresh._read(question)[0] >= seen[-1][0]
        engine.close()
        whole, ours = picture(engine.account), past._read(picture)
    for one in (whole, ours):
        fills = one.pop("fills")
        one["filled"] = fills["fill"]
    assert ours == whole
    ends = boundaries(path)
    assert [entry[0] for entry in seen] == sorted(entry[0] for entry in seen)
    for seq, fills, filled, working in seen:
        assert seq in ends, "half a step was seen"
        assert (fills, working) == (filled, 0)  # each order fills at once, whole, within its step


def test_many_threads_may_ask_one(path: Path) -> None:
    def read(past: OpenedJournal) -> list[int]:
        return [len(past.fills()) for _ in range(15) if past.position(SBIN).quantity >= 0]

    with trading(journal=path) as engine:
        past = lt.open_journal(path)
        with busy(engine), ThreadPoolExecutor(4) as pool:
            counts = list(pool.map(read, [past] * 4))
    assert all(each == sorted(each) and len(each) == 15 for each in counts)


# ── damaged, or none ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_of_a_damaged_one_the_good_part_is_shown_with_one_warning(path: Path) -> None:
    desk = session(5, 100)
    written(path, desk.items).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (good,) = connection.execute("SELECT seq FROM events WHERE number = 29").fetchone()
        connection.execute("UPDATE events SET data = x'00' WHERE number = 30")
    told = rf"account.journal is damaged: row 30 was changed.*; what is shown ends with event {good}"
    with pytest.warns(RuntimeWarning, match=told) as caught:
        past = lt.open_journal(path)
    assert caught[0].filename == __file__
    assert past._read(lambda account: account.seq) == good  # and warns no more
    assert past.damage.startswith("row 30 was changed")


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    for name, content, told in (
        ("none", None, "no such journal"),
        ("empty", b"", "is empty"),
        ("text", b"date,amount\n" * 999, "not a database"),
    ):
        file = tmp_path / name
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(lt.JournalError, match=told):
            lt.open_journal(file)
    assert not (tmp_path / "none").exists()


def test_all_of_it_is_exported(path: Path, tmp_path: Path) -> None:
    with trading(journal=path, fees=FREE) as engine:
        engine.market_buy(SBIN, 10).result(5)
        engine.stream.update(SBIN, bid=550, ask=551, last=550)
        fills = engine.fills()
    files = lt.open_journal(path).export_all(tmp_path / "out")
    tables = ("orders", "fills", "equity", "ticks")
    assert {file.name for file in files} == {f"{table}.{kind}" for table in tables for kind in ("csv", "parquet")}
    written_fills = pd.read_parquet(tmp_path / "out" / "fills.parquet")
    assert len(written_fills) == len(fills) == 1
    assert len(pd.read_parquet(tmp_path / "out" / "ticks.parquet")) == 2


def test_damaged_ticks_are_shown_as_far_as_they_are_good(path: Path) -> None:
    with trading(journal=path) as engine:
        for bid in (551, 552, 553):
            engine.stream.update(SBIN, bid=bid, ask=554, last=bid)
            engine.market_buy(SBIN, 1).result(5)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (last,) = connection.execute("SELECT max(number) FROM ticks").fetchone()
        connection.execute("UPDATE ticks SET data = zeroblob(9) WHERE number = ?", (last,))
    past = lt.open_journal(path)
    with pytest.warns(RuntimeWarning, match=f"account.journal has damaged ticks: row {last} was changed"):
        assert past.ticks(SBIN)["bid"].tolist() == [548.95, 551, 552]
