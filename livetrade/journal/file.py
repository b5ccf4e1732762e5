"""A journal in a file: SQLite, one writer, chained rows, and a head beside it."""

import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from livetrade.core.events import Event
from livetrade.core.state import State
from livetrade.core.ticks import Tick
from livetrade.errors import JournalError
from livetrade.journal.base import Job, Journal
from livetrade.journal.chain import START, Head, read_head
from livetrade.journal.lock import OwnerLock, refuse_network
from livetrade.journal.past import Checked, Past, check
from livetrade.journal.store import EVENTS, TICKS, Store, head_path, last_link, lock_path, log_path
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
        self.notes: list[str] = []

    @property
    def exists(self) -> bool:
        return self.path.exists()

    def open(self) -> None:
        if not self.path.parent.is_dir():
            raise JournalError(f"there is no folder {str(self.path.parent)!r} to keep a journal in")
        refuse_network(self.path.parent)
        self._lock.acquire()
        try:
            self._open()
        except (sqlite3.Error, OSError) as error:
            self._let_go()
            raise JournalError(f"{self.path} cannot be opened: {error}") from error
        except BaseException:
            self._let_go()
            raise

    def _open(self) -> None:
        torn = torn_bytes(log_path(self.path))
        if torn:
            self.notes.append(f"a write of {torn:,} bytes stopped half-way and is left out; it was never acknowledged")
        connection = self._store.open()
        head = read_head(head_path(self.path))
        known = head or Head(START, START)
        self._checked = check(connection, EVENTS, known.events)
        damage = self._checked.damage
        if head is None and self._checked.end != START:
            damage = f"its head {head_path(self.path).name} is missing, so nothing vouches for its end"
        if damage:
            raise JournalError(
                f"{self.path} is damaged: {damage}; its first {self._checked.end.seq:,} events are good. "
                f"`livetrade journal verify` says more, `livetrade journal salvage` keeps what is good"
            )
        ticks = max(known.ticks, last_link(connection, TICKS), key=lambda link: link.number)
        self._store.continue_from(Head(self._checked.end, ticks))

    def restore(self, state: State) -> int:
        past = Past(state)
        past.fold(self._store.connection, self._checked)
        if past.ticks_fault:
            self.notes.append(f"recorded ticks are damaged, marks and extremes may be older: {past.ticks_fault}")
        return past.last_ns

    def start(self, post: Callable[[Job], None], failed: Job) -> None:
        self._writer = Writer(self._store, post, failed)
        self._writer.start(f"livetrade-{self.path.name}")

    def append(self, events: Sequence[Event], durable: Job) -> None:
        assert self._writer is not None
        self._writer.append(events, durable)

    def record(self, quotes: list[Tick]) -> None:
        assert self._writer is not None
        self._writer.record(quotes)

    def fault(self) -> str:
        if self._writer is not None and self._writer.fault:
            return self._writer.fault
        disk = os.statvfs(self.path.parent)
        left = disk.f_bavail * disk.f_frsize
        return f"its disk is full, {left:,} bytes are left" if left < ROOM else ""

    def close(self, seconds: float) -> bool:
        if self._writer is not None and not self._writer.stop(seconds):
            return False  # it is still at it: the lock stays with this process
        done = self._writer is None or self._writer.is_done()
        self._let_go()
        return done

    def _let_go(self) -> None:
        self._store.close()
        self._lock.release()

    def abandon(self) -> None:
        self._lock.release()
        _ABANDONED.append(self)  # its connection belongs to the parent and is not closed here

    def __repr__(self) -> str:
        fault = self._writer.fault if self._writer is not None else ""
        state = f"cannot be written: {fault}" if fault else "saved"
        return f"FileJournal({self.path.name!r}, {self._store.head.events.seq:,} events, {state})"


_ABANDONED: list[FileJournal] = []
