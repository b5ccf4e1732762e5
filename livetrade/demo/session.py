"""Two strategies, and what runs them until the time is over or a signal comes."""

import asyncio
import signal
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from itertools import cycle, pairwise
from math import hypot
from statistics import fmean
from typing import Any

import livetrade as lt
from livetrade.demo.screen import Screen

# ── two strategies ───────────────────────────────────────────────────────────────────────────────────────────────────

WINDOW = 12
"""How many prices a strategy looks back on."""
SWING = 1.25
"""How many of the usual moves within a window an exit is away."""
PATIENCE = 1.5
"""Seconds that a limit order may rest before it is canceled and placed anew."""


async def follow_rises(engine: lt.LiveTradingEngine, symbol: str, budget: int) -> None:
    """Buys while the price is above its recent average, with a stop and a target one usual swing away."""
    window = Window()
    async for tick in engine.stream.ticks(symbol):
        if not window.add(tick) or not tick.ask or tick.mid < window.average or engine.position(symbol):
            continue
        swing = window.swing(tick)
        await engine.market_buy(
            symbol,
            affordable(tick, budget),
            stop_loss_price=tick.ask - swing,
            take_profit_price=tick.ask + swing,
            tag="rises",
        )


async def catch_dips(engine: lt.LiveTradingEngine, symbol: str, budget: int) -> None:
    """Rests a limit order half a swing below the market; a trailing stop follows what it bought."""
    window = Window()
    ticks = engine.stream.ticks(symbol)
    async for tick in ticks:
        if not window.add(tick) or not tick.bid or ticks.behind or engine.position(symbol):
            continue
        limit = tick.bid - window.swing(tick, 0.5)
        entry = engine.limit_buy(symbol, affordable(tick, budget), limit, trailing_stop=window.swing(tick), tag="dips")
        answer = await entry.wait_for("FILLED", timeout=PATIENCE)
        if answer.order and answer.order.is_open:
            await engine.cancel(answer.order.client_order_id)


class Window:
    """The last prices of a symbol: their average, and how far they usually swing."""

    def __init__(self) -> None:
        self._prices: deque[float] = deque(maxlen=WINDOW)

    def add(self, tick: lt.Tick) -> bool:
        """Takes one more price; True once there are enough."""
        self._prices.append(tick.mid)
        return len(self._prices) == WINDOW

    @property
    def average(self) -> float:
        return fmean(self._prices)

    def swing(self, tick: lt.Tick, share: float = 1) -> Decimal:
        """How far a price usually gets within a window, at least two spreads, on the symbol's tick grid."""
        usual = SWING * hypot(*(after - before for before, after in pairwise(self._prices)))
        spread = float(tick.ask - tick.bid) if tick.ask and tick.bid else 0.0
        step = tick.instrument.tick_size or Decimal(1).scaleb(-tick.instrument.scale)
        return step * max(2, round(share * max(usual, 2 * spread) / float(step)))


def affordable(tick: lt.Tick, budget: int) -> Decimal:
    """The quantity that a budget buys, in whole lots, or in hundredths where fractions are traded; at least one."""
    step = Decimal("0.01") if tick.instrument.quantity_scale else tick.instrument.lot_size
    return step * max(1, int(budget / tick.price / float(step)))


# ── running them ─────────────────────────────────────────────────────────────────────────────────────────────────────

CASH = 1_000_000
FRAME = 0.1
"""Seconds from one picture to the next."""


def _strategies(engine: lt.LiveTradingEngine, symbols: Sequence[str]) -> list[Coroutine[Any, Any, None]]:
    budget = CASH * 9 // (10 * len(symbols))
    kinds = cycle((follow_rises, catch_dips))
    return [strategy(engine, symbol, budget) for symbol, strategy in zip(symbols, kinds, strict=False)]


async def trade(engine: lt.LiveTradingEngine, symbols: Sequence[str], seconds: float, screen: Screen) -> int:
    """Trades until the time is over or a signal comes, then closes everything. Gives the exit code."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[int] = loop.create_future()
    until = loop.time() + seconds
    loop.call_at(until, _settle, over, 0)
    with _signals(lambda number: loop.call_soon_threadsafe(_settle, over, 128 + number)):
        tasks = [loop.create_task(strategy) for strategy in _strategies(engine, symbols)]
        ends: list[asyncio.Future[Any]] = [over, *tasks]
        try:
            while not over.done():
                screen.show(engine, symbols, max(0.0, until - loop.time()))
                done, _ = await asyncio.wait(ends, timeout=FRAME, return_when=asyncio.FIRST_EXCEPTION)
                for ended in done:
                    ended.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await engine.flatten()
            screen.show(engine, symbols, 0.0)
    return over.result()


def _settle(future: "asyncio.Future[int]", code: int) -> None:
    if not future.done():
        future.set_result(code)


@contextmanager
def _signals(tell: Callable[[int], object]) -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM are told, and end nothing by themselves."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda number, _: tell(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
