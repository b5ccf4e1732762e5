"""One inbox for one thread: ticks and jobs from any thread, in the order they were posted, questions answered between.

Posting costs the poster a lock and, when the loop sleeps, a wake-up; nothing a poster does waits for the work itself.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from math import inf
from threading import Event, RLock, get_ident, local
from time import monotonic, perf_counter
from typing import TypeVar

from livetrade.core.ticks import Tick

T = TypeVar("T")
Job = Callable[[], None]

SLICE = 0.003
"""How long the inbox is worked on before the loop looks after feeds and timers again, in seconds."""
CHECK_EVERY = 64
"""Items between two looks at the clock."""

_log = logging.getLogger("livetrade")


class Inbox:
    """Belongs to the thread that runs `loop`. `take` handles a tick; `after_batch` runs after each batch of items;
    `clock` tells what time a tick is posted, to any thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        take: Callable[[Tick], None],
        after_batch: Job,
        clock: Callable[[], int],
    ) -> None:
        self._loop = loop
        self._take = take
        self._after_batch = after_batch
        self._clock = clock
        self._items: deque[Tick | Job] = deque()
        self._questions: deque[tuple[int, Job]] = deque()
        self._lock = RLock()  # a signal handler may post while its own thread does
        self._posted = 0
        self._taken = 0
        self._signaled = False
        self._continuing = False
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
                raise type(self._closed)(*self._closed.args)  # one of its own: a traceback belongs to one thread
            if type(item) is Tick:
                item.received_ns = self._clock()
            self._items.append(item)
            self._posted += 1
            self._own.posted = self._posted
            signaled, self._signaled = self._signaled, True
        if not signaled:
            with suppress(RuntimeError):  # the loop has just been closed, after it took this item
                self._loop.call_soon_threadsafe(self.work)

    def ask(self, question: Callable[[], T], seconds: float = inf) -> T:
        """The answer to a question, asked between two items: after this thread's own posts, ahead of the others'.

        Raises `TimeoutError` where the answer takes longer.
        """
        until = monotonic() + seconds
        if self._ended.is_set():  # looked at first: a later thread may have the ended one's number
            return self._ask_alone(question)
        if get_ident() == self._thread:
            return question()
        answer: Future[T] = Future()

        def job() -> None:
            try:
                answer.set_result(question())
            except BaseException as error:  # noqa: BLE001  handed to the thread that asks
                answer.set_exception(error)

        self._questions.append((getattr(self._own, "posted", 0), job))
        try:
            self._loop.call_soon_threadsafe(self._asked)
        except RuntimeError:  # the loop has just been closed
            self._ended.wait()
        while not answer.done():
            if self._ended.wait(0) and not answer.done():
                return self._ask_alone(question)
            try:
                return answer.result(min(0.1, seconds))
            except TimeoutError:
                if monotonic() > until and not answer.done():
                    raise
        return answer.result()

    def _ask_alone(self, question: Callable[[], T]) -> T:
        """Once the thread has ended, whoever asks has its place; one at a time, for what is asked may be tidied up by
        the first look at it."""
        with self._lock:
            return question()

    def close(self, error: Exception) -> None:
        """No more posts: they raise `error` from here on."""
        with self._lock:
            self._closed = error

    def wait_for_end(self, seconds: float) -> None:
        if get_ident() != self._thread:
            self._ended.wait(seconds)

    def abandon(self, error: Exception) -> None:
        """In a forked child: the thread stayed behind in the parent, and so did whoever held the lock."""
        self._lock = RLock()
        self.close(error)
        self._ended.set()

    # ── on the thread of the loop ────────────────────────────────────────────────────────────────────────────────────

    def belong_here(self) -> None:
        """Names the calling thread as the owner."""
        self._thread = get_ident()

    def end(self) -> None:
        """The thread stops; what is asked later is answered by whoever asks."""
        self._serve(everything=True)
        self._ended.set()

    def drain_all(self, seconds: float) -> int:
        """Works everything off. When the time is over, jobs only: gives back how many ticks were left out."""
        until = monotonic() + seconds
        while self._items and monotonic() < until:
            self._drain()
        left = list(self._items)
        self._items.clear()
        jobs = [item for item in left if type(item) is not Tick]
        self._items.extend(jobs)
        while self._items:
            self._drain()
        self._taken += len(left) - len(jobs)
        return len(left) - len(jobs)

    def work(self) -> None:
        """A wake-up. The engine also looks by itself now and then, for a poster that was interrupted before it rang."""
        self._signaled = False
        self._drain()

    def _asked(self) -> None:
        self._serve()
        if self._questions:  # they wait for posts, whose ring may have been interrupted
            self.work()

    def _continue(self) -> None:
        self._continuing = False
        self._drain()

    def _drain(self) -> None:
        """Works items off, in order, for a slice of time."""
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
        if items and not self._continuing:
            self._continuing = True
            self._loop.call_soon(self._continue)

    def _serve(self, *, everything: bool = False) -> None:
        """Answers the questions whose own thread's posts were all taken."""
        questions = self._questions
        for _ in range(len(questions)):
            after, answer = questions.popleft()
            if everything or after <= self._taken:
                answer()
            else:
                questions.append((after, answer))
