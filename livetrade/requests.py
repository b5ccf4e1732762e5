"""What is asked of a broker, from the engine's outbox to the broker's task."""

import asyncio
from collections import deque
from collections.abc import Sequence

from livetrade.core.events import Request


class RequestQueue(deque[Request]):
    """`ports.Requests`; lives on the engine's loop."""

    def __init__(self) -> None:
        super().__init__()
        self._arrived = asyncio.Event()

    def append(self, request: Request) -> None:
        super().append(request)
        self._arrived.set()

    def __call__(self) -> Sequence[Request]:
        taken = list(self)
        self.clear()
        self._arrived.clear()
        return taken

    async def arrived(self) -> None:
        await self._arrived.wait()
