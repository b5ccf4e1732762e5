"""One inbox for one thread: ticks and jobs from any thread, in the order they were posted, questions answered between.

Posting costs the poster a lock and, when the loop sleeps, a wake-up; nothing a poster does waits for the work itself.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from threading import Event, Lock, get_ident, local
from time import perf_counter, time_ns
from typing import TypeVar

from livetrade.core.values import Tick

T = TypeVar("T")
Job = Callable[[], None]

SLICE = 0.003
"""How long the inbox is worked on before the loop looks after feeds and timers again, in seconds."""
CHECK_EVERY = 64
"""Items between two looks at the clock."""

_log = logging.getLogger("livetrade")


class Inbox:
    """Belongs to the thread that runs `loop`. `take` handles a tick; `after_batch` runs after each batch of items."""

    def __init__(self, loop: asyncio.AbstractEventLoop, take: Callable[[Tick], None], after_batch: Job) -> None:
        self._loop = loop
        self._take = take
        self._after_batch = after_batch
        self._items: deque[Tick | Job] = deque()
        self._questions: deque[tuple[int, Job]] = deque()
        self._lock = Lock()
        self._posted = 0
        self._taken = 0
        self._signaled = False
        self._closed: Exception | None = None
        self._ended = Event()
        self._thread: int | None = None
        self._own = local()

    def __len__(self) -> int:
        return len(self._items)

    # ── from any thread ──────────────────────────────────────────────────────────────────────────────────────────────

    def post(self, item: Tick | Job) -> None:
        """Adds a tick (stamped now) or a job. Raises what `close` was given, once it was."""
        with self._lock:
            if self._closed is not None:
                raise self._closed
            if type(item) is Tick:
                item.received_ns = time_ns()
            self._posted = self._own.posted = self._posted + 1
            self._items.append(item)
            signaled, self._signaled = self._signaled, True
        if not signaled:
            self._loop.call_soon_threadsafe(self._drain)

    def ask(self, question: Callable[[], T]) -> T:
        """The answer to a question, asked between two items: after this thread's own posts, ahead of the others'."""
        if self._ended.is_set() or get_ident() == self._thread:
            return question()
        answer: Future[T] = Future()

        def job() -> None:
            try:
                answer.set_result(question())
            except BaseException as error:  # noqa: BLE001  handed to the thread that asks
                answer.set_exception(error)

        self._questions.append((getattr(self._own, "posted", 0), job))
        try:
            self._loop.call_soon_threadsafe(self._serve)
        except RuntimeError:  # the loop has just been closed
            self._ended.wait()
        while not answer.done():
            if self._ended.wait(0) and not answer.done():
                return question()
            try:
                return answer.result(0.1)
            except TimeoutError:
                continue
        return answer.result()

    def close(self, error: Exception) -> None:
        """No more posts: they raise `error` from here on."""
        with self._lock:
            self._closed = error

    def wait_for_end(self, seconds: float) -> None:
        self._ended.wait(seconds)

    # ── on the thread of the loop ────────────────────────────────────────────────────────────────────────────────────

    def belong_here(self) -> None:
        """Names the calling thread as the owner."""
        self._thread = get_ident()

    def end(self) -> None:
        """The thread stops; what is asked later is answered by whoever asks."""
        self._serve(everything=True)
        self._ended.set()

    def drain_all(self) -> None:
        while self._items:
            self._drain()

    def _drain(self) -> None:
        """Works items off, in order, for a slice of time."""
        self._signaled = False
        until = perf_counter() + SLICE
        count = 0
        items = self._items
        while items:
            if self._questions:
                self._serve()
            item = items.popleft()
            try:
                if type(item) is Tick:
                    self._take(item)
                else:
                    item()  # type: ignore[operator]
            except Exception:  # noqa: BLE001  one bad item costs itself, never the thread that watches the stops
                _log.exception("an item of the inbox failed: %r", item)
            self._taken += 1
            count += 1
            if count % CHECK_EVERY == 0 and perf_counter() > until:
                break
        self._serve()
        self._after_batch()
        if items and not self._signaled:
            self._signaled = True
            self._loop.call_soon(self._drain)

    def _serve(self, *, everything: bool = False) -> None:
        """Answers the questions whose own thread's posts were all taken."""
        questions = self._questions
        for _ in range(len(questions)):
            after, answer = questions.popleft()
            if everything or after <= self._taken:
                answer()
            else:
                questions.append((after, answer))
