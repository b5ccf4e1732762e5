"""A feed of good ticks and of every bad kind, and what a believer of the good ones alone would know."""

import asyncio
from collections.abc import Callable
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
        kind = self._dice.choice(("by hand", "quarantined", *_MAKERS))
        if kind == "by hand" or self._sink is None:
            odd = self._dice.choice(("NaN", "Infinity", 0, -1, "1.00001"))
            stream.update(item.symbol, bid=odd, ask=item.price(far))
            return f"bad tick by hand: {odd}"
        if kind == "quarantined":
            self._sink.quarantine("NaN")
        elif not self.good[item.symbol].bid:
            return f"no {kind} tick: of {item.symbol} nothing is known"
        else:
            terms = _MAKERS[kind](item, far, self._timed.get(item.symbol))
            if terms is None:
                return f"no {kind} tick: nothing was timed"
            self._sink.tick(Tick(**{"instrument": item, "received_ns": self._sink.now(), "source": "a", **terms}))
        return f"bad tick: {kind}"


def _all(raw: int) -> dict[str, int]:
    return dict.fromkeys(("bid_raw", "ask_raw", "last_raw"), raw)


def _backward(_: Instrument, far: int, timed: Tick | None) -> dict[str, Any] | None:
    return None if timed is None else {**_all(far), "time_ns": timed.time_ns - 1}


def _duplicate(_: Instrument, __: int, timed: Tick | None) -> dict[str, Any] | None:
    return None if timed is None else {name: getattr(timed, name) for name in (*_all(0), "time_ns")}


_MAKERS: dict[str, Callable[[Instrument, int, Tick | None], dict[str, Any] | None]] = {
    "crossed": lambda *_: {"bid_raw": HIGH, "ask_raw": LOW},
    "negative": lambda _, far, __: {"bid_raw": far, "ask_raw": -far},
    "off-scale": lambda item, far, _: {"instrument": Instrument(item.symbol, scale=4), **_all(far)},
    "backward": _backward,
    "duplicate": _duplicate,
}
