"""What the tests of the feed share: a sink that keeps everything, time that a test moves, and a feed that runs."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from livetrade.adapters.fyers.feed import FyersFeed
from livetrade.adapters.fyers.patience import Timing
from livetrade.calendars import ZONE, Session, TradingCalendar
from livetrade.core.instruments import Instrument, default_instrument
from livetrade.core.kinds import FeedState
from livetrade.core.quotes import merge
from livetrade.core.ticks import Tick
from livetrade.testing import FyersServer

PATIENCE = 30.0
SBIN, INFY, RELIANCE = "NSE:SBIN-EQ", "NSE:INFY-EQ", "NSE:RELIANCE-EQ"
NIFTY, SENSEX = "NSE:NIFTY50-INDEX", "BSE:SENSEX-INDEX"
FUTURE, OPTION = "NSE:NIFTY26DECFUT", "NSE:NIFTY26DEC26000CE"
RUPEE, CRUDE = "NSE:USDINR26DECFUT", "MCX:CRUDEOIL26DECFUT"


class Market:
    """A sink. quotes: merged as the account does; states: all of them, with their reasons."""

    zone: tzinfo = ZoneInfo("Asia/Kolkata")

    def __init__(self, clock: Callable[[], int] = time.time_ns, *instruments: Instrument) -> None:
        self._clock = clock
        self.instruments = {instrument.symbol: instrument for instrument in instruments}
        self.ticks: list[Tick] = []
        self.quotes: dict[str, Tick] = {}
        self.states: list[tuple[FeedState, str]] = []
        self.quarantined: Counter[str] = Counter()
        self.losses: dict[str, str] = {}
        self.alarms: list[str] = []

    def now(self) -> int:
        return self._clock()

    def instrument(self, symbol: str) -> Instrument:
        return self.instruments.setdefault(symbol, default_instrument(symbol))

    def register(self, instrument: Instrument) -> Instrument:
        self.instruments[instrument.symbol] = instrument
        return instrument

    def tick(self, tick: Tick) -> None:
        self.ticks.append(tick)
        merged = merge(self.quotes.get(tick.symbol), tick)
        if isinstance(merged, str):
            self.quarantined[merged] += 1
        else:
            self.quotes[tick.symbol] = merged

    def quarantine(self, reason: str) -> None:
        self.quarantined[reason] += 1

    def state(self, state: FeedState, reason: str = "") -> None:
        self.states.append((state, reason))

    def lost(self, symbol: str, reason: str) -> None:
        self.losses[symbol] = reason

    def alarm(self, message: str) -> None:
        self.alarms.append(message)

    async def idle(self) -> None:
        return

    # ── for tests ────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def how(self) -> FeedState:
        return self.states[-1][0] if self.states else FeedState.NONE

    @property
    def why(self) -> str:
        return self.states[-1][1] if self.states else ""

    @property
    def is_live(self) -> bool:
        return self.how is FeedState.LIVE

    def lived(self, times: int) -> bool:
        """It is live, and was so this many times, with something else in between."""
        states = [state for state, _ in self.states]
        began = [state for before, state in zip([None, *states], states, strict=False) if before is not state]
        return self.is_live and began.count(FeedState.LIVE) >= times

    def last(self, symbol: str) -> Decimal | None:
        quote = self.quotes.get(symbol)
        return quote.last if quote else None

    def told(self, state: FeedState) -> list[str]:
        return [reason for other, reason in self.states if other is state]


def in_india(text: str) -> int:
    """A moment there as nanoseconds UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp()) * 10**9


class MovedTime:
    """Time stands still until a test moves it. begin: a moment in India; now unless it is given. asked: every sleep so
    far, in seconds."""

    def __init__(self, begin: str = "") -> None:
        self.now_ns = in_india(begin) if begin else time.time_ns()
        self.asked: list[float] = []
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._number = count()

    def __call__(self) -> int:
        return self.now_ns

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        future = asyncio.get_running_loop().create_future()
        heappush(self._sleepers, (self.now_ns + round(seconds * 1e9), next(self._number), future))
        await future

    def move(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)
        while self._sleepers and self._sleepers[0][0] <= self.now_ns:
            future = heappop(self._sleepers)[2]
            if not future.done():
                future.set_result(None)

    def sleeping(self) -> int:
        return sum(not future.done() for _, _, future in self._sleepers)


class Calendar(TradingCalendar):
    """Shares trade all day and night, or never."""

    def __init__(self, *, is_open: bool = True) -> None:
        self._is_open = is_open

    def session(self, day: date | str) -> Session | None:
        assert isinstance(day, date)
        opens = datetime(day.year, day.month, day.day, tzinfo=ZONE)
        return Session(day, opens, opens + timedelta(days=1)) if self._is_open else None

    def lacks_hours(self, day: date | str) -> bool:
        return False


ALWAYS, NEVER = Calendar(), Calendar(is_open=False)


def quick(**terms: Any) -> Timing:
    """Nobody waits long."""
    return Timing(
        **{
            "answer": 10.0,
            "snapshot": 5.0,
            "gap": 0.0,
            "closing": 0.2,
            "first": 0.001,
            "longest": 0.01,
            "random": Random(1),
            **terms,
        }
    )


def moved(clock: MovedTime, **terms: Any) -> Timing:
    """All the times as they are, on a clock that a test moves."""
    return Timing(**{"sleep": clock.sleep, "random": Random(1), **terms})


def feed_of(server: FyersServer, *symbols: str, token: str | None = None, **terms: Any) -> FyersFeed:
    """Its market is open whenever a test runs."""
    settings = {"stale_after": 600, "calendar": ALWAYS, "_timing": quick(), **server.urls, **terms}
    return FyersFeed(symbols or SBIN, token or server.token, **settings)


@asynccontextmanager
async def running(feed: FyersFeed, market: Market) -> AsyncIterator[asyncio.Task[None]]:
    """The feed as a task, cancelled at the end."""
    task = asyncio.create_task(feed.run(market))
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(check: Callable[[], Any], what: str = "") -> Any:
    """What `check` gives once it is true; fails where that never comes."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := check()):
        assert time.monotonic() < deadline, what or "it never came true"
        await asyncio.sleep(0.001)
    return answer


async def act(call: Callable[..., Any], *args: Any, **terms: Any) -> Any:
    """A call to the server, which may wait for the feed: so not on the feed's own thread."""
    return await asyncio.to_thread(call, *args, **terms)
