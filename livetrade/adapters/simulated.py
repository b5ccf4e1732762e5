"""A seeded market that needs no network.

Every share follows one common market and has moves of its own, calm for a while and nervous for a while. The n-th
price of a symbol depends on the seed and on n alone: not on the clock, the rate, or the other symbols. From the start
price on only basic arithmetic and square roots are used, which are the same on every machine.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from functools import partial
from itertools import count, islice
from math import inf, sqrt
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from livetrade.core import html
from livetrade.core.instruments import Instrument, check_symbol, default_instrument
from livetrade.core.kinds import FeedState, InstrumentKind
from livetrade.core.numbers import EXACT, Number, at, positive
from livetrade.core.ticks import Tick
from livetrade.errors import OrderError
from livetrade.ports import Sink

if TYPE_CHECKING:
    from livetrade.calendars import Session, TradingCalendar

MARKET_VOLATILITY = 0.8e-4
"""The market's relative move from one tick to the next, on average."""
PULL = 2e-5
"""How much of its distance from the start a price loses with each tick, so that it strays but never runs away."""
CALM, SHOCK, MEMORY, WILDEST = 0.02, 0.08, 0.90, 50.0
"""The variance, 1 on average, is CALM + SHOCK x (last move)² + MEMORY x (last variance): a GARCH(1,1)."""
BURST_CHANCE, BURST = 1 / 4000, 20.0
UNIT_VARIANCE = sqrt(3.0)  # of the sum of four uniform numbers

SLICE = 0.003
"""Seconds of work after which the loop gets its turn."""
LATEST = 0.25
"""Seconds the market may be behind its rate; what a longer stall held back is never delivered."""
LOOK = 1.0
"""Seconds between two looks whether the market opens; somebody may set the clock."""
OPENING_NS = 1_767_584_700_000_000_000  # Monday 2026-01-05 09:15 in Asia/Kolkata

GREATEST_START = Decimal(10) ** 9


class SimulatedFeed:
    """A market that looks like one: spreads and sizes vary, volatility comes in clusters, a burst now and then.

    symbols: one symbol or several. Those that end in -INDEX have a last price only, which the shares follow.
    ticks_per_second: for each symbol. After a stall the market goes on from where it was, without hurrying.
    start_prices: a first price for some symbols, rounded to the tick; the others get one by the seed.
    calendar: a `TradingCalendar` by whose sessions the market opens and closes. While it is closed no ticks come,
    opening orders are refused, and the feed is STALE for a reason that says when it opens. It never closes without one.

    Indian shares tick by 0.01 below 250, 0.05 up to 1,000 and 0.10 above; other symbols are fractional quantities of
    something like a currency pair. Two feeds of one seed give the same prices.

    Raises `OrderError` for malformed, repeated or missing symbols, a rate or a start price that is not above zero, a
    start price of a symbol that is not listed, and what is no calendar. On a day that its calendar does not know the
    feed fails, and says so.
    """

    def __init__(
        self,
        symbols: str | Sequence[str],
        seed: int | str = 0,
        ticks_per_second: float = 10,
        start_prices: Mapping[str, Number] | None = None,
        *,
        calendar: "TradingCalendar | None" = None,
    ) -> None:
        self.symbols = _checked(symbols)
        self.seed = seed
        self.ticks_per_second = float(positive(ticks_per_second, "ticks_per_second"))
        if calendar is not None:
            from livetrade.calendars import check_calendar

            check_calendar(calendar)
        self._calendar = calendar
        unlisted = set(start_prices or ()) - set(self.symbols)
        if unlisted:
            raise OrderError(
                f"start_prices has symbols that are not simulated: {', '.join(sorted(map(repr, unlisted)))}"
            )
        self._listings = [_listing(symbol, seed, (start_prices or {}).get(symbol)) for symbol in self.symbols]

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """What it registers."""
        return tuple(listing.instrument for listing in self._listings)

    def path(
        self,
        register: Callable[[Instrument], Instrument],
        n: int | None = None,
        clock: Callable[[], int] | None = None,
    ) -> Iterator[Tick]:
        """The market's ticks, round by round, without a loop and as fast as they are taken: `n` of them, or for ever.

        register: gives the instrument to build a symbol's ticks with; called for all of them at once.
        clock: their times, in integer nanoseconds UTC. By default they are evenly spaced by the rate, from the opening
        of a Monday in January 2026; with a calendar they go on from session to session.
        """
        if clock is None:
            step = max(1, round(1e9 / (self.ticks_per_second * len(self.symbols))))
            clock = partial(next, count(OPENING_NS, step) if self._calendar is None else _times(self._calendar, step))
        market = _Market(Random(f"{self.seed}:"))
        share = partial(_share, self._closes_after)
        lines = []
        for listing in self._listings:
            instrument = register(listing.instrument)
            line = _index if listing.instrument.kind is InstrumentKind.INDEX else share
            rng = Random(f"{self.seed}:{listing.instrument.symbol}")
            lines.append(line(instrument, listing.start_on(instrument), market, rng, clock))
        return islice(_rounds(market, lines), n)

    def _closes_after(self, time_ns: int) -> float:
        """When the session ends that is on at a moment."""
        return inf if self._calendar is None else _ns(_session_of(self._calendar, time_ns).closes)

    def start_ns(self, zone: tzinfo) -> None:
        """Live: it has no time of its own."""

    async def run(self, sink: Sink) -> None:
        """Delivers ticks at the rate until it is cancelled."""
        sink.state(FeedState.CONNECTING, "opening the simulated market")
        try:
            ticks = self.path(sink.register, clock=sink.now)
            while True:
                closes_ns = inf if self._calendar is None else await _opening(self._calendar, sink)
                sink.state(FeedState.LIVE)
                await self._deliver(ticks, sink, closes_ns)
        finally:
            sink.state(FeedState.CLOSED, "the simulated market was closed")

    async def _deliver(self, ticks: Iterator[Tick], sink: Sink, closes_ns: float) -> None:
        clock = asyncio.get_running_loop().time
        interval = 1.0 / (self.ticks_per_second * len(self.symbols))
        now = due = clock()
        while sink.now() < closes_ns:
            due = max(due, now - LATEST)
            pause = now + SLICE
            while due <= now < pause and sink.now() < closes_ns:
                sink.tick(next(ticks))
                due += interval
                now = clock()
            await asyncio.sleep(max(0.0, due - now))
            now = clock()

    def __repr__(self) -> str:
        names = ", ".join(self.symbols[:3]) + (", …" if len(self.symbols) > 3 else "")
        return f"<SimulatedFeed {names} seed={self.seed} ticks_per_second={self.ticks_per_second:g}>"

    def _repr_html_(self) -> str:
        rows = [("symbols", ", ".join(self.symbols)), ("seed", self.seed), ("ticks a second", self.ticks_per_second)]
        return html.card("SimulatedFeed", html.facts(rows))


class _Listing(NamedTuple):
    instrument: Instrument
    start: Decimal

    def start_on(self, instrument: Instrument) -> float:
        """The start price in whole ticks of an instrument that somebody else may have registered otherwise."""
        return float(max(1, round(float(EXACT.scaleb(self.start, instrument.scale)) / instrument.tick_raw)))


async def _opening(calendar: "TradingCalendar", sink: Sink) -> int:
    """Returns once the market is open, and gives when it closes."""
    session = _session_of(calendar, sink.now())
    opens_ns = _ns(session.opens)
    if sink.now() < opens_ns:
        sink.state(FeedState.STALE, f"the simulated market is closed until {session.opens:%A %Y-%m-%d %H:%M}")
    while (left_ns := opens_ns - sink.now()) > 0:  # noqa: ASYNC110  a clock sets no event
        await asyncio.sleep(min(LOOK, left_ns / 1e9))
    return _ns(session.closes)


def _session_of(calendar: "TradingCalendar", time_ns: int) -> "Session":
    """The one that is on at a moment, or else the next."""
    now = at(time_ns, UTC)
    today = calendar.session(now)
    return today if today is not None and now < today.closes else calendar.next_session(now)


def _times(calendar: "TradingCalendar", step: int) -> Iterator[int]:
    """Evenly spaced within each session, one after the other."""
    begin = at(OPENING_NS, UTC)
    while True:
        session = calendar.next_session(begin)
        yield from range(_ns(session.opens), _ns(session.closes), step)
        begin = session.closes


def _ns(moment: datetime) -> int:
    return round(moment.timestamp()) * 10**9


def _checked(symbols: str | Sequence[str]) -> tuple[str, ...]:
    given = (symbols,) if isinstance(symbols, str) else tuple(symbols)
    if not given:
        raise OrderError("a simulated market needs at least one symbol, such as 'NSE:SBIN-EQ'")
    seen: set[str] = set()
    for symbol in given:
        if check_symbol(symbol) in seen:
            raise OrderError(f"{symbol!r} is listed twice")
        seen.add(symbol)
    return given


def _listing(symbol: str, seed: int | str, given: Number | None) -> _Listing:
    known = default_instrument(symbol)
    index = symbol.endswith("-INDEX")
    indian = known.kind is not InstrumentKind.CRYPTO
    if given is None:
        start = _start_price(index, indian, Random(f"{seed}:{symbol}:start"))
    else:
        start = positive(given, f"{symbol}: start price")
        if start > GREATEST_START:
            raise OrderError(f"{symbol}: start price {given} is out of range")
    if index:
        instrument = Instrument(symbol, kind="INDEX", tick_size=Decimal("0.05"))
    elif indian:
        instrument = Instrument(symbol, tick_size=_indian_tick(start))
    else:
        scale = 2 if start >= 50 else 5 if start >= Decimal("0.05") else 8
        instrument = Instrument(
            symbol,
            kind=InstrumentKind.CRYPTO,
            scale=scale,
            tick_size=EXACT.scaleb(Decimal(1), -scale),
            quantity_scale=8,
        )
    return _Listing(instrument, start)


def _start_price(index: bool, indian: bool, rng: Random) -> Decimal:
    """A price within its range, small ones as likely as large ones."""
    low, high = (15_000, 60_000) if index else (80, 4_000) if indian else (100, 80_000)
    price = low * (high / low) ** rng.random()
    return Decimal(price).quantize(Decimal("0.1"), context=EXACT)


def _indian_tick(price: Decimal) -> Decimal:
    return Decimal("0.01") if price < 250 else Decimal("0.05") if price <= 1000 else Decimal("0.10")


# ── how prices move ──────────────────────────────────────────────────────────────────────────────────────────────────


class _Market:
    """What moves everything at once; one `move` for each round of ticks."""

    def __init__(self, rng: Random) -> None:
        self.move = 0.0
        self._moves = _moves(rng, MARKET_VOLATILITY)

    def step(self) -> None:
        self.move = next(self._moves)


def _moves(rng: Random, volatility: float) -> Iterator[float]:
    """Relative moves for ever: calm and nervous stretches, and a burst now and then."""
    random = rng.random
    variance = 1.0
    while True:
        shock = UNIT_VARIANCE * (random() + random() + random() + random() - 2.0) * sqrt(variance)
        yield volatility * shock
        variance = CALM + SHOCK * shock * shock + MEMORY * variance
        if random() < BURST_CHANCE:
            variance += BURST
        variance = min(variance, WILDEST)


def _rounds(market: _Market, lines: Sequence[Iterator[Tick]]) -> Iterator[Tick]:
    while True:
        for line in lines:
            yield next(line)
        market.step()


def _index(
    instrument: Instrument, start: float, market: _Market, rng: Random, clock: Callable[[], int]
) -> Iterator[Tick]:
    """An index: the market itself, and hardly anything of its own."""
    own = _moves(rng, MARKET_VOLATILITY / 8)
    level = start
    time_ns = 0
    while True:
        received_ns = clock()
        time_ns = max(received_ns, time_ns + 1)  # an unchanged level at one and the same time would be a mere copy
        last = max(1, round(level)) * instrument.tick_raw
        yield Tick(instrument, received_ns, 0, 0, last, time_ns)
        level *= 1.0 + market.move + next(own) - PULL * (level / start - 1.0)


def _share(
    closes_after: Callable[[int], float],
    instrument: Instrument,
    start: float,
    market: _Market,
    rng: Random,
    clock: Callable[[], int],
) -> Iterator[Tick]:
    """Anything with a bid and an ask. Prices are counted in ticks of the instrument, until they become raw; the volume
    is that of a session, of which `closes_after` tells the end."""
    random = rng.random
    tick_raw = instrument.tick_raw
    volatility = rng.uniform(1e-4, 3e-4)
    beta = rng.uniform(0.5, 1.5)
    width = rng.uniform(0.4e-4, 1.6e-4)
    clip = rng.choice((1, 5, 10, 25, 50)) * max(instrument.lot_raw, 10 ** max(0, instrument.quantity_scale - 2))
    own = _moves(rng, volatility)
    fair, move, volume = start, 0.0, 0
    closes_ns: float = 0
    while True:
        time_ns = clock()
        if time_ns >= closes_ns:
            volume, closes_ns = 0, closes_after(time_ns)
        spread = 1 + int(fair * width * random() * (0.5 + abs(move) / volatility))
        bid = max(1, int(fair - spread / 2 + 0.5))
        where = random()
        last = bid if where < 0.42 else bid + spread if where < 0.84 else bid + int(spread * random())
        volume += clip * (1 + int(20 * random() * random()))  # every tick is a trade
        yield Tick(
            instrument,
            time_ns,
            bid * tick_raw,
            (bid + spread) * tick_raw,
            last * tick_raw,
            time_ns,
            volume,
            clip * (1 + int(40 * random() * random())),
            clip * (1 + int(40 * random() * random())),
        )
        move = next(own)
        fair *= 1.0 + beta * market.move + move - PULL * (fair / start - 1.0)
