"""Fyers on loopback: its data socket, its order side, and the REST calls that a feed, a log-in and candles make."""

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from datetime import timedelta
from random import Random
from threading import Thread
from typing import Any, Self, TypeVar

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request as Handshake
from websockets.http11 import Response as Refusal

from livetrade.testing import http, wire
from livetrade.testing.client import Client
from livetrade.testing.faults import Fault, Faults
from livetrade.testing.listings import STANDARD, Listing
from livetrade.testing.orderside import OrderSide, matched
from livetrade.testing.rest import Calls, Keys

T = TypeVar("T")

PATIENCE = 10.0

_log = logging.getLogger("livetrade.testing")
_log.setLevel(logging.CRITICAL)  # clients that vanish are its daily bread


class FyersServer:
    """A loopback server that speaks as Fyers does, for tests and notebooks. It runs on a thread of its own.

        with FyersServer() as server:
            feed = lt.FyersFeed("NSE:SBIN-EQ", server.token, **server.urls)
            with lt.LiveTradingEngine(500_000, feed=feed) as engine:
                server.quote("NSE:SBIN-EQ", bid="548.95", ask="549.00", last="549.00")
                ...
                server.fail("reset")      # and see what your code makes of it

    symbols: what it lists, with their Fyers tokens (exchange and segment, expiry as YYMMDD or 000000, exchange token),
    such as `{"NSE:TCS-EQ": "101000000011536"}`; by default some shares, indices, a future, an option, a currency and a
    commodity. Each has a last price from the beginning. ack_every: how many data frames a client has to acknowledge
    together. trimmed: updates leave out what is unchanged at their end, instead of spelling it out as unchanged.

    exchange: the order side, where orders of a broker are placed, matched at the quotes and reported (`OrderSide`).
    connections: how many were authenticated so far. acks, pings, subscriptions, unsubscriptions, modes, pauses,
    resumes: what came so far, over all connections.
    """

    def __init__(self, symbols: Mapping[str, str] | None = None, *, ack_every: int = 50, trimmed: bool = False) -> None:
        self._ack_every, self._trimmed = ack_every, trimmed
        self._listings: dict[str, Listing] = {}
        self._by_topic: dict[str, Listing] = {}
        listed = STANDARD if symbols is None else {name: (token, {"last": 100}) for name, token in symbols.items()}
        for symbol, (fytoken, figures) in listed.items():
            self._list(symbol, fytoken, figures)
        self._keys = Keys()
        self._calls = Calls(self._listings, self._keys)
        self.connections = self.pings = 0
        self.acks: list[int] = []
        self.subscriptions: list[list[str]] = []
        self.unsubscriptions: list[list[str]] = []
        self.modes: list[str] = []
        self.pauses: list[int] = []
        self.resumes: list[int] = []
        self._clients: list[Client] = []
        self._number = 0
        self._random = Random(11)
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._run, name="livetrade-fyers-server", daemon=True)
        self._thread.start()
        self.exchange = OrderSide(self._listings, self._loop, self._do, self._admits)
        self._calls.orders = self.exchange.answer
        self._server, self._rest, self._order_socket = self._do(self._listen())
        self._order_port: int = next(iter(self._order_socket.sockets)).getsockname()[1]
        self._socket_port: int = next(iter(self._server.sockets)).getsockname()[1]
        self._rest_port: int = self._rest.sockets[0].getsockname()[1]

    # ── where it is, and who may come ────────────────────────────────────────────────────────────────────────────────

    @property
    def socket_url(self) -> str:
        return f"ws://127.0.0.1:{self._socket_port}/hsm/v1-5/prod"

    @property
    def data_url(self) -> str:
        """Here are symbol-token, history and quotes."""
        return f"http://127.0.0.1:{self._rest_port}/data"

    @property
    def static_url(self) -> str:
        """Here are the symbol master and the names of indices."""
        return f"http://127.0.0.1:{self._rest_port}/sym_details"

    @property
    def api_url(self) -> str:
        """Here are validate-authcode, orders and books."""
        return f"http://127.0.0.1:{self._rest_port}/api/v3"

    @property
    def urls(self) -> dict[str, str]:
        """The addresses by the names that `FyersFeed` has for them."""
        return {"socket_url": self.socket_url, "data_url": self.data_url, "static_url": self.static_url}

    @property
    def order_socket_url(self) -> str:
        return f"ws://127.0.0.1:{self._order_port}/trade/v3"

    @property
    def broker_urls(self) -> dict[str, str]:
        """The addresses by the names that `FyersBroker` has for them."""
        return {"api_url": self.api_url, "order_socket_url": self.order_socket_url, "static_url": self.static_url}

    @property
    def token(self) -> str:
        """The access token that it accepts, `APPID:JWT`, with an `hsm_key` and an `exp` of a day from now."""
        return self._keys.token

    @property
    def app_id(self) -> str:
        return self._keys.app_id

    @property
    def app_secret(self) -> str:
        """With the app id it makes the `appIdHash` of validate-authcode."""
        return self._keys.app_secret

    @property
    def auth_code(self) -> str:
        """The code that validate-authcode takes for the token."""
        return self._keys.auth_code

    def new_token(self, lasts: timedelta = timedelta(days=1)) -> str:
        """Issues another token and accepts that alone from now on. `lasts` may be below zero: expired already."""

        async def issue() -> str:
            self._faults.expired = False
            return self._keys.issue(lasts)

        return self._do(issue())

    # ── what came ────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def asked(self) -> list[list[str]]:
        """The symbols of each symbol-token call so far."""
        return self._calls.asked

    @property
    def authorizations(self) -> list[str]:
        """The Authorization header of each of them."""
        return self._calls.authorizations

    @property
    def subscribed(self) -> frozenset[str]:
        """The symbols that the newest connection is subscribed to."""
        clients = list(self._clients)
        topics = list(clients[-1].ids) if clients else []
        return frozenset(self._by_topic[topic].symbol for topic in topics)

    @property
    def open_connections(self) -> int:
        """How many authenticated connections there are now."""
        return len(self._clients)

    # ── prices ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def quote(self, symbol: str, **figures: Any) -> None:
        """New figures of a symbol, sent to whoever subscribed to it: `last`, `bid`, `ask`, `volume`, `bid_size`,
        `ask_size`, `open`, `high`, `low`, `close`, ... (all names in `livetrade.testing.wire.FIELDS`).

        A subscriber gets an update with these figures alone; one in lite mode only the last price. Prices are numbers
        or texts on the symbol's scale; a price of 0 means that there is none. time: epoch seconds, by default now.
        """
        self.quotes([(symbol, figures)])

    def quotes(self, rows: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """As `quote`, for several updates in one frame, in their order."""

        async def send() -> None:
            changes = []
            for symbol, figures in rows:
                listing = self._listings[symbol]
                changes.append((listing, listing.put({"time": int(time.time()), **figures})))
            matched(self.exchange, (listing.symbol for listing, _ in changes))
            for client in list(self._clients):
                await self._send_data(client, [item for change in changes for item in client.items(*change)])

        self._do(send())

    def depth(
        self,
        symbol: str,
        bids: Iterable[tuple[Any, int, int]] = (),
        asks: Iterable[tuple[Any, int, int]] = (),
    ) -> None:
        """Up to five levels a side as (price, size, orders), the best first."""
        figures: dict[str, Any] = {}
        for side, levels in (("bid", bids), ("ask", asks)):
            for level, (price, size, orders) in enumerate(levels, 1):
                figures[f"{side}_price{level}"] = price
                figures[f"{side}_size{level}"] = size
                figures[f"{side}_orders{level}"] = orders
        self.quote(symbol, **figures)

    def clear(self, symbol: str) -> None:
        """Forgets every figure of a symbol: a snapshot then shows what is quoted from now on, and no more."""

        async def clear() -> None:
            self._listings[symbol].raw.clear()

        self._do(clear())

    def send(self, frame: bytes | str) -> None:
        """Sends a frame as it stands to every connection."""

        async def send() -> None:
            for client in list(self._clients):
                await client.send(frame)

        self._do(send())

    # ── faults ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def fail(
        self,
        fault: Fault | str,
        *,
        status: int = 503,
        code: int = 1000,
        message: str = "",
        symbols: Iterable[str] = (),
        times: int = 1,
        retry_after: int | None = None,
    ) -> None:
        """Does what `Fault` says of it. A "mute" or "hang" that is wanted `times` meets connections to come as well."""
        fault = Fault(fault)

        async def act() -> None:
            faults = self._faults
            faults.status, faults.code, faults.message, faults.retry_after = status, code, message, retry_after
            faults.expect(fault, symbols, times)
            if fault is Fault.REFUSE:
                self._server.close(close_connections=False)
            for client in list(self._clients):
                with suppress(ConnectionClosed):
                    await client.strike(fault, faults, self._random)

        self._do(act())

    def heal(self) -> None:
        """Ends every fault that lasts, for connections to come."""

        async def heal() -> None:
            self._calls.faults = Faults()
            if not self._server.is_serving():
                self._server = await self._serve(self._socket_port)

        self._do(heal())

    @property
    def _faults(self) -> Faults:
        return self._calls.faults

    # ── the data socket ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _listen(self) -> tuple[Server, asyncio.Server, Server]:
        return await self._serve(0), await http.serve(self._calls.answer), await self.exchange.listen()

    def _admits(self, authorization: str) -> bool:
        return authorization == self._keys.token and not self._faults.expired

    async def _serve(self, port: int) -> Server:
        return await serve(
            self._talk,
            "127.0.0.1",
            port,
            process_request=self._shake_hands,
            compression=None,
            close_timeout=0.2,
            logger=_log,
        )

    def _shake_hands(self, connection: ServerConnection, _: Handshake) -> Refusal | None:
        if not self._faults.happens(Fault.STATUS):
            return None
        refusal = connection.respond(self._faults.status, "refused by the loopback server\n")
        if self._faults.retry_after is not None:
            refusal.headers["Retry-After"] = str(self._faults.retry_after)
        return refusal

    async def _talk(self, connection: ServerConnection) -> None:
        client = Client(connection, self._trimmed)
        try:
            async for frame in connection:
                if isinstance(frame, bytes):
                    await self._take(client, frame)
        except ConnectionClosed:
            pass
        finally:
            if client in self._clients:
                self._clients.remove(client)

    async def _take(self, client: Client, frame: bytes) -> None:
        if frame == wire.PING:
            self.pings += 1
            return
        message = wire.read(frame)
        if message.type == wire.AUTH:
            await self._authenticate(client, message.fields[1].decode("ascii"))
        elif client in self._clients:
            await self._obey(client, message)

    async def _authenticate(self, client: Client, key: str) -> None:
        faults = self._faults
        if faults.happens(Fault.DEAF):
            return
        if key != self._keys.hsm_key or faults.expired or faults.happens(Fault.DENY):
            await client.send(wire.auth_reply("Token is expired" if faults.expired else "N", 0))
            return
        self.connections += 1
        self._clients.append(client)
        await client.send(wire.auth_reply("K", self._ack_every))
        client.mute = faults.happens(Fault.MUTE)
        if faults.happens(Fault.HANG):
            client.hang()
        if faults.happens(Fault.KICK):
            await client.socket.close(faults.code, faults.message)

    async def _obey(self, client: Client, message: wire.Message) -> None:
        fields = message.fields
        match message.type:
            case wire.ACK:
                self.acks.append(int.from_bytes(fields[1], "big"))
                return
            case wire.MODE:
                client.full = fields[2] == b"F"
                self.modes.append(fields[2].decode())
            case wire.SUBSCRIBE:
                topics = wire.topics(fields[1])
                self.subscriptions.append(topics)
                await client.send(wire.answer(message.type))
                await self._subscribe(client, topics)
                return
            case wire.UNSUBSCRIBE:
                topics = wire.topics(fields[1])
                self.unsubscriptions.append(topics)
                for topic in topics:
                    client.ids.pop(topic, None)
            case wire.PAUSE:
                self.pauses.append(int.from_bytes(fields[1], "big"))
                client.paused = True
            case wire.RESUME:
                self.resumes.append(int.from_bytes(fields[1], "big"))
                client.paused = False
            case _:
                return
        await client.send(wire.answer(message.type))

    async def _subscribe(self, client: Client, topics: list[str]) -> None:
        listed = [(topic, self._by_topic[topic]) for topic in topics if topic in self._by_topic]
        items = [
            client.introduce(topic, listing) for topic, listing in listed if not self._faults.is_silent(listing.symbol)
        ]
        for first in range(0, len(items), 500):
            await self._send_data(client, items[first : first + 500])

    async def _send_data(self, client: Client, items: list[bytes]) -> None:
        if not items or client.mute or client.paused:
            return
        self._number += 1
        client.latest = wire.data(self._number, items)
        with suppress(ConnectionClosed):
            await client.send(client.latest)

    # ── its thread ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _list(self, symbol: str, fytoken: str, figures: Mapping[str, Any]) -> None:
        listing = Listing(symbol, fytoken)
        listing.put({"time": int(time.time()), **figures})
        self._listings[symbol] = listing
        self._by_topic.update(dict.fromkeys(listing.topics, listing))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        if self._closed:
            work.close()
            raise RuntimeError("the loopback server is closed")
        done: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return done.result(PATIENCE)

    async def _stop(self) -> None:
        for client in list(self._clients):
            client.reset()
        self.exchange.close()
        for server in (self._server, self._rest, self._order_socket):
            server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        if tasks:
            await asyncio.wait(tasks, timeout=0.3)
        for task in tasks:
            task.cancel()  # an answer that never comes
        if tasks:
            await asyncio.wait(tasks, timeout=1)
        for server in (self._server, self._rest, self._order_socket):
            await server.wait_closed()

    def close(self) -> None:
        """Ends every connection and the thread. May be called again."""
        if self._closed:
            return
        try:
            self._do(self._stop())
        finally:
            self._closed = True
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._clients)} connections"
        return f"<FyersServer {self.socket_url} {len(self._listings)} symbols, {state}>"
