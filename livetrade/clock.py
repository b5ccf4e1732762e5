"""The engine's clock: the time of the wall clock at the pace of the monotonic one, and never a step back."""

from collections.abc import Callable
from time import monotonic_ns, time_ns
from typing import NamedTuple

DRIFT_NS = 2_000_000_000
"""Wall clock and engine further apart than this: somebody set the time, or the machine slept."""
NEAR_NS = 1_000_000
"""As near to the wall clock as it is held, and the longest that a reading of both clocks may take."""
TRUST_NS = 1_000_000_000
"""For how long a look that did not find the clock ahead keeps it at the monotonic pace."""
SLEW = 6
"""A smaller drift is followed by 1/2**6 of the time that passes at most: no timer feels it."""


class Jump(NamedTuple):
    """wall_ns: how far the wall clock went ahead of where it was expected; below zero when it was set back.
    moved_ns: how far the engine's clock went ahead with it; never below zero."""

    wall_ns: int
    moved_ns: int


class Clock:
    """Integer nanoseconds UTC, never decreasing. `now_ns` is for any thread, `watch` for one, several times a second.

    Between two looks it asks the monotonic clock alone: a wall clock that jumps changes nothing until `watch` tells of
    it. A wall clock that was set back is not followed; the lead over it stays, until it is set forward.
    """

    # `watch` only ever raises the clock: one that is ahead gets no more trust, and runs slower by itself. Whoever was
    # held up with an older pace shows less than others, never more, and no thread sees the clock run back.

    def __init__(self, wall: Callable[[], int] = time_ns, monotonic: Callable[[], int] = monotonic_ns) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._lead_ns = 0
        time = wall()
        self._looked_ns = now = monotonic()
        self._pace = (time - now, now + TRUST_NS)

    def go_on_from(self, time_ns: int) -> None:
        """Never before this time again: where the wall clock was set back meanwhile, the lead over it is kept. To be
        called before anybody else looks."""
        ahead = time_ns - self.now_ns()
        if ahead > 0:
            offset, trusted = self._pace
            self._lead_ns += ahead
            self._pace = (offset + ahead, trusted)

    def now_ns(self) -> int:
        offset, trusted = self._pace  # first: for times before its look a newer pace may show less
        now = self._monotonic()
        return now + offset if now <= trusted else now + offset - (now - trusted >> SLEW)

    def watch(self) -> Jump | None:
        """Looks at both clocks: follows a small drift, takes a wall clock's jump and tells of it, once."""
        before = self._monotonic()
        wall = self._wall()
        now = self._monotonic()
        if now - before > NEAR_NS:  # held up in between: the two times do not belong together
            return None
        passed, self._looked_ns = now - self._looked_ns, now
        offset, trusted = self._pace
        offset -= max(0, now - trusted) >> SLEW
        gap = wall + self._lead_ns - now - offset
        jump = self._jump(gap) if abs(gap) > DRIFT_NS else None
        raised = jump.moved_ns if jump else min(max(gap, 0), passed >> SLEW)
        if jump or gap >= -NEAR_NS:
            self._pace = (offset + raised, now + TRUST_NS)
        return jump

    def _jump(self, gap: int) -> Jump:
        """A lead over the wall clock grows where that is set back, and is used up before this clock moves."""
        lead = max(0, self._lead_ns - gap)
        moved = gap - (self._lead_ns - lead)
        self._lead_ns = lead
        return Jump(gap, moved)
