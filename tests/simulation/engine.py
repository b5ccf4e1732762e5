"""The real engine, in one thread and in the world's time."""

from collections.abc import Callable
from typing import Any

from livetrade import LiveTradingEngine
from livetrade.clock import Clock
from livetrade.core import events as ev
from livetrade.registry import forget
from livetrade.surface import OrderHandle
from tests.simulation.disk import DiskJournal
from tests.simulation.rules import Rules
from tests.simulation.world import World


class SameThread:
    """In the place of a `Thread`: what it runs is called, and returns."""

    ident = None

    def __init__(self, target: Callable[[], None], **_: Any) -> None:
        self.start = target

    def join(self, _: float) -> None:
        """It has returned already."""


class UserCode:
    """In the place of the `UserThread`: each job gets its turn on the loop."""

    ident = None
    has_stopped = False

    def __init__(self, world: World) -> None:
        self._world = world
        self._waiting = 0

    def soon(self, job: Callable[[], None]) -> None:
        self._waiting += 1
        self._world.loop.call_soon(self._run, job)

    def _run(self, job: Callable[[], None]) -> None:
        self._waiting -= 1
        job()

    def is_idle(self) -> bool:
        return not self._waiting

    def free(self) -> None:
        """It is not in lock-step."""

    def stop(self, _: float) -> None:
        """Nothing to wait for."""


class SimulatedEngine(LiveTradingEngine):
    def __init__(self, world: World, rules: Rules, journal: DiskJournal, **terms: Any) -> None:
        self.world = world
        self.rules = rules
        self._drawer = journal
        super().__init__(journal=journal, name="simulated", **terms)

    # ── what it runs on ──────────────────────────────────────────────────────────────────────────────────────────────

    def _new_loop(self) -> Any:
        return self.world.loop

    def _new_clock(self) -> Clock:
        return Clock(self.world.wall, self.world.monotonic)

    def _new_thread(self, target: Callable[[], None], **_: Any) -> Any:
        return SameThread(target)

    def _new_user_thread(self, *_: Any) -> Any:
        return UserCode(self.world)

    def _run(self) -> None:
        self._inbox.belong_here()
        self._open()
        self._started.set_result(None)

    def _let_go(self) -> None:
        self._loop.run_forever()  # until it is shut down
        super()._let_go()

    def crash(self) -> None:
        """The process is gone, in the middle of whatever it did."""
        self._drawer.crash()
        for task in self._tasks:
            task.cancel()
        for _ in range(3):
            self._loop.call_soon(self._loop.stop)
            self._loop.run_forever()
        forget(self)

    # ── what is looked at ────────────────────────────────────────────────────────────────────────────────────────────

    def _reopen(self, *args: Any) -> None:
        super()._reopen(*args)
        self.rules.reopened(self)

    def _publish(self, events: list[ev.Event], answer: Callable[[], None] | None = None) -> None:
        self.rules.happened(self, events)
        super()._publish(events, answer)

    def _take(self, message: Any) -> list[ev.Event]:
        retries = {risk.risk_id: risk.retry_ns for risk in self.account.risks.values()}
        events = super()._take(message)
        if isinstance(message, ev.ClockJumped):
            self.rules.jumped(self, message, retries, events)
        return events

    def _take_command(self, command: ev.Command, handle: OrderHandle) -> None:
        super()._take_command(command, handle)
        self.rules.taken(self, command, handle)

    def _fault(self, error: Exception) -> None:
        self.world.broken.append(f"an internal error: {error!r}")
        super()._fault(error)
