"""What is known of each topic of the Fyers API v3 data socket: its snapshot, and all that was told since, merged.

A topic tells signed 32-bit integers in the order of its table. The lowest of them, 0x80000000, means "no value" in a
snapshot and "as it was" in an update; an update may end early, and the rest is as it was. Any other negative is a
figure that has outgrown 31 bits, or nonsense: it is counted and there is no such figure.
"""

from collections import Counter
from decimal import Decimal
from math import gcd
from struct import Struct
from typing import Any, TypeVar

from livetrade.core.instruments import Instrument
from livetrade.core.numbers import MAX_RAW
from livetrade.core.records import record
from livetrade.core.ticks import Tick

T = TypeVar("T")

SOURCE = "fyers"
LEVELS = 5
BOOK = 6 * LEVELS

_NONE = -(2**31)
_MOST = 2**31 - 1
_BOOK = Struct(f">{BOOK}i")
_WIDTH = 4 * BOOK
_UNTOLD = _BOOK.pack(*[_NONE] * BOOK)
_SIGNS = int.from_bytes(_UNTOLD, "big")
_SECOND = 10**9

_new = object.__new__
_LAST = Struct(">i").unpack_from
_INDEX = Struct(">i4xi").unpack_from
_SCRIP = Struct(">ii4x5i").unpack_from
_BEST = Struct(">i16xi16xi16xi").unpack_from


class Scale:
    """From what the wire spells to whole steps of the instrument's scales. Negatives stay: they are no figures.

    price = raw / (10^precision × multiplier) (Fyers API v3 data socket) = raw × up / down steps, in lowest terms.
    usable: whether any price at all can be told on it.
    """

    __slots__ = ("down", "plain", "unit", "up", "usable")

    def __init__(self, instrument: Instrument, multiplier: int, precision: int) -> None:
        steps, divisor = 10**instrument.scale, 10**precision * multiplier
        common = gcd(steps, divisor)
        self.up, self.down, self.unit = steps // common, divisor // common, 10**instrument.quantity_scale
        self.plain = self.up == self.down == self.unit == 1
        self.usable = 0 < self.down <= _MOST

    def price(self, raw: int) -> int:
        """0 when it does not fit exactly."""
        if raw < 0:
            return raw
        whole, rest = divmod(raw, self.down)
        return 0 if rest or whole * self.up > MAX_RAW else whole * self.up

    def size(self, raw: int) -> int:
        """-1 when it does not fit."""
        return raw if raw < 0 else raw * self.unit if raw * self.unit <= MAX_RAW else -1


@record
class Level:
    """One price of an order book: in steps of the instrument's scales, all 0 where there is none."""

    price_raw: int
    size: int
    orders: int


class Depth:
    """The five best bids and asks of an instrument at one moment, best first; nothing in it changes.

    wire: the merged figures, five u32 each of bids, asks, bid sizes, ask sizes, bid orders, ask orders.
    """

    __slots__ = ("_scale", "_wire", "instrument", "received_ns")

    def __init__(self, instrument: Instrument, received_ns: int, scale: Scale, wire: bytes) -> None:
        self.instrument = instrument
        self.received_ns = received_ns
        self._scale = scale
        self._wire = wire

    @property
    def bids(self) -> tuple[Level, ...]:
        return self._side(0)

    @property
    def asks(self) -> tuple[Level, ...]:
        return self._side(LEVELS)

    @property
    def bid_prices(self) -> tuple[Decimal | None, ...]:
        return self._prices(self.bids)

    @property
    def ask_prices(self) -> tuple[Decimal | None, ...]:
        return self._prices(self.asks)

    def _side(self, first: int) -> tuple[Level, ...]:
        told = _BOOK.unpack(self._wire)
        return tuple(self._level(*told[at :: 2 * LEVELS]) for at in range(first, first + LEVELS))

    def _level(self, raw: int, size: int, orders: int) -> Level:
        price = self._scale.price(raw)
        return Level(price, max(self._scale.size(size), 0), orders) if price else Level(0, 0, 0)

    def _prices(self, levels: tuple[Level, ...]) -> tuple[Decimal | None, ...]:
        return tuple(self.instrument.price(level.price_raw) if level.price_raw else None for level in levels)


class Topic:
    """One topic. `start` comes with each snapshot, before its figures; an update goes on from there."""

    FIELDS = 0
    WHOLE = True
    """Whether its ticks tell all there is."""
    __slots__ = ("counts", "depths", "figures", "instrument", "name", "plain", "scale")
    figures: tuple[Any, ...]
    """The last price first."""

    def __init__(self, name: str, counts: Counter[str], depths: dict[str, Depth]) -> None:
        self.name, self.counts, self.depths = name, counts, depths

    def start(self, instrument: Instrument, scale: Scale) -> None:
        """Nothing is known any more."""
        self.instrument, self.scale, self.plain = instrument, scale, scale.plain

    def goes_on_as(self, instrument: Instrument | None) -> bool:
        """Whether what is known holds for this instrument too, which then is the topic's."""
        if instrument is None or (instrument is not self.instrument and instrument != self.instrument):
            return False
        self.instrument = instrument
        return True

    def end(self) -> None:
        """It is wanted no more."""

    def update(self, frame: bytes, at: int, fields: int, received_ns: int) -> Tick | None:
        """Merges the `fields` integers that begin at `at`; a tick if it shows anything new."""
        raise NotImplementedError

    def lite(self, frame: bytes, at: int, received_ns: int) -> Tick | None:
        """Merges a last price that comes alone. A tick that is not whole cannot say that there is none any more."""
        (last,) = _LAST(frame, at)
        was = self.figures
        if not self.plain:
            last = self.price(last)
        if last < 0:
            last = was[0] if last == _NONE else self.odd("negative", 0)
        if last == was[0]:
            return None
        self.figures = (last, *was[1:])
        return Tick(self.instrument, received_ns, 0, 0, last, 0, None, None, None, SOURCE) if last else None

    def padded(self, frame: bytes, at: int, fields: int) -> bytes:
        """The figures of an update that ends early, or goes beyond the table."""
        if fields > self.FIELDS:
            self.odd("no such field", None)
        return frame[at : at + 4 * fields] + _UNTOLD

    def price(self, raw: int) -> int:
        steps = self.scale.price(raw)
        return self.odd("off_scale", 0) if raw and not steps else steps

    def odd(self, reason: str, instead: T) -> T:
        self.counts[reason] += 1
        return instead


class Scrip(Topic):
    """sf: 0 last, 1 volume, 3 exchange's time, 4 bid size, 5 ask size, 6 bid, 7 ask; the rest is in no Tick."""

    FIELDS = 21
    __slots__ = ()

    def start(self, instrument: Instrument, scale: Scale) -> None:
        super().start(instrument, scale)
        self.figures = (0, None, 0, None, None, 0, 0)

    def update(self, frame: bytes, at: int, fields: int, received_ns: int) -> Tick | None:
        told = _SCRIP(frame, at) if fields == 21 else _SCRIP(self.padded(frame, at, fields))
        was = self.figures
        last, volume, seconds, bid_size, ask_size, bid, ask = told if self.plain else self._scaled(*told)
        if last < 0:
            last = was[0] if last == _NONE else self.odd("negative", 0)
        if volume < 0:
            volume = was[1] if volume == _NONE else self.odd("out_of_range", None)
        if seconds < 0:
            seconds = was[2] if seconds == _NONE else self.odd("negative", 0)
        if bid_size < 0:
            bid_size = was[3] if bid_size == _NONE else self.odd("out_of_range", None)
        if ask_size < 0:
            ask_size = was[4] if ask_size == _NONE else self.odd("out_of_range", None)
        if bid < 0:
            bid = was[5] if bid == _NONE else self.odd("negative", 0)
        if ask < 0:
            ask = was[6] if ask == _NONE else self.odd("negative", 0)
        now = (last, volume, seconds, bid_size, ask_size, bid, ask)
        if now == was:
            return None
        self.figures = now
        if not (bid and ask) and _shown(*now) == _shown(*was):
            return None
        tick = _new(Tick)  # its constructor would take a fifth of the time
        tick.instrument = self.instrument
        tick.received_ns = received_ns
        tick.bid_raw = bid
        tick.ask_raw = ask
        tick.last_raw = last
        tick.time_ns = seconds * _SECOND
        tick.volume_raw = volume
        tick.bid_size_raw = bid_size if bid else None
        tick.ask_size_raw = ask_size if ask else None
        tick.source = SOURCE
        tick.whole = True
        tick.seen = None
        return tick

    def _scaled(
        self, last: int, volume: int, seconds: int, bid_size: int, ask_size: int, bid: int, ask: int
    ) -> tuple[int, ...]:
        price, size = self.price, self.scale.size
        return price(last), size(volume), seconds, size(bid_size), size(ask_size), price(bid), price(ask)


class Index(Topic):
    """if: 0 last, 2 exchange's time; the rest is in no Tick. The server sends 6 or 8 fields."""

    FIELDS = 8
    __slots__ = ()

    def start(self, instrument: Instrument, scale: Scale) -> None:
        super().start(instrument, scale)
        self.figures = (0, 0)

    def update(self, frame: bytes, at: int, fields: int, received_ns: int) -> Tick | None:
        last, seconds = _INDEX(frame, at) if 2 < fields < 9 else _INDEX(self.padded(frame, at, fields))
        was = self.figures
        if not self.plain:
            last = self.price(last)
        if last < 0:
            last = was[0] if last == _NONE else self.odd("negative", 0)
        if seconds < 0:
            seconds = was[1] if seconds == _NONE else self.odd("negative", 0)
        now = (last, seconds)
        if now == was:
            return None
        self.figures = now
        return Tick(self.instrument, received_ns, 0, 0, last, seconds * _SECOND, None, None, None, SOURCE, True)


class Nobody(Topic):
    """Whatever an id without a snapshot tells."""

    def update(self, frame: bytes, at: int, fields: int, received_ns: int) -> Tick | None:
        return self.odd("unknown topic id", None)

    def lite(self, frame: bytes, at: int, received_ns: int) -> Tick | None:
        return self.odd("unknown topic id", None)


class Last(Topic):
    """sf or if in lite mode: 0 last, and nothing else is kept up to date."""

    FIELDS = 21
    WHOLE = False
    __slots__ = ()

    def start(self, instrument: Instrument, scale: Scale) -> None:
        super().start(instrument, scale)
        self.figures = (0,)

    def update(self, frame: bytes, at: int, fields: int, received_ns: int) -> Tick | None:
        return self.lite(self.padded(frame, at, fields), 0, received_ns)


class Book(Topic):
    """dp: the 30 figures of a `Depth`, as one integer of 32-bit lanes: all merge at once, only the best are read."""

    FIELDS = BOOK
    __slots__ = ("lanes", "told")

    def start(self, instrument: Instrument, scale: Scale) -> None:
        super().start(instrument, scale)
        self.lanes, self.told = 0, (0, 0, 0, 0)
        self.figures = (0, 0, None, None)

    def update(self, frame: bytes, at: int, fields: int, received_ns: int) -> Tick | None:
        wire = frame[at : at + _WIDTH] if fields == BOOK else self.padded(frame, at, fields)[:_WIDTH]
        lanes = int.from_bytes(wire, "big")
        signs = lanes & _SIGNS
        untold = signs - (signs >> 31)  # the 31 bits below each sign
        if lanes & untold:
            return self.update(self._without_negatives(wire), 0, BOOK, received_ns)
        self.lanes = lanes = (lanes ^ signs) | (self.lanes & untold)
        wire = lanes.to_bytes(_WIDTH, "big")
        self.depths[self.instrument.symbol] = Depth(self.instrument, received_ns, self.scale, wire)
        told = _BEST(wire)
        if told == self.told:
            return None
        self.told = told
        bid, ask, bid_size, ask_size = told if self.plain else self._scaled(*told)
        now = (bid, ask, bid_size or None if bid else None, ask_size or None if ask else None)
        if now == self.figures:
            return None
        self.figures = now
        return Tick(self.instrument, received_ns, bid, ask, 0, 0, None, now[2], now[3], SOURCE, True)

    def _scaled(self, bid: int, ask: int, bid_size: int, ask_size: int) -> tuple[int, int, int, int]:
        return self.price(bid), self.price(ask), self._size(bid_size), self._size(ask_size)

    def _size(self, raw: int) -> int:
        size = self.scale.size(raw)
        return size if size >= 0 else self.odd("out_of_range", 0)

    def _without_negatives(self, wire: bytes) -> bytes:
        told = _BOOK.unpack(wire)
        for at, raw in enumerate(told):
            if _NONE < raw < 0:
                self.odd("negative" if at < 2 * LEVELS else "out_of_range", None)
        return _BOOK.pack(*(0 if _NONE < raw < 0 else raw for raw in told))

    def end(self) -> None:
        self.depths.pop(self.instrument.symbol, None)

    def lite(self, frame: bytes, at: int, received_ns: int) -> Tick | None:
        """A book has no last price."""
        return self.odd("lite depth", None)


def _shown(
    last: int, volume: int | None, seconds: int, bid_size: int | None, ask_size: int | None, bid: int, ask: int
) -> tuple[int | None, ...]:
    """Without the size of a price that there is not."""
    return last, volume, seconds, bid_size if bid else None, ask_size if ask else None, bid, ask
