"""A slow decoder of data frames, written from the protocol's description: what `codec.Decoder` has to agree with.

It reads one figure at a time, keeps everything by name, and computes in fractions.
"""

from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

from livetrade.core.instruments import Instrument
from livetrade.core.ticks import Tick
from tests.adapters.fyers.frames import DEPTH, INDEX, NONE, SCRIP

TABLES = {"sf": SCRIP, "if": (*INDEX, "yearly_high", "yearly_low"), "dp": DEPTH}
LARGEST = 2**63 - 1
Side = list[tuple[Fraction | None, int, int]]


class Shown(NamedTuple):
    """A tick in exact numbers."""

    symbol: str
    bid: Fraction | None
    ask: Fraction | None
    last: Fraction | None
    volume: Fraction | None
    bid_size: Fraction | None
    ask_size: Fraction | None
    seconds: int
    whole: bool

    @classmethod
    def of(cls, tick: Tick) -> "Shown":
        assert tick.source == "fyers"
        assert tick.time_ns % 10**9 == 0
        assert tick.seen is None
        assert not tick.missed
        names = ("bid", "ask", "last", "volume", "bid_size", "ask_size")
        exact = (None if getattr(tick, name) is None else Fraction(getattr(tick, name)) for name in names)
        return cls(tick.symbol, *exact, tick.time_ns // 10**9, tick.whole)


class CutError(Exception):
    """The frame ends too early, or cannot be read on."""


class Bytes:
    """A frame, from the front to the end."""

    def __init__(self, frame: bytes) -> None:
        self.left = frame

    def take(self, count: int) -> bytes:
        if count > len(self.left):
            raise CutError("truncated")
        taken, self.left = self.left[:count], self.left[count:]
        return taken

    def number(self, count: int, signed: bool = False) -> int:
        return int.from_bytes(self.take(count), "big", signed=signed)

    def values(self) -> list[int]:
        count = self.number(1)
        return [self.number(4, signed=True) for _ in range(count)]


class Known:
    """A topic since its snapshot: figures by name, absent where there are none."""

    def __init__(self, name: str, instrument: Instrument, divisor: int, counts: Counter[str], lite: bool) -> None:
        self.kind, self.instrument, self.divisor, self.counts = name[:2], instrument, divisor, counts
        self.lite = lite and self.kind != "dp"
        self.figures: dict[str, int | Fraction] = {}
        self.shown: Shown | None = None
        self.best: list[int | Fraction] = [0, 0, 0, 0]

    def price(self, raw: int) -> Fraction | None:
        """None, and counted, where it is not on the instrument's scale."""
        value = Fraction(raw, self.divisor)
        steps = value * 10**self.instrument.scale
        if steps.denominator == 1 and steps <= LARGEST:
            return value or None
        self.counts["off_scale"] += 1
        return None

    def size(self, raw: int) -> Fraction | None:
        if raw * 10**self.instrument.quantity_scale <= LARGEST:
            return Fraction(raw)
        self.counts["out_of_range"] += 1
        return None

    def merge(self, values: list[int]) -> None:
        table = TABLES[self.kind]
        if len(values) > (21 if self.lite else len(table)):
            self.counts["no such field"] += 1
        for name, raw in zip(table, values, strict=False):
            if raw != NONE and (self.kind == "dp" or name in self.looked_at()):
                self.put(name, raw)

    def looked_at(self) -> set[str]:
        if self.lite:
            return {"ltp"}
        if self.kind == "if":
            return {"ltp", "exch_feed_time"}
        return {*SCRIP[:2], *SCRIP[3:8]}

    def put(self, name: str, raw: int) -> None:
        is_price = name == "ltp" or "_price" in name
        self.figures.pop(name, None)
        if raw < 0:
            self.counts["negative" if is_price or name == "exch_feed_time" else "out_of_range"] += 1
        elif self.kind == "dp" or name == "exch_feed_time":
            self.figures[name] = raw
        else:
            value = self.price(raw) if is_price else self.size(raw)
            if value is not None:
                self.figures[name] = value

    def tick(self) -> Shown:
        if self.kind == "dp":
            return self.book_tick()
        known = {} if self.lite else self.figures
        bid, ask, volume, bid_size, ask_size = (
            Fraction(known[name]) if name in known else None
            for name in ("bid_price", "ask_price", "vol_traded_today", "bid_size", "ask_size")
        )
        bid_size, ask_size = (bid_size if bid else None), (ask_size if ask else None)
        seconds = int(known.get("exch_feed_time", 0))
        return Shown(self.instrument.symbol, bid, ask, self.last(), volume, bid_size, ask_size, seconds, not self.lite)

    def last(self) -> Fraction | None:
        return Fraction(self.figures["ltp"]) if "ltp" in self.figures else None

    def book_tick(self) -> Shown:
        """Looks at the best level anew only where it was told anew; so an odd one is counted once."""
        best = [self.figures.get(name, 0) for name in ("bid_price1", "ask_price1", "bid_size1", "ask_size1")]
        if best == self.best:
            assert self.shown
            return self.shown
        self.best = best
        bid, ask = (self.price(int(raw)) for raw in best[:2])
        sizes = [self.size(int(raw)) or None for raw in best[2:]]
        bid_size, ask_size = (sizes[0] if bid else None), (sizes[1] if ask else None)
        return Shown(self.instrument.symbol, bid, ask, None, None, bid_size, ask_size, 0, True)

    def nothing(self) -> Shown:
        return Shown(self.instrument.symbol, None, None, None, None, None, None, 0, not self.lite)

    def side(self, side: str) -> Side:
        levels: Side = []
        for level in range(1, 6):
            raw, size, orders = (
                int(self.figures.get(f"{side}_{what}{level}", 0)) for what in ("price", "size", "order")
            )
            steps = Fraction(raw, self.divisor) * 10**self.instrument.scale
            if not raw or steps.denominator > 1 or steps > LARGEST:
                levels.append((None, 0, 0))
            else:
                unit = 10**self.instrument.quantity_scale
                levels.append((Fraction(raw, self.divisor), size * unit if size * unit <= LARGEST else 0, orders))
        return levels


class Reference:
    """As `Decoder`, but slow and plain."""

    def __init__(self, topics: Mapping[str, Instrument], lite: bool = False) -> None:
        self.topics, self.lite = topics, lite
        self.ids: dict[int, str] = {}
        self.known: dict[str, Known] = {}
        self.counts: Counter[str] = Counter()
        self.number = self.frames = 0

    def depths(self) -> dict[str, tuple[Side, Side]]:
        books = [topic for topic in self.known.values() if topic.kind == "dp"]
        return {topic.instrument.symbol: (topic.side("bid"), topic.side("ask")) for topic in books}

    def decode(self, frame: bytes) -> list[Shown]:
        if len(frame) < 9 or frame[2] != 6:
            self.counts["not data"] += 1
            return []
        rest = Bytes(frame[3:])
        self.number = rest.number(4)
        self.frames += 1
        ticks: list[Shown] = []
        try:
            for _ in range(rest.number(2)):
                tick = self.item(rest)
                if tick:
                    ticks.append(tick)
            if rest.left:
                self.counts["left over"] += 1
        except CutError as cut:
            self.counts[str(cut)] += 1
        return ticks

    def item(self, rest: Bytes) -> Shown | None:
        if len(rest.left) < 4:  # no item is shorter
            raise CutError("truncated")
        kind, topic_id = rest.take(1), rest.number(2)
        if kind == b"S":
            return self.snapshot(topic_id, rest)
        if kind not in (b"U", b"L"):
            raise CutError("unknown item")
        values = rest.values() if kind == b"U" else [rest.number(4, signed=True)]
        name = self.ids.get(topic_id)
        if name is None:
            self.counts["unknown topic id"] += 1
            return None
        topic = self.known[name]
        if topic.kind == "dp" and kind == b"L":
            self.counts["lite depth"] += 1
            return None
        topic.merge(values)
        return self.alone(topic) if kind == b"L" else self.changed(topic)

    def alone(self, topic: Known) -> Shown | None:
        """A last price that came alone shows nothing but itself."""
        now = topic.tick()
        before, topic.shown = topic.shown, now
        if now == before or now.last is None:
            return None
        return topic.nothing()._replace(last=now.last, whole=False)

    def changed(self, topic: Known) -> Shown | None:
        if topic.lite:
            return self.alone(topic)
        now = topic.tick()
        before, topic.shown = topic.shown, now
        return None if now == before else now

    def snapshot(self, topic_id: int, rest: Bytes) -> Shown | None:
        name = rest.number(1)
        self.ids.pop(topic_id, None)
        topic_name = rest.take(name).decode("latin-1")
        values = rest.values()
        rest.take(2)
        divisor = rest.number(2) * 10 ** rest.number(1)
        for _ in range(3):
            rest.take(rest.number(1))
        if topic_name not in self.topics or topic_name[:3] not in ("sf|", "if|", "dp|"):
            self.counts["unknown topic"] += 1
            return None
        instrument = self.topics[topic_name]
        if not divisor or Fraction(10**instrument.scale, divisor).denominator >= 2**31:
            self.counts["no scale"] += 1
            return None
        topic = self.known[topic_name] = Known(topic_name, instrument, divisor, self.counts, self.lite)
        topic.shown = topic.nothing()
        self.ids[topic_id] = topic_name
        topic.merge(values)
        topic.shown = topic.tick()
        return topic.shown
