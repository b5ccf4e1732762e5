"""A person hears in time that the broker is about to close what may not be held overnight.

It is the broker's rule, and its own book tells what it will close, whoever bought it. Nothing is closed from here.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta

from livetrade.adapters.fyers.books import Books
from livetrade.adapters.fyers.patience import Timing
from livetrade.adapters.fyers.standing import Key
from livetrade.calendars import ZONE, MarketHours
from livetrade.core.kinds import Product
from livetrade.errors import BrokerError, FeedError

BEGINS = timedelta(minutes=15)
"""Before the close: from then on INTRADAY positions in shares and their derivatives are squared off."""
WARNED = timedelta(minutes=20)
LOOK = 30.0
"""Seconds between two looks at the clock, which may be set or sleep."""
EXCHANGES = ("NSE:", "BSE:")

_log = logging.getLogger("livetrade")


class SquareOff:
    """Warns once a day. hours: when shares trade. alarm: what a person should hear."""

    def __init__(self, books: Books, hours: MarketHours, timing: Timing, alarm: Callable[[str], None]) -> None:
        self._books, self._hours, self._timing, self._alarm = books, hours, timing, alarm
        self._warned: date | None = None

    async def keep(self) -> None:
        """Looks at the clock as long as its task lives."""
        self._hours.prepare()
        while True:
            try:
                await self.look(datetime.fromtimestamp(self._timing.wall() / 1e9, ZONE))
            except (BrokerError, FeedError) as error:
                _log.warning("Fyers positions, before the square-off: %s; asked again in %.0f s", error, LOOK)
            await self._timing.sleep(LOOK)

    async def look(self, now: datetime) -> None:
        """Warns where it is time to, and something would be closed."""
        session = self._hours.session(now.date())
        doubt = self._hours.doubt
        if session is None or session.day == self._warned or not session.closes - WARNED <= now < session.closes:
            return
        names = _squared_off(await self._books.positions())
        if names:
            self._warned = session.day
            guess = f" (by the usual hours: {doubt})" if doubt else ""
            self._alarm(
                f"INTRADAY positions are open: {names}. Fyers squares them off from about "
                f"{session.closes - BEGINS:%H:%M} on{guess}, and what it closes is not booked here: close them before, "
                "by engine.close_position(symbol) or engine.flatten()"
            )


def _squared_off(held: Mapping[Key, int]) -> str:
    return ", ".join(
        f"{quantity} {symbol}"
        for (symbol, product), quantity in sorted(held.items())
        if quantity and product is Product.INTRADAY and symbol.startswith(EXCHANGES)
    )
