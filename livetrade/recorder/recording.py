"""`engine.record(folder)`: a thread that writes ticks down while the engine's own only appends them to a list."""

import logging
import os
import warnings
from collections import deque
from collections.abc import Callable
from datetime import tzinfo
from functools import partial
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Self

from livetrade.core.ticks import Tick
from livetrade.recorder.folder import TICKS_A_FILE, Folder
from livetrade.recorder.parquet import needs_pyarrow

TICKS_WAITING = 1_000_000
"""Ticks are dropped, and counted, once so many wait for a disk that does not answer."""
AGAIN = 1.0

_log = logging.getLogger("livetrade")


class Recording:
    """Ticks of an engine on their way to disk, until `stop()` or the end of the engine.

    path: the folder. ticks: how many are in files. dropped: how many had to be left out. fault: why nothing can be
    written now; empty while all is well.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        zone: tzinfo,
        *,
        ticks_a_file: int = TICKS_A_FILE,
        waiting: int = TICKS_WAITING,
    ) -> None:
        needs_pyarrow("recording ticks")
        self.path = Path(folder).expanduser().resolve()
        self._folder = Folder(self.path, zone, ticks_a_file)
        self._most_waiting = waiting
        self._queue: deque[list[Tick]] = deque()
        self._given = 0  # counted by the engine's thread alone
        self._stop_lock = Lock()
        self._ring, self._stopped = Event(), Event()
        self._detach: Callable[[], None] | None = None
        self.ticks = self.dropped = 0
        self.fault = ""
        self._thread = Thread(target=self._run, name=f"livetrade-recording-{self.path.name}", daemon=True)
        self._thread.start()

    def attached(self, detach: Callable[[], None]) -> None:
        """Names what ends the flow of ticks, the last of which it still gives."""
        self._detach = detach

    def take(self, quotes: list[Tick]) -> None:
        """On the engine's thread: these are to be written."""
        if self._given - self.ticks + len(quotes) > self._most_waiting:
            self.dropped += len(quotes)
            return
        self._given += len(quotes)
        self._queue.append(quotes)
        self._ring.set()

    def stop(self, seconds: float | None = None) -> int:
        """Writes what waits, closes the file (for `seconds` at the most; None: until it is done), and gives back how
        many ticks were written. May be called again.

        What could not be written is told by a `RuntimeWarning`.
        """
        with self._stop_lock:
            detach, self._detach = self._detach, None
            if detach is not None:
                detach()
            already = self._stopped.is_set()
            self._stopped.set()
            self._ring.set()
            self._thread.join(seconds)
        lost = self.dropped + self._given - self.ticks
        if lost and not already:
            why = self.fault or "the disk did not keep up"
            warnings.warn(f"{lost:,} ticks were not recorded in {self.path}: {why}", RuntimeWarning, stacklevel=2)
        return self.ticks

    def abandon(self) -> None:
        """In a forked child: the thread stayed behind in the parent, and so does the folder."""
        self._stopped.set()
        self._folder.let_go()

    # ── the recording's thread ───────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        try:
            self._try(self._folder.adopt)
            last = False
            while not last:
                self._ring.wait()
                self._ring.clear()
                last = self._stopped.is_set()  # what was given before that is in the queue now
                self._write_all()
            self._try(self._folder.close_file)
        finally:
            self._folder.let_go()

    def _write_all(self) -> None:
        """Writes what waits, however often it takes; once it is stopped, a failure ends that."""
        while self._queue:
            quotes = list(self._queue[0])  # others have the list too
            while quotes:
                before = len(quotes)
                done = self._try(partial(self._folder.write, quotes))
                self.ticks += before - len(quotes)
                if not done and self._stopped.is_set():
                    return
                if not done:
                    self._stopped.wait(AGAIN)
            self._queue.popleft()

    def _try(self, job: Callable[[], None]) -> bool:
        try:
            job()
        except Exception as error:  # noqa: BLE001  a thread's edge: whatever it is, it is told and tried again
            if not self.fault:
                known = isinstance(error, OSError)
                _log.error("%s cannot be recorded into: %s", self.path, error, exc_info=None if known else error)
            self.fault = str(error) or type(error).__name__
            return False
        self.fault = ""
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = f"cannot be written: {self.fault}" if self.fault else "stopped" if self._stopped.is_set() else "running"
        dropped = f", {self.dropped:,} dropped" if self.dropped else ""
        return f"<Recording {self.path}: {self.ticks:,} ticks{dropped}, {state}>"
