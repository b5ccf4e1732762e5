"""An asyncio loop for tests that must not wait."""

import asyncio
import selectors


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        self.clock = 1000.0
        super().__init__(JumpingSelector(self))

    def time(self) -> float:
        return self.clock


class JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._jumping = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(None if timeout is None else 0)
        if not ready and timeout:
            self._jumping.clock += timeout
        return ready
