"""A disk in memory that fails as its dice say, and the real journal on it: rows, chain, `Writer.work`, folding.

What the disk has taken outlives a crash; so may a row whose commit was said to have failed.
"""

import sqlite3
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path

from livetrade.core import events as ev
from livetrade.core.state import State
from livetrade.core.ticks import Tick
from livetrade.encoding import Decoder
from livetrade.journal.base import Job
from livetrade.journal.chain import START, Head, Row
from livetrade.journal.file import FileJournal
from livetrade.journal.past import check
from livetrade.journal.rows import unpacked_steps
from livetrade.journal.store import EVENTS, MIGRATIONS, TICKS, last_link, migrate
from livetrade.journal.writer import AGAIN, Writer
from tests.simulation.world import World

NOWHERE = Path("/nowhere/simulated.journal")
Commit = tuple[Row | None, Row | None]


class Mode(StrEnum):
    WELL = "well"
    FULL = "full"
    """Nothing can be written, and the free space says so."""
    FULL_UNSEEN = "full unseen"
    """Nothing can be written, though the free space says otherwise (a quota)."""
    ERROR = "error"
    DOUBTFUL = "doubtful"
    """A commit fails, and its row is there all the same once the file is opened again."""
    STALLED = "stalled"


class Disk:
    """`durable` is the fold of all that is safe: what an engine that starts now would know."""

    def __init__(self, world: World, safe: Callable[[ev.Event], None]) -> None:
        self._world = world
        self._safe = safe
        self._dice = world.dice("disk")
        self._decoder = Decoder()
        self.mode = Mode.WELL
        self.commits: list[Commit] = []
        self.head = Head(START, START)
        self.written_head = Head(START, START)
        self.doubtful: Commit | None = None
        self.durable = State()

    def write(self, ticks: Row | None, events: Row | None) -> None:
        self.doubtful = None if self.mode is Mode.WELL else self.doubtful  # the rest of a failed write is removed
        self._world.counts[f"write {self.mode}"] += 1
        match self.mode:
            case Mode.FULL | Mode.FULL_UNSEEN:
                raise sqlite3.OperationalError("database or disk is full")
            case Mode.ERROR:
                raise sqlite3.OperationalError("disk I/O error")
            case Mode.DOUBTFUL:
                self.doubtful = ticks, events
                raise sqlite3.OperationalError("disk I/O error")
        self._commit(ticks, events)

    def _commit(self, ticks: Row | None, events: Row | None) -> None:
        self.commits.append((ticks, events))
        self.head = Head(events.link if events else self.head.events, ticks.link if ticks else self.head.ticks)
        for step in unpacked_steps(events.data, self.durable.seq + 1, self._decoder) if events else ():
            for event in step.events:
                self.durable.apply(event)
                self._safe(event)

    def crash(self) -> None:
        """The process is gone; the disk may be well again when the next one looks."""
        if self.doubtful is not None and self._dice.random() < 0.5:
            self._world.counts["a failed commit was there"] += 1
            self._commit(*self.doubtful)
        self.doubtful = None
        self.mode = Mode.WELL

    def connection(self) -> sqlite3.Connection:
        """The tables as they would be found in the file."""
        connection = sqlite3.connect(":memory:", isolation_level=None)
        migrate(connection, MIGRATIONS)
        for number, table in enumerate(("ticks", "events")):
            rows = [commit[number] for commit in self.commits]
            values = [(r.link.number, r.link.seq, r.link.hash, r.marks, r.data) for r in rows if r is not None]
            connection.executemany(f"INSERT INTO {table} VALUES (?,?,?,?,?)", values)
        return connection

    def bytes(self) -> bytes:
        return b"\n".join(row.data for commit in self.commits for row in commit if row is not None)


class DiskStore:
    """In the place of `Store`."""

    path = NOWHERE

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.connection = disk.connection()

    @property
    def head(self) -> Head:
        return self._disk.head

    def write(self, ticks: Row | None, events: Row | None) -> None:
        self._disk.write(ticks, events)

    def write_head(self) -> None:
        self._disk.written_head = self._disk.head

    def sync_head(self) -> None:
        """Its head is safe when it is written."""

    def close(self) -> None:
        self.connection.close()


class DiskJournal(FileJournal):
    """A `FileJournal` without file, lock and thread: its writer works when the loop says so."""

    def __init__(self, world: World, disk: Disk, *, ticks: bool) -> None:
        super().__init__(NOWHERE, ticks=ticks)
        self._world = world
        self._disk = disk
        self._dice = world.dice(f"journal from {world.now}")
        self._store = DiskStore(disk)  # type: ignore[assignment]
        self._due = 0.0
        self._posts: list[Job] = []
        self.gone = False
        """Its process is gone: nothing leaves it any more."""

    @property
    def exists(self) -> bool:
        return bool(self._disk.commits)

    def open(self) -> None:
        known = self._disk.written_head
        self._checked = check(self._store.connection, EVENTS, known.events)
        self._known_ticks = known.ticks
        self._world.expect(not self._checked.damage, f"the journal is damaged: {self._checked.damage}")
        ticks = max(known.ticks, last_link(self._store.connection, TICKS), key=lambda link: link.number)
        self._world.expect(Head(self._checked.end, ticks) == self._disk.head, "the journal ends elsewhere")

    def start(self, post: Callable[[Job], None], failed: Job) -> None:
        self._post_at_once = post
        self._writer = Writer(self._store, self._post_later, failed)

    def _post_later(self, job: Job) -> None:
        """From one thread to another: in order, some time later."""
        self._posts.append(job)
        self._world.loop.call_later(self._dice.choice((0, 0, 0.0005, 0.02)), self._arrive)

    def _arrive(self) -> None:
        if self._posts and not self.gone:
            self._post_at_once(self._posts.pop(0))

    def append(self, events: Sequence[ev.Event], durable: Job) -> None:
        super().append(events, durable)
        self._ring(self._dice.choice((0.0002, 0.002, 0.005, 0.03)))

    def record(self, quotes: list[Tick]) -> None:
        super().record(quotes)
        self._ring(0.005)

    def _ring(self, seconds: float) -> None:
        due = self._world.now + seconds
        if not self._due or due < self._due:
            self._due = due
            self._world.loop.call_at(due, self._work, due)

    def _work(self, due: float) -> None:
        writer = self._writer
        if due != self._due:  # an earlier one took its place
            return
        self._due = 0.0
        if self.gone or writer is None or writer.is_done():
            return
        if self._disk.mode is Mode.STALLED:
            writer._take()  # this is what it was about to write
            self._ring(0.05)
        elif not writer.work():
            self._ring(AGAIN)
        elif not writer.is_done():
            self._ring(0.001)

    def fault(self) -> str:
        if self._writer is not None and self._writer.fault:
            return self._writer.fault
        return "its disk is full, 0 bytes are left" if self._disk.mode is Mode.FULL else ""

    def crash(self) -> None:
        self.gone = True
        self._store.close()

    def close(self, seconds: float) -> bool:
        done = self._writer is None or self._disk.mode is not Mode.STALLED
        while done and self._writer is not None and not self._writer.is_done():
            done = self._writer.work()
        self.crash()
        return done
