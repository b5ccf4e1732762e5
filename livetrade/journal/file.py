"""A journal in a file: SQLite, one writer, chained rows, and a head beside it."""

import os
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from livetrade.core.events import Event
from livetrade.core.numbers import counted
from livetrade.core.state import State
from livetrade.core.ticks import Tick
from livetrade.errors import JournalError
from livetrade.journal.base import Job, Journal
from livetrade.journal.chain import START, Head
from livetrade.journal.lock import OwnerLock, refuse_network
from livetrade.journal.past import Checked, Past
from livetrade.journal.store import UNREADABLE, Store, batches_after, identity, lock_path, log_path
from livetrade.journal.verify import examined, reading
from livetrade.journal.wal import torn_bytes
from livetrade.journal.writer import Writer

ROOM = 64 * 1024
"""Bytes that must be left on the disk before anything is opened: room to write down what is already decided."""


class FileJournal(Journal):
    """Keeps the events of an account in a file, so that it outlives the process: orders, stops, halt, limits and ids.

    path: the file, made when it is not there; its folder must be. Beside it stand `.lock`, `.head` and SQLite's `-wal`
    and `-shm`. ticks: False records no ticks; a position is then valued at cost after a crash until its next tick.
    Ticks are written four times a second and with every event, so a crash loses a quarter of a second of them at the
    most.
    """

    saved = True

    def __init__(self, path: str | os.PathLike[str], *, ticks: bool = True) -> None:
        self.path = Path(path).expanduser().resolve()
        self.keeps_ticks = ticks
        self._lock = OwnerLock(lock_path(self.path))
        self._store = Store(self.path)
        self._writer: Writer | None = None
        self._checked = Checked(START)
        self._known_ticks = START
        self._file: tuple[int, int] | None = None
        self.notes: list[str] = []

    @property
    def exists(self) -> bool:
        return self.path.exists()

    def open(self) -> None:
        if not self.path.parent.is_dir():
            raise JournalError(f"there is no folder {str(self.path.parent)!r} to keep a journal in")
        refuse_network(self.path.parent)
        try:
            self._lock.acquire()
        except OSError as error:
            raise JournalError(f"{self.path} cannot be locked: {error}") from error
        try:
            self._open()
        except (*UNREADABLE, OSError) as error:
            self._let_go()
            raise JournalError(f"{self.path} cannot be opened: {error}") from error
        except BaseException:
            self._let_go()
            raise

    def _open(self) -> None:
        """Nothing is changed before it is known to be whole."""
        torn = torn_bytes(log_path(self.path))
        note = f"a write of {torn:,} bytes stopped half-way and is left out; it was never acknowledged"
        self.notes = [note] if torn else []
        self._writer = None
        self._checked, self._known_ticks, ticks = examined(self.path)
        damage, end = self._checked.damage, self._checked.end
        if damage:
            raise JournalError(
                f"{self.path} is damaged: {damage}; its first {end.seq:,} events are good. "
                f"`livetrade journal verify` says more, `livetrade journal salvage` keeps what is good"
            )
        self._store.open()
        self._store.continue_from(Head(end, ticks))
        self._file = identity(self.path)

    def restore(self, state: State) -> int:
        past = Past(state, known_ticks=self._known_ticks)
        past.fold(self._store.connection, self._checked)
        if past.ticks_fault:
            self.notes.append(f"recorded ticks are damaged, marks and extremes may be older: {past.ticks_fault}")
        return past.last_ns

    def start(self, post: Callable[[Job], None], failed: Job) -> None:
        self._writer = Writer(self._store, post, failed, self._let_go)
        self._writer.start(f"livetrade-{self.path.name}")

    def append(self, events: Sequence[Event], durable: Job) -> None:
        assert self._writer is not None
        self._writer.append(events, durable)

    def batches(self, after: int) -> Generator[bytes, None, None]:
        with reading(self.path) as connection:
            yield from batches_after(connection, after)

    def record(self, quotes: list[Tick]) -> None:
        assert self._writer is not None
        self._writer.record(quotes)

    def fault(self) -> str:
        if self._writer is not None and self._writer.fault:
            return self._writer.fault
        try:
            disk = os.statvfs(self.path.parent)
            if identity(self.path) != self._file:
                return "its file was replaced by another"
        except OSError as error:
            return str(error)
        left = disk.f_bavail * disk.f_frsize
        return f"its disk is full, {left:,} bytes are left" if left < ROOM else ""

    def close(self, seconds: float) -> bool:
        if self._writer is None:
            self._let_go()
            return True
        return self._writer.stop(seconds)  # which lets go at its end; until then the lock stays with this process

    def _let_go(self) -> None:
        self._store.close()
        self._lock.release()

    def abandon(self) -> None:
        self._lock.release()
        self._store.abandon()

    def __repr__(self) -> str:
        fault, dropped = (self._writer.fault, self._writer.dropped_ticks) if self._writer is not None else ("", 0)
        state = f"cannot be written: {fault}" if fault else "saved"
        lost = f", {dropped:,} ticks dropped" if dropped else ""
        return f"FileJournal({self.path.name!r}, {counted(self._store.head.events.seq, 'event')}, {state}{lost})"
