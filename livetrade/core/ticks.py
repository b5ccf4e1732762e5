"""Prices as they come: one quote of one instrument."""

from datetime import datetime
from decimal import Decimal

from livetrade.core import html
from livetrade.core.instruments import Instrument
from livetrade.core.numbers import at, to_decimal
from livetrade.core.records import for_users


class Tick:
    """A quote of one instrument: what is known after an update, or the update itself.

    bid, ask, last: exact `Decimal`, or None while unknown. mid, price: floats for indicator arithmetic (price is last,
    else mid; NaN where nothing is known). volume: of the session so far. time: the source's own time (else when it was
    received); received: the engine's time; both aware. missed: ticks that a slow reader did not see before this one.
    """

    __slots__ = (
        "ask_raw",
        "ask_size_raw",
        "bid_raw",
        "bid_size_raw",
        "instrument",
        "last_raw",
        "received_ns",
        "seen",
        "source",
        "time_ns",
        "volume_raw",
        "whole",
    )
    missed: int = 0
    """Ticks that a slow reader did not see before this one."""

    def __init__(
        self,
        instrument: Instrument,
        received_ns: int,
        bid_raw: int = 0,
        ask_raw: int = 0,
        last_raw: int = 0,
        time_ns: int = 0,
        volume_raw: int | None = None,
        bid_size_raw: int | None = None,
        ask_size_raw: int | None = None,
        source: str = "",
        whole: bool = False,
    ) -> None:
        self.instrument = instrument
        """What it is a quote of."""
        self.received_ns = received_ns
        self.bid_raw = bid_raw  # 0 means unknown: no price is zero
        self.ask_raw = ask_raw
        self.last_raw = last_raw
        self.time_ns = time_ns  # 0 means that the source gave none
        self.volume_raw = volume_raw
        self.bid_size_raw = bid_size_raw
        self.ask_size_raw = ask_size_raw
        self.source = source
        """Who sent it, where several do; times are held against each other for each source."""
        self.whole = whole  # an update that tells all there is: what it leaves out is gone, not as it was
        self.seen: dict[str, int] | None = None  # the last given time of each other source

    @property
    def symbol(self) -> str:
        """The instrument's symbol."""
        return self.instrument.symbol

    @property
    def time(self) -> datetime:
        """The source's own time, else when it was received; aware."""
        return at(self.time_ns or self.received_ns, self.instrument.zone)

    @property
    def received(self) -> datetime:
        """When it was received, by the engine's time; aware."""
        return at(self.received_ns, self.instrument.zone)

    @property
    def bid(self) -> Decimal | None:
        """The best bid, exact; None while unknown."""
        return to_decimal(self.bid_raw, self.instrument.scale) if self.bid_raw else None

    @property
    def ask(self) -> Decimal | None:
        """The best ask, exact; None while unknown."""
        return to_decimal(self.ask_raw, self.instrument.scale) if self.ask_raw else None

    @property
    def last(self) -> Decimal | None:
        """The last traded price, exact; None while unknown."""
        return to_decimal(self.last_raw, self.instrument.scale) if self.last_raw else None

    @property
    def volume(self) -> Decimal | None:
        """Traded in the session so far, in units; None while unknown."""
        return self._size(self.volume_raw)

    @property
    def bid_size(self) -> Decimal | None:
        """What is bid for, in units; None while unknown."""
        return self._size(self.bid_size_raw)

    @property
    def ask_size(self) -> Decimal | None:
        """What is offered, in units; None while unknown."""
        return self._size(self.ask_size_raw)

    def _size(self, raw: int | None) -> Decimal | None:
        return None if raw is None else to_decimal(raw, self.instrument.quantity_scale)

    @property
    def mid(self) -> float:
        """Halfway between bid and ask, a float; NaN while one is unknown."""
        if self.bid_raw and self.ask_raw:
            return (self.bid_raw + self.ask_raw) / self.instrument.twice
        return float("nan")

    @property
    def price(self) -> float:
        """The last price, else the mid, as a float for indicator arithmetic; NaN while nothing is known."""
        return float(self.last_raw / 10**self.instrument.scale) if self.last_raw else self.mid

    @property
    def mark_raw(self) -> int:
        """Twice the price a position is valued at (last, else mid), so that a mid stays whole; 0 while unknown."""
        if self.last_raw:
            return 2 * self.last_raw
        return self.bid_raw + self.ask_raw if self.bid_raw and self.ask_raw else 0

    def conflated(self, missed: int) -> "Tick":
        """This tick as a slow reader gets it: `missed` others came before it."""
        copy = _ConflatedTick(*(getattr(self, name) for name in _TICK_FIELDS))
        copy.missed = missed
        return copy

    def __dir__(self) -> list[str]:
        return for_users(object.__dir__(self), ("conflated", "seen", "whole"))

    def __repr__(self) -> str:
        return f"Tick({self.symbol} bid={self.bid} ask={self.ask} last={self.last} time={self.time.isoformat()})"

    def _repr_html_(self) -> str:
        names = ("bid", "ask", "last", "bid_size", "ask_size", "volume")
        told = [(name, getattr(self, name)) for name in names]
        missed = [("missed", self.missed)] if self.missed else []
        shown = [row for row in told if row[1] is not None]
        return html.card(self.symbol, html.facts([*shown, ("time", self.time.isoformat()), *missed]))


class _ConflatedTick(Tick):
    __slots__ = ("missed",)


class PriceTick(Tick):
    """A quote of prices alone, whose source's time is the engine's, and whose mid is known. It is made empty and filled
    by whoever makes it, which is twice as quick as a constructor."""

    __slots__ = ("mid", "symbol")
    __init__ = object.__init__
    mid: float
    symbol: str
    volume_raw = None
    bid_size_raw = None
    ask_size_raw = None
    source = ""
    whole = False
    seen = None

    @property
    def time_ns(self) -> int:  # type: ignore[override]
        return self.received_ns


_TICK_FIELDS = (
    "instrument",
    "received_ns",
    "bid_raw",
    "ask_raw",
    "last_raw",
    "time_ns",
    "volume_raw",
    "bid_size_raw",
    "ask_size_raw",
    "source",
)
