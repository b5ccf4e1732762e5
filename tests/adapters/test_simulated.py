"""The simulated market: seeded, on its grid, and never a price that the engine would refuse."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal, localcontext
from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livetrade.adapters.simulated import SimulatedFeed
from livetrade.calendars import ZONE, TradingCalendar
from livetrade.core.instruments import Instrument, default_instrument
from livetrade.core.kinds import FeedState, InstrumentKind
from livetrade.core.quotes import merge
from livetrade.core.ticks import Tick
from livetrade.errors import CalendarError, OrderError
from livetrade.ports import Feed
from tests.jumping import JumpingLoop

SBIN, TCS, NIFTY, BTC = "NSE:SBIN-EQ", "NSE:TCS-EQ", "NSE:NIFTY50-INDEX", "BTCUSDT"
EVERYTHING = (NIFTY, SBIN, TCS, BTC)


class Engine:
    """The sink: it merges as the account does, and stops the feed after a number of ticks."""

    zone: tzinfo = UTC

    def __init__(self, stop_after: int = 1_000_000, on_tick: Callable[[], None] = lambda: None) -> None:
        self.ticks: list[Tick] = []
        self.states: list[FeedState] = []
        self.reasons: list[str] = []
        self.enough = asyncio.Event()
        self._stop_after = stop_after
        self._on_tick = on_tick
        self._time_ns = 1_700_000_000_000_000_000

    def now(self) -> int:
        self._time_ns += 1_000
        return self._time_ns

    def instrument(self, symbol: str) -> Instrument:
        return default_instrument(symbol)

    def register(self, instrument: Instrument) -> Instrument:
        return instrument

    def tick(self, tick: Tick) -> None:
        assert self.states[-1] is FeedState.LIVE
        self.ticks.append(tick)
        self._on_tick()
        if len(self.ticks) == self._stop_after:
            self.enough.set()

    def quarantine(self, reason: str) -> None:
        raise AssertionError(reason)

    def state(self, state: FeedState, reason: str = "") -> None:
        self.states.append(state)
        self.reasons.append(reason)

    async def idle(self) -> None:
        return


def same(instrument: Instrument) -> Instrument:
    return instrument


def prices(ticks: Iterable[Tick]) -> list[tuple[object, ...]]:
    return [(t.symbol, t.bid, t.ask, t.last, t.volume, t.bid_size, t.ask_size) for t in ticks]


def by_symbol(ticks: Iterable[Tick]) -> dict[str, list[Tick]]:
    found: dict[str, list[Tick]] = defaultdict(list)
    for tick in ticks:
        found[tick.symbol].append(tick)
    return found


def jump(story: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(story)


def clock() -> JumpingLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, JumpingLoop)
    return loop


async def stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# ── what the market looks like ───────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers() | st.text(max_size=8),
    starts=st.dictionaries(
        st.sampled_from(EVERYTHING), st.decimals("0.01", "1000000", places=2, allow_nan=False), max_size=4
    ),
)
def test_no_tick_is_ever_refused(seed: int | str, starts: dict[str, Decimal]) -> None:
    feed = SimulatedFeed(EVERYTHING, seed=seed, start_prices=starts)
    quotes: dict[str, Tick] = {}
    for tick in feed.path(same, 1_200, clock=lambda: 1_700_000_000_000_000_000):  # a clock that stands still
        merged = merge(quotes.get(tick.symbol), tick)
        assert isinstance(merged, Tick), merged
        quotes[tick.symbol] = merged


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(), start=st.decimals("0.01", "100000", places=2, allow_nan=False))
def test_quotes_are_on_the_grid_and_in_order(seed: int, start: Decimal) -> None:
    volume = 0
    for tick in SimulatedFeed(SBIN, seed, start_prices={SBIN: start}).path(same, 800):
        step = tick.instrument.tick_raw
        assert tick.bid_raw % step == tick.ask_raw % step == tick.last_raw % step == 0
        assert 0 < tick.bid_raw < tick.ask_raw
        assert tick.bid_raw <= tick.last_raw <= tick.ask_raw
        assert tick.bid_size_raw is not None
        assert tick.ask_size_raw is not None
        assert min(tick.bid_size_raw, tick.ask_size_raw) > 0
        assert tick.volume_raw is not None
        assert tick.volume_raw > volume
        volume = tick.volume_raw


def test_spreads_and_sizes_vary() -> None:
    ticks = list(SimulatedFeed(TCS, start_prices={TCS: 3_000}).path(same, 5_000))
    assert len({t.ask_raw - t.bid_raw for t in ticks}) >= 4
    assert len({t.bid_size_raw for t in ticks}) >= 10
    assert {t.last_raw == t.bid_raw for t in ticks} == {True, False}
    assert any(t.bid_raw < t.last_raw < t.ask_raw for t in ticks)


def test_the_market_is_calm_and_nervous_by_turns() -> None:
    """Large moves follow large moves: their sizes are correlated, which those of a plain random walk are not."""
    lasts = [t.last_raw for t in SimulatedFeed(NIFTY, seed=1).path(same, 60_000)]
    moves = [abs(b - a) for a, b in pairwise(lasts)]
    mean = sum(moves) / len(moves)
    together = sum((a - mean) * (b - mean) for a, b in pairwise(moves))
    assert together / sum((m - mean) ** 2 for m in moves) > 0.05


def test_shares_follow_the_index() -> None:
    ticks = by_symbol(SimulatedFeed([NIFTY, SBIN], seed=4).path(same, 100_000))
    moves = []
    for symbol in (NIFTY, SBIN):
        lasts = [t.last_raw for t in ticks[symbol]][::50]
        moves.append([b / a - 1 for a, b in pairwise(lasts)])
    index, share = moves
    together = sum(a * b for a, b in zip(index, share, strict=True))
    assert together / (sum(a * a for a in index) * sum(b * b for b in share)) ** 0.5 > 0.3


def test_an_index_has_a_last_price_only() -> None:
    for tick in SimulatedFeed(NIFTY).path(same, 100):
        assert tick.instrument.kind is InstrumentKind.INDEX
        assert tick.last is not None
        assert (tick.bid, tick.ask, tick.volume, tick.bid_size) == (None, None, None, None)


def test_prices_stray_but_never_run_away() -> None:
    lasts = [t.last_raw for t in SimulatedFeed(SBIN, start_prices={SBIN: 500}).path(same, 150_000)]
    assert 30_000 < min(lasts) < max(lasts) < 80_000
    assert max(lasts) - min(lasts) > 1_000


def test_a_price_of_one_tick_stays_a_price() -> None:
    ticks = list(SimulatedFeed(SBIN, start_prices={SBIN: "0.01"}).path(same, 20_000))
    assert min(t.bid_raw for t in ticks) == 1


# ── instruments ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("start", "tick"),
    [("7.20", "0.01"), ("249.99", "0.01"), ("250", "0.05"), ("1000", "0.05"), ("1000.10", "0.10"), ("90000", "0.10")],
)
def test_indian_shares_tick_by_their_price(start: str, tick: str) -> None:
    (instrument,) = SimulatedFeed(SBIN, start_prices={SBIN: start}).instruments
    assert (instrument.tick_size, instrument.scale, instrument.quantity_scale) == (Decimal(tick), 2, 0)


@pytest.mark.parametrize(("start", "scale"), [("64000.5", 2), ("1.0850", 5), ("0.00001234", 8)])
def test_other_symbols_trade_in_fractions(start: str, scale: int) -> None:
    (instrument,) = SimulatedFeed(BTC, start_prices={BTC: start}).instruments
    assert (instrument.kind, instrument.scale, instrument.quantity_scale) == (InstrumentKind.CRYPTO, scale, 8)


def test_a_symbol_without_a_start_price_gets_one_by_the_seed() -> None:
    def first(seed: int) -> Decimal | None:
        return next(SimulatedFeed(SBIN, seed).path(same)).bid

    assert first(1) == first(1)
    assert len({first(seed) for seed in range(20)}) == 20


def test_it_starts_at_the_start_price() -> None:
    for start in ("548.95", Decimal("548.93"), 549, 549.0):
        tick = next(SimulatedFeed(SBIN, start_prices={SBIN: start}).path(same))
        assert tick.bid is not None
        assert tick.ask is not None
        assert tick.bid - Decimal("0.05") <= Decimal(str(start)) <= tick.ask + Decimal("0.05")


def test_an_instrument_that_somebody_registered_otherwise_counts() -> None:
    mine = Instrument(SBIN, scale=4, tick_size="0.0025", lot_size=75)
    for tick in SimulatedFeed(SBIN, start_prices={SBIN: "548.95"}).path(lambda _: mine, 300):
        assert tick.instrument is mine
        assert tick.bid_raw % 25 == tick.ask_raw % 25 == tick.last_raw % 25 == 0
        assert tick.volume_raw is not None
        assert tick.volume_raw % 75 == 0
        assert Decimal(500) < (tick.bid or 0) < Decimal(600)


# ── the same seed gives the same prices ──────────────────────────────────────────────────────────────────────────────


def test_the_same_seed_gives_the_same_prices() -> None:
    assert prices(SimulatedFeed(EVERYTHING, 7).path(same, 4_000)) == prices(
        SimulatedFeed(EVERYTHING, 7).path(same, 4_000)
    )
    assert prices(SimulatedFeed(EVERYTHING, 7).path(same, 40)) != prices(SimulatedFeed(EVERYTHING, 8).path(same, 40))


def test_a_feed_may_be_walked_again() -> None:
    feed = SimulatedFeed(EVERYTHING)
    assert prices(feed.path(same, 500)) == prices(feed.path(same, 500))


def test_neither_the_rate_nor_its_neighbours_change_a_symbol() -> None:
    alone = SimulatedFeed(SBIN, 3, ticks_per_second=1).path(same, 500)
    among = SimulatedFeed([TCS, NIFTY, SBIN], 3, ticks_per_second=1_000).path(same, 1_500)
    assert prices(by_symbol(among)[SBIN]) == prices(alone)


def test_the_callers_decimal_context_changes_nothing() -> None:
    plain = prices(SimulatedFeed(EVERYTHING).path(same, 40))
    with localcontext(prec=3):
        assert prices(SimulatedFeed(EVERYTHING).path(same, 40)) == plain


def test_the_first_prices_of_a_seed_are_what_they_were() -> None:
    """The figures of tutorials and benchmarks stay as they are from one version to the next."""
    found = [(str(t.bid), str(t.ask), str(t.last)) for t in SimulatedFeed(SBIN, 42).path(same, 3)]
    assert found == [("777.50", "777.55", "777.50"), ("777.40", "777.45", "777.40"), ("777.35", "777.40", "777.35")]


def test_a_path_has_its_own_evenly_spaced_times() -> None:
    ticks = list(SimulatedFeed([SBIN, TCS], ticks_per_second=5).path(same, 4))
    assert ticks[0].time == datetime(2026, 1, 5, 3, 45, tzinfo=UTC)
    assert [t.time_ns - ticks[0].time_ns for t in ticks] == [0, 100_000_000, 200_000_000, 300_000_000]
    assert all(t.received_ns == t.time_ns for t in ticks)


# ── by a calendar ────────────────────────────────────────────────────────────────────────────────────────────────────


SECONDS = 22_500
"""Of an ordinary session."""


def in_india(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZONE)


@pytest.fixture(scope="module")
def nse() -> TradingCalendar:
    return TradingCalendar()


def test_a_path_by_a_calendar_goes_on_from_session_to_session(nse: TradingCalendar) -> None:
    ticks = list(SimulatedFeed(SBIN, ticks_per_second=1, calendar=nse).path(same, 5 * SECONDS + 1))
    last, first = ticks[SECONDS - 1].time, ticks[SECONDS].time
    assert (ticks[0].time, last) == (in_india("2026-01-05 09:15"), in_india("2026-01-05 15:29:59"))
    assert first == in_india("2026-01-06 09:15")
    assert ticks[-1].time == in_india("2026-01-12 09:15"), "a weekend lies before it"
    assert all(nse.is_open(tick.time) for tick in ticks[:: SECONDS // 50])


def test_a_calendar_changes_no_price_and_volume_begins_anew_with_each_session(nse: TradingCalendar) -> None:
    feed = SimulatedFeed([NIFTY, SBIN], 9, ticks_per_second=1, calendar=nse)
    ticks = list(feed.path(same, 2 * SECONDS + 20))
    always = list(SimulatedFeed([NIFTY, SBIN], 9, ticks_per_second=1).path(same, 2 * SECONDS + 20))
    assert [(t.symbol, t.bid_raw, t.ask_raw, t.last_raw) for t in ticks] == [
        (t.symbol, t.bid_raw, t.ask_raw, t.last_raw) for t in always
    ]
    ended, begun = by_symbol(ticks)[SBIN][SECONDS - 1 : SECONDS + 1]
    traded = by_symbol(always)[SBIN][SECONDS]
    assert begun.time - ended.time == timedelta(hours=17, minutes=45, seconds=1)
    assert begun.volume == (traded.volume or 0) - (ended.volume or 0)


def test_a_path_ends_where_nobody_knows_the_sessions(nse: TradingCalendar) -> None:
    closed = TradingCalendar({f"2026-01-{day:02}": None for day in range(6, 32)})
    ticks = list(SimulatedFeed(SBIN, ticks_per_second=0.001, calendar=closed).path(same, 24))
    assert [tick.time.date().isoformat() for tick in ticks[-2:]] == ["2026-01-05", "2026-02-01"]  # the budget's Sunday
    feed = SimulatedFeed(SBIN, ticks_per_second=0.001, calendar=nse)
    with pytest.raises(CalendarError, match="there is a session on 2026-11-08, and its hours are not known"):
        list(feed.path(same, 10_000))


class Indian(Engine):
    """Its time is that of the loop, which begins at a moment in India."""

    def __init__(self, begin: str) -> None:
        super().__init__()
        self._offset_ns = round(in_india(begin).timestamp() * 1e9 - clock().time() * 1e9)

    def now(self) -> int:
        return round(clock().time() * 1e9) + self._offset_ns


def test_ticks_come_only_while_the_market_is_open() -> None:
    mine = TradingCalendar({"2026-03-02": ("22:00", "23:59"), "2026-03-03": ("00:04", "00:05"), "2026-03-04": None})

    async def story() -> None:
        engine = Indian("2026-03-02 21:59")
        feed = SimulatedFeed(SBIN, ticks_per_second=1, calendar=mine)
        task = asyncio.create_task(feed.run(engine))
        await asyncio.sleep(3 * 3600)
        await stopped(task)
        assert len(engine.ticks) == (119 + 1) * 60
        assert prices(engine.ticks[:100]) == prices(feed.path(same, 100))
        assert all(mine.is_open(tick.time) for tick in engine.ticks)
        told = zip(engine.states, engine.reasons, strict=True)
        closed = "the simulated market is closed until"
        assert list(told) == [
            (FeedState.CONNECTING, "opening the simulated market"),
            (FeedState.STALE, f"{closed} Monday 2026-03-02 22:00"),
            (FeedState.LIVE, ""),
            (FeedState.STALE, f"{closed} Tuesday 2026-03-03 00:04"),
            (FeedState.LIVE, ""),
            (FeedState.STALE, f"{closed} Thursday 2026-03-05 09:15"),
            (FeedState.CLOSED, "the simulated market was closed"),
        ]

    jump(story())


def test_a_clock_that_is_set_ahead_opens_the_market_within_a_second(nse: TradingCalendar) -> None:
    async def story() -> None:
        engine = Indian("2026-03-02 03:00")
        task = asyncio.create_task(SimulatedFeed(SBIN, calendar=nse).run(engine))
        await asyncio.sleep(5)
        assert engine.states[-1] is FeedState.STALE
        engine._offset_ns += 7 * 3600 * 10**9
        await asyncio.sleep(1)
        assert engine.states[-1] is FeedState.LIVE
        await stopped(task)

    jump(story())


# ── wrong use ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"symbols": ()}, "at least one symbol"),
        ({"symbols": ""}, "malformed symbol"),
        ({"symbols": [SBIN, "nse:sbin-eq"]}, "did you mean 'NSE:SBIN-EQ'"),
        ({"symbols": [SBIN, 7]}, "a symbol is text"),
        ({"symbols": [SBIN, TCS, SBIN]}, "listed twice"),
        ({"symbols": SBIN, "ticks_per_second": 0}, "ticks_per_second must be above zero"),
        ({"symbols": SBIN, "ticks_per_second": -5}, "ticks_per_second must be above zero"),
        ({"symbols": SBIN, "ticks_per_second": float("inf")}, "ticks_per_second must be finite"),
        ({"symbols": SBIN, "ticks_per_second": "fast"}, "ticks_per_second is not a number"),
        ({"symbols": SBIN, "start_prices": {SBIN: 0}}, "start price must be above zero"),
        ({"symbols": SBIN, "start_prices": {SBIN: -1}}, "start price must be above zero"),
        ({"symbols": SBIN, "start_prices": {SBIN: float("nan")}}, "start price is not a number"),
        ({"symbols": SBIN, "start_prices": {SBIN: "1e12"}}, "out of range"),
        ({"symbols": SBIN, "start_prices": {TCS: 3_000}}, "not simulated: 'NSE:TCS-EQ'"),
        ({"symbols": SBIN, "calendar": "NSE"}, "calendar must be a TradingCalendar, not str"),
    ],
)
def test_wrong_arguments_raise(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(OrderError, match=told):
        SimulatedFeed(**arguments)


# ── as a feed ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_is_a_feed() -> None:
    feed = SimulatedFeed([SBIN, TCS, NIFTY, BTC], seed=3)
    assert isinstance(feed, Feed)
    assert feed.start_ns(UTC) is None
    assert repr(feed) == f"<SimulatedFeed {SBIN}, {TCS}, {NIFTY}, … seed=3 ticks_per_second=10>"


def test_it_delivers_its_path_with_the_engines_times() -> None:
    async def story() -> None:
        feed, engine = SimulatedFeed(EVERYTHING, 5, ticks_per_second=2_000), Engine(stop_after=500)
        task = asyncio.create_task(feed.run(engine))
        await engine.enough.wait()
        await stopped(task)
        assert prices(engine.ticks[:500]) == prices(feed.path(same, 500))
        received = [t.received_ns for t in engine.ticks]
        assert received == sorted(received)
        assert engine.states == [FeedState.CONNECTING, FeedState.LIVE, FeedState.CLOSED]
        assert engine.reasons[-1] == "the simulated market was closed"

    asyncio.run(story())


@pytest.mark.parametrize("rate", [1, 10, 333, 20_000])
def test_it_keeps_its_rate(rate: int) -> None:
    async def story() -> None:
        engine = Engine()
        task = asyncio.create_task(SimulatedFeed([SBIN, TCS], ticks_per_second=rate / 2).run(engine))
        await asyncio.sleep(3)
        assert abs(len(engine.ticks) - 3 * rate) <= 2
        await stopped(task)

    jump(story())


def test_after_a_stall_it_goes_on_without_hurrying() -> None:
    async def story() -> None:
        loop = clock()

        def suspended() -> None:
            if len(engine.ticks) == 100:
                loop.clock += 3600

        engine = Engine(on_tick=suspended)
        task = asyncio.create_task(SimulatedFeed(SBIN, ticks_per_second=100).run(engine))
        await asyncio.sleep(3600)
        assert len(engine.ticks) < 130
        await stopped(task)

    jump(story())


def test_the_loop_gets_its_turn_when_the_engine_cannot_keep_up() -> None:
    async def story() -> None:
        loop = clock()

        def slow() -> None:
            loop.clock += 0.001

        engine = Engine(stop_after=2_000, on_tick=slow)
        task = asyncio.create_task(SimulatedFeed(SBIN, ticks_per_second=20_000).run(engine))
        gaps, before = [], loop.clock
        while not engine.enough.is_set():
            await asyncio.sleep(0)
            gaps.append(loop.clock - before)
            before = loop.clock
        assert max(gaps) < 0.005
        await stopped(task)

    jump(story())


def test_a_failing_engine_ends_it_as_closed() -> None:
    def failing() -> None:
        raise LookupError

    async def story() -> None:
        engine = Engine(on_tick=failing)
        with pytest.raises(LookupError):
            await SimulatedFeed(SBIN).run(engine)
        assert engine.states[-1] is FeedState.CLOSED

    asyncio.run(story())


def test_a_path_without_end_is_lazy() -> None:
    assert len(list(islice(SimulatedFeed(SBIN).path(same), 3))) == 3
