"""What a feed is wanted to bring: said from any thread, and brought by one connection after another."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from threading import Lock

from livetrade.adapters.fyers.credentials import AccessToken
from livetrade.adapters.fyers.losses import LostError, discreet, named
from livetrade.adapters.fyers.patience import Cure
from livetrade.adapters.fyers.symbols import Directory, Mode, Topic, check_number, checked, instrument_for
from livetrade.core.instruments import Instrument
from livetrade.core.records import record
from livetrade.errors import FeedError, OrderError
from livetrade.handle import Handle
from livetrade.ports import Sink

_log = logging.getLogger("livetrade")


@record
class _Ask:
    """A `subscribe` (wanted) or an `unsubscribe`, until it is answered."""

    symbols: tuple[str, ...]
    wanted: bool
    handle: Handle[tuple[str, ...]]


class Wanted:
    """What is wanted, from any thread, and what Fyers calls it (`link.Wishes`), on the engine's loop.

    What is wanted is a list; a connection brings itself in line with it. `_arrived`: what has sent prices on the
    connection there is now, or surely never will.
    """

    def __init__(self, mode: Mode, directory: Directory) -> None:
        self._mode = mode
        self._directory = directory
        self._lock = Lock()
        self._symbols: dict[str, None] = {}
        self._asks: list[_Ask] = []
        self._topics: dict[str, Topic] = {}
        self._known_by: AccessToken | None = None
        self._arrived: set[str] = set()
        self._ring: Callable[[], object] | None = None
        self.refused: dict[str, str] = {}
        self.instruments: dict[str, Instrument] = {}

    # ── from any thread ──────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def symbols(self) -> tuple[str, ...]:
        refused = self.refused
        return tuple(symbol for symbol in self._symbols if symbol not in refused)

    def start_with(self, symbols: tuple[str, ...]) -> None:
        names = checked(symbols, self._mode)
        if not names:
            raise OrderError("a feed needs at least one symbol, such as 'NSE:SBIN-EQ'")
        self._symbols = dict.fromkeys(names)
        if len(self._symbols) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise OrderError(f"{twice!r} is listed twice")
        check_number(len(names))

    def change(self, symbols: tuple[str, ...], *, wanted: bool) -> Handle[tuple[str, ...]]:
        names = checked(symbols, self._mode if wanted else Mode.FULL)
        with self._lock:
            if wanted:
                after = self._symbols | dict.fromkeys(names)
                check_number(len(after))
            else:
                names = tuple(name for name in names if name in self._symbols)
                after = {name: None for name in self._symbols if name not in names}
            self._symbols = after
            self.refused = {name: why for name, why in self.refused.items() if name not in names}
            what = f"{'subscribing to' if wanted else 'unsubscribing from'} {named(names)}"
            ask = _Ask(names, wanted, Handle(what))
            self._asks.append(ask)
            ring = self._ring
        if ring is not None:
            with suppress(RuntimeError):  # the loop has just closed
                ring()
        elif not wanted:
            self._answer()
        return ask.handle

    # ── on the engine's loop ─────────────────────────────────────────────────────────────────────────────────────────

    def start(self, sink: Sink, context: ssl.SSLContext) -> None:
        """A run begins."""
        self._sink, self._context = sink, context
        self._known_by = None
        self.changed = asyncio.Event()
        self._ring = partial(asyncio.get_running_loop().call_soon_threadsafe, self.changed.set)

    def stop(self) -> None:
        """It is over: nobody is left waiting."""
        self._ring = None
        self._arrived.clear()
        self._answer()
        self._fail(self._asks, "the feed has ended")

    async def begin(self, token: AccessToken) -> None:
        """A connection is about to be made: everything has to come again."""
        self._arrived.clear()
        await self._look_up(token)
        if not self.symbols and self._symbols:
            self._known_by = None
            cure = Cure.TIME if self.instruments else Cure.NONE  # what it had yesterday may come back
            raise LostError(f"none of the symbols has prices at Fyers: {self.remark()}", cure)

    async def settle(self, token: AccessToken) -> Mapping[str, Topic]:
        """Looks up what is new, and gives all that is wanted now, by symbol."""
        try:
            await self._look_up(token)
        except FeedError as error:
            self._give_back(discreet(str(error), token))
        return {symbol: self._topics[symbol] for symbol in self.symbols if symbol in self._topics}

    def sent(self) -> None:
        """What was wanted is subscribed to, and the rest is not."""
        self._answer()

    def arrived(self, symbols: Iterable[str]) -> None:
        """These have sent their first prices, or will not."""
        self._arrived.update(symbols)
        self._answer()

    def remark(self) -> str:
        """What is to be known although prices flow."""
        if not self.refused:
            return ""
        whys = sorted(set(self.refused.values()))
        return "; ".join(f"{named(s for s in self.refused if self.refused[s] == why)}: {why}" for why in whys)

    async def _look_up(self, token: AccessToken) -> None:
        """Asks for what is not known yet; with another token (another day) for everything."""
        if token != self._known_by:
            self._topics, self.refused = {}, {}
        unknown = [name for name in self._symbols if name not in self._topics and name not in self.refused]
        if not unknown:
            return
        found = await self._directory.look_up(unknown, token, self._context)
        self._known_by = token
        refused = dict(found.refused)
        names = {topic.name: symbol for symbol, topic in self._topics.items()}
        for symbol, topic in found.topics.items():
            namesake = names.setdefault(topic.name, symbol)
            if namesake != symbol:
                refused[symbol] = f"Fyers sends it as {namesake}"
                continue
            self._topics[symbol] = topic
            self.instruments[symbol] = instrument_for(topic, self._sink)
        with self._lock:
            self.refused = self.refused | refused
        if refused:
            self._sink.alarm(f"Fyers: no prices for {self.remark()}")

    def _give_back(self, reason: str) -> None:
        """What could not be looked up is no longer wanted; whoever asked for it is told."""
        with self._lock:
            lost = {name for name in self._symbols if name not in self._topics and name not in self.refused}
            self._symbols = {name: None for name in self._symbols if name not in lost}
        _log.warning("Fyers: not subscribed to %s: %s", named(lost), reason)
        self._fail([ask for ask in self._asks if lost.intersection(ask.symbols)], reason)

    def _answer(self) -> None:
        """Answers whoever has waited long enough."""
        with self._lock:
            pending = set(self.symbols) - self._arrived
            done = [ask for ask in self._asks if not (ask.wanted and pending.intersection(ask.symbols))]
            self._asks = [ask for ask in self._asks if ask not in done]
        for ask in done:
            refused = [f"{symbol}: {self.refused[symbol]}" for symbol in ask.symbols if symbol in self.refused]
            if refused and ask.wanted:
                ask.handle.fail(FeedError("; ".join(refused)))
            else:
                ask.handle.resolve(ask.symbols)

    def _fail(self, asks: Iterable[_Ask], reason: str) -> None:
        with self._lock:
            failed = list(asks)
            self._asks = [ask for ask in self._asks if ask not in failed]
        for ask in failed:
            ask.handle.fail(FeedError(f"{named(ask.symbols)}: {reason}"))
