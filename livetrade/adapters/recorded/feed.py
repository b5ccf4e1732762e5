"""`RecordedFeed`: plays recorded ticks to an engine."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta, tzinfo
from functools import partial
from typing import Any

from livetrade.adapters.recorded.rows import Part, Rows
from livetrade.adapters.recorded.sources import Source, table_of
from livetrade.core import html
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import FeedState
from livetrade.core.numbers import positive
from livetrade.core.ticks import Tick
from livetrade.errors import FeedError
from livetrade.handle import Handle
from livetrade.ports import Sink

SLICE = 0.002
"""Seconds of work after which the loop gets its turn."""
LONGEST_SLEEP = 60.0


class RecordedFeed:
    """Plays recorded ticks. The engine's clock is then the recording's.

    source, symbol, bars: as `read_ticks` takes them; naive times are in the engine's time zone.
    speed: 1.0 is the original pace, 60 sixty times as fast, None as fast as the strategies keep up, one tick at a time.
    autoplay: False waits for `play()`.
    otherwise: the symbol of a source that names none.
    instruments: what is known of the symbols; others are what a recording or a journal says, else what the engine takes
    them for.

    A row that is no tick is quarantined by its reason: a price that is zero, negative, infinite, not a number or finer
    than the instrument's scale; a negative volume or size; no price at all ("empty"); a time before an earlier one of
    its symbol ("backward"). Ticks of several symbols are played in the order of their times, those of one time in the
    order of their rows. Raises `FeedError` and `OrderError` as `read_ticks` does, and for a source without a row.
    """

    def __init__(
        self,
        source: Source,
        speed: float | None = 1.0,
        autoplay: bool = True,
        *,
        symbol: str | None = None,
        instruments: Sequence[Instrument] = (),
        bars: str | float | timedelta | None = None,
        otherwise: str | None = None,
    ) -> None:
        self.speed = None if speed is None else float(positive(speed, "speed"))
        table = table_of(source, symbol, bars, otherwise=otherwise)
        if not len(table.times):
            raise FeedError(f"{table.name} has no ticks")
        self._name = table.name
        self._rows = Rows(table)
        named = {item.symbol for item in instruments}
        known = table.instruments or {}
        self.instruments = (*instruments, *(known[each] for each in self.symbols if each in known.keys() - named))
        self._autoplay = autoplay
        self._begin()

    def _begin(self) -> None:
        self._asked = self._autoplay
        self._running = False
        self._start: Callable[[], object] | None = None
        self._posted = 0
        self._handle = self._new_handle()

    def __getstate__(self) -> dict[str, Any]:
        """What it plays and how, so that it can be sent to another process; not how far it is."""
        kept = ("speed", "instruments", "_name", "_rows", "_autoplay")
        return {name: getattr(self, name) for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    @property
    def name(self) -> str:
        """What it plays, for messages."""
        return self._name

    @property
    def symbols(self) -> tuple[str, ...]:
        """What it has ticks of."""
        return tuple(self._rows.symbols)

    @property
    def lock_step(self) -> bool:
        """Does each tick wait for everybody who reads?"""
        return self.speed is None

    def start_ns(self, zone: tzinfo) -> int:
        """The time of its first row, in integer nanoseconds UTC: where the engine's clock begins."""
        return self._rows.start_ns(zone)

    def __len__(self) -> int:
        """The number of its rows."""
        return len(self._rows)

    def play(self) -> Handle[int]:
        """Starts it, from any thread; with `autoplay`, or when it was started before, it only answers.

        The handle resolves at the end of the recording with the number of ticks posted. It fails with `FeedError` when
        the engine closes before. Another engine plays the recording from its beginning, with another handle.
        """
        self._asked = True
        start = self._start
        if start is not None:
            with suppress(RuntimeError):  # the loop has just closed
                start()
        return self._handle

    def rows(self, instrument: Callable[[str], Instrument], zone: tzinfo) -> Iterator[Tick | str]:
        """Every row in the order of playing, without a loop: a tick, or the reason why it is none.

        instrument: gives what each symbol's ticks are built with. zone: how naive times are meant.
        """
        return self._rows.ticks([instrument(symbol) for symbol in self._rows.symbols], zone)

    def parts(self, instrument: Callable[[str], Instrument], zone: tzinfo, rows: int) -> Iterator[Part]:
        """The same in columns of raw integers, at most so many rows at a time."""
        return self._rows.parts([instrument(symbol) for symbol in self._rows.symbols], zone, rows)

    async def run(self, sink: Sink) -> None:
        """Plays to the end, or until it is cancelled."""
        if self._running:
            raise FeedError(f"{self._name} is already being played by another engine; make a feed for each")
        self._running = True
        if self._handle.done():
            self._handle, self._asked = self._new_handle(), self._autoplay
        self._posted = 0
        try:
            for instrument in self.instruments:
                sink.register(instrument)
            await self._asked_to_play(sink)
            sink.state(FeedState.LIVE)
            await self._play(self.rows(sink.instrument, sink.zone), sink)
            sink.state(FeedState.CLOSED, "the recording has ended")
            self._handle.resolve(self._posted)
        except BaseException as error:
            cancelled = isinstance(error, asyncio.CancelledError)
            reason = "the recording was stopped" if cancelled else f"the recording failed: {error}"
            self._handle.fail(FeedError(f"{reason}; ticks posted: {self._posted:,}"))
            sink.state(FeedState.CLOSED if cancelled else FeedState.FAILED, reason)
            raise
        finally:
            self._running, self._start = False, None

    async def _asked_to_play(self, sink: Sink) -> None:
        asked = asyncio.Event()
        self._start = partial(asyncio.get_running_loop().call_soon_threadsafe, asked.set)
        if not self._asked:
            sink.state(FeedState.CONNECTING, "waiting for play()")
            await asked.wait()

    async def _play(self, rows: Iterable[Tick | str], sink: Sink) -> None:
        clock = asyncio.get_running_loop().time
        speed = self.speed
        origin: float | None = None  # when time zero of the recording would have been, by the loop's clock
        pause = clock() + SLICE
        if speed is None:
            await sink.idle()  # whoever was started before is where it takes its first tick
        for row in rows:
            if isinstance(row, str):
                sink.quarantine(row)
            elif speed is None:
                sink.tick(row)
                self._posted += 1
                await sink.idle()
            else:
                offset = row.received_ns / 1e9 / speed
                origin = clock() - offset if origin is None else origin
                await _until(origin + offset, clock)
                sink.tick(row)
                self._posted += 1
            if clock() >= pause:
                await asyncio.sleep(0)
                pause = clock() + SLICE

    def _new_handle(self) -> Handle[int]:
        return Handle(f"playing {self._name}")

    def __repr__(self) -> str:
        speed = "as fast as it is read" if self.speed is None else f"speed={self.speed:g}"
        return f"<RecordedFeed {self._name} {len(self):,} rows {speed}>"

    def _repr_html_(self) -> str:
        speed = "as fast as it is read" if self.speed is None else self.speed
        rows = [("symbols", ", ".join(self.symbols)), ("rows", f"{len(self):,}"), ("speed", speed)]
        return html.card(f"RecordedFeed {self._name}", html.facts(rows))


async def _until(due: float, clock: Callable[[], float]) -> None:
    left = due - clock()
    while left > 0:
        await asyncio.sleep(min(left, LONGEST_SLEEP))
        left = due - clock()
