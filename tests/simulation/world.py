"""One simulated world: its time, its dice, and what was found broken in it."""

import random
from collections import Counter, deque
from typing import Any

from tests.core.kit import OPENING_BELL
from tests.jumping import JumpingLoop

TRACE = 40
"""How many of the last actions a failure shows."""


class World:
    """Everything in it is decided by `seed`: time passes only when it is told to, and each part has dice of its own."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.broken: list[str] = []
        self.trace: deque[str] = deque(maxlen=TRACE)
        self.counts: Counter[str] = Counter()
        dice = self.dice("time")
        self._wall_ns = OPENING_BELL + dice.choice((0, 52_140 * 10**9))  # the bell, or 16 minutes before midnight
        self._read_ns = 0
        self.loop = self._looping(1000.0)

    def dice(self, part: str) -> random.Random:
        return random.Random(f"{part} of {self.seed}")

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _looping(self, clock: float) -> JumpingLoop:
        loop = JumpingLoop()
        loop.clock = clock
        loop.set_exception_handler(self._failed)
        return loop

    def _failed(self, _: Any, context: dict[str, Any]) -> None:
        self.broken.append(f"{context['message']}: {context.get('exception')!r}")

    def new_loop(self) -> None:
        """The process is gone; time goes on."""
        self.loop.close()
        self.loop = self._looping(self.loop.clock)

    @property
    def now(self) -> float:
        return self.loop.clock

    def monotonic(self) -> int:
        """No two readings are the same."""
        self._read_ns = max(self._read_ns + 1, round(self.loop.clock * 1e9))
        return self._read_ns

    def wall(self) -> int:
        return self._wall_ns + self.monotonic()

    def set_time(self, seconds: float) -> None:
        """Somebody sets the wall clock, or the machine wakes up."""
        self._wall_ns += round(seconds * 1e9)

    def run(self, seconds: float) -> None:
        """Lets so much time pass."""
        self.loop.call_later(seconds, self.loop.stop)
        self.loop.run_forever()

    # ── findings ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def did(self, what: str) -> None:
        self.trace.append(f"{self.now:10.3f}  {what}")

    def expect(self, true: object, what: str) -> None:
        if not true:
            self.broken.append(f"{self.now:10.3f}  {what}")
