"""The file: made and brought up to date whole or not at all, and never touched where it is not ours."""

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from livetrade.errors import JournalError
from livetrade.journal.chain import START, Head, linked
from livetrade.journal.file import FileJournal
from livetrade.journal.store import EVENTS, MIGRATIONS, TICKS, Store, connect, last_link, rows_of
from livetrade.journal.verify import verify
from tests.journal.kit import contents, session, side, written

NEXT = "ALTER TABLE events ADD COLUMN note TEXT; CREATE TABLE more (a);"
THIRD = "INSERT INTO more VALUES (7);"
BROKEN = "CREATE TABLE half (a); INSERT INTO nowhere VALUES (1);"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "account.journal"


def asked(path: Path, query: str) -> object:
    with closing(connect(path, read_only=True)) as connection:
        return connection.execute(query).fetchone()[0]


def layout(path: Path) -> object:
    return asked(path, "PRAGMA user_version")


# ── made ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["a.journal", "with space?#%41.db", "कोष.journal", "quote'\".journal"])
def test_nobody_else_may_read_it_or_what_stands_beside_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    store = written(path, session(1, 20).items)
    FileJournal(path)._lock.acquire()
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert modes == {f"{name}{suffix}": 0o600 for suffix in ("", ".head", ".lock", "-wal", "-shm")}
    store.close()


def test_a_file_that_is_there_keeps_its_permissions(path: Path) -> None:
    written(path, session(1, 20).items).close()
    path.chmod(0o640)
    journal = FileJournal(path)
    journal.open()
    assert {stat.S_IMODE(side(path, s).stat().st_mode) for s in ("", "-wal", "-shm")} == {0o640}
    journal.close(0)


@pytest.mark.parametrize("left", ["", "half of a draft"])
def test_a_draft_that_was_left_behind_is_written_over(path: Path, left: str) -> None:
    side(path, ".new").write_text(left)
    side(path, ".new-wal").write_text(left)
    path.touch()  # an empty file is a new journal too
    written(path, session(1, 20).items).close()
    assert sorted(file.name for file in path.parent.iterdir()) == ["account.journal", "account.journal.head"]
    assert verify(path).whole


# ── brought up to date ───────────────────────────────────────────────────────────────────────────────────────────────


def test_an_older_layout_is_brought_up_to_date(path: Path) -> None:
    items = session(1, 60).items
    before = written(path, items).head
    rows = _rows(path)
    store = Store(path, [*MIGRATIONS, NEXT, THIRD])
    store.open()
    assert layout(path) == len(MIGRATIONS) + 2
    assert asked(path, "SELECT a FROM more") == 7
    assert _rows(path) == rows
    store.continue_from(before)
    store.write(None, linked(EVENTS, before.events, 1, b"[]"))
    assert last_link(store.connection, EVENTS).number == before.events.number + 1
    store.close()


def _rows(path: Path) -> list[object]:
    with closing(connect(path, read_only=True)) as connection:
        return [row for table in (EVENTS, TICKS) for row in rows_of(connection, table)]


def test_an_update_that_fails_half_way_leaves_the_file_as_it_was(path: Path) -> None:
    written(path, session(1, 60).items).close()
    before = contents(path)
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        Store(path, [*MIGRATIONS, NEXT, BROKEN]).open()
    assert contents(path) == before
    assert layout(path) == len(MIGRATIONS)
    assert verify(path).whole


def test_a_new_file_that_fails_half_way_is_none(path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        Store(path, [*MIGRATIONS, BROKEN]).open()
    assert not path.exists()


def test_a_later_layout_is_refused(path: Path) -> None:
    store = Store(path, [*MIGRATIONS, NEXT])
    store.open()
    store.continue_from(Head(START, START))
    store.close()
    before = contents(path)
    newest = len(MIGRATIONS)
    for opens in (FileJournal(path).open, lambda: verify(path), Store(path).open):
        with pytest.raises(JournalError, match=rf"layout {newest + 1}, this one knows {newest}\); update livetrade"):
            opens()
    assert {name: data for name, data in contents(path).items() if data} == before


# ── not ours ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def a_database(path: Path, mode: str) -> None:
    """One of somebody else, as its process left it when it was killed: what it wrote is in its log."""
    draft = path.with_name("draft")
    connection = sqlite3.connect(draft, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode={mode}")
    connection.execute("CREATE TABLE events (number INTEGER PRIMARY KEY, seq INTEGER, hash BLOB)")
    connection.execute("INSERT INTO events VALUES (1, 1, x'00')")
    for suffix in ("", "-wal"):
        if side(draft, suffix).exists():
            side(path, suffix).write_bytes(side(draft, suffix).read_bytes())
    connection.close()


@pytest.mark.parametrize("kind", ["wal", "delete", "text", "zeros", "journal of another program"])
def test_a_foreign_file_is_refused_and_stays_as_it_was(path: Path, kind: str) -> None:
    if kind in ("wal", "delete"):
        a_database(path, kind)
    elif kind == "text":
        path.write_text("date,amount\n2026-03-02,100\n" * 400)
    elif kind == "zeros":
        path.write_bytes(bytes(8192))
    else:
        a_database(path, "delete")
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA application_id=77")
    before = contents(path)
    for opens in (FileJournal(path).open, lambda: verify(path)):
        with pytest.raises(JournalError, match=r"no journal of livetrade|not a database"):
            opens()
        assert {name: data for name, data in contents(path).items() if data} == before
    assert not side(path, ".head").exists()


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for path in (folder, tmp_path / "nowhere" / "a.journal"):
        with pytest.raises(JournalError):
            FileJournal(path).open()
        with pytest.raises(JournalError, match="no such journal"):
            verify(path)
