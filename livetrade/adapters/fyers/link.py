"""One connection to the data socket, from the first byte to the reason why it was lost."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol

from livetrade.adapters.fyers.codec import (
    MOST_TOPICS,
    PING,
    Answer,
    AuthReply,
    Decoder,
    MessageType,
    Notice,
    ack_frame,
    auth_frame,
    mode_frame,
    read,
    subscribe_frame,
    unsubscribe_frame,
)
from livetrade.adapters.fyers.credentials import HOW, AccessToken
from livetrade.adapters.fyers.hours import Markets
from livetrade.adapters.fyers.losses import LostError, discreet, moment, named
from livetrade.adapters.fyers.patience import Silence, Timing, Verdict
from livetrade.adapters.fyers.sockets import connecting
from livetrade.adapters.fyers.symbols import Mode, Topic, in_frames
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import FeedState
from livetrade.core.ticks import Tick
from livetrade.ports import Sink

if TYPE_CHECKING:
    import ssl


MOST_BYTES = 32 << 20
"""The largest frame that is taken; a larger one ends the connection."""
SLICE = 0.003
"""Seconds of work after which the loop gets its turn."""
DAMAGE = {"not data", "truncated", "unknown item"}
"""What the decoder counts when a part of a data frame could not be read."""

_log = logging.getLogger("livetrade")


class Wishes(Protocol):
    """What a link is asked to bring, by its feed."""

    changed: asyncio.Event
    """Set whenever somebody subscribed or unsubscribed."""

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """What ticks are built with, by symbol."""

    async def settle(self, token: AccessToken) -> Mapping[str, Topic]:
        """Looks up what is new, and gives all that is wanted now, by symbol."""

    def sent(self) -> None:
        """What was wanted is subscribed to, and the rest is not."""

    def arrived(self, symbols: Iterable[str]) -> None:
        """These have sent their first prices, or never will."""

    def remark(self) -> str:
        """What is to be known although prices flow, such as symbols that Fyers does not know."""


class Link:
    """One connection. accepted_ns: when the server let it in, 0 while it has not. notice: what it said of itself."""

    def __init__(
        self,
        sink: Sink,
        wishes: Wishes,
        decoder: Decoder,
        silence: Silence,
        markets: Markets,
        timing: Timing,
        mode: Mode,
        on_accepted: Callable[[], None],
    ) -> None:
        self._sink = sink
        self._wishes = wishes
        self._decoder = decoder
        self._silence = silence
        self._markets = markets
        self._timing = timing
        self._mode = mode
        self._on_accepted = on_accepted
        self._counted: Counter[str] = Counter(decoder.counts)
        self._on: Mapping[str, Topic] = {}
        self._batches: list[_Batch] = []
        self._silent: set[str] = set()
        self.notice = ""
        self._ack_every = self._frames = 0
        self._accepted = asyncio.Event()
        self._live = asyncio.Event()
        self.accepted_ns = 0

    async def run(self, url: str, context: "ssl.SSLContext", token: AccessToken) -> None:
        """Connects, and brings prices until the connection is lost: it ends by raising only (see `loss_of`)."""
        self._decoder.forget()
        self._silence.end()
        async with connecting(url, context, self._timing, MOST_BYTES) as self._socket:
            await self._socket.send(auth_frame(token.hsm_key.reveal()))
            await self._socket.send(mode_frame(self._mode is not Mode.LITE))
            self._clean = partial(discreet, token=token)
            try:
                async with asyncio.TaskGroup() as self._tasks:
                    for job in (self._read(), self._ping(), self._watch_token(token), self._bring(token)):
                        self._tasks.create_task(job)
            finally:
                await self._socket.close()  # in good order, whatever ended it

    # ── what it hears ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _read(self) -> None:
        sink, decoder = self._sink, self._decoder
        clock = asyncio.get_running_loop().time
        pause = clock() + SLICE
        while True:
            frame = await self._socket.recv(decode=False)
            ticks: Iterable[Tick] = ()
            if frame[2:3] == _DATA:
                ticks = decoder.decode(frame, sink.now())
                self._heard()
                if self._ack_every and self._frames % self._ack_every == 0:
                    await self._socket.send(ack_frame(decoder.number))
            else:
                self._told(read(frame))
                if frame[2:3] not in _KNOWN:
                    sink.quarantine("unknown frame")
            for tick in ticks:
                if self._expecting:
                    self._expected(tick.instrument.symbol)
                sink.tick(tick)
                if clock() >= pause:  # a storm holds up nobody
                    await asyncio.sleep(0)
                    pause = clock() + SLICE
            if decoder.counts != self._counted:
                self._quarantine()
            if clock() >= pause:
                await asyncio.sleep(0)
                pause = clock() + SLICE

    def _heard(self) -> None:
        """One more data frame."""
        self._accept()
        self._frames += 1
        if self._silence.heard(self._sink.now()) and self._live.is_set():
            self._say()

    @property
    def _expecting(self) -> bool:
        return bool(self._batches or self._silent)

    def _expected(self, symbol: str) -> None:
        """A price of a symbol that may have been waited for."""
        for batch in self._batches:
            batch.hear(symbol)
        if symbol in self._silent:
            self._silent.remove(symbol)
            self._say()

    def _told(self, message: AuthReply | Answer | Notice | None) -> None:
        match message:
            case AuthReply(ok=True):
                self._ack_every = message.ack_every
                self._accept()
            case AuthReply():
                raise LostError(f"Fyers refused the token ({self._clean(message.message)}); {HOW}")
            case Answer(ok=False):
                _log.warning("Fyers refused to %s: %s", message.to.name.lower(), self._clean(message.message))
            case Notice():
                self.notice = f"Fyers says: {self._clean(message.message)} (code {message.code})"
                self._sink.alarm(self.notice)
                if self._live.is_set():
                    self._say()
            case _:
                pass

    def _accept(self) -> None:
        if not self.accepted_ns:
            self.accepted_ns = self._sink.now()
            self._accepted.set()
            self._on_accepted()

    def _quarantine(self) -> None:
        """Each new count once. What stood behind the damage is lost: no later update would make up for it."""
        new = self._decoder.counts - self._counted
        for reason in new.elements():
            self._sink.quarantine(reason)
        self._counted = Counter(self._decoder.counts)
        if DAMAGE & new.keys():
            raise LostError("Fyers sent a damaged frame")

    # ── what it asks for ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _ping(self) -> None:
        while True:
            await self._socket.send(PING)
            await self._timing.sleep(self._timing.ping)

    async def _bring(self, token: AccessToken) -> None:
        """Subscribes to what is wanted, again at every change; prices are live once all of them have come."""
        try:
            async with asyncio.timeout(self._timing.answer):
                await self._accepted.wait()
        except TimeoutError:
            raise LostError(f"Fyers did not answer within {self._timing.answer:g} s") from None
        first = await self._follow(token)
        if first is not None:
            await first
        if self._on and not self._frames:
            raise LostError("Fyers sent no price of any symbol")
        self._silence.begin(self._sink.now())
        self._live.set()
        self._say()
        self._tasks.create_task(self._watch())
        while True:
            await self._wishes.changed.wait()
            await self._follow(token)

    async def _follow(self, token: AccessToken) -> asyncio.Task[None] | None:
        """Brings the subscriptions in line with what is wanted; gives the task that waits for what is new."""
        self._wishes.changed.clear()
        wanted = await self._wishes.settle(token)
        self._decoder.topics = {topic.name: self._wishes.instruments[symbol] for symbol, topic in wanted.items()}
        gone = [topic for symbol, topic in self._on.items() if symbol not in wanted]
        new = [topic for symbol, topic in wanted.items() if symbol not in self._on]
        self._on = wanted
        self._silent &= set(wanted)
        for topic in gone:
            self._sink.lost(topic.symbol, "the feed was unsubscribed from it")
        for names in in_frames([topic.name for topic in gone], MOST_TOPICS):
            await self._socket.send(unsubscribe_frame(names))
        batch = _Batch(new)
        if new:
            self._batches.append(batch)  # before it is asked for: the first prices come while the last are
        await self._subscribe(new)
        self._wishes.sent()
        return self._tasks.create_task(self._verify(batch)) if new else None

    async def _subscribe(self, topics: Iterable[Topic]) -> None:
        for number, names in enumerate(in_frames([topic.name for topic in topics], MOST_TOPICS)):
            if number:
                await self._timing.sleep(self._timing.gap)
            await self._socket.send(subscribe_frame(names))

    async def _verify(self, batch: "_Batch") -> None:
        """Every topic sends a snapshot. What does not is asked for once more, and then named."""
        if not await batch.complete(self._timing.snapshot):
            missing = batch.missing(self._on)
            _log.warning("no prices yet of %s; subscribing once more", named(missing))
            await self._subscribe(self._on[symbol] for symbol in missing)
            await batch.complete(self._timing.snapshot)
        self._batches.remove(batch)
        missing = batch.missing(self._on)
        if missing:
            self._silent.update(missing)
            self._sink.alarm(f"Fyers sends no prices of {named(missing)}")
            for symbol in missing:
                self._sink.lost(symbol, "Fyers sends no prices of it since the connection was made")
            if self._live.is_set():
                self._say()
        self._wishes.arrived(batch.symbols)

    # ── what it watches ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _watch(self) -> None:
        silence, sink = self._silence, self._sink
        await self._prepare()
        while True:
            await self._timing.sleep(silence.next_look(sink.now()))
            was, now_ns = silence.stale, sink.now()
            hours = {topic.segment.hours for topic in self._on.values()}
            verdict = silence.look(now_ns, self._markets.are_open(hours, now_ns))
            if verdict is Verdict.DEAD:
                raise LostError(f"no prices came {self._although()}")
            if silence.stale != was:
                self._say()

    async def _prepare(self) -> None:
        """The calendar is read in a silence, half-way to where it is asked, for reading it would hold up prices."""
        while not self._markets.are_known and (wait := self._silence.half_over(self._sink.now())) > 0:
            await self._timing.sleep(wait)
        self._markets.prepare()

    async def _watch_token(self, token: AccessToken) -> None:
        while (left := token.seconds_left(moment(self._sink.now()))) > 0:
            await self._timing.sleep(min(left, self._timing.token))
        raise LostError("the token expired; run `livetrade login fyers`")

    def _say(self) -> None:
        """How it is now, and what is to be known of it."""
        stale = self._silence.stale
        parts = (
            f"no prices came for a while {self._although()}" if stale else "",
            self._wishes.remark(),
            f"no prices of {named(self._silent)}" if self._silent else "",
            self.notice,
        )
        self._sink.state(FeedState.STALE if stale else FeedState.LIVE, "; ".join(filter(None, parts)))

    def _although(self) -> str:
        doubt = self._markets.doubt
        return "although the market is open" + (f", as far as is known ({doubt})" if doubt else "")


_DATA = bytes([MessageType.DATA])
_KNOWN = {bytes([kind]) for kind in MessageType}


class _Batch:
    """Symbols that were subscribed to together, until each has sent something."""

    def __init__(self, topics: Iterable[Topic]) -> None:
        self.symbols = [topic.symbol for topic in topics]
        self._unheard = set(self.symbols)
        self._complete = asyncio.Event()

    def hear(self, symbol: str) -> None:
        self._unheard.discard(symbol)
        if not self._unheard:
            self._complete.set()

    async def complete(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._complete.wait()
        return self._complete.is_set()

    def missing(self, wanted: Iterable[str]) -> list[str]:
        """Those that have sent nothing, and are still wanted."""
        return sorted(self._unheard.intersection(wanted))
