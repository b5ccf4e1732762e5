"""The inbox: what many threads post arrives whole and in each one's order, and questions are answered in between."""

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from livetrade.core.instruments import Instrument
from livetrade.core.ticks import Tick
from livetrade.errors import EngineClosedError
from livetrade.inbox import Inbox
from tests.support import soon

SBIN = Instrument("NSE:SBIN-EQ")
START_NS = 1_772_423_100 * 10**9


@dataclass
class Served:
    """An inbox with a thread of its own, and all that it took, in order."""

    taken: list[Any] = field(default_factory=list)
    batches: int = 0
    on_tick: Callable[[Tick], None] = lambda _: None

    def __post_init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.inbox = Inbox(self.loop, self._take, self._batch, count(START_NS).__next__)
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _take(self, tick: Tick) -> None:
        self.on_tick(tick)
        self.taken.append(tick.bid_raw)

    def _batch(self) -> None:
        self.batches += 1

    def _run(self) -> None:
        self.inbox.belong_here()
        self.loop.run_forever()
        self.inbox.end()
        self.loop.close()

    def stop(self) -> None:
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(10)
        if not self.loop.is_closed():
            self.loop.close()


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    served.thread.start()
    yield served
    served.stop()


def tick(number: int) -> Tick:
    return Tick(SBIN, 0, number)


def test_eight_threads_lose_nothing_and_keep_their_order(served: Served) -> None:
    each, posters = 20_000, 8

    def post(poster: int) -> int:
        for number in range(1, each + 1):
            served.inbox.post(tick(poster * 1_000_000 + number))
        return served.inbox.ask(lambda: sum(raw // 1_000_000 == poster for raw in served.taken))

    with ThreadPoolExecutor(posters) as pool:
        seen = list(pool.map(post, range(1, posters + 1)))
    assert seen == [each] * posters  # each reads its own writes
    assert len(served.inbox) == 0
    for poster in range(1, posters + 1):
        own = [raw % 1_000_000 for raw in served.taken if raw // 1_000_000 == poster]
        assert own == list(range(1, each + 1))


def test_a_tick_is_stamped_by_the_clock_as_it_is_posted() -> None:
    served = Served()
    stamps: list[int] = []
    served.on_tick = lambda tick: stamps.append(tick.received_ns)
    for item in (tick(1), lambda: None, tick(2)):
        served.inbox.post(item)
    served.inbox._clock = lambda: 0  # time goes on until they are taken
    served.inbox.drain_all(60)
    assert stamps == [START_NS, START_NS + 1]
    served.stop()


def test_a_question_waits_for_its_own_posts_and_for_nobody_elses() -> None:
    served = Served()
    gate = threading.Event()
    served.inbox.post(lambda: gate.wait(30))
    for number in range(1, 5001):
        served.inbox.post(tick(number))
    served.thread.start()
    with ThreadPoolExecutor(2) as pool:
        stranger = pool.submit(served.inbox.ask, lambda: len(served.taken))
        gate.set()
        assert stranger.result(30) < 5000
        assert served.inbox.ask(lambda: len(served.taken)) == 5000
    served.stop()


def test_a_question_that_raises_raises_where_it_was_asked(served: Served) -> None:
    for error in (ValueError("no"), TimeoutError("late"), KeyboardInterrupt()):

        def ask(error: BaseException = error) -> None:
            raise error

        with pytest.raises(type(error)):
            served.inbox.ask(ask)
    assert served.inbox.ask(lambda: 1) == 1


def test_one_bad_item_costs_itself(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    def bad() -> None:
        raise ZeroDivisionError("bad item")

    def refuse(tick: Tick) -> None:
        if tick.bid_raw == 2:
            raise ArithmeticError("bad tick")

    served.on_tick = refuse
    with caplog.at_level(logging.ERROR):
        for item in (tick(1), bad, tick(2), tick(3)):
            served.inbox.post(item)
        assert served.inbox.ask(lambda: list(served.taken)) == [1, 3]
    assert [record.exc_info[1].args for record in caplog.records if record.exc_info] == [("bad item",), ("bad tick",)]  # type: ignore[union-attr]


def test_after_the_close_nobody_posts_and_everybody_reads(served: Served) -> None:
    served.inbox.post(tick(1))
    served.inbox.close(EngineClosedError("closed"))
    errors = []
    for _ in range(2):
        with pytest.raises(EngineClosedError, match="closed") as caught:
            served.inbox.post(tick(2))
        errors.append(caught.value)
    assert errors[0] is not errors[1]
    served.stop()
    assert served.inbox.ask(lambda: served.taken) == [1]


def test_after_the_end_questions_are_asked_one_at_a_time(served: Served) -> None:
    """A read may write what the account has not written into its columns yet."""
    served.stop()
    asking, seen = [0], []

    def question() -> None:
        asking[0] += 1
        time.sleep(0.01)
        seen.append(asking[0])
        asking[0] -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: served.inbox.ask(question), range(8)))
    assert seen == [1] * 8


def test_questions_survive_a_thread_that_ends(served: Served) -> None:
    asking = threading.Barrier(5)

    def ask() -> int:
        asking.wait()
        return sum(served.inbox.ask(lambda: 1) for _ in range(300))

    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(ask) for _ in range(4)]
        asking.wait()
        served.stop()
        assert [answer.result(30) for answer in answers] == [300] * 4


def test_what_is_left_at_the_end_runs_its_jobs_and_drops_its_ticks_in_time() -> None:
    served = Served()
    ran: list[str] = []
    for number in range(1, 2001):
        served.inbox.post(tick(number))
    served.inbox.post(lambda: ran.append("sold"))
    assert served.inbox.drain_all(0) == 2000
    assert ran == ["sold"]
    assert served.taken == []
    assert len(served.inbox) == 0
    served.stop()


def test_everything_is_worked_off_where_there_is_time() -> None:
    served = Served()
    for number in range(1, 2001):
        served.inbox.post(tick(number))
    assert served.inbox.drain_all(60) == 0
    assert served.taken == list(range(1, 2001))
    served.stop()


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals to threads here")
def test_a_signal_handler_may_post_and_ask_while_its_thread_posts(served: Served) -> None:
    numbers = count(1)
    handled = threading.Semaphore(0)

    def handler(*_: object) -> None:
        served.inbox.post(tick(-1))
        served.inbox.ask(lambda: None)
        handled.release()

    def send(thread: int | None) -> None:
        for _ in range(200):
            signal.pthread_kill(thread or 0, signal.SIGUSR1)
            assert handled.acquire(timeout=30)

    before = signal.signal(signal.SIGUSR1, handler)
    sender = threading.Thread(target=send, args=(threading.get_ident(),))
    sender.start()
    while sender.is_alive():
        for _ in range(100):
            served.inbox.post(tick(next(numbers)))
        served.inbox.ask(lambda: None)  # so that the handler's own question need not wait for ever more of them
    signal.signal(signal.SIGUSR1, before)
    taken = served.inbox.ask(lambda: list(served.taken))
    assert [raw for raw in taken if raw > 0] == list(range(1, next(numbers)))
    assert taken.count(-1) == 200


def test_a_wake_up_that_was_lost_is_made_good_by_the_next_look() -> None:
    """A poster that is interrupted between its post and its ring leaves both behind."""
    served = Served()
    served.inbox._items.append(tick(1))
    served.inbox._signaled = True
    served.thread.start()
    served.loop.call_soon_threadsafe(served.inbox.work)
    soon(lambda: served.taken)
    served.inbox.post(tick(2))
    soon(lambda: len(served.taken) == 2)
    served.stop()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_abandoned_in_a_child_it_answers_from_its_copy() -> None:
    served = Served()
    served.inbox.post(tick(1))
    served.inbox._lock.acquire()  # as somebody might, at the moment of the fork
    with ThreadPoolExecutor(1) as pool:
        pool.submit(served.inbox.abandon, EngineClosedError("elsewhere")).result(10)
        assert pool.submit(served.inbox.ask, lambda: 7).result(10) == 7
        with pytest.raises(EngineClosedError, match="elsewhere"):
            pool.submit(served.inbox.post, tick(2)).result(10)
    served.stop()
