"""Reading a journal: its rows checked, and folded into a state.

Two passes: the first follows the chain, the second decodes and folds. The ticks' part of a fold is the marks they left,
put between the steps as they came; those from before the last day's start are left out, for a day begins with them.
"""

import gc
import re
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager

from livetrade.core.events import Event
from livetrade.core.records import record
from livetrade.core.state import State
from livetrade.encoding import UPCASTS, Decoder, Upcasts
from livetrade.errors import JournalError, LedgerError
from livetrade.journal.chain import START, BrokenChainError, Link, followed
from livetrade.journal.rows import Marked, Marks, Step, marks_until, unpacked_marks, unpacked_steps
from livetrade.journal.store import EVENTS, TICKS, UNREADABLE, last_number, link_of, rows_of

FOREVER = (1 << 63) - 1
_DAY_STARTED = re.compile(rb'\["DayStarted",(\d+)')


@record
class Checked:
    """How far a chain is whole. `end`: its last good link; `damage`: why what comes after it cannot be trusted, empty
    when all is well; `day_row`: the row of events that holds the last day's start."""

    end: Link
    damage: str = ""
    day_row: int = 0


def check(
    connection: sqlite3.Connection, table: bytes, known: Link = START, before: Link = START, until_ns: int = FOREVER
) -> Checked:
    """Follows a chain from a link on, as far as it is whole; it must reach the link `known` by its head. The last day
    is the last that had begun at `until_ns`."""
    end, day_row = before, 0
    try:
        for row in followed(table, rows_of(connection, table, before.number), before):
            if row.link.number == known.number and row.link != known:
                raise BrokenChainError(f"row {known.number} is not the one that the head names", end)
            end = row.link
            if table is EVENTS and any(int(ts) <= until_ns for ts in _DAY_STARTED.findall(row.data)):
                day_row = end.number
    except BrokenChainError as error:
        return Checked(end, str(error), day_row)
    except UNREADABLE as error:
        return Checked(end, f"SQLite cannot read on: {error}", day_row)
    return Checked(end, _missing(end, known), day_row)


def _missing(end: Link, known: Link) -> str:
    return f"the last {known.seq - end.seq:,} are missing" if end.number < known.number else ""


@contextmanager
def uncollected() -> Iterator[None]:
    """All that is made of a past stays: the collector, which would walk through it again and again, rests meanwhile."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


class Past:
    """Folds a journal into a state and, asked again, what has come since.

    known_ticks: the last row of ticks by the head. `end`: the last link of events that was folded; `folded`: how many
    events; `ticks`: how many ticks were recorded before them; `last_ns`: the time of the last event or tick.
    `ticks_fault`: why the ticks could not be read any further; empty while they could.
    """

    def __init__(self, state: State, upcasts: Upcasts = UPCASTS, known_ticks: Link = START) -> None:
        self._state = state
        self._decoder = Decoder(upcasts)
        self._known = known_ticks
        self._ticks: Link | None = None  # where the reading of ticks has come
        self._counted = 0
        self._part: Marked | None = None
        self._early: Marks = {}
        self.end = START
        self.folded = 0
        self.ticks = 0
        self.last_ns = 0
        self.ticks_fault = ""

    def fold(self, connection: sqlite3.Connection, checked: Checked, until_ns: int = FOREVER) -> None:
        """Folds what was checked, up to and including `until_ns`. Raises `JournalError`."""
        try:
            with uncollected():
                self._fold(connection, checked, until_ns)
        except UNREADABLE as error:
            raise JournalError(f"SQLite cannot read on: {error}") from error

    def _fold(self, connection: sqlite3.Connection, checked: Checked, until_ns: int) -> None:
        self._part = None
        with closing(self._marked(connection, until_ns)) as parts, closing(self._steps(connection, checked)) as steps:
            for number, step in steps:
                events = [event for event in step.events if event.ts <= until_ns]
                if self._ticks is None and number >= checked.day_row:  # this step carries the marks of all before it
                    self._ticks, self._counted = _row_before(connection, step.ticks), step.ticks
                if events and self._ticks is not None:
                    self._mark(parts, step.ticks)
                self._apply(events)
                self.ticks = step.ticks
                if len(events) < len(step.events):
                    break
            if self._ticks is not None:
                self._mark(parts, FOREVER)

    def _steps(self, connection: sqlite3.Connection, checked: Checked) -> Generator[tuple[int, Step], None, None]:
        if checked.end.number == self.end.number:
            return
        with closing(rows_of(connection, EVENTS, self.end.number)) as rows:
            for number, seq, digest, _, data in rows:
                for step in unpacked_steps(data, self._state.seq + 1, self._decoder):  # type: ignore[arg-type]
                    yield number, step  # type: ignore[misc]
                if seq != self._state.seq:
                    raise JournalError(f"row {number} holds other events than it counts")
                self.end = Link(number, seq, digest)  # type: ignore[arg-type]
                if number == checked.end.number:
                    return

    def _apply(self, events: list[Event]) -> None:
        for event in events:
            try:
                self._state.apply(event)
            except (LedgerError, LookupError, TypeError, ValueError, AttributeError) as error:
                raise JournalError(f"event {self.folded + 1} does not fold: {error!r}") from error
            self.folded += 1
            self.last_ns = max(self.last_ns, event.ts)
        if self._early:
            self._put_early()

    # ── ticks ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _mark(self, parts: Iterator[Marked], ticks: int) -> None:
        """Puts the marks of the ticks so far, `ticks` in all, where the fold has come."""
        part = self._part or next(parts, None)
        while part is not None and part.ticks <= ticks:
            self._put(part)
            part = next(parts, None)
        self._part = part

    def _put(self, part: Marked) -> None:
        for symbol, marks in part.marks.items():
            market = self._state.markets.get(symbol)
            if market is None:
                self._early[symbol] = marks
            else:
                self._state.mark_between(market, *marks)
        self._counted = part.ticks
        self.last_ns = max(self.last_ns, part.last_ns)

    def _put_early(self) -> None:
        """A symbol's first tick stands before the event that adds its instrument."""
        for symbol in self._early.keys() & self._state.markets.keys():
            self._state.mark_between(self._state.markets[symbol], *self._early.pop(symbol))

    def _marked(self, connection: sqlite3.Connection, until_ns: int) -> Generator[Marked, None, None]:
        """What the ticks did that were not put yet, part by part. It begins once it is known where."""
        assert self._ticks is not None
        try:
            with closing(rows_of(connection, TICKS, self._ticks.number)) as rows:
                for row in followed(TICKS, rows, self._ticks):
                    for part in unpacked_marks(row.marks):
                        if part.last_ns > until_ns:
                            yield marks_until(row.data, row.link.seq, self._counted, until_ns)
                            return
                        if part.ticks > self._counted:
                            yield part
                    self._ticks = row.link
            self.ticks_fault = _missing(self._ticks, self._known)
        except (JournalError, *UNREADABLE) as error:
            self.ticks_fault = str(error)


def _row_before(connection: sqlite3.Connection, ticks: int) -> Link:
    """The row before the last one that holds none but the first `ticks` ticks. That one is read again, for what it says
    of itself is only known to be true once it follows the one before it."""
    last = last_number(connection, TICKS, ticks)
    if last < 2:
        return START
    return link_of(connection, TICKS, last - 1) or link_of(connection, TICKS, last) or START
