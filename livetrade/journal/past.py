"""Reading a journal: its rows checked, and folded into a state.

Two passes: the first follows the chain, the second decodes and folds. The ticks' part of a fold is the marks they left,
put between the steps as they came; those from before the last day's start are left out, for a day begins with them.
"""

import re
import sqlite3
from collections.abc import Iterator

from livetrade.core.records import record
from livetrade.core.state import State
from livetrade.encoding import UPCASTS, Decoder, Upcasts
from livetrade.errors import JournalError
from livetrade.journal.chain import START, BrokenChainError, Link, followed
from livetrade.journal.rows import Marked, Marks, Step, marks_until, unpacked_marks, unpacked_steps
from livetrade.journal.store import EVENTS, TICKS, rows_of

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
    except sqlite3.Error as error:
        return Checked(end, f"SQLite cannot read on: {error}", day_row)
    missing = known.seq - end.seq if end.number < known.number else 0
    return Checked(end, f"the last {missing} are missing" if missing else "", day_row)


class Past:
    """Folds a journal into a state and, asked again, what has come since.

    `end`: the last link of events that was folded. `last_ns`: the time of the last event or tick. `ticks_fault`: why
    the ticks could not be read any further; empty while they could.
    """

    _connection: sqlite3.Connection

    def __init__(self, state: State, upcasts: Upcasts = UPCASTS) -> None:
        self._state = state
        self._decoder = Decoder(upcasts)
        self._parts: Iterator[Marked] | None = None
        self._part: Marked | None = None
        self._ticks: Link | None = None
        self._counted = 0
        self._early: Marks = {}
        self.end = START
        self.last_ns = 0
        self.ticks_fault = ""

    def fold(self, connection: sqlite3.Connection, checked: Checked, until_ns: int = FOREVER) -> None:
        """Folds what was checked, up to and including `until_ns`. Raises `JournalError`."""
        self._connection = connection
        self._parts = None
        for number, step in self._steps(checked):
            if step.events[0].ts > until_ns:
                break
            if number >= checked.day_row:
                self._mark(step.ticks, until_ns)
            for event in step.events:
                self._state.apply(event)
            self._apply_early()
            self.last_ns = max(self.last_ns, step.events[-1].ts)
        if self._ticks is not None:
            self._mark(FOREVER, until_ns)

    def _steps(self, checked: Checked) -> Iterator[tuple[int, Step]]:
        if checked.end.number == self.end.number:
            return
        for row in rows_of(self._connection, EVENTS, self.end.number):
            number, seq, digest, _, data = row
            for step in unpacked_steps(data, self._state.seq + 1, self._decoder):  # type: ignore[arg-type]
                yield number, step  # type: ignore[misc]
            if seq != self._state.seq:
                raise JournalError(f"row {number} holds other events than it counts")
            self.end = Link(number, seq, digest)  # type: ignore[arg-type]
            if number == checked.end.number:
                return

    # ── ticks ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _mark(self, ticks: int, until_ns: int) -> None:
        """Puts the marks of the ticks so far, `ticks` in all, where the fold has come."""
        if self._ticks is None:  # the first step of the last day: it carries the marks of the ticks before it
            self._ticks, self._counted = self._row_before(ticks), ticks
        if self._parts is None:
            self._parts = self._marked(until_ns)
            self._part = next(self._parts, None)
        while self._part is not None and self._part.ticks <= ticks:
            self._apply(self._part)
            self._part = next(self._parts, None)

    def _apply(self, part: Marked) -> None:
        for symbol, marks in part.marks.items():
            market = self._state.markets.get(symbol)
            if market is None:
                self._early[symbol] = marks
            else:
                self._state.mark_between(market, *marks)
        self._counted = part.ticks
        self.last_ns = max(self.last_ns, part.last_ns)

    def _apply_early(self) -> None:
        """A symbol's first tick stands before the event that adds its instrument."""
        for symbol in [symbol for symbol in self._early if symbol in self._state.markets]:
            self._state.mark_between(self._state.markets[symbol], *self._early.pop(symbol))

    def _marked(self, until_ns: int) -> Iterator[Marked]:
        assert self._ticks is not None
        rows = rows_of(self._connection, TICKS, self._ticks.number)
        try:
            for row in followed(TICKS, rows, self._ticks):
                for part in unpacked_marks(row.marks):
                    if part.last_ns > until_ns:
                        yield marks_until(row.data, row.link.seq, self._counted, until_ns)
                        return
                    if part.ticks > self._counted:
                        yield part
                self._ticks = row.link
        except (JournalError, sqlite3.Error) as error:
            self.ticks_fault = str(error)

    def _row_before(self, ticks: int) -> Link:
        """The last row that holds none but the first `ticks` ticks: numbers and counts rise together."""
        low, high = 0, self._connection.execute("SELECT coalesce(max(number), 0) FROM ticks").fetchone()[0]
        while low < high:
            middle = (low + high + 1) // 2
            row = self._link(middle)
            if row is not None and row.seq <= ticks:
                low = middle
            else:
                high = middle - 1
        return self._link(low) or START

    def _link(self, number: int) -> Link | None:
        found = self._connection.execute("SELECT number, seq, hash FROM ticks WHERE number = ?", (number,)).fetchone()
        return None if found is None else Link(*found)
