"""What can be said of a journal on disk, and saving what is good of a damaged one. Nothing here changes it.

So an engine looks here before it opens a journal for writing: SQLite itself copies what is good of a log into the file
and throws the rest away.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

from livetrade.core.numbers import at
from livetrade.core.records import record, replaced
from livetrade.core.state import State
from livetrade.encoding import LaterVersionError
from livetrade.errors import JournalError
from livetrade.journal.chain import START, Head, Link, Row, followed, linked, read_head
from livetrade.journal.past import Checked, Past, check
from livetrade.journal.rows import packed_marks, packed_ticks
from livetrade.journal.store import (
    EVENTS,
    TICKS,
    UNREADABLE,
    Store,
    check_kind,
    connect,
    head_path,
    last_number,
    log_path,
    rows_of,
    size_of,
)
from livetrade.journal.wal import torn_bytes


@record
class Verdict:
    """What `verify` found. events, ticks: how many are good, from the first on. damage, ticks_damage: what is wrong,
    empty while all is well. first_damaged: the number of the first event that is missing or cannot be trusted. torn:
    bytes of a write that stopped half-way and so was never acknowledged; that is no damage. last_ns: the time of the
    last good event or tick, in nanoseconds UTC."""

    events: int
    ticks: int
    damage: str
    ticks_damage: str
    first_damaged: int | None
    torn: int
    last_ns: int
    timezone: str

    @property
    def whole(self) -> bool:
        return not (self.damage or self.ticks_damage)

    @property
    def last_time(self) -> str | None:
        """When the last good event or tick came, in ISO 8601 and the account's time zone."""
        return at(self.last_ns, ZoneInfo(self.timezone)).isoformat() if self.last_ns else None

    def as_dict(self) -> dict[str, object]:
        names = ("whole", "events", "ticks", "damage", "ticks_damage", "first_damaged", "torn", "last_time", "timezone")
        return {name: getattr(self, name) for name in names}

    def __str__(self) -> str:
        until = f", the last at {self.last_time}" if self.last_time else ""
        told = [f"{self.events:,} events and {self.ticks:,} ticks are good{until}"]
        if self.damage:
            where = f" from event {self.first_damaged:,} on" if self.first_damaged else ""
            told.insert(0, f"damaged{where}: {self.damage}")
        if self.ticks_damage:
            told.insert(0, f"damaged ticks from {self.ticks + 1:,} on: {self.ticks_damage}")
        if self.torn:
            told.append(f"a write of {self.torn:,} bytes stopped half-way; it was never acknowledged")
        return ("whole; " if self.whole else "") + "; ".join(told)


def verify(path: Path) -> Verdict:
    """Follows both chains to their heads, and folds every event: the figures must add up.

    Raises `JournalError` for what is no journal, is not there, or was written by a later version.
    """
    torn = torn_bytes(log_path(path))
    head, headless = found_head(path)
    with reading(path) as connection:
        events = check(connection, EVENTS, head.events)
        ticks = check(connection, TICKS, head.ticks)
        state = State()
        past = Past(state)
        damage = _fold(past, connection, events)
    return Verdict(
        events=past.folded,
        ticks=ticks.end.seq,
        damage=damage or (headless if past.folded else ""),
        ticks_damage=ticks.damage,
        first_damaged=past.folded + 1 if damage else None,
        torn=torn,
        last_ns=past.last_ns,
        timezone=state.timezone,
    )


def _fold(past: Past, connection: sqlite3.Connection, checked: Checked) -> str:
    """Folds what is good; gives back why that is not all."""
    try:
        past.fold(connection, checked)
    except LaterVersionError:
        raise
    except JournalError as error:
        return str(error)
    return checked.damage


def examined(path: Path) -> tuple[Checked, Link, Link]:
    """A look before a journal is opened for writing: its chain of events, the last row of ticks by the head, and the
    one that the next row of ticks follows. Raises `JournalError` for what cannot be read at all."""
    if not size_of(path):
        return _not_there(path)
    head, headless = found_head(path)
    with reading(path) as connection:
        events = check(connection, EVENTS, head.events)
        if headless and events.end != START:
            events = replaced(events, damage=events.damage or headless)
        return events, head.ticks, _end_of_ticks(connection, head.ticks)


def _not_there(path: Path) -> tuple[Checked, Link, Link]:
    """A new journal, unless something beside it says that it was there."""
    head = read_head(head_path(path)) or Head(START, START)
    damage = ""
    if head.events != START or size_of(log_path(path)):
        damage = f"the file itself is gone, and only its head or its log {log_path(path).name} is left"
    return Checked(START, damage), START, START


def _end_of_ticks(connection: sqlite3.Connection, known: Link) -> Link:
    """Good or not, rows of ticks that are there stay, and the next one is numbered behind them."""
    end = check(connection, TICKS, before=known).end
    return replaced(end, number=max(end.number, last_number(connection, TICKS)))


def found_head(path: Path) -> tuple[Head, str]:
    """The head, and what is wrong with it."""
    try:
        head = read_head(head_path(path))
    except JournalError as error:
        return Head(START, START), str(error)
    if head is None:
        return Head(START, START), f"its head {head_path(path).name} is missing, so nothing vouches for its end"
    return head, ""


def salvage(path: Path, to: Path) -> Verdict:
    """Writes what is good of a journal into a new one: the rows of events up to the first that is damaged, and the
    ticks likewise. Gives back what the new one holds. Raises `JournalError`."""
    beside = head_path(to)
    if to.exists() or beside.exists():
        raise JournalError(f"{to} is there already; salvage writes a new journal")
    with reading(path) as connection:
        past = Past(State())
        _fold(past, connection, check(connection, EVENTS))
        try:
            ticks = _copy(connection, Store(to), past)
        except (*UNREADABLE, OSError) as error:
            for half in (to, beside, log_path(to)):
                half.unlink(missing_ok=True)
            raise JournalError(f"{path} cannot be copied to {to}: {error}") from error
    return replaced(verify(to), ticks=ticks)


def _copy(connection: sqlite3.Connection, store: Store, past: Past) -> int:
    """Copies good rows into a new file; gives back how many ticks that were."""
    try:
        store.open()
        store.continue_from(Head(START, START))
        return _copy_rows(connection, store, past)
    finally:
        store.close()


def _copy_rows(connection: sqlite3.Connection, store: Store, past: Past) -> int:
    """In one commit. Ticks that are lost keep their numbers, by which events tell the ticks before them."""
    store.connection.execute("BEGIN")
    for row in _up_to(connection, TICKS, check(connection, TICKS).end):
        store.write(row, None)
    ticks = store.head.ticks.seq
    if past.ticks > ticks:
        store.write(linked(TICKS, store.head.ticks, past.ticks - ticks, packed_ticks([]), packed_marks([])), None)
    for row in _up_to(connection, EVENTS, past.end):
        store.write(None, row)
    store.connection.execute("COMMIT")
    store.write_head()
    return ticks


def _up_to(connection: sqlite3.Connection, table: bytes, end: Link) -> Iterator[Row]:
    return followed(table, islice(rows_of(connection, table), end.number))


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only look at a journal, in use or not, as it is at this moment. Raises `JournalError`."""
    if not path.is_file():
        raise JournalError(f"{path}: no such journal")
    if size_of(path) < 2:
        raise JournalError(f"{path} is empty")  # SQLite would remove its log as a leftover, of one byte too
    try:
        connection = _looking(path)
    except UNREADABLE as error:
        raise JournalError(f"{path} cannot be read: {error}") from error
    try:
        yield connection
    finally:
        connection.close()


def _looking(path: Path) -> sqlite3.Connection:
    connection = connect(path, read_only=True)
    try:
        try:
            connection.execute("BEGIN")
            check_kind(connection, path)
        except sqlite3.OperationalError:
            if size_of(log_path(path)):
                raise
            connection.close()  # SQLite wants to make a log; where nobody may write there is none to be made
            connection = connect(path, read_only=True, immutable=True)
            check_kind(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection
