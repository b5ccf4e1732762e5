"""What an engine tells, to everybody who listens: events without a gap, ticks as fast as each can take them.

Nobody has a queue of events. A listener has a place, the number of the last event it was sent, and takes what follows
from the newest events, which are kept here, or from the journal where it is further behind. So one that sleeps costs
nothing, and misses nothing. Of ticks it has a short queue; when that is full, only the newest of each symbol stays, and
how many it missed is counted.
"""

import asyncio
import json
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from typing import Any

from livetrade.core import events as ev
from livetrade.core.ticks import Tick
from livetrade.desk.rows import quote_row
from livetrade.encoding import plain
from livetrade.engine import LiveTradingEngine

KEPT = 20_000
"""How many of the newest events are kept encoded."""
QUEUE_LENGTH = 1_000
"""How many ticks a listener may be behind before they conflate."""
WAITING_TICKS = 20_000
UNREAD = 16
"""So many answers may wait for one who does not read; then nothing more is taken of it."""
PAGE = 256 * 1024
"""Bytes of past events in one message, about."""


class Broadcast:
    """Lives on the server's loop; the engine's thread only leaves things here and rings."""

    def __init__(self, engine: LiveTradingEngine) -> None:
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._texts: deque[str] = deque(maxlen=KEPT)
        self._listeners: set[Listener] = set()
        self._events: deque[Sequence[ev.Event]] = deque()
        self._ticks: deque[Tick] = deque()
        self._missed: Counter[str] = Counter()
        self._rang = False
        self.seq, self._unlisten = engine.listen(self._hear)
        self._untap = engine.stream.hub.tap(self._hear_tick)

    def end(self) -> None:
        self._unlisten()
        self._untap()

    # ── on the engine's thread ───────────────────────────────────────────────────────────────────────────────────────

    def _hear(self, _: int, events: Sequence[ev.Event]) -> None:
        self._events.append(events)
        self._ring()

    def _hear_tick(self, tick: Tick) -> None:
        if len(self._ticks) >= WAITING_TICKS:  # the server does not come to it
            self._missed[self._ticks.popleft().symbol] += 1
        self._ticks.append(tick)
        self._ring()

    def _ring(self) -> None:
        if not self._rang:
            self._rang = True
            with suppress(RuntimeError):  # the server has just ended
                self._loop.call_soon_threadsafe(self._pass_on)

    # ── on the server's loop ─────────────────────────────────────────────────────────────────────────────────────────

    def _pass_on(self) -> None:
        self._rang = False
        missed, self._missed = self._missed, Counter()
        for _ in range(len(self._ticks)):
            tick = self._ticks.popleft()
            symbol, text = tick.symbol, ""
            skipped = missed.pop(symbol, 0)
            for listener in self._listeners:
                if listener.wants_ticks:
                    text = text or tick_text(tick)
                    listener.offer(symbol, text, skipped)
        for _ in range(len(self._events)):
            for event in self._events.popleft():
                self.seq += 1
                self._texts.append(event_text(self.seq, plain(event)))
        for listener in self._listeners:
            listener.wake.set()

    def join(self, listener: "Listener") -> None:
        self._listeners.add(listener)

    def leave(self, listener: "Listener") -> None:
        self._listeners.discard(listener)

    def __len__(self) -> int:
        return len(self._listeners)

    @property
    def ticks(self) -> int:
        """How many ticks the account has taken; another thread counts them."""
        return self._engine.account.ticks

    def tell(self, message: str) -> None:
        """One message to everybody; only the newest of its kind waits for a slow one."""
        for listener in self._listeners:
            listener.note = message
            listener.wake.set()

    async def following(self, after: int) -> "Sequence[str] | bytes":
        """What follows an event: the newest as messages, or a page of the journal where it lies further back."""
        first = self.seq - len(self._texts) + 1
        if after + 1 >= first:
            return [self._texts[number] for number in range(after + 1 - first, len(self._texts))]
        return await asyncio.to_thread(_page, self._engine.journal.batches(after)) or []


def _page(batches: Generator[bytes, None, None]) -> bytes:
    """Batches, a line each, until it is large enough."""
    lines: list[bytes] = []
    size = 0
    with closing(batches):
        for batch in batches:
            lines.append(batch)
            size += len(batch)
            if size >= PAGE:
                break
    return b"\n".join(lines)


class Listener:
    """One who listens. `messages` gives what to send next; texts, and bytes for a page of past events.

    after: the number of the last event that it knows.
    """

    def __init__(self, broadcast: Broadcast, after: int, *, ticks: bool = True) -> None:
        self._broadcast = broadcast
        self.seq = after
        self.wants_ticks = ticks
        self.wake = asyncio.Event()
        self.wake.set()
        self.note = ""
        self.ready: Callable[[], str] | None = None
        """Makes what is sent once, when it has caught up."""
        self._answers: deque[str] = deque()
        self._room = asyncio.Event()
        self._room.set()
        self._ticks: deque[tuple[str, str]] = deque()
        self._missed: Counter[str] = Counter()

    def answer(self, message: str) -> None:
        """Waits for its turn: behind the events before it."""
        self._answers.append(message)
        if len(self._answers) >= UNREAD:
            self._room.clear()
        self.wake.set()

    async def room(self) -> None:
        """Returns once not too many answers wait to be sent: who does not read may not ask for ever."""
        await self._room.wait()

    def offer(self, symbol: str, text: str, missed: int = 0) -> None:
        if missed:
            self._missed[symbol] += missed
        if len(self._ticks) >= QUEUE_LENGTH:
            self._conflate()
        self._ticks.append((symbol, text))

    def _conflate(self) -> None:
        newest = {symbol: number for number, (symbol, _) in enumerate(self._ticks)}
        ticks, self._ticks = self._ticks, deque()
        for number, (symbol, text) in enumerate(ticks):
            if newest[symbol] == number:
                self._ticks.append((symbol, text))
            else:
                self._missed[symbol] += 1

    async def messages(self) -> "list[str | bytes]":
        """What there is to send, in order, once there is something."""
        await self.wake.wait()
        following = await self._broadcast.following(self.seq)
        if isinstance(following, bytes):
            self.seq = last_of(following)
            return [following]
        self.wake.clear()
        self.seq += len(following)
        return [*self._new_ticks(), *following, *self._words()]

    def _new_ticks(self) -> Iterator[str]:
        if not self._ticks:
            return
        ticks, missed = ",".join(text for _, text in self._ticks), dict(self._missed)
        self._ticks.clear()
        self._missed.clear()
        counted = self._broadcast.ticks
        yield f'{{"type":"ticks","ticks":[{ticks}],"missed":{json.dumps(missed)},"tick":{counted}}}'

    def _words(self) -> Iterator[str]:
        while self._answers:
            yield self._answers.popleft()
        self._room.set()
        if self.ready is not None:
            ready, self.ready = self.ready, None
            yield ready()
        if self.note:
            yield self.note
            self.note = ""


def event_text(seq: int, event: list[Any]) -> str:
    return f'{{"type":"event","seq":{seq},"event":{json.dumps(event, separators=(",", ":"))}}}'


def tick_text(tick: Tick) -> str:
    return json.dumps(quote_row(tick), separators=(",", ":"))


def last_of(page: bytes) -> int:
    """The number of the last event of a page."""
    _, first, steps = json.loads(page[page.rfind(b"\n") + 1 :])
    return int(first + sum(len(events) for _, events in steps) - 1)


def page_texts(page: bytes, after: int) -> list[str]:
    """The events of a page that come after one, as messages."""
    texts = []
    for batch in page.split(b"\n"):
        _, first, steps = json.loads(batch)
        events = [event for _, step in steps for event in step]
        texts += [event_text(first + number, event) for number, event in enumerate(events) if first + number > after]
    return texts
