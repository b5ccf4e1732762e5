"""The latest ticks of each symbol, in columns, for `engine.ticks()` and `engine.bars()`."""

from array import array
from collections.abc import Callable

from livetrade.core.ticks import Tick

KEPT = 50_000
"""How many ticks of a symbol are kept at least, once there were as many; older ones are dropped."""
KEPT_IN_ALL = 1_000_000
"""With many symbols each keeps its share of this: 40 to 80 MB, however many there are."""


class TickLog:
    """Bounded columns for each symbol: time (nanoseconds UTC), bid, ask, last (raw, 0 unknown), volume (raw, -1).

    record: a journal's, where it keeps ticks; recordings join and leave as they like. Both get them in lists."""

    def __init__(
        self, kept: int = KEPT, kept_in_all: int = KEPT_IN_ALL, record: Callable[[list[Tick]], None] | None = None
    ) -> None:
        self._most, self._in_all = kept, kept_in_all
        self._kept = kept
        self._columns: dict[str, tuple[array[int], ...]] = {}
        self._takers: tuple[Callable[[list[Tick]], None], ...] = () if record is None else (record,)
        self._untaken: list[Tick] = []

    def hand_over(self) -> None:
        """Gives whoever takes them the ticks since the last time; nobody may change the list."""
        if self._untaken:
            quotes, self._untaken = self._untaken, []
            for take in self._takers:
                take(quotes)

    def join(self, take: Callable[[list[Tick]], None]) -> None:
        """Somebody takes the ticks from now on."""
        self.hand_over()
        self._takers = (*self._takers, take)

    def leave(self, take: Callable[[list[Tick]], None]) -> None:
        self.hand_over()
        self._takers = tuple(other for other in self._takers if other != take)

    def add(self, quote: Tick) -> None:
        if self._takers:
            self._untaken.append(quote)
        symbol = quote.instrument.symbol
        columns = self._columns.get(symbol)
        if columns is None:
            columns = self._columns[symbol] = tuple(array("q") for _ in range(5))
            self._kept = max(1, min(self._most, self._in_all // len(self._columns)))
        times, bids, asks, lasts, volumes = columns
        length = len(times)
        try:
            times.append(quote.time_ns or quote.received_ns)
            bids.append(quote.bid_raw)
            asks.append(quote.ask_raw)
            lasts.append(quote.last_raw)
            volumes.append(-1 if quote.volume_raw is None else quote.volume_raw)
        except OverflowError:  # a figure beyond any sense is not kept, and the columns stay of one length
            for column in columns:
                del column[length:]
        if len(times) >= 2 * self._kept:
            for column in columns:
                del column[: -self._kept]

    def copy(self, symbol: str) -> dict[str, "array[int]"]:
        """The columns of one symbol as they stand; empty ones for a symbol without ticks."""
        columns = self._columns.get(symbol) or tuple(array("q") for _ in range(5))
        return dict(zip(("time", "bid", "ask", "last", "volume"), (column[:] for column in columns), strict=True))
