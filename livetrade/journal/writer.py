"""The thread that writes: it takes what the engine has handed over, commits it as one, and says so.

The engine's thread only ever puts things into a queue. What cannot be written stays and is tried again every second, on
a new connection; nothing is ever left out or put in another order.
"""

import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from threading import Event, Thread
from time import monotonic

from livetrade.core.events import Event as AccountEvent
from livetrade.core.ticks import Tick
from livetrade.errors import JournalError
from livetrade.journal.base import Job
from livetrade.journal.chain import Row, linked
from livetrade.journal.rows import Marked, Step, marked, packed_marks, packed_steps, packed_ticks, storable
from livetrade.journal.store import EVENTS, TICKS, Store

STEPS_AT_ONCE = 512
TICKS_WAITING = 1_000_000
"""Ticks are dropped, and counted, once so many wait for a disk that does not answer; events never are."""
AGAIN = 1.0
HEAD_EVERY = 1.0
"""How often the head is made to reach the disk, in seconds: it may be so far behind after a power failure."""

_log = logging.getLogger("livetrade")
Item = tuple[Sequence[AccountEvent], Job] | list[Tick]


class Writer:
    """One try is `work`; `run` is the thread that tries as long as there is something to write.

    post: runs a job on the engine's thread. failed: is posted each time a try has failed.
    """

    def __init__(self, store: Store, post: Callable[[Job], None], failed: Job) -> None:
        self._store = store
        self._post = post
        self._failed = failed
        self._queue: deque[Item] = deque()
        self._waiting: list[Item] = []  # taken from the queue, and not safe yet
        self._recorded = 0  # ticks handed over, counted by the engine's thread
        self._written = 0  # ... and done with, counted by the writer's
        self._ring = Event()
        self._stopped = False
        self._head_due = 0.0
        self._thread: Thread | None = None
        self.fault = ""
        self.dropped_ticks = 0

    # ── the engine's thread ──────────────────────────────────────────────────────────────────────────────────────────

    def start(self, name: str) -> None:
        self._thread = Thread(target=self.run, name=name, daemon=True)
        self._thread.start()

    def append(self, events: Sequence[AccountEvent], durable: Job) -> None:
        self._queue.append((events, durable))
        self._ring.set()

    def record(self, quotes: list[Tick]) -> None:
        if self._recorded - self._written + len(quotes) > TICKS_WAITING:
            self.dropped_ticks += len(quotes)
            return
        self._recorded += len(quotes)
        self._queue.append(quotes)
        self._ring.set()

    def stop(self, seconds: float) -> bool:
        """Ends the thread once all is written, or after `seconds`; False while it is still at it."""
        self._stopped = True
        self._ring.set()
        if self._thread is not None:
            self._thread.join(seconds)
        return self._thread is None or not self._thread.is_alive()

    def is_done(self) -> bool:
        """Nothing waits to be written."""
        return not (self._queue or self._waiting)

    # ── the writer's thread ──────────────────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        while True:
            self._ring.wait(HEAD_EVERY)
            self._ring.clear()
            while self._queue or self._waiting:
                if not self.work():
                    if self._stopped:
                        return
                    self._ring.wait(AGAIN)
                    self._ring.clear()
            self._sync_head()
            if self._stopped:
                return

    def work(self) -> bool:
        """Writes the oldest of what waits, in one commit; False where that failed."""
        self._take()
        steps = [item for item in self._waiting if isinstance(item, tuple)]
        try:
            ticks, events = self._rows()
            if ticks or events:
                self._store.write(ticks, events)
        except Exception as error:  # noqa: BLE001  a thread's edge: whatever it is, it is told and tried again
            self._told(error)
            return False
        self.fault = ""
        self._on_head(self._store.write_head)
        self._written += sum(len(item) for item in self._waiting if isinstance(item, list))
        self._waiting.clear()
        if steps:
            self._post(lambda: _call([durable for _, durable in steps]))
        return True

    def _take(self) -> None:
        if self._waiting:  # what failed is tried again as it was
            return
        count = 0
        while self._queue and count < STEPS_AT_ONCE:
            item = self._queue.popleft()
            count += isinstance(item, tuple)
            self._waiting.append(item)

    def _rows(self) -> tuple[Row | None, Row | None]:
        """What waits as a row of ticks and one of events, or None where there are none."""
        head = self._store.head
        quotes: list[Tick] = []
        parts: list[Marked] = []
        steps: list[Step] = []
        count = head.ticks.seq
        for item in self._waiting:
            if isinstance(item, list):
                kept = storable(item)
                if kept:
                    quotes += kept
                    count += len(kept)
                    parts.append(marked(kept, count))
            elif item[0]:
                steps.append(Step(count, item[0]))
        total = sum(len(step.events) for step in steps)
        return (
            linked(TICKS, head.ticks, len(quotes), packed_ticks(quotes), packed_marks(parts)) if quotes else None,
            linked(EVENTS, head.events, total, packed_steps(steps, head.events.seq + 1)) if steps else None,
        )

    def _told(self, error: Exception) -> None:
        known = isinstance(error, sqlite3.Error | OSError | JournalError)
        if not self.fault:
            _log.error("%s cannot be written: %s", self._store.path, error, exc_info=None if known else error)
        self.fault = str(error) or type(error).__name__
        self._post(self._failed)

    def _sync_head(self) -> None:
        now = monotonic()
        if now >= self._head_due:
            self._head_due = now + HEAD_EVERY
            self._on_head(self._store.sync_head)

    def _on_head(self, action: Job) -> None:
        """The head only vouches for what is safe without it: a failure is told, and the next commit tries again."""
        try:
            action()
        except OSError as error:
            _log.warning("the head of %s cannot be written: %s", self._store.path, error)


def _call(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job()
