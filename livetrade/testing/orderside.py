"""The order side of the loopback Fyers, as a test sees it, and its order socket."""

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from decimal import Decimal
from random import Random
from typing import Any, TypeVar

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request as Handshake
from websockets.http11 import Response as Refusal

from livetrade.testing.exchange import CANCELED, REJECTED, UNTAGGED, Exchange, Placed, order_row, trade_book_row
from livetrade.testing.http import reset
from livetrade.testing.listings import Listing
from livetrade.testing.orderfaults import OrderFault, Planned
from livetrade.testing.orders import OrderCalls

T = TypeVar("T")
Do = Callable[[Coroutine[Any, Any, Any]], Any]
LISTS = {"orders", "trades", "positions", "edis", "pricealerts", "login"}

_log = logging.getLogger("livetrade.testing")


class OrderSide:
    """What orders meet at `FyersServer`: its exchange, which matches at the quotes, its books and its order socket.

    An order fills at the quote as soon as its limit reaches it: at once, or with a quote to come; a stop is triggered
    first. Everything here may be called from any thread.
    """

    def __init__(
        self, listings: Mapping[str, Listing], loop: asyncio.AbstractEventLoop, do: Do, admits: Callable[[str], bool]
    ) -> None:
        self._loop, self._do, self._admits = loop, do, admits
        self._exchange = Exchange(listings, self._push)
        self._calls = OrderCalls(self._exchange, loop.call_later)
        self.answer = self._calls.answer
        self._sockets: list[ServerConnection] = []
        self._held: list[dict[str, Any]] = []
        self._random = Random(7)
        self.connections = 0
        """How many order sockets were let in so far."""
        self.refuses_socket = False
        """No order socket is let in, while this is True."""

    # ── what is in its books ─────────────────────────────────────────────────────────────────────────────────────────

    def _look(self, question: Callable[[], T]) -> T:
        async def look() -> T:
            return question()

        answer: T = self._do(look())
        return answer

    @property
    def orders(self) -> list[dict[str, Any]]:
        """As `/orders` has them, in their order; hidden ones too."""
        return self._look(lambda: [order_row(order) for order in self._exchange.orders.values()])

    @property
    def trades(self) -> list[dict[str, Any]]:
        """As `/tradebook` has them."""
        return self._look(lambda: [trade_book_row(trade) for trade in self._exchange.trades])

    @property
    def positions(self) -> dict[tuple[str, str], int]:
        """Net quantities by symbol and product, whoever traded; those that are flat left out."""
        return self._look(lambda: {key: net for key, net in self._exchange.net().items() if net})

    @property
    def pnl(self) -> Decimal:
        """What all trades have made, open positions at their last prices; no charges."""
        return self._look(self._exchange.realized)

    def last(self, symbol: str) -> Decimal:
        """The last price of a symbol."""
        return self._look(lambda: self._exchange.last(symbol))

    @property
    def submissions(self) -> dict[str, int]:
        """How often each tag was submitted."""
        return self._look(lambda: dict(self._exchange.submissions))

    @property
    def calls(self) -> list[tuple[str, float]]:
        """What was called (place, modify, cancel, exit, orders, tradebook, ...), and when in epoch seconds."""
        return self._look(lambda: list(self._calls.calls))

    @property
    def sockets(self) -> int:
        """How many order sockets there are now."""
        return len(self._sockets)

    @property
    def throttled(self) -> int:
        """How many calls were refused for their rate."""
        return self._look(lambda: self._calls.throttled)

    @property
    def cash(self) -> Decimal:
        """The money that there was in the morning."""
        return self._exchange.cash

    @cash.setter
    def cash(self, amount: Decimal | int | str) -> None:
        self._exchange.cash = Decimal(amount)

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────────────────

    def parts(self, *quantities: int) -> None:
        """The next matches fill at most so much each, one after the other; 0 fills nothing."""
        self._look(lambda: self._exchange.parts.extend(quantities))

    def match(self, symbol: str) -> None:
        """Tries the open orders of a symbol again, as a quote does."""
        self._look(lambda: self._exchange.match(symbol))

    def execute(self, order: str, quantity: int, price: Decimal | str) -> None:
        """Fills some of an order, named by its tag or its id, at a price."""
        self._look(lambda: self._exchange.execute(self._find(order), quantity, Decimal(price)))

    def cancel(self, order: str, message: str = "canceled by the exchange") -> None:
        """Ends an order, named by its tag or its id."""
        self._look(lambda: self._exchange.end(self._find(order), CANCELED, message))

    def reject(self, order: str, message: str) -> None:
        """Rejects an order that was taken, in these words."""
        self._look(lambda: self._exchange.end(self._find(order), REJECTED, message))

    def show(self, order: str, status: int | None) -> None:
        """The books give an order, named by its tag or its id, this status; None: its own again."""
        self._look(lambda: setattr(self._find(order), "shown_status", status))

    def trade_elsewhere(self, symbol: str, quantity: int, product: str = "INTRADAY") -> None:
        """The account's owner buys (negative: sells) so much with the telephone."""
        self._look(lambda: self._exchange.trade_at_touch(symbol, quantity, product))

    def place_elsewhere(self, symbol: str, quantity: int, limit: Decimal | str, tag: str = "") -> None:
        """An order of the account's owner that rests, unless its limit reaches the quote."""
        body = {
            "symbol": symbol,
            "qty": abs(quantity),
            "side": 1 if quantity > 0 else -1,
            "type": 1,
            "productType": "INTRADAY",
            "limitPrice": limit,
            "validity": "DAY",
            "orderTag": tag,
        }

        def place() -> None:
            order = self._exchange.place(body, "M")
            self._exchange.tell(order)
            self._exchange.match(symbol)

        self._look(place)

    def _find(self, name: str) -> Placed:
        orders = self._exchange.orders
        return orders[name] if name in orders else next(o for o in orders.values() if o.tag == f"1:{name}")

    # ── what goes wrong ──────────────────────────────────────────────────────────────────────────────────────────────

    def fail(
        self,
        fault: OrderFault | str,
        *,
        call: str = "place",
        times: int = 1,
        seconds: float = 0.3,
        message: str = "",
        taken: bool = True,
    ) -> None:
        """Does what `OrderFault` says of it, to the next `times` calls of a kind (place, modify, cancel, book) or to as
        many reports."""
        planned = Planned(OrderFault(fault), call, seconds, message, taken)
        self._look(lambda: self._calls.faults.expect(planned, times))

    def heal(self) -> None:
        """Ends every fault that was still to come."""
        self._look(self._calls.faults.clear)
        self.refuses_socket = False

    def drop(self) -> None:
        """Resets every order socket; what happens until a client is back is not told it."""
        self._look(self.close)

    def forget_tags(self) -> None:
        """The books show no tags any more."""

        def forget() -> None:
            for order in self._exchange.orders.values():
                order.tag = UNTAGGED

        self._look(forget)

    def say(self, told: str | Mapping[str, Any]) -> None:
        """Sends something on every order socket, as it stands."""
        text = told if isinstance(told, str) else json.dumps(told)
        self._look(lambda: self._broadcast(text))

    def say_all_again(self) -> None:
        """Every report of every order and trade, once more, in a random order."""

        def say() -> None:
            rows: list[Callable[[], None]] = [
                lambda order=order: self._exchange.tell(order)  # type: ignore[misc]
                for order in self._exchange.orders.values()
            ]
            self._random.shuffle(rows)
            for row in rows:
                row()

        self._look(say)

    # ── the order socket ─────────────────────────────────────────────────────────────────────────────────────────────

    async def listen(self) -> Server:
        return await serve(
            self._talk,
            "127.0.0.1",
            0,
            process_request=self._shake_hands,
            compression=None,
            close_timeout=0.2,
            logger=_log,
        )

    def _shake_hands(self, connection: ServerConnection, request: Handshake) -> Refusal | None:
        if request.path != "/trade/v3":
            return connection.respond(404, "there is nothing here\n")
        if self.refuses_socket or not self._admits(request.headers.get("authorization", "")):
            return connection.respond(403, "no valid token\n")
        return None

    async def _talk(self, connection: ServerConnection) -> None:
        try:
            async for text in connection:
                await self._take(connection, text)
        except ConnectionClosed:
            pass
        finally:
            if connection in self._sockets:
                self._sockets.remove(connection)

    async def _take(self, connection: ServerConnection, text: str | bytes) -> None:
        if text == "ping":
            await connection.send("pong")
            return
        with suppress(ValueError):
            told = json.loads(text)
            if isinstance(told, dict) and told.get("T") == "SUB_ORD" and set(told.get("SLIST", ())) <= LISTS:
                await connection.send(json.dumps({"code": 1605, "message": "Successfully subscribed", "s": "ok"}))
                self.connections += 1
                self._sockets.append(connection)

    def _push(self, told: dict[str, Any]) -> None:
        planned = self._calls.faults.of_report()
        if planned is None:
            self._broadcast(json.dumps(told))
        elif planned.fault is OrderFault.DUPLICATE:
            self._broadcast(json.dumps(told))
            self._broadcast(json.dumps(told))
        elif planned.fault is OrderFault.REORDER:
            if not self._held:
                self._loop.call_later(planned.seconds, self._release)
            self._held.append(told)

    def _release(self) -> None:
        held, self._held = self._held, []
        self._random.shuffle(held)
        for told in held:
            self._broadcast(json.dumps(told))

    def _broadcast(self, text: str) -> None:
        for socket in self._sockets:
            self._loop.create_task(_sent(socket, text))

    def close(self) -> None:
        """On the server's own thread."""
        sockets, self._sockets = self._sockets, []
        for socket in sockets:
            reset(socket.transport)


async def _sent(socket: ServerConnection, text: str) -> None:
    with suppress(ConnectionClosed):
        await socket.send(text)


def matched(side: OrderSide, symbols: Iterable[str]) -> None:
    """On the server's own thread: new quotes of these."""
    for symbol in dict.fromkeys(symbols):
        side._exchange.match(symbol)
