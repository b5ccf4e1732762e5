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
from livetrade.journal.rows import Marked, Step, marked, packed_marks, packed_steps, packed_ticks
from livetrade.journal.store import EVENTS, TICKS, Store

STEPS_AT_ONCE = 512
TICKS_AT_ONCE = 20_000
"""One commit takes no more, so that packing a backlog never holds the interpreter for long."""
TICKS_WAITING = 1_000_000
"""Ticks are dropped, and counted, once so many wait for a disk that does not answer; events never are."""
AGAIN = 1.0
HEAD_EVERY = 1.0
"""How often the head is made to reach the disk, in seconds: it may be so far behind after a power failure."""

_log = logging.getLogger("livetrade")
Item = tuple[Sequence[AccountEvent], Job] | list[Tick]


class Writer:
    """One try is `work`; `run` is the thread that tries as long as there is something to write.

    post: runs a job on the engine's thread. failed: is posted each time a try has failed. ended: runs on the writer's
    thread, at its end.
    """

    def __init__(
        self,
        store: Store,
        post: Callable[[Job], None],
        failed: Job,
        ended: Job = lambda: None,
        *,
        ticks_waiting: int = TICKS_WAITING,
    ) -> None:
        self._store = store
        self._post = post
        self._failed = failed
        self._ended = ended
        self._ticks_waiting = ticks_waiting
        self._queue: deque[Item] = deque()
        self._waiting: list[Item] = []  # taken from the queue, and not safe yet
        self._given = self._done = 0  # items; the first is counted by the engine's thread, the second by the writer's
        self._recorded = self._written = 0  # ticks, likewise
        self._ring = Event()
        self._stopped = Event()
        self._head_due = 0.0
        self._thread: Thread | None = None
        self.fault = ""
        self.dropped_ticks = 0

    # ── the engine's thread ──────────────────────────────────────────────────────────────────────────────────────────

    def start(self, name: str) -> None:
        self._thread = Thread(target=self.run, name=name, daemon=True)
        self._thread.start()

    def append(self, events: Sequence[AccountEvent], durable: Job) -> None:
        self._give((events, durable))

    def record(self, quotes: list[Tick]) -> None:
        if self._recorded - self._written + len(quotes) > self._ticks_waiting:
            self.dropped_ticks += len(quotes)
            return
        self._recorded += len(quotes)
        self._give(quotes)

    def _give(self, item: Item) -> None:
        self._given += 1
        self._queue.append(item)
        self._ring.set()

    def stop(self, seconds: float) -> bool:
        """Ends the thread once all is written, or cannot be; False where something is left after `seconds`."""
        self._stopped.set()
        self._ring.set()
        assert self._thread is not None
        self._thread.join(seconds)
        if not self.is_done():
            return False
        self._thread.join()  # all that is left is to let go
        return True

    def is_done(self) -> bool:
        """Nothing waits to be written."""
        return self._done == self._given

    # ── the writer's thread ──────────────────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        try:
            last = False
            while not last:
                self._ring.wait(HEAD_EVERY)
                self._ring.clear()
                last = self._stopped.is_set()  # what was given before that is in the queue now
                self._write_all()
        finally:
            self._ended()

    def _write_all(self) -> None:
        """Writes all that waits, however often it takes; once it is stopped, a failure ends that."""
        while not self.is_done():
            if self.work():
                self._sync_head()
            elif self._stopped.is_set():
                return
            else:
                self._stopped.wait(AGAIN)
        self._sync_head()

    def work(self) -> bool:
        """Writes the oldest of what waits, in one commit; False where that failed."""
        self._take()
        try:
            ticks, events = self._rows()
            if ticks or events:
                self._store.write(ticks, events)
        except Exception as error:  # noqa: BLE001  a thread's edge: whatever it is, it is told and tried again
            self._told(error)
            return False
        self.fault = ""
        self._on_head(self._store.write_head)
        done, self._waiting = self._waiting, []
        self._done += len(done)
        self._written += sum(len(item) for item in done if isinstance(item, list))
        durable = [item[1] for item in done if isinstance(item, tuple)]
        if durable:
            self._post(lambda: _call(durable))
        return True

    def _take(self) -> None:
        """What failed is tried again as it was."""
        steps = ticks = 0
        if not self._waiting:
            while self._queue and steps < STEPS_AT_ONCE and ticks < TICKS_AT_ONCE:
                item = self._queue.popleft()
                self._waiting.append(item)
                if isinstance(item, list):
                    ticks += len(item)
                else:
                    steps += 1

    def _rows(self) -> tuple[Row | None, Row | None]:
        """What waits as a row of ticks and one of events, or None where there are none."""
        head = self._store.head
        quotes: list[Tick] = []
        parts: list[Marked] = []
        steps: list[Step] = []
        for item in self._waiting:
            if isinstance(item, list):
                quotes += item
                parts.append(marked(item, head.ticks.seq + len(quotes)))
            elif item[0]:
                steps.append(Step(head.ticks.seq + len(quotes), item[0]))
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
