"""What the broker holds itself, whoever traded: told to the account, for no exit may close more.

It is told at a moment when every execution of ours that it counts was reported. What differs from before was traded
elsewhere; that is believed when it is seen twice, for an exit may be canceled on it.
"""

from collections.abc import Callable
from decimal import Decimal

from livetrade.adapters.fyers.books import Books
from livetrade.adapters.fyers.tracking import Tracker
from livetrade.core import events as ev
from livetrade.core.kinds import Product

Key = tuple[str, Product]
LONG = 3600.0


class Standing:
    """seen: what was ever held there. soon, longest: seconds until the next look where ours are on their way, twice as
    many each time; again: until the second one where something was traded elsewhere. is_busy: whether a request of ours
    is under way."""

    def __init__(
        self,
        tracker: Tracker,
        books: Books,
        seen: set[Key],
        report: Callable[[ev.News], None],
        tell: Callable[[list[ev.Report]], None],
        is_busy: Callable[[], bool],
        soon: float,
        longest: float,
        again: float,
    ) -> None:
        self._tracker, self._books, self._seen = tracker, books, seen
        self._report, self._tell, self._is_busy = report, tell, is_busy
        self._soon, self._longest, self._again = soon, longest, again
        self._pause = soon
        self._told: dict[Key, int] = {}
        self._doubted: dict[Key, int] = {}

    async def look(self) -> float:
        """Reads the positions; gives the seconds until it should be done again, if it should."""
        keys = self._seen | {tracked.key for tracked in self._tracker.orders.values()}
        if not keys:
            return LONG
        before = self._tracker.executions
        held = await self._books.positions()
        for trade in await self._books.trades():
            self._tell(self._tracker.trade(trade))
        if self._tracker.executions != before or self._is_busy():
            pause, self._pause = self._pause, min(2 * self._pause, self._longest)
            return pause
        self._pause = self._soon
        self._seen.update(held)
        certain = [self._compare(key, held.get(key, 0)) for key in keys | self._seen]
        return LONG if all(certain) else self._again

    def _compare(self, key: Key, held: int) -> bool:
        """False where it is another than before, and has to be seen once more."""
        foreign = held - self._tracker.net.get(key, 0)
        if self._told.get(key) == foreign:
            self._doubted.pop(key, None)
            return True
        if key in self._told and self._doubted.get(key) != foreign:
            self._doubted[key] = foreign
            return False
        self._doubted.pop(key, None)
        self._told[key] = foreign
        self._report(ev.BrokerPosition(0, *key, Decimal(held)))
        return True
