"""A feed of good ticks and of every bad kind, and what a believer of the good ones alone would know."""

import asyncio
from typing import Any

import livetrade as lt
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import FeedState
from livetrade.core.ticks import Tick
from livetrade.ports import Sink
from tests.core.kit import INFY, SBIN
from tests.simulation.world import World

ITEMS = (SBIN, INFY)
MIDDLE = 50_000
LOW, HIGH = 20, 10_000_000
"""Prices far outside: believed, they would fire everything."""


class Quotes:
    """The last good prices of a symbol; 0 is unknown."""

    def __init__(self) -> None:
        self.bid = self.ask = self.last = 0

    def watched(self, long: bool, trigger_by: str) -> int:
        """What an exit should look at."""
        if trigger_by == "last" and self.last:
            return self.last
        if self.bid or self.ask:
            return self.bid if long else self.ask
        return self.last


class Market:
    """In the place of a `Feed`, for one life of an engine after the other."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._dice = world.dice("market")
        self._middle = {item.symbol: MIDDLE for item in ITEMS}
        self._sink: Sink | None = None
        self.begin()

    def begin(self) -> None:
        """A new engine, which knows no price."""
        self.good = {item.symbol: Quotes() for item in ITEMS}
        self._timed: dict[str, Tick] = {}
        self._sink = None
        self.state = FeedState.CONNECTING
        self.bad = 0

    # ── Feed ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def start_ns(self, _: Any) -> None:
        return None

    async def run(self, sink: Sink) -> None:
        self._sink = sink
        await asyncio.Event().wait()

    # ── what it sends ────────────────────────────────────────────────────────────────────────────────────────────────

    def change(self, state: FeedState) -> None:
        if self._sink is not None:
            self.state = state
            self._sink.state(state, "so it goes")

    def price(self, symbol: str) -> int:
        return self._middle[symbol]

    def tick(self, stream: lt.LivePriceStream) -> str:
        """One good tick, from the feed or by hand."""
        item = self._dice.choice(ITEMS)
        step = self._dice.choice((1, 1, 2, 3, 5, 20, 60))
        middle = self._middle[item.symbol] = max(1000, self._middle[item.symbol] + 5 * self._dice.randint(-step, step))
        prices = {"bid_raw": middle, "ask_raw": middle + 5 * self._dice.randrange(4), "last_raw": middle}
        shown = self._dice.choice((("bid_raw", "ask_raw"),) * 4 + (tuple(prices), ("bid_raw",), ("ask_raw",)))
        prices = {name: prices[name] for name in shown}
        if self._sink is None or self._dice.random() < 0.3:
            names = {name.removesuffix("_raw"): item.price(raw) for name, raw in prices.items()}
            stream.update(item.symbol, **names)
        else:
            tick = Tick(item, self._sink.now(), **prices, source="a")
            if self._dice.random() < 0.5:
                tick.time_ns = tick.received_ns
                self._timed[item.symbol] = tick
            else:
                self._timed.pop(item.symbol, None)
            self._believe(item, **prices)
            self._sink.tick(tick)
            return f"tick {item.symbol} {prices}"
        self._timed.pop(item.symbol, None)
        self._believe(item, **prices)
        return f"posted {item.symbol} {prices}"

    def _believe(self, item: Instrument, bid_raw: int = 0, ask_raw: int = 0, last_raw: int = 0) -> None:
        good = self.good[item.symbol]
        if bid_raw and not ask_raw and bid_raw > good.ask:
            good.ask = 0
        if ask_raw and not bid_raw and ask_raw < good.bid:
            good.bid = 0
        good.bid, good.ask, good.last = bid_raw or good.bid, ask_raw or good.ask, last_raw or good.last

    def bad_tick(self, stream: lt.LivePriceStream) -> str:
        """Something that is no price."""
        item = self._dice.choice(ITEMS)
        far = self._dice.choice((LOW, HIGH))
        kinds = ["by hand", "quarantined", "crossed", "negative", "empty", "scale", "backward", "duplicate"]
        kind = self._dice.choice(kinds)
        if kind == "by hand" or self._sink is None:
            odd = self._dice.choice(("NaN", "Infinity", 0, -1, "1.00001"))
            stream.update(item.symbol, bid=odd, ask=item.price(far))
            return f"bad tick by hand: {odd}"
        if kind == "quarantined":
            self._sink.quarantine("NaN")
            return "bad tick: quarantined by the feed"
        now = self._sink.now()
        prices: dict[str, dict[str, Any]] = {
            "crossed": {"bid_raw": HIGH, "ask_raw": LOW},
            "negative": {"bid_raw": far, "ask_raw": -far},
            "empty": {},
            "scale": {"bid_raw": far, "ask_raw": far, "last_raw": far},
        }
        if kind in prices:
            if kind == "empty" and self.good[item.symbol].bid:
                return "no empty tick: it changes nothing where a quote is known"
            scaled = Instrument(item.symbol, scale=4) if kind == "scale" and self.good[item.symbol].bid else item
            if kind == "scale" and scaled is item:
                return "no off-scale tick: the scale is not fixed yet"
            self._sink.tick(Tick(scaled, now, **prices[kind], source="a"))
            return f"bad tick: {kind}"
        timed = self._timed.get(item.symbol)
        if timed is None:
            return f"no {kind} tick: nothing was timed"
        copied = {name: getattr(timed, name) for name in ("bid_raw", "ask_raw", "last_raw")}
        if kind == "backward":
            copied = dict.fromkeys(copied, far)
        self._sink.tick(Tick(item, now, **copied, time_ns=timed.time_ns - (kind == "backward"), source="a"))
        return f"bad tick: {kind}"
