"""Lock-step: may a recording go on to its next tick? Once everybody has done what this one led to."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from livetrade.answers import Answers
from livetrade.readers import TickHub
from livetrade.sleepers import Sleepers
from livetrade.strategies import Run, Strategies
from livetrade.usercode import UserThread


class LockStep:
    """Who works and who waits, looked at from the engine's thread."""

    def __init__(self, hub: TickHub, answers: Answers, sleepers: Sleepers, strategies: Strategies) -> None:
        self._hub = hub
        self._answers = answers
        self._sleepers = sleepers
        self._strategies = strategies

    def is_idle(self, users: Sequence[UserThread]) -> bool:
        """Each reader asks for its next tick; each strategy does that, sleeps, or waits for an answer that a tick must
        bring; the threads for user code rest. One that is blocked, waiting for such an answer, need not."""
        return not self._working(users)

    def who_works(self, users: Sequence[UserThread]) -> str:
        """Whom the next tick waits for, in words."""
        names = {user.ident: user.name for user in users}
        return ", ".join(
            f"the strategy {who.name}" if isinstance(who, Run) else names.get(who, "a task that reads ticks")
            for who in self._working(users)
        )

    def _working(self, users: Sequence[UserThread]) -> Counter[Any]:
        waiting = self._answers.awaited() + self._sleepers.waiting() + self._strategies.awaited()
        stuck = [user for user in users if user.is_stuck() or waiting[user.ident]]

        def is_stuck(loop: object) -> bool:
            return any(user.runs(loop) for user in stuck)

        busy = self._hub.busy(is_stuck)
        for user in users:
            if not user.is_idle():
                busy[user.ident] += 1
        self._count_beginners(busy, waiting, is_stuck)
        return busy - waiting

    def _count_beginners(
        self, busy: Counter[object], waiting: Counter[object], is_stuck: Callable[[object], bool]
    ) -> None:
        """A strategy that has asked for nothing yet, and waits for something outside."""
        asking = self._hub.asking()
        for run in self._strategies.running():
            if not (busy[run] or waiting[run] or run in asking or is_stuck(run.loop)):
                busy[run] = 1
