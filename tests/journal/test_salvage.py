"""What is good of a damaged journal, as a journal of its own, from which an engine goes on."""

import signal
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import livetrade as lt
from livetrade.core import events as ev
from livetrade.core.kinds import ExitStatus
from livetrade.core.state import State
from livetrade.core.ticks import Tick
from livetrade.encoding import VERSION, LaterVersionError
from livetrade.errors import JournalError
from livetrade.journal.chain import linked
from livetrade.journal.file import FileJournal
from livetrade.journal.rows import Step, packed_steps
from livetrade.journal.store import EVENTS, Store, connect, last_link
from livetrade.journal.verify import salvage, verify
from tests.journal.kit import SIDE_FILES, contents, put, read_back, session, side, written
from tests.support import FREE, SBIN, quoted, trading

DESK = session(5, 200)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "damaged.journal"
    written(path, DESK.items).close()
    return path


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "good.journal"


def edit(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def count(path: Path, table: str) -> int:
    with closing(connect(path, read_only=True)) as connection:
        number: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        return number


@pytest.mark.parametrize(
    ("statements", "events_whole", "ticks_whole"),
    [
        ([], True, True),
        (["DELETE FROM events WHERE number = 40"], False, True),
        (["UPDATE events SET data = x'00' WHERE number = 40", "DELETE FROM ticks WHERE number = 20"], False, False),
        (["DELETE FROM events WHERE number > 40"], False, True),
        (["UPDATE ticks SET hash = NULL WHERE number = 20"], True, False),
        (["DELETE FROM ticks"], True, False),
        (["DELETE FROM events"], False, True),
    ],
)
def test_the_good_part_is_a_whole_journal(
    path: Path, to: Path, statements: Sequence[str], events_whole: bool, ticks_whole: bool
) -> None:
    edit(path, *statements)
    before, damaged = contents(path), verify(path)
    assert (not damaged.damage, not damaged.ticks_damage) == (events_whole, ticks_whole)
    made = salvage(path, to)
    assert (made.whole, made.events, made.ticks) == (True, damaged.events, damaged.ticks)
    assert verify(to).whole
    state, notes = read_back(to)
    assert (state.told, notes) == (DESK.events[: damaged.events], [])
    assert all(contents(path)[suffix] == data for suffix, data in before.items())
    assert to.stat().st_mode & 0o777 == 0o600


def test_an_engine_goes_on_from_it(tmp_path: Path, to: Path) -> None:
    path = tmp_path / "account.journal"
    with trading(journal=path) as engine:
        for number in range(1, 9):
            assert engine.market_buy(SBIN, number, stop_loss_price=540).result(5).success
        expected = engine.position(SBIN).quantity - 8
    rows = count(path, "events")
    with closing(connect(path, read_only=True)) as connection:
        data = [row[0] for row in connection.execute("SELECT data FROM events ORDER BY number")]
    last_fill = max(number for number, row in enumerate(data, 1) if b'"Filled"' in row)
    assert last_fill < rows
    edit(path, f"UPDATE events SET seq = seq + 1 WHERE number = {last_fill}")
    with pytest.raises(JournalError, match="livetrade journal salvage"):
        lt.LiveTradingEngine(journal=path)
    salvage(path, to)
    with trading(None, quoted(), journal=to) as engine:
        assert engine.position(SBIN).quantity == expected
        assert engine.position(SBIN).stop_loss_price == 540
        engine.stream.update(SBIN, bid=539, ask=540)
        assert not engine.position(SBIN)
    assert verify(to).whole


def test_events_that_are_chained_and_do_not_fold_are_left_out(path: Path, to: Path) -> None:
    """As a defect would write them: nothing is damaged, and nobody can go on from it."""
    store = Store(path)
    last = last_link(store.open(), EVENTS)
    steps = [Step(0, [ev.Halted(1, "x"), ev.ExitEnded(1, "R9", ExitStatus.FILLED)])]
    store.write(None, linked(EVENTS, last, 2, packed_steps(steps, last.seq + 1)))
    store.close()
    journal = FileJournal(path)
    journal.open()
    with pytest.raises(JournalError, match=rf"event {last.seq + 2} does not fold: KeyError\('R9'\)"):
        journal.restore(type(DESK.account)())
    journal.close(0)
    verdict = verify(path)
    assert (verdict.events, verdict.first_damaged) == (last.seq + 1, last.seq + 2)
    assert "does not fold" in verdict.damage
    assert salvage(path, to).events == last.seq
    assert read_back(to)[0].told == DESK.events


def test_ticks_that_are_lost_keep_their_numbers(path: Path, to: Path) -> None:
    """Or the marks of later ones would be put between events from before them."""
    edit(path, "DELETE FROM ticks WHERE number > 5")
    salvage(path, to)
    before, _ = read_back(to)
    (symbol,) = [s for s, market in before.markets.items() if market.books][:1]
    quote = Tick(before.instruments[symbol], DESK.ts + 1, last_raw=7)
    journal = FileJournal(to)
    journal.open()
    journal.restore(type(before)())
    journal.start(lambda job: job(), lambda: None)
    put(journal._writer, [quote])  # type: ignore[arg-type]
    journal.close(30)
    after, notes = read_back(to)
    assert not notes
    assert after.markets[symbol].mark_raw == 14
    assert _extremes(after) == _extremes(before)


def _extremes(state: State) -> list[tuple[int, int]]:
    """Of each fill, and of each book since its last."""
    fills: list[Any] = state.fill_history.fills
    return [(each.low_raw, each.high_raw) for each in (*fills, *state.ledger.books.values())]


def test_what_is_there_is_not_written_over(path: Path, to: Path, tmp_path: Path) -> None:
    for there in (to, side(to, ".head")):
        there.write_text("mine")
        with pytest.raises(JournalError, match="is there already"):
            salvage(path, to)
        assert there.read_text() == "mine"
        there.unlink()
    with pytest.raises(JournalError, match="cannot be copied"):
        salvage(path, tmp_path / "nowhere" / "good.journal")
    with pytest.raises(JournalError, match="no such journal"):
        salvage(tmp_path / "none", to)
    assert not any(side(to, suffix).exists() for suffix in SIDE_FILES)


def test_half_a_copy_is_none(path: Path, to: Path) -> None:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))  # no file may be larger, as on a full disk
    try:
        with pytest.raises(JournalError, match="cannot be copied"):
            salvage(path, to)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(to.parent.glob("good*"))
    assert salvage(path, to).whole


def test_what_a_later_version_wrote_is_neither_damaged_nor_salvaged(path: Path, to: Path) -> None:
    store = Store(path)
    last = last_link(store.open(), EVENTS)
    store.write(None, linked(EVENTS, last, 1, b'[%d,%d,[[0,[["Soared",1]]]]]' % (VERSION + 1, last.seq + 1)))
    store.close()
    journal = FileJournal(path)
    journal.open()
    for reads in (lambda: verify(path), lambda: salvage(path, to), lambda: journal.restore(State())):
        with pytest.raises(LaterVersionError, match="update livetrade"):
            reads()
    journal.close(0)
    assert not to.exists()


def test_one_that_is_in_use_may_be_copied(tmp_path: Path, to: Path) -> None:
    path = tmp_path / "account.journal"
    with trading(journal=path, fees=FREE) as engine:
        engine.market_buy(SBIN, 10).result(5)
        assert salvage(path, to).whole
        assert engine.market_buy(SBIN, 1).result(5).success
    assert lt.open_journal(to).position(SBIN).quantity == 10
