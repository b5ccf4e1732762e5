"""Paper trading: the simulated venue on live prices, and no money anywhere."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

from livetrade.core.events import News
from livetrade.core.numbers import Number
from livetrade.core.values import Order
from livetrade.core.venue import Venue
from livetrade.ports import Requests, Statement


class PaperBroker:
    """Executes orders at the prices of the feed, as far as they would have filled there. Moves no money.

    slippage: price amount by which every fill is worse than the quote (a limit is still respected).
    latency: seconds or `timedelta` that each request travels.
    size: "unlimited", or "quoted" to fill at most the size that is shown.

    Raises `OrderError` for a negative slippage or latency and for another size.
    """

    real = False
    venue: Venue | None

    def __init__(self, slippage: Number = 0, latency: float | timedelta = 0, size: str = "unlimited") -> None:
        self.venue = Venue(slippage, latency, size)
        self._terms = f"slippage={slippage}, latency={latency}, size={size!r}"

    async def statement(self, orders: Sequence[Order]) -> Statement:
        """Knows nothing that the account does not know."""
        return Statement({})

    async def run(self, requests: Requests, report: Callable[[News], None]) -> None:
        """Waits to be cancelled: the account steps the venue itself."""
        await asyncio.Event().wait()

    def __repr__(self) -> str:
        return f"<PaperBroker PAPER {self._terms}>"
