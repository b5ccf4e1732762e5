"""The REST calls of the order side of the loopback Fyers: place, modify, cancel, exit, and the books."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from livetrade.testing.exchange import REJECTED, Exchange, Refusal, order_row, trade_book_row
from livetrade.testing.http import Request, Response
from livetrade.testing.orderfaults import OrderFault, OrderFaults, Planned

PER_SECOND = 10
FOREVER = 3600.0
ODD = 99

Later = Callable[[float, Callable[[], None]], object]


class OrderCalls:
    """Answers them. calls: what was done and when (epoch seconds), refused ones included. per_second: calls that place,
    modify or cancel, in a second of the clock and in any second; more are refused with 429."""

    def __init__(self, exchange: Exchange, later: Later) -> None:
        self._exchange = exchange
        self._later = later
        self.faults = OrderFaults()
        self.per_second = PER_SECOND
        self.calls: list[tuple[str, float]] = []
        self.throttled = 0
        self.latency = 0.0
        self._recent: deque[float] = deque()

    def answer(self, request: Request) -> Response | None:
        """None for a path that is none of an order's."""
        name = request.path.removeprefix("/api/v3/")
        match request.method, name:
            case "POST", "orders/sync":
                return self._order_call("place", request)
            case "PATCH", "orders/sync":
                return self._order_call("modify", request)
            case "DELETE", "orders/sync":
                return self._order_call("cancel", request)
            case "DELETE", "positions":
                return self._order_call("exit", request)
            case "GET", "orders" | "tradebook" | "positions" | "holdings" | "funds" | "profile":
                return self._book(name, request)
        return None

    # ── orders ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _order_call(self, call: str, request: Request) -> Response:
        now = time.time()
        self.calls.append((call, now))
        fault = self.faults.of_call(call)
        if self._is_too_fast(now) or (fault is not None and fault.fault is OrderFault.THROTTLE):
            self.throttled += 1
            wait = fault.seconds if fault is not None else 1.0
            headers = {"Retry-After": str(max(1, round(wait))), "X-Retry-After-Ms": str(round(wait * 1000))}
            return Response.of(_error(-429, "request limit reached"), 429, headers)
        refused = _refused(fault)
        if refused is not None:
            return refused
        if fault is not None and fault.fault in _MAYBE and not fault.taken:
            return _spoiled(fault, Response.of({}))
        try:
            done = self._done(call, request.json(), fault)
        except Refusal as refusal:
            done = Response.of(_error(refusal.code, refusal.message), 400)
        done = done._replace(delay=self.latency)
        return done if fault is None else _spoiled(fault, done)

    def _is_too_fast(self, now: float) -> bool:
        recent = self._recent
        while recent and recent[0] <= now - 1:
            recent.popleft()
        in_second = sum(int(at) == int(now) for at in recent)
        if max(len(recent), in_second) >= self.per_second:
            return True
        recent.append(now)
        return False

    def _done(self, call: str, body: dict[str, Any], fault: Planned | None) -> Response:
        exchange = self._exchange
        if call == "place":
            return self._placed(body, fault)
        if call == "exit":
            return self._exited(body)
        if call == "modify":
            order = exchange.modify(body)
            return _ok(1102, "Successfully modified order", order.id)
        order_of_race = exchange.orders.get(str(body.get("id")))
        races = fault is not None and fault.fault is OrderFault.RACE
        if races and order_of_race is not None and order_of_race.is_open:
            exchange.execute(order_of_race, order_of_race.left, order_of_race.limit)
        order = exchange.cancel(body)
        return _ok(1103, "Successfully cancelled order", order.id)

    def _placed(self, body: dict[str, Any], fault: Planned | None) -> Response:
        exchange = self._exchange
        kind = None if fault is None else fault.fault
        if kind is OrderFault.UNTAGGED:
            exchange.submissions[str(body.get("orderTag"))] += 1
            body = {**body, "orderTag": ""}
        order = exchange.place(body)
        if kind is OrderFault.HIDDEN and fault is not None:
            order.hidden_until = time.time() + fault.seconds
        if kind is OrderFault.ODD_STATUS and fault is not None:
            order.shown_status = ODD
            self._later(fault.seconds, lambda: setattr(order, "shown_status", None))
            self._later(fault.seconds, lambda: exchange.match(order.symbol))
            exchange.tell(order)
        elif kind is OrderFault.REJECT and fault is not None:
            order.status = REJECTED
            order.message = fault.message
            exchange.tell(order)
        else:
            exchange.tell(order)
            exchange.match(order.symbol)
        return _ok(1101, "Order submitted successfully", order.id)

    def _exited(self, body: dict[str, Any]) -> Response:
        wanted = body.get("id") or []
        names = [wanted] if isinstance(wanted, str) else wanted
        for (symbol, product), net in self._exchange.net().items():
            if net and (body.get("exit_all") or f"{symbol}-{product}" in names):
                self._exchange.trade_at_touch(symbol, -net, product)
        return Response.of({"s": "ok", "code": 200, "message": "The position is closed."})

    # ── books ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _book(self, name: str, request: Request) -> Response:
        self.calls.append((name, time.time()))
        fault = self.faults.of_call("book")
        refused = _refused(fault)
        if refused is not None:
            return refused
        exchange = self._exchange
        seen = exchange.visible()
        tag, order_id = request.query.get("order_tag"), request.query.get("id")
        told: dict[str, Any]
        if name == "orders":
            rows = [order_row(o) for o in seen if tag in (None, o.tag) and order_id in (None, o.id)]
            told = {"orderBook": rows}
        elif name == "tradebook":
            hidden = {order.id for order in exchange.orders.values()} - {order.id for order in seen}
            told = {"tradeBook": [trade_book_row(t) for t in exchange.trades if t.order.id not in hidden]}
        elif name == "positions":
            told = {"netPositions": exchange.positions(), "overall": {"count_total": len(exchange.positions())}}
        elif name == "holdings":
            told = {"holdings": exchange.holding_rows()}
        elif name == "funds":
            told = {"fund_limit": exchange.funds()}
        else:
            told = {"data": {"fy_id": "XL00001", "name": "LOOPBACK"}}
        done = Response.of({"s": "ok", "code": 200, "message": "", **told})
        return done if fault is None else _spoiled(fault, done)


_MAYBE = (
    OrderFault.LOST,
    OrderFault.GATEWAY,
    OrderFault.UNACKNOWLEDGED,
    OrderFault.GARBAGE,
    OrderFault.RESET,
)


def _refused(fault: Planned | None) -> Response | None:
    if fault is not None and fault.fault is OrderFault.REFUSE:
        return Response.of(_error(-99, fault.message), 400)
    if fault is not None and fault.fault is OrderFault.ADDRESS:
        return Response.of(_error(-99, "the request comes from an IP address that is not registered"), 403)
    return None


def _spoiled(fault: Planned, done: Response) -> Response:
    """The answer to a call that was done, or was not, as it arrives."""
    spoiled = {
        OrderFault.LATE: done._replace(delay=fault.seconds),
        OrderFault.FILL_FIRST: done._replace(delay=fault.seconds),
        OrderFault.LOST: done._replace(delay=FOREVER),
        OrderFault.GATEWAY: Response(502, b"<html><body>502 Bad Gateway</body></html>", "text/html"),
        OrderFault.UNACKNOWLEDGED: Response.of({"s": "ok", "code": 201, "message": "sent, and not acknowledged"}),
        OrderFault.GARBAGE: Response(200, b"\x00\xffOK{", "text/plain"),
        OrderFault.RESET: done._replace(cut=True),
    }
    return spoiled.get(fault.fault, done)


def _ok(code: int, message: str, order_id: str) -> Response:
    return Response.of({"s": "ok", "code": code, "message": message, "id": order_id})


def _error(code: int, message: str) -> dict[str, Any]:
    return {"s": "error", "code": code, "message": message}
