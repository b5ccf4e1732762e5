"""What waits to be sent, and when the next of it may leave.

Facts: place, modify and cancel together at most 10 a second in each exchange segment, and whether that is a second of
the clock or any second is debated: any second holds both. All calls of a user together: 10 a second, 200 a minute. What
waits is never dropped; what reduces a position goes first, and one order's requests go in their turn.
"""

from collections.abc import Callable
from typing import NamedTuple

from livetrade.adapters.fyers.rest import Pace, Use
from livetrade.core import events as ev

PER_SECOND = ((10, 1.0),)


class Job(NamedTuple):
    """rank: 0 for what reduces, 1 for what opens."""

    rank: int
    number: int
    order_id: str
    segment: str
    request: ev.Request


def rank(request: ev.Request) -> int:
    match request:
        case ev.Submit(order=order):
            return int(order.opening_raw > 0)
        case ev.Modify(change=change):
            return int(change.opening_raw > 0)
    return 0


def segment_of(symbol: str) -> str:
    """Exchange and segment, as far as a symbol tells them."""
    exchange, _, name = symbol.partition(":")
    return f"{exchange}:{'derivatives' if name.endswith(('FUT', 'CE', 'PE')) else 'cash'}"


class Queue:
    """clock: seconds that only go ahead. busy: whether an order's earlier request is still on its way."""

    def __init__(self, clock: Callable[[], float], busy: Callable[[str], bool]) -> None:
        self._clock = clock
        self._busy = busy
        self._jobs: list[Job] = []
        self._numbers = 0
        self._paces: dict[str, Pace] = {}
        self._paused_until = 0.0

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, request: ev.Request, order_id: str, symbol: str) -> None:
        self._numbers += 1
        self._jobs.append(Job(rank(request), self._numbers, order_id, segment_of(symbol), request))

    def put_back(self, job: Job, wait: float) -> None:
        """It was not done for the rate: nothing leaves for so many seconds, and then it is as it was."""
        self._jobs.append(job)
        self._paused_until = max(self._paused_until, self._clock() + wait)

    def take_submit(self, order_id: str) -> bool:
        """Takes an order back that has not left; False where it has."""
        for job in self._jobs:
            if job.order_id == order_id and isinstance(job.request, ev.Submit):
                self._jobs = [other for other in self._jobs if other.order_id != order_id]
                return True
        return False

    def take_all(self) -> list[Job]:
        jobs, self._jobs = sorted(self._jobs), []
        return jobs

    def next(self, user: Pace) -> tuple[Job | None, float]:
        """The job that may leave now, let in by its segment's pace and the user's; or the seconds until it is worth
        asking again (a minute where nothing waits)."""
        paused = self._paused_until - self._clock()
        if paused > 0:
            return None, paused
        longest = 60.0
        for job in sorted(self._jobs):
            if self._busy(job.order_id) or self._waits_for_its_turn(job):
                continue
            wait = self._let_in(job.segment, user)
            if not wait:
                self._jobs.remove(job)
                return job, 0.0
            longest = min(longest, wait)
        return None, longest

    def leave(self, job: Job, user: Pace) -> None:
        """Its call has ended."""
        self._paces[job.segment].leave()
        user.leave(Use.ORDER)

    def _let_in(self, segment: str, user: Pace) -> float:
        pace = self._paces.setdefault(segment, Pace(PER_SECOND, self._clock))
        wait = pace.enter()
        if wait:
            return wait
        wait = user.enter(Use.ORDER)
        if wait:
            pace.withdraw()
        return wait

    def _waits_for_its_turn(self, job: Job) -> bool:
        return any(other.order_id == job.order_id and other.number < job.number for other in self._jobs)
