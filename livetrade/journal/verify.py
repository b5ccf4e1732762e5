"""What can be said of a journal on disk, and saving what is good of a damaged one. Nothing here changes it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

from livetrade.core.numbers import at
from livetrade.core.records import record
from livetrade.core.state import State
from livetrade.errors import JournalError, LedgerError
from livetrade.journal.chain import START, Head, followed, read_head
from livetrade.journal.past import Checked, Past, check
from livetrade.journal.store import EVENTS, TICKS, Store, check_kind, connect, head_path, log_path, rows_of
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
        try:
            past.fold(connection, events)
            damage = events.damage
        except (JournalError, LedgerError, sqlite3.Error) as error:
            damage = f"event {state.seq + 1} does not fold: {error}"
    return Verdict(
        events=state.seq,
        ticks=ticks.end.seq,
        damage=damage or headless,
        ticks_damage=ticks.damage,
        first_damaged=state.seq + 1 if damage else None,
        torn=torn,
        last_ns=past.last_ns,
        timezone=state.timezone,
    )


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
    """Writes what is good of a journal into a new one. Raises `JournalError`."""
    if to.exists():
        raise JournalError(f"{to} is there already; salvage writes a new journal")
    verdict = verify(path)
    store = Store(to)
    with reading(path) as connection:
        store.open()
        try:
            store.continue_from(Head(START, START))
            _copy(connection, store, check(connection, EVENTS), check(connection, TICKS))
        finally:
            store.close()
    return verdict


def _copy(connection: sqlite3.Connection, store: Store, events: Checked, ticks: Checked) -> None:
    for row in followed(TICKS, rows_of(connection, TICKS)):
        store.write(row, None)
        if row.link.number == ticks.end.number:
            break
    for row in followed(EVENTS, rows_of(connection, EVENTS)):
        store.write(None, row)
        if row.link.number == events.end.number:
            break
    store.write_head()


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only look at a journal, in use or not, as it is at this moment. Raises `JournalError`."""
    if not path.is_file():
        raise JournalError(f"{path}: no such journal")
    try:
        connection = _looking(path)
    except sqlite3.Error as error:
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
            layout = check_kind(connection, path)
        except sqlite3.OperationalError:
            if log_path(path).exists():
                raise
            connection.close()  # SQLite wants to make a log; where nobody may write there is none to be made
            connection = connect(path, read_only=True, immutable=True)
            layout = check_kind(connection, path)
        if not layout:
            raise JournalError(f"{path} is no journal of livetrade")
    except BaseException:
        connection.close()
        raise
    return connection
