"""The WebSocket of a desk: `stream`.

What it is opened with says for whom it is:

    stream                  a snapshot, then what happens, for any program
    stream?after=N          for an attached engine, which knows the events up to N: all that follow, and it may command
    stream?view=panel       for the live page: what the panel shows, thirty times a second at the most

Messages are JSON objects with a `type`. From the desk:

    snapshot    seq, name, mode, portfolio, positions, orders (working), risk_orders (armed), quotes, ...
    event       seq, event: an array of its name and fields, as in the journal. `seq` has no gaps.
    ticks       ticks: quotes, each as `{symbol, bid, ask, last, volume, bid_size, ask_size, time_ns, received_ns}`;
                missed: how many of a symbol were left out before, for one who takes them too slowly
    beat        seq, health: each second
    hello       to an attached engine, first: who the desk is
    ready       to an attached engine: it has caught up
    answer      key, success, message, order, seq; or key and error, the name of what is to be raised

and as binary messages, to an attached engine that is behind, pages of past events as a journal keeps them.
"""

import asyncio
import json
from collections.abc import Coroutine
from datetime import UTC
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from livetrade.desk import bodies, rows
from livetrade.desk.auth import Pace, Refused
from livetrade.desk.broadcast import Listener, page_texts
from livetrade.desk.orders import Origin
from livetrade.desk.rows import quote_row
from livetrade.encoding import encoded, instrument_terms, plain, plain_record
from livetrade.errors import LiveTradeError
from livetrade.panel.frames import Frames, plain_snapshot
from livetrade.stream import nanoseconds
from livetrade.surface import OrderResult

if TYPE_CHECKING:
    from livetrade.desk.server import Server

MOST_LISTENERS = 64
TICK_ROWS = 5_000
PANEL_SECONDS = 1 / 30
PER_SECOND, BURST = 1_000.0, 5_000.0
"""Commands of one attached engine; those beyond that wait."""
AT_ONCE = ("update", "flatten", "halt", "cancel", "cancel_all", "close_position")
"""Which do not: prices, and what makes an account safer."""
TRY_LATER, ODD = 1013, 1008
ASKED = ("ticks", "lookup", "barrier", "strategies", "broker_orders", "reconcile")
"""What an attached engine asks beside its commands (`bodies.ATTACHED`)."""
BOOKS: dict[str, bodies.Shape] = {
    "broker_orders": {},
    "reconcile": {"accept": bodies.Field("bool", "Go on with the differences as they are.")},
}


async def stream(server: "Server", socket: WebSocket) -> None:
    asked = dict(socket.query_params)
    after, view = asked.pop("after", None), asked.pop("view", "")
    is_number = after is None or (after.isascii() and after.isdecimal() and len(after) < 16)
    odd = asked or view not in ("", "panel") or not is_number
    assert server.broadcast is not None
    await socket.accept()
    if odd or len(server.broadcast) >= MOST_LISTENERS:
        reason = "stream takes after=NUMBER or view=panel" if odd else f"{MOST_LISTENERS} listeners are the most"
        await socket.close(ODD if odd else TRY_LATER, reason)
        return
    if view:
        line: Line = PanelLine(server, socket)
    else:
        line = Line(server, socket) if after is None else AttachedLine(server, socket, int(after))
    await line.run()


class Line:
    """One listener, from its first message to its last."""

    def __init__(self, server: "Server", socket: WebSocket, after: int = 0) -> None:
        assert server.broadcast is not None
        self.server = server
        self.socket = socket
        self.broadcast = server.broadcast
        self.listener = Listener(server.broadcast, after)

    async def run(self) -> None:
        """Ends when either side does."""
        self.broadcast.join(self.listener)
        sides = [asyncio.create_task(self._send()), asyncio.create_task(self._receive())]
        try:
            done, _ = await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
            for side in done:
                side.result()
        except (WebSocketDisconnect, RuntimeError):  # the other end has gone, in the middle of a message too
            return
        finally:
            self.broadcast.leave(self.listener)
            for side in sides:
                side.cancel()
            await asyncio.gather(*sides, return_exceptions=True)

    async def _send(self) -> None:
        await self.begin()
        while True:
            for message in await self.next():
                if isinstance(message, bytes):
                    await self.socket.send_bytes(message)
                else:
                    await self.socket.send_text(message)

    async def begin(self) -> None:
        engine = self.server.engine
        seq, state = engine._read(lambda account: (account.seq, rows.summary(account)))
        self.listener.seq = seq
        await self.socket.send_text(
            json.dumps({"type": "snapshot", "seq": seq, "name": engine.name, "mode": engine.mode, **state})
        )

    async def next(self) -> "list[str | bytes]":
        before = self.listener.seq
        messages = await self.listener.messages()
        if messages and isinstance(messages[0], bytes):
            return list(page_texts(messages[0], before))
        return messages

    async def _receive(self) -> None:
        while True:
            message = await self.socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            await self.listener.room()
            await self.take(message.get("text") or "")

    async def take(self, text: str) -> None:
        """What the other end says; a listener has nothing to say."""


class PanelLine(Line):
    """What the panel shows, whenever it has changed."""

    async def begin(self) -> None:
        self.listener.wants_ticks = False
        self._frames = Frames(PANEL_SECONDS)
        self._due = 0.0

    async def next(self) -> "list[str | bytes]":
        """The first of a burst at once, then the newest at each turn."""
        loop = asyncio.get_running_loop()
        await self.listener.wake.wait()
        await asyncio.sleep(max(0.0, self._due - loop.time()))
        began = loop.time()
        self.listener.wake.clear()
        self.listener.note = ""
        frame = self._frames.next(plain_snapshot(self.server.engine.panel_snapshot(None)))
        self._due = began + self._frames.pause_after(frame)
        return [json.dumps({"type": "panel", **frame})] if frame else []


class AttachedLine(Line):
    """An attached engine: it folds the events itself, and commands."""

    def __init__(self, server: "Server", socket: WebSocket, after: int) -> None:
        super().__init__(server, socket, after)
        self._pace = Pace(PER_SECOND, BURST)
        self._slow: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        engine = self.server.engine
        opened = engine._read(lambda account: account.opened)
        assert opened is not None
        hello = {
            "type": "hello",
            "name": engine.name,
            "mode": engine.mode,
            "journal": sha256(encoded(plain(opened))).hexdigest(),
            "run": self.server.run_id,
            "timezone": opened.timezone,
            "instruments": [instrument_terms(item) for item in engine.stream.instruments()],
            "fed": engine.feed is not None,
            "health": self.server.health(),
            "seq": self.broadcast.seq,
        }
        await self.socket.send_text(json.dumps(hello))
        if self.listener.seq > self.broadcast.seq:
            self.listener.seq = 0  # what it knows is not of this journal; it sees that by the hello, and begins again
        self.listener.ready = self._ready

    def _ready(self) -> str:
        quotes, _ = self.server.engine.all_quotes()
        return json.dumps({"type": "ready", "quotes": [quote_row(quote) for quote in quotes]})

    async def take(self, text: str) -> None:
        try:
            message = bodies.read_json(text.encode("utf-8", "surrogatepass"))
            key, name, body = str(message["key"])[:64], message["command"], message.get("body", {})
            if name not in bodies.ATTACHED and name not in ASKED:
                raise Refused(422, f"unknown command {str(name)[:40]!r}")
        except (Refused, LookupError, TypeError, AttributeError) as error:
            await self.socket.close(ODD, f"no command: {error}"[:120])
            return
        if name not in AT_ONCE:
            await self._pace.turn()
        try:
            await self._obey(key, name, body)
        except Refused as refused:
            self._fail(key, "OrderError", refused.message)
        except LiveTradeError as error:
            self._fail(key, type(error).__name__, str(error))

    async def _obey(self, key: str, name: str, body: Any) -> None:
        match name:
            case "update":
                self.server.orders.post_price(bodies.checked(body, bodies.ATTACHED[name]))
            case "register":
                item = self.server.orders.register(bodies.checked(body, bodies.ATTACHED[name])["instrument"])
                self._confirm(key, instrument=instrument_terms(item))
            case "shutdown":
                self._shut_down(key, force=bodies.checked(body, bodies.ATTACHED[name]).get("force", False))
            case _ if name in ASKED or name in ("preview", "why", "levels"):
                await self._tell(key, name, body)
            case _:
                client = self.socket.client
                origin = Origin("ATTACHED", f"{client.host}:{client.port}" if client else "")
                task = self.server.orders.take(name, bodies.checked(body, bodies.ATTACHED[name]), origin, key)
                task.add_done_callback(partial(self._answered, key))

    async def _tell(self, key: str, name: str, body: Any) -> None:
        """Answers a question, which changes nothing of the account's orders."""
        match name:
            case "ticks":
                await self._send_ticks(
                    key, bodies.checked(body, {"symbol": bodies.Field("text", "", required=True)})["symbol"]
                )
            case "lookup":
                self._look_up(key)
            case "strategies":
                infos = self.server.engine._strategy_infos()
                self._confirm(
                    key, strategies=[[i.name, i.state, nanoseconds(i.started_at, UTC), i.error] for i in infos]
                )
            case "broker_orders" | "reconcile":
                accept = bodies.checked(body, BOOKS[name]).get("accept", False)
                self._begin(key, self._read_books(key, name, accept=accept))
            case "barrier":
                self.server.engine._read(lambda account: account.seq)
                asyncio.get_running_loop().call_soon(self._confirm, key)
            case "preview":
                seen = self.server.orders.preview(bodies.checked(body, bodies.ATTACHED[name]))
                self._confirm(key, preview=plain_record(seen))
            case "why":
                self._begin(key, self._tell_why(key, bodies.checked(body, bodies.ATTACHED[name])["client_order_id"]))
            case "levels":
                self._begin(key, self._tell_levels(key, bodies.checked(body, bodies.ATTACHED[name])["symbol"]))

    def _begin(self, key: str, answering: Coroutine[Any, Any, None]) -> None:
        """What asks the broker or reads all events takes its time: no command waits for that."""
        task = asyncio.create_task(self._end(key, answering))
        self._slow.add(task)
        task.add_done_callback(self._slow.discard)

    async def _end(self, key: str, answering: Coroutine[Any, Any, None]) -> None:
        try:
            await answering
        except LiveTradeError as error:
            self._fail(key, type(error).__name__, str(error))

    async def _tell_why(self, key: str, order_id: str) -> None:
        told = await asyncio.to_thread(self.server.engine._why, order_id)
        self._confirm(key, why=None if told is None else plain_record(told))

    async def _tell_levels(self, key: str, symbol: str) -> None:
        levels = await asyncio.to_thread(self.server.engine._levels, symbol)
        self._confirm(key, levels=[plain_record(level) for level in levels])

    async def _read_books(self, key: str, name: str, *, accept: bool) -> None:
        engine = self.server.engine
        if name == "broker_orders":
            rows = await asyncio.to_thread(engine.broker_rows)
            self._confirm(key, rows=[[plain_record(row), foreign] for row, foreign in rows])
            return
        found = await asyncio.to_thread(engine.compared, accept)
        terms = {each.symbol: instrument_terms(each.instrument) for each in found}
        self._confirm(key, rows=[plain_record(each) for each in found], instruments=list(terms.values()))

    def _answered(self, key: str, task: "asyncio.Task[OrderResult]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._fail(key, type(error).__name__, str(error))
        elif not task.cancelled():
            self._answer(key, task.result())

    def _answer(self, key: str, result: OrderResult) -> None:
        order = None if result.order is None else plain_record(result.order)
        terms = None if result.order is None else instrument_terms(result.order.instrument)
        self._confirm(key, success=result.success, message=result.message, order=order, instrument=terms)

    def _confirm(self, key: str, **told: Any) -> None:
        self.listener.answer(json.dumps({"type": "answer", "key": key, **told}))

    def _fail(self, key: str, error: str, message: str) -> None:
        self._confirm(key, error=error, message=message)

    def _look_up(self, key: str) -> None:
        """Whether a command ever came; if it did, its answer follows."""
        task = self.server.orders.known(key)
        if task is None:
            self._confirm(key, unknown=True)
        else:
            task.add_done_callback(partial(self._answered, key))

    def _shut_down(self, key: str, *, force: bool) -> None:
        left = self.server.orders.why_not_stop()
        if left and not force:
            message = (
                f"the desk goes on: nobody would watch {left} any more; shutdown_desk(force=True) ends it all the same"
            )
            self._confirm(key, success=False, message=message, order=None)
            return
        self._confirm(key, success=True, message="The desk ends", order=None)
        asyncio.get_running_loop().call_later(0.1, self.server.stop)

    async def _send_ticks(self, key: str, symbol: str) -> None:
        """The latest ticks of a symbol, all from one moment, a page at a time."""
        columns, view = self.server.engine._read_ticks(symbol)
        length = len(columns["time"])
        for start in range(0, max(length, 1), TICK_ROWS):
            page = {name: column[start : start + TICK_ROWS].tolist() for name, column in columns.items()}
            await self.listener.room()
            self._confirm(key, ticks=page, more=start + TICK_ROWS < length, as_of_ns=view.as_of)
            await asyncio.sleep(0)
