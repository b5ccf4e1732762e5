"""The SQLite file of a journal: two tables of chained rows, in WAL mode with `synchronous=FULL`.

One commit is one statement: it puts a row of ticks and a row of events, or one of them, into their tables by a trigger.
(Each call of SQLite gives up the interpreter's lock; beside a busy thread six inserts and a commit took 37 ms, one
statement 6 ms.) The trigger is made by whoever writes; in the file there are only rows.

A new file gets its name when it is complete, so there is a journal or none, whenever the machine stops. Nobody but its
owner may read it, nor what SQLite puts beside it, which has the same permissions.
"""

import os
import sqlite3
from bisect import bisect_right
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from urllib.parse import quote

from livetrade.errors import JournalError
from livetrade.journal.chain import START, Head, HeadFile, Link, Row

APPLICATION_ID = 0x4C_54_4A_4C
MIGRATIONS: Sequence[str] = (
    """
    CREATE TABLE events (number INTEGER PRIMARY KEY, seq INTEGER, hash BLOB, marks BLOB, data BLOB);
    CREATE TABLE ticks (number INTEGER PRIMARY KEY, seq INTEGER, hash BLOB, marks BLOB, data BLOB);
    """,
)
"""From each layout of the tables to the next; a new journal takes them all."""
COMMITS = """
    CREATE TEMP VIEW commits AS
        SELECT t.number AS t_number, t.seq AS t_seq, t.hash AS t_hash, t.marks AS t_marks, t.data AS t_data,
            e.number AS e_number, e.seq AS e_seq, e.hash AS e_hash, e.marks AS e_marks, e.data AS e_data
        FROM ticks t, events e;
    CREATE TEMP TRIGGER committed INSTEAD OF INSERT ON commits BEGIN
        INSERT INTO ticks (number, seq, hash, marks, data)
            SELECT new.t_number, new.t_seq, new.t_hash, new.t_marks, new.t_data WHERE new.t_number IS NOT NULL;
        INSERT INTO events (number, seq, hash, marks, data)
            SELECT new.e_number, new.e_seq, new.e_hash, new.e_marks, new.e_data WHERE new.e_number IS NOT NULL;
    END;
"""
PAGES_IN_LOG = 256
"""The log is copied into the file after so many pages (1 MiB), which bounds what both take on a small disk."""

EVENTS, TICKS = b"E", b"T"
_TABLES = {EVENTS: "events", TICKS: "ticks"}
_NOTHING = (None,) * 5
UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
"""What reading a damaged file raises: the second where SQLite's own message quotes what is no text any more."""


def head_path(path: Path) -> Path:
    return path.with_name(path.name + ".head")


def lock_path(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def log_path(path: Path) -> Path:
    """SQLite's own."""
    return path.with_name(path.name + "-wal")


def size_of(path: Path) -> int:
    """The size of a file; 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def identity(path: Path) -> tuple[int, int]:
    """By which the system knows a file, whatever its name. Raises `OSError`."""
    status = path.stat()
    return status.st_dev, status.st_ino


class Store:
    """Writes rows. Used by one thread at a time, by the owner of the journal alone."""

    def __init__(self, path: Path, migrations: Sequence[str] = MIGRATIONS) -> None:
        self.path = path
        self._migrations = migrations
        self._connection: sqlite3.Connection | None = None
        self._head_file: HeadFile | None = None
        self.head = Head(START, START)

    def open(self) -> sqlite3.Connection:
        """Makes the file, or brings the layout of its tables up to date. Raises `JournalError`, `sqlite3.Error`,
        `OSError`."""
        if not size_of(self.path):
            create(self.path, self._migrations)
        connection = connect(self.path)
        try:
            check_kind(connection, self.path, len(self._migrations))
            migrate(connection, self._migrations)
            _configure(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    @property
    def connection(self) -> sqlite3.Connection:
        assert self._connection is not None
        return self._connection

    def continue_from(self, head: Head) -> None:
        """Rows follow these from here on."""
        self.head = head
        self._head_file = HeadFile(head_path(self.path))
        self._head_file.write(head)
        self._head_file.sync()
        sync(self.path.parent)

    def write(self, ticks: Row | None, events: Row | None) -> None:
        """Commits rows; they are safe when this returns. Raises `sqlite3.Error` or `OSError`, and then nothing was."""
        if self._connection is None:
            self._reopen()
        assert self._connection is not None
        values = (*_values(ticks), *_values(events))
        try:
            self._connection.execute("INSERT INTO commits VALUES (?,?,?,?,?,?,?,?,?,?)", values)
        except BaseException:
            self._drop()
            raise
        self.head = Head(events.link if events else self.head.events, ticks.link if ticks else self.head.ticks)

    def write_head(self) -> None:
        """Says how far it has come. A head that is behind vouches for less, and is nothing worse."""
        assert self._head_file is not None
        self._head_file.write(self.head)

    def sync_head(self) -> None:
        assert self._head_file is not None
        self._head_file.sync()

    def _drop(self) -> None:
        """After a failure nothing is taken for granted: what the system holds in memory of a failed write may never
        reach the disk, however often it is asked to. The next write begins with a new connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _reopen(self) -> None:
        """Everything after the last commit that was safe is removed, to be written anew."""
        connection = connect(self.path)
        try:
            _configure(connection)
            for table, link in ((EVENTS, self.head.events), (TICKS, self.head.ticks)):
                connection.execute(f"DELETE FROM {_TABLES[table]} WHERE number > ?", (link.number,))
            if last_link(connection, EVENTS) != self.head.events:
                raise JournalError(f"{self.path.name} no longer holds what was written to it")
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def abandon(self) -> None:
        """In a forked child: the connection belongs to the parent."""
        if self._connection is not None:
            _leave_to_parent(self.path, self._connection)
        self._connection = None

    def close(self) -> None:
        self._drop()
        head_file, self._head_file = self._head_file, None
        if head_file is not None:
            with suppress(OSError):
                head_file.sync()
            head_file.close()


_FORKED: set[tuple[int, int]] = set()
"""Files that the parent of this forked process has open."""


def _leave_to_parent(path: Path, connection: sqlite3.Connection) -> None:
    """A forked child must neither close the parent's connection nor open the file a second time: SQLite counts a file's
    locks by process, so it would take the log for its own, and remove it from under whoever writes it then."""
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))  # or the end of the interpreter would close it
    with suppress(OSError):
        _FORKED.add(identity(path))


# ── the file ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def create(path: Path, migrations: Sequence[str] = MIGRATIONS) -> None:
    """A new journal, whole or not at all. Raises `sqlite3.Error`, `OSError`."""
    draft = path.with_name(path.name + ".new")
    for left in (draft, log_path(draft)):
        left.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(connect(draft)) as connection:
        connection.execute("PRAGMA journal_mode=MEMORY")
        migrate(connection, migrations)
        connection.execute("PRAGMA journal_mode=WAL")
    draft.replace(path)
    sync(path.parent)


def connect(path: Path, *, read_only: bool = False, immutable: bool = False) -> sqlite3.Connection:
    """Opens a file that is there. Raises `JournalError` in a process forked from the one that has it open."""
    if path.exists() and identity(path) in _FORKED:
        raise JournalError(f"{path} was open in the process that this one was forked from; use a new one (spawn)")
    mode = "ro" if read_only else "rw"
    uri = f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}" + ("&immutable=1" if immutable else "")
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=1.0)
    connection.text_factory = bytes
    return connection


def _configure(connection: sqlite3.Connection) -> None:
    for setting in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "fullfsync=ON",  # macOS: a sync that reaches the disk
        "checkpoint_fullfsync=ON",
        f"wal_autocheckpoint={PAGES_IN_LOG}",
        "temp_store=MEMORY",
    ):
        connection.execute(f"PRAGMA {setting}")
    connection.executescript(COMMITS)


def check_kind(connection: sqlite3.Connection, path: Path, newest: int = len(MIGRATIONS)) -> None:
    """Raises `JournalError` for what is no journal, or has a later layout."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    layout: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID or layout < 1:
        raise JournalError(f"{path} is no journal of livetrade")
    if layout > newest:
        raise JournalError(
            f"{path} was written by a later livetrade (layout {layout}, this one knows {newest}); update livetrade"
        )


def migrate(connection: sqlite3.Connection, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Brings the tables to the newest layout, in one transaction."""
    layout = connection.execute("PRAGMA user_version").fetchone()[0]
    if layout == len(migrations):
        return
    steps = "".join(migrations[layout:])
    stamps = f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={len(migrations)};"
    try:
        connection.executescript(f"BEGIN IMMEDIATE; {steps} {stamps} COMMIT;")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def rows_of(
    connection: sqlite3.Connection, table: bytes, after: int = 0, columns: str = "number, seq, hash, marks, data"
) -> Generator[tuple[object, ...], None, None]:
    """The rows of a table as they stand there, in order."""
    cursor = connection.execute(f"SELECT {columns} FROM {_TABLES[table]} WHERE number > ? ORDER BY number", (after,))
    try:
        yield from cursor
    finally:
        with suppress(sqlite3.ProgrammingError):  # whoever gave up reading may have closed the connection first
            cursor.close()


def batches_after(connection: sqlite3.Connection, seq: int) -> Generator[bytes, None, None]:
    """The batches of events that go beyond this one, in order, as they were written."""
    ends = bisect_right(range(1, last_number(connection, EVENTS) + 1), seq, key=partial(_seq_of, connection))
    for (data,) in rows_of(connection, EVENTS, ends, "data"):
        assert isinstance(data, bytes)
        yield data


def _seq_of(connection: sqlite3.Connection, number: int) -> int:
    """The number of the last event in a row of events."""
    (seq,) = connection.execute("SELECT seq FROM events WHERE number = ?", (number,)).fetchone()
    return int(seq)


def last_link(connection: sqlite3.Connection, table: bytes) -> Link:
    """The last row of a table as it says of itself."""
    row = connection.execute(f"SELECT number, seq, hash FROM {_TABLES[table]} ORDER BY number DESC LIMIT 1").fetchone()
    return START if row is None else Link(*row)


def last_number(connection: sqlite3.Connection, table: bytes, seq: int | None = None) -> int:
    """The number of the last row, or of the last that ends with this item or one before it; 0 where there is none."""
    where = "" if seq is None else "WHERE typeof(seq) = 'integer' AND seq <= ?"
    query = f"SELECT number FROM {_TABLES[table]} {where} ORDER BY number DESC LIMIT 1"
    row = connection.execute(query, () if seq is None else (seq,)).fetchone()
    return 0 if row is None else row[0]


def link_of(connection: sqlite3.Connection, table: bytes, number: int) -> Link | None:
    """A row as it says of itself; None where it is not there or not readable."""
    query = f"SELECT number, seq, hash FROM {_TABLES[table]} WHERE number = ? AND typeof(seq) = 'integer'"
    row = connection.execute(f"{query} AND typeof(hash) = 'blob'", (number,)).fetchone()
    return None if row is None else Link(*row)


def _values(row: Row | None) -> tuple[object, ...]:
    if row is None:
        return _NOTHING
    link: Link = row.link
    return link.number, link.seq, link.hash, row.marks, row.data


def sync(path: Path) -> None:
    """Until it is on the disk: what a file holds, or the names in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
