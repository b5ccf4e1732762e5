"""The engine's clock against a machine whose clocks are played: it follows, tells of a jump once, never runs back."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import time_ns

from hypothesis import example, given
from hypothesis import strategies as st

from livetrade.clock import DRIFT_NS, NEAR_NS, SLEW, TRUST_NS, Clock, Jump

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
BEAT = SECOND // 20
START = 1_772_423_100 * SECOND


@dataclass
class Machine:
    """Two clocks. `ppm` is what the wall clock gains on the monotonic one while somebody slews it."""

    wall_ns: int = START
    monotonic_ns: int = 77 * SECOND
    ppm: int = 0

    def wall(self) -> int:
        return self.wall_ns

    def monotonic(self) -> int:
        return self.monotonic_ns

    def go_on(self, ns: int) -> None:
        self.monotonic_ns += ns
        self.wall_ns += ns + ns * self.ppm // 1_000_000

    def clock(self) -> Clock:
        return Clock(self.wall, self.monotonic)


def beat(machine: Machine, clock: Clock, ns: int) -> list[Jump]:
    """Time goes on, with a look on every beat; gives back the jumps that were told."""
    jumps = []
    for _ in range(ns // BEAT):
        machine.go_on(BEAT)
        jump = clock.watch()
        if jump is not None:
            jumps.append(jump)
    return jumps


big = st.integers(DRIFT_NS + 1, 48 * HOUR)
small = st.integers(-DRIFT_NS // 2, DRIFT_NS // 2)
walk = st.lists(
    st.tuples(
        st.integers(0, 5 * SECOND),  # time that goes on
        st.one_of(st.just(0), small, big, big.map(lambda ns: -ns)),  # what somebody does to the wall clock
        st.integers(-500, 500),  # and how it is slewed from then on, in parts per million
        st.booleans(),  # does a look come?
    ),
    max_size=60,
)


def test_at_rest_it_is_the_wall_clock() -> None:
    machine = Machine()
    clock = machine.clock()
    assert clock.now_ns() == START
    assert beat(machine, clock, 100 * SECOND) == []
    assert clock.now_ns() == machine.wall_ns
    machine.go_on(7)
    assert clock.now_ns() == machine.wall_ns


def test_without_a_word_it_takes_the_clocks_of_the_machine() -> None:
    assert abs(Clock().now_ns() - time_ns()) < 60 * SECOND


@given(walk)
def test_it_never_runs_back(steps: list[tuple[int, int, int, bool]]) -> None:
    machine = Machine()
    clock = machine.clock()
    shown = clock.now_ns()
    for passed, step, machine.ppm, looked in steps:
        machine.go_on(passed)
        machine.wall_ns += step
        for look in (False, looked):
            if look:
                clock.watch()
            assert shown <= clock.now_ns()
            shown = clock.now_ns()


@given(walk)
def test_a_wall_clock_changes_nothing_until_the_look(steps: list[tuple[int, int, int, bool]]) -> None:
    machine, untouched = Machine(), Machine()
    clock, other = machine.clock(), untouched.clock()
    for passed, step, machine.ppm, _ in steps:
        machine.go_on(passed)
        untouched.go_on(passed)
        machine.wall_ns += step
        assert clock.now_ns() == other.now_ns()


@given(walk)
def test_between_two_jumps_it_keeps_nearly_the_monotonic_pace(steps: list[tuple[int, int, int, bool]]) -> None:
    """No timer comes more than a 64th too early or too late; a jump moves it by what it says."""
    machine = Machine()
    clock = machine.clock()
    for passed, step, machine.ppm, looked in steps:
        before = clock.now_ns()
        machine.go_on(passed)
        machine.wall_ns += step
        slack = (passed >> SLEW) + 1
        assert passed - slack <= clock.now_ns() - before <= passed
        before = clock.now_ns()
        jump = clock.watch() if looked else None
        if jump is not None:
            assert clock.now_ns() - before == jump.moved_ns


@given(walk)
def test_it_is_never_further_from_the_wall_clock_than_a_jump(steps: list[tuple[int, int, int, bool]]) -> None:
    """Apart from the lead over one that was set back, which is what jumps told of and did not move by."""
    machine = Machine()
    clock = machine.clock()
    lead = 0
    for passed, step, machine.ppm, _ in steps:
        machine.go_on(passed)
        machine.wall_ns += step
        jump = clock.watch()
        if jump is not None:
            assert 0 <= jump.moved_ns <= max(0, jump.wall_ns)
            lead += jump.moved_ns - jump.wall_ns
            assert lead >= 0
        assert abs(machine.wall_ns + lead - clock.now_ns()) <= DRIFT_NS


@given(st.integers(-500, 500), st.integers(1, 60))
def test_a_slewed_wall_clock_is_followed(ppm: int, seconds: int) -> None:
    machine = Machine(ppm=ppm)
    clock = machine.clock()
    for _ in range(seconds):
        assert beat(machine, clock, SECOND) == []
        assert abs(clock.now_ns() - machine.wall_ns) < 2 * NEAR_NS


@given(st.integers(-DRIFT_NS, DRIFT_NS))
def test_a_small_step_is_no_jump_and_is_made_good_slowly(step: int) -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wall_ns += step
    assert clock.watch() is None
    assert clock.now_ns() == START
    for _ in range((2 * SECOND + (DRIFT_NS << SLEW)) // BEAT):
        before = clock.now_ns()
        assert beat(machine, clock, BEAT) == []
        assert abs(clock.now_ns() - before - BEAT) <= (BEAT >> SLEW) + 1
    assert abs(clock.now_ns() - machine.wall_ns) <= NEAR_NS


def test_small_steps_that_add_up_are_a_jump() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wall_ns += DRIFT_NS * 3 // 4
    assert clock.watch() is None
    machine.wall_ns += DRIFT_NS * 3 // 4
    assert clock.watch() == Jump(DRIFT_NS * 3 // 2, DRIFT_NS * 3 // 2)
    assert clock.now_ns() == machine.wall_ns


@given(big, st.integers(0, 10 * SECOND))
def test_a_jump_ahead_is_told_once_and_taken(by: int, passed: int) -> None:
    machine = Machine()
    clock = machine.clock()
    beat(machine, clock, passed)
    machine.wall_ns += by
    assert clock.watch() == Jump(by, by)
    assert clock.now_ns() == machine.wall_ns
    assert beat(machine, clock, 3 * SECOND) == []
    assert clock.now_ns() == machine.wall_ns


@given(big, st.integers(0, 10 * SECOND))
def test_a_wall_clock_set_back_is_told_once_and_not_followed(by: int, passed: int) -> None:
    machine = Machine()
    clock = machine.clock()
    beat(machine, clock, passed)
    machine.wall_ns -= by
    assert clock.watch() == Jump(-by, 0)
    for _ in range(100):
        before = clock.now_ns()
        assert beat(machine, clock, BEAT) == []
        assert clock.now_ns() - before == BEAT
    assert clock.now_ns() == machine.wall_ns + by


@given(big, big)
def test_set_back_and_ahead_again_it_moves_by_the_difference(back: int, ahead: int) -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wall_ns -= back
    assert clock.watch() == Jump(-back, 0)
    machine.wall_ns += ahead
    assert clock.watch() == Jump(ahead, max(0, ahead - back))
    assert beat(machine, clock, 3 * SECOND) == []
    assert clock.now_ns() == machine.wall_ns + max(0, back - ahead)


def test_a_laptop_that_slept_is_a_jump_ahead() -> None:
    """The monotonic clock of Linux and macOS stands still meanwhile."""
    machine = Machine()
    clock = machine.clock()
    before = clock.now_ns()
    machine.wall_ns += 8 * HOUR
    assert clock.now_ns() == before
    assert clock.watch() == Jump(8 * HOUR, 8 * HOUR)


def test_the_pace_is_kept_for_a_while_without_a_look_and_made_up_for_after() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.go_on(TRUST_NS)
    assert clock.now_ns() == machine.wall_ns
    machine.go_on(64 * SECOND)
    assert clock.now_ns() == machine.wall_ns - SECOND
    assert clock.watch() is None
    assert clock.now_ns() == machine.wall_ns


def test_a_look_that_was_held_up_between_its_readings_says_nothing() -> None:
    machine = Machine()
    held_up = deque([0, 0, 3 * DRIFT_NS])

    def monotonic() -> int:
        machine.go_on(held_up.popleft() if held_up else 0)
        return machine.monotonic_ns

    clock = Clock(machine.wall, monotonic)
    assert clock.watch() is None
    assert not held_up
    assert clock.watch() is None  # and the next finds nothing wrong
    assert beat(machine, clock, 20 * SECOND) == []
    assert clock.now_ns() == machine.wall_ns


Action = tuple[str, int, str]  # what, how long or far, and within which half of the call that is under way


class Threads:
    """A machine where any call may be held up just before or after it reads the monotonic clock, while others run."""

    def __init__(self, actions: list[Action]) -> None:
        self.actions: deque[Action] = deque()
        self.machine = Machine()
        self.clock = Clock(self.machine.wall, self.monotonic)
        self.watching = False
        self.shown = START  # by calls that have returned
        self.actions.extend(actions)

    def monotonic(self) -> int:
        self.held_up("before")
        read = self.machine.monotonic_ns
        self.held_up("after")
        return read

    def held_up(self, when: str) -> None:
        while self.actions and self.actions[0][2] == when:
            self.act()

    def act(self) -> None:
        kind, ns, _ = self.actions.popleft()
        do: dict[str, Callable[[int], None]] = {
            "time": lambda ns: self.machine.go_on(abs(ns)),
            "wall": self.set_wall,
            "look": self.look,
            "read": self.read,
        }
        do[kind](ns)

    def set_wall(self, ns: int) -> None:
        self.machine.wall_ns += ns

    def look(self, _: int) -> None:
        if not self.watching:  # one thread does
            self.watching = True
            self.clock.watch()
            self.watching = False

    def read(self, _: int) -> None:
        before = self.shown
        now = self.clock.now_ns()
        assert now >= before, "what began later shows an earlier time"
        self.shown = max(self.shown, now)


actions = st.tuples(
    st.sampled_from(["time", "wall", "look", "read", "read"]),
    st.sampled_from([1, 1000, NEAR_NS, BEAT, SECOND, 2 * TRUST_NS, 70 * SECOND]).flatmap(
        lambda ns: st.integers(-ns, ns)
    ),
    st.sampled_from(["", "before", "after"]),
)


SLOWED: list[Action] = [(what, 66 * SECOND, when) for when in ("before", "after") for what in ("time", "look", "read")]
"""A wall clock that is a second behind is let catch up, while the call before is held up."""


@given(st.lists(actions, max_size=80))
@example([("wall", -SECOND, ""), ("read", 0, ""), *SLOWED])
@example([("wall", -SECOND, ""), ("read", 0, ""), ("read", 0, "before"), *SLOWED])
@example([("wall", -SECOND, ""), ("read", 0, ""), ("read", 0, "after"), *SLOWED])
def test_threads_that_are_held_up_anywhere_never_see_it_run_back(actions: list[Action]) -> None:
    threads = Threads(actions)
    while threads.actions:
        threads.act()


def test_after_a_restart_it_goes_on_from_where_it_was_though_the_wall_clock_was_set_back() -> None:
    wall, pace = 1_000 * SECOND, 5 * SECOND
    clock = Clock(lambda: wall, lambda: pace)
    clock.go_on_from(400 * SECOND)
    assert clock.now_ns() == wall
    clock.go_on_from(4_600 * SECOND)
    assert clock.now_ns() == 4_600 * SECOND
    for _ in range(600):
        wall, pace = wall + SECOND // 10, pace + SECOND // 10
        assert clock.watch() is None
    assert clock.now_ns() == 4_660 * SECOND
