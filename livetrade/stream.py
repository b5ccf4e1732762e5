"""Live prices: the door for ticks that a program posts by hand, and for everybody who wants to see ticks.

Prices are checked and turned into raw integers here, on the caller's thread; what cannot be a price is counted and goes
no further. The account merges them (`core.quotes`). Readers get ticks through bounded queues: one that is slow loses
the oldest and is told how many (`tick.missed`), and never holds up anybody else.
"""

import contextlib
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, tzinfo
from threading import RLock
from time import time_ns
from typing import TYPE_CHECKING, Any, Protocol

from livetrade import frames
from livetrade.columns import Exact, Freq, View
from livetrade.core import html
from livetrade.core.bars import BarBuilder
from livetrade.core.instruments import Instrument, check_symbol, default_instrument, namesake
from livetrade.core.limits import instrument_denied
from livetrade.core.numbers import MAX_RAW, Number, counted, zone_named
from livetrade.core.quotes import merge
from livetrade.core.records import for_users
from livetrade.core.ticks import Tick
from livetrade.errors import EngineClosedError, JournalError, LiveTradeError, OrderError, PriceError
from livetrade.readers import BarReader, Reader, TickHub, TickReader

if TYPE_CHECKING:
    import pandas as pd


class Owner(Protocol):
    """The engine that a stream belongs to."""

    name: str

    def post_tick(self, tick: Tick) -> None:
        """Hands over one update from any thread."""

    def last_quote(self, symbol: str) -> Tick | None:
        """The merged quote, everything the caller posted before included."""

    def all_quotes(self) -> tuple[list[Tick], View]:
        """The merged quote of each symbol that has one, and when they were looked at."""

    def seen_quotes(self) -> list[Tick]:
        """The same for what only shows them: it waits for nobody, and gives none where nobody answers."""

    def join(self, reader: Reader[Any]) -> Mapping[str, Sequence[int]]:
        """Offers a reader the ticks from now on; gives those of its symbol from before, in columns."""


class LivePriceStream:
    """Last prices and subscriptions.

    `timezone` is how naive times are meant and how times read, until an engine brings its own.
    """

    def __init__(self, *, timezone: str = "Asia/Kolkata") -> None:
        self.zone: tzinfo = zone_named(timezone)
        self.quarantined: Counter[str] = Counter()
        self._instruments: dict[str, Instrument] = {}
        self._quotes: dict[str, Tick] = {}
        self._lock = RLock()  # a signal handler may post while its own thread does
        self._owner: Owner | None = None
        self.hub = TickHub()

    # ── instruments ──────────────────────────────────────────────────────────────────────────────────────────────────

    def register(self, *instruments: Instrument) -> None:
        """Makes instruments known, before their first tick or order.

        Raises `OrderError` for what is none, and for one whose scales are fixed otherwise already.
        """
        for instrument in instruments:
            if not isinstance(instrument, Instrument):
                raise OrderError(f"register takes Instrument(...) objects, not {instrument!r}")
            self.adopt(instrument)

    def adopt(self, instrument: Instrument) -> Instrument:
        """Registers one instrument and gives back the one that ticks are built with."""
        known = self._instruments.get(instrument.symbol)
        if known is not None and self.last(instrument.symbol) is not None:
            fixed = (known.scale, known.quantity_scale, known.multiplier)
            if fixed != (instrument.scale, instrument.quantity_scale, instrument.multiplier):
                raise OrderError(
                    f"{known.symbol} already has prices with scale={known.scale}, quantity_scale="
                    f"{known.quantity_scale}, multiplier={known.multiplier}; register it before its first tick"
                )
        adopted = instrument.in_zone(self.zone)
        self._instruments[instrument.symbol] = adopted
        return adopted

    def instruments(self) -> list[Instrument]:
        """Those that are registered or were asked for."""
        return list(self._instruments.values())

    def restore(self, instrument: Instrument) -> None:
        """Takes an instrument as a journal fixed it, unless one of the same scales is registered.

        Raises `JournalError` where prices have come, or a registered one says, on other scales.
        """
        known = self._instruments.get(instrument.symbol)
        if known is None:
            self.adopt(instrument)
        elif instrument_denied(known, instrument):
            raise JournalError(f"{instrument_denied(known, instrument)}; register the one that the journal has")

    def instrument(self, symbol: str) -> Instrument:
        """The instrument of a symbol; one nobody registered gets the default scales.

        Raises `OrderError` for a malformed symbol.
        """
        wrong = not isinstance(symbol, str)
        known = None if wrong else self._instruments.get(symbol)
        if known is None:
            known = self._instruments.setdefault(check_symbol(symbol), default_instrument(symbol, self.zone))
        return known

    # ── prices in ────────────────────────────────────────────────────────────────────────────────────────────────────

    def update(
        self,
        symbol: str,
        *,
        bid: Number | None = None,
        ask: Number | None = None,
        last: Number | None = None,
        volume: Number | None = None,
        bid_size: Number | None = None,
        ask_size: Number | None = None,
        time: datetime | str | int | None = None,
    ) -> None:
        """Posts new prices of a symbol, from any thread; what is left out stays as it was.

        A figure that is no price (NaN, infinite, zero, negative, finer than the instrument's scale) quarantines the
        whole update: it is counted by its reason in `quarantined`, and the last good quote stands. `time` is the
        source's own time: a datetime (naive means the stream's zone), ISO text, or integer nanoseconds UTC.
        Raises `OrderError` for a malformed symbol or time.
        """
        try:
            tick = self.tick(
                symbol, bid=bid, ask=ask, last=last, volume=volume, bid_size=bid_size, ask_size=ask_size, time=time
            )
        except PriceError as error:
            self.count(error.reason)
            return
        self.post(tick)

    def tick(
        self,
        symbol: str,
        *,
        bid: Number | None = None,
        ask: Number | None = None,
        last: Number | None = None,
        volume: Number | None = None,
        bid_size: Number | None = None,
        ask_size: Number | None = None,
        time: datetime | str | int | None = None,
    ) -> Tick:
        """The update that `update` would post. Raises `PriceError` for a figure that is no price, `OrderError`."""
        item = self.instrument(symbol)
        return Tick(
            item,
            0,
            0 if bid is None else item.price_raw(bid, "bid"),
            0 if ask is None else item.price_raw(ask, "ask"),
            0 if last is None else item.price_raw(last, "last"),
            0 if time is None else nanoseconds(time, self.zone),
            None if volume is None else item.size_raw(volume, "volume"),
            None if bid_size is None else item.size_raw(bid_size, "bid_size"),
            None if ask_size is None else item.size_raw(ask_size, "ask_size"),
        )

    def post(self, tick: Tick) -> None:
        """Hands an update to the engine, or merges it here while there is none."""
        with self._lock:
            owner = self._owner
            if owner is None:
                self._merge(tick)
                return
        with contextlib.suppress(EngineClosedError):  # closed at this moment: a price is no command
            owner.post_tick(tick)

    def count(self, reason: str) -> None:
        """One more update that was not taken, by its reason."""
        with self._lock:
            self.quarantined[reason] += 1

    def _merge(self, tick: Tick) -> None:
        tick.received_ns = time_ns()
        merged = merge(self._quotes.get(tick.symbol), tick)
        if isinstance(merged, str):
            self.count(merged)
        else:
            self._quotes[tick.symbol] = merged

    # ── prices out ───────────────────────────────────────────────────────────────────────────────────────────────────

    def last(self, symbol: str) -> Tick | None:
        """The quote as it stands, or None while nothing is known of the symbol.

        Raises `OrderError` for a malformed symbol.
        """
        owner = self._owner
        quote = self._quotes.get(symbol) if owner is None else owner.last_quote(symbol)
        if quote is None:
            check_symbol(symbol)
        return quote

    def quotes(self, *, exact: Exact = False) -> "pd.DataFrame":
        """A DataFrame indexed by symbol: bid, ask, last, volume, bid_size, ask_size, time, received."""
        owner = self._owner
        quotes, view = owner.all_quotes() if owner is not None else self._own_quotes()
        return frames.quotes(quotes, view, exact=exact)

    def _own_quotes(self) -> tuple[list[Tick], View]:
        quotes = list(self._quotes.values())
        return quotes, View(self.zone, 0, max([quote.received_ns for quote in quotes], default=0))

    def ticks(self, symbol: str | None = None) -> "TickReader":
        """An async iterator over the ticks of a symbol (of all when None) from now on; it ends with the engine."""
        if symbol is not None:
            self._doubt(check_symbol(symbol))
        return self.hub.join(TickReader(self.hub, symbol))

    def _doubt(self, symbol: str) -> None:
        """Warns of a symbol that nobody knows where one like it is known: who waits for its ticks may wait for ever."""
        meant = "" if symbol in self._instruments else namesake(symbol, self._instruments)
        if meant:
            warnings.warn(f"nothing is known of {symbol}: did you mean {meant}?", RuntimeWarning, stacklevel=3)

    def bars(self, symbol: str, freq: Freq = "1min", warmup: int = 0) -> BarReader:
        """An async iterator over the bars of a symbol, each once it is complete; it ends with the engine.

        freq: a pandas frequency of a fixed length up to a day ("1min", "15min", "1D"), or seconds. warmup: first the
        last so many complete bars of the ticks that the engine still knows, or as many as there are.

        A bar is complete with the symbol's first tick at or past its end, live and recorded alike: so it is for ever
        what `engine.bars` shows. The bar that is open now comes whole. Raises `OrderError` for a wrong symbol, freq or
        warmup.
        """
        self._doubt(check_symbol(symbol))
        item = self.instrument(symbol)
        builder = BarBuilder(item, frames.fixed_ns(freq), self.zone)
        check_warmup(warmup)
        reader = BarReader(self.hub, item.symbol, builder)
        owner = self._owner
        if owner is None:
            known = None
            self.hub.join(reader)
        else:
            known = owner.join(reader)
        reader.begin(builder.seeded(known, warmup) if known else [])
        return reader

    def on_tick(self, callback: Callable[[Tick], object]) -> Callable[[Tick], object]:
        """Calls `callback(tick)` for ticks from now on, on the engine's thread for user code. Usable as a decorator.

        A function registered again under its name (a re-run cell) replaces itself. Raises `OrderError` for what cannot
        be called.
        """
        self.hub.call(callback)
        return callback

    # ── the engine's side ────────────────────────────────────────────────────────────────────────────────────────────

    def attach(self, owner: Owner, zone: tzinfo) -> list[Tick]:
        """Gives the stream to an engine; gives back the quotes it starts from."""
        with self._lock:
            if self._owner is not None:
                raise LiveTradeError(
                    f"this stream already belongs to the engine {self._owner.name!r}; close that first"
                )
            self._owner = owner
            self.zone = zone
            for symbol, instrument in self._instruments.items():
                self._instruments[symbol] = instrument.in_zone(zone)
            quotes = [self._quotes[symbol] for symbol in sorted(self._quotes)]
            for quote in quotes:
                quote.instrument = self._instruments[quote.symbol]
            return quotes

    def detach(self, owner: Owner, quotes: list[Tick]) -> None:
        """Takes the stream back from a closed engine, with its last quotes."""
        with self._lock:
            if self._owner is not owner:
                return
            self._owner = None
            self._quotes = {quote.symbol: quote for quote in quotes}
        self.hub.close()

    def __dir__(self) -> list[str]:
        return for_users(object.__dir__(self), ("adopt", "attach", "detach", "hub", "learn", "post", "restore"))

    def __repr__(self) -> str:
        owner = "no engine" if self._owner is None else f"engine {self._owner.name!r}"
        return f"LivePriceStream({counted(len(self._instruments), 'symbol')}, {owner})"

    def _repr_html_(self) -> str:
        owner = self._owner
        quotes = list(self._quotes.values()) if owner is None else owner.seen_quotes()
        rows = [
            (quote.symbol, quote.bid, quote.ask, quote.last, quote.volume, f"{quote.time:%Y-%m-%d %H:%M:%S}")
            for quote in sorted(quotes, key=lambda quote: quote.symbol)
        ]
        return html.card(repr(self), html.table(("Symbol", "Bid", "Ask", "Last", "Volume", "Time"), rows, "quotes()"))


def check_warmup(warmup: object) -> None:
    if type(warmup) is not int or warmup < 0:
        raise OrderError(f"warmup is a number of bars, not {warmup!r}")


def nanoseconds(time: datetime | str | int, zone: tzinfo) -> int:
    """Integer nanoseconds UTC of a datetime (naive: in `zone`), an ISO text, or such an integer."""
    if isinstance(time, bool) or not isinstance(time, datetime | str | int):
        raise OrderError(f"time must be a datetime, ISO text or integer nanoseconds, not {time!r}")
    if isinstance(time, int):
        if abs(time) > MAX_RAW:
            raise OrderError(f"time is out of range: {time}")
        return time
    if isinstance(time, str):
        try:
            time = datetime.fromisoformat(time)
        except ValueError:
            raise OrderError(f"time is not an ISO date and time: {time!r}") from None
    exact: int | None = getattr(time, "value", None)  # a pandas Timestamp keeps nanoseconds
    if exact is not None and time.tzinfo is not None:
        return exact
    try:
        aware = time if time.tzinfo is not None else time.replace(tzinfo=zone)
        return int(aware.timestamp()) * 1_000_000_000 + aware.microsecond * 1_000
    except (ValueError, OverflowError):  # pandas' NaT is a datetime too
        raise OrderError(f"time is not a date and time: {time!r}") from None
