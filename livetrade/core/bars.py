"""Bars from ticks: the one rule for live streams and for replays, and the one that `frames.bars` follows in columns.

A bar is labelled and closed on the left, aligned to each midnight of the time zone. Its prices are the last price of
each tick, else the mid; a tick without either counts for nothing. Its volume is what the session's volume grew by (a
smaller one is another session, from 0). A tick that comes late, with a time before that of one before it, counts in the
bar that is open when it comes.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from decimal import Decimal
from itertools import accumulate

from livetrade.core.instruments import Instrument
from livetrade.core.numbers import at, to_decimal
from livetrade.core.records import record
from livetrade.core.state import day_of
from livetrade.core.ticks import Tick


@record
class Bar:
    """Open, high, low and close of a symbol from `time` on (the bar's left edge, aware), exact; and what was traded.

    volume: None while nothing is known of it. price: the close as a float, for indicator arithmetic. missed: bars that
    a slow reader did not see before this one.
    """

    instrument: Instrument
    """What it is a bar of."""
    time_ns: int
    open_twice: int  # raw prices, doubled so that a mid stays whole
    high_twice: int
    low_twice: int
    close_twice: int
    volume_raw: int | None = None
    missed: int = 0
    """Bars that a slow reader did not see before this one."""

    @property
    def symbol(self) -> str:
        """The instrument's symbol."""
        return self.instrument.symbol

    @property
    def time(self) -> datetime:
        """Its left edge: aware, in the engine's time zone."""
        return at(self.time_ns, self.instrument.zone)

    @property
    def open(self) -> Decimal:
        """The first price in it, exact."""
        return self._halved(self.open_twice)

    @property
    def high(self) -> Decimal:
        """The highest price in it, exact."""
        return self._halved(self.high_twice)

    @property
    def low(self) -> Decimal:
        """The lowest price in it, exact."""
        return self._halved(self.low_twice)

    @property
    def close(self) -> Decimal:
        """The last price in it, exact."""
        return self._halved(self.close_twice)

    @property
    def volume(self) -> Decimal | None:
        """Traded in it, in units; None while nothing is known of it."""
        return None if self.volume_raw is None else to_decimal(self.volume_raw, self.instrument.quantity_scale)

    @property
    def price(self) -> float:
        """The close as a float, for indicator arithmetic."""
        return float(self.close_twice / (2 * 10**self.instrument.scale))

    def _halved(self, twice: int) -> Decimal:
        scale = self.instrument.scale
        return to_decimal(5 * twice, scale + 1) if twice % 2 else to_decimal(twice // 2, scale)

    def __repr__(self) -> str:
        return (
            f"Bar({self.symbol} {self.time.isoformat()} open={self.open} high={self.high} low={self.low} "
            f"close={self.close} volume={self.volume})"
        )


class BarBuilder:
    """Makes bars of `every_ns` (at most a day) from the ticks of one instrument."""

    __slots__ = (
        "_close",
        "_day",
        "_end_ns",
        "_every_ns",
        "_high",
        "_last_volume",
        "_low",
        "_open",
        "_start_ns",
        "_volume",
        "_zone",
        "instrument",
    )

    def __init__(self, instrument: Instrument, every_ns: int, zone: tzinfo) -> None:
        self.instrument = instrument
        self._every_ns = every_ns
        self._zone = zone
        self._day = (0, 0)
        self._start_ns = self._end_ns = 0
        self._open = self._high = self._low = self._close = 0
        self._volume = self._last_volume = -1  # unknown

    def add(self, tick: Tick) -> Bar | None:
        """Takes a tick; gives the bar that is complete by it, if one is: the first tick at or past a bar's right edge
        ends it."""
        self.instrument = tick.instrument  # its scales are fixed by its first tick
        volume = tick.volume_raw
        return self.take(tick.time_ns or tick.received_ns, tick.mark_raw, -1 if volume is None else volume)

    def take(self, time_ns: int, twice: int, volume: int) -> Bar | None:
        """`add` for a tick in figures: twice its raw price (0: none), the session's raw volume (-1: unknown)."""
        if not twice:
            return None
        done = None
        if time_ns >= self._end_ns:
            done = self.current
            self._start_ns, self._end_ns = self.edges(time_ns)
            self._open = self._high = self._low = twice
            self._volume = -1
        elif twice > self._high:
            self._high = twice
        elif twice < self._low:
            self._low = twice
        self._close = twice
        if volume >= 0:
            before = self._last_volume
            if before >= 0:
                grown = volume if volume < before else volume - before
                self._volume = grown if self._volume < 0 else self._volume + grown
            self._last_volume = volume
        return done

    def seeded(self, ticks: Mapping[str, Sequence[int]], count: int) -> list[Bar]:
        """Takes the ticks from before, in columns: time, bid, ask, last (0: unknown) and volume (-1: unknown). Gives
        the last `count` bars that are complete."""
        columns = (ticks[name] for name in ("time", "bid", "ask", "last", "volume"))
        priced = [
            (time_ns, 2 * last if last else bid + ask, volume)
            for time_ns, bid, ask, last, volume in zip(*columns, strict=True)
            if last or (bid and ask)
        ]
        first = self._first_of(priced, count + 1)  # one is open
        self._last_volume = next((volume for _, _, volume in reversed(priced[:first]) if volume >= 0), -1)
        taken = [self.take(*row) for row in priced[first:]]
        bars = [bar for bar in taken if bar is not None]
        return bars[-count:] if count else []

    def _first_of(self, priced: Sequence[tuple[int, int, int]], count: int) -> int:
        """Where the last so many bars begin in these ticks."""
        latest = list(accumulate((time_ns for time_ns, _, _ in priced), max))
        first = len(latest)
        for _ in range(count):
            if first:
                start_ns, _ = self.edges(latest[first - 1])
                first = bisect_left(latest, start_ns, 0, first)
        return first

    @property
    def current(self) -> Bar | None:
        """The bar that is open, as far as it has come; None before the first price."""
        if not self._open:
            return None
        volume = self._volume if self._volume >= 0 else None
        return Bar(self.instrument, self._start_ns, self._open, self._high, self._low, self._close, volume)

    def edges(self, time_ns: int) -> tuple[int, int]:
        """The bar that a time falls into: its first instant, and that of the next; no bar goes beyond midnight."""
        first, following = self._day
        if not first <= time_ns < following:
            _, first, following = day_of(time_ns, self._zone)
            self._day = (first, following)
        if self._every_ns >= DAY_NS:
            return self._day
        start = time_ns - (time_ns - first) % self._every_ns
        return start, min(start + self._every_ns, following)


DAY_NS = 86_400 * 10**9
