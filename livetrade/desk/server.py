"""The desk as an ASGI application: REST, the WebSocket stream, and the live page, over one `LiveTradingEngine`."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from importlib.resources import files
from secrets import token_hex
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute

from livetrade.core.kinds import Source
from livetrade.desk import bodies, rows
from livetrade.desk.auth import BOUNDS, SHUT, Bounds, Doors, Gate, Refused, token_in_url
from livetrade.desk.broadcast import Broadcast
from livetrade.desk.openapi import document, reference
from livetrade.desk.orders import Orders, Origin, id_of
from livetrade.desk.sockets import stream
from livetrade.engine import LiveTradingEngine
from livetrade.errors import EngineClosedError, LiveTradeError
from livetrade.panel import CSS, JS
from livetrade.surface import NOT_CONFIRMED, OrderResult

API = "/api/live-trading"
MOST_ROWS = 5_000
ROWS = 1_000
ROWS_AT_ONCE = 200
"""So many rows are encoded before the loop looks after others."""
BEAT = 1.0

Answer = Callable[[Request], Awaitable[Response]]


class Server:
    """The application of one engine. stop: called when an attached engine asks the desk to end."""

    def __init__(self, engine: LiveTradingEngine, doors: Doors, stop: Callable[[], None], *, secure: bool) -> None:
        self.engine = engine
        self.doors = doors
        self.stop = stop
        self.run_id = token_hex(8)
        self._secure = secure
        self.orders = Orders(engine)
        self.broadcast: Broadcast | None = None
        self._routes: dict[tuple[str, str], Answer] = {
            ("POST", f"{API}/buy"): partial(self._trade, "BUY"),
            ("POST", f"{API}/sell"): partial(self._trade, "SELL"),
            ("GET", f"{API}/portfolio"): self._portfolio,
            ("GET", f"{API}/positions"): self._positions,
            ("GET", f"{API}/orders"): self._order_table,
            ("GET", f"{API}/risk-orders"): self._risk_orders,
            ("POST", f"{API}/update-price"): self._update_price,
            ("GET", f"{API}/health"): self._health,
            ("POST", f"{API}/cancel"): partial(self._command, "cancel", bodies.CANCEL),
            ("POST", f"{API}/flatten"): partial(self._command, "flatten", bodies.FLATTEN),
            ("POST", f"{API}/halt"): partial(self._command, "halt", bodies.HALT),
            ("POST", f"{API}/resume"): partial(self._command, "resume", bodies.RESUME),
            ("GET", "/openapi.json"): self._openapi,
            ("GET", "/docs"): self._docs,
            ("GET", "/"): self._page,
            ("GET", "/panel.js"): partial(self._file, "text/javascript", JS.read_text("utf-8")),
            ("GET", "/panel.css"): partial(self._file, "text/css", CSS.read_text("utf-8")),
            ("GET", "/page.js"): partial(self._file, "text/javascript", _asset("page.js")),
            ("GET", "/page.css"): partial(self._file, "text/css", _asset("page.css")),
        }

    def application(self, bounds: Bounds = BOUNDS) -> Gate:
        """What a server runs; the gate stands in front of everything."""
        routes: list[Any] = [
            Route(path, _guarded(answer), methods=[method]) for (method, path), answer in self._routes.items()
        ]
        routes.append(WebSocketRoute(f"{API}/stream", partial(stream, self)))
        app = Starlette(
            routes=routes,
            lifespan=self._lifespan,
            exception_handlers={HTTPException: _http_error, Exception: _fault},
        )
        app.router.redirect_slashes = False
        return Gate(app, self.doors, bounds)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self.broadcast = Broadcast(self.engine)
        beat = asyncio.create_task(self._beat(self.broadcast))
        try:
            yield
        finally:
            beat.cancel()
            self.broadcast.end()

    async def _beat(self, broadcast: Broadcast) -> None:
        """A sign of life each second, with what only the engine itself knows."""
        while True:
            if len(broadcast):
                broadcast.tell(json.dumps({"type": "beat", "seq": broadcast.seq, "health": self.health()}))
            await asyncio.sleep(BEAT)

    def health(self) -> dict[str, Any]:
        engine = self.engine
        return {"name": engine.name, "mode": engine.mode, "open": engine.is_open, **engine.health()}

    # ── orders ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _trade(self, side: str, request: Request) -> Response:
        body = await _body(request, bodies.ORDER)
        key = _key_of(request)
        if key and "client_order_id" not in body:
            body["client_order_id"] = id_of(key)
        return await self._answered("submit", {**body, "side": side}, request, key)

    async def _command(self, name: str, shape: bodies.Shape, request: Request) -> Response:
        return await self._answered(name, await _body(request, shape), request, _key_of(request))

    async def _answered(self, name: str, body: Mapping[str, Any], request: Request, key: str) -> Response:
        address = f"{request.client.host}:{request.client.port}" if request.client else ""
        way = "PAGE" if "origin" in request.headers else "REST"
        task = self.orders.take(name, body, Origin(way, address, Source.REST), key)
        result = await asyncio.shield(task)
        return _json(answer_of(result), status_of(result))

    async def _update_price(self, request: Request) -> Response:
        body = await _body(request, bodies.PRICE)
        self.orders.post_price(body)
        quote = self.engine.stream.last(body["symbol"])
        shown = rows.quote_row(quote) if quote is not None else None
        return _json({"success": True, "message": f"Updated {body['symbol']}", "quote": shown})

    # ── reads ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _portfolio(self, request: Request) -> Response:
        _query(request)
        figures = self.engine._read(
            lambda account: {**rows.portfolio_row(account), "currency": account.currency, "seq": account.seq}
        )
        return _json(
            {**figures, "name": self.engine.name, "mode": self.engine.mode, "as_of": self.engine.now().isoformat()}
        )

    async def _positions(self, request: Request) -> Response:
        asked = _query(request, "limit", "after", "symbol", "closed")
        closed, limit = _flag(asked, "closed"), _limit(asked)
        page = self.engine._read(
            lambda account: rows.positions_page(
                account, asked.get("after", ""), limit, closed=closed, symbol=asked.get("symbol", "")
            )
        )
        return _table(page)

    async def _order_table(self, request: Request) -> Response:
        asked = _query(request, "limit", "after", "symbol", "open")
        open_only, limit, symbol = _flag(asked, "open"), _limit(asked), asked.get("symbol", "")
        most = None if symbol else limit
        found = self.engine._read(
            lambda account: rows.orders_after(account, asked.get("after", ""), most, open_only=open_only)
        )
        return _table([order for order in found if symbol in ("", order.symbol)][:limit], rows.order_row)

    async def _risk_orders(self, request: Request) -> Response:
        asked = _query(request, "limit", "after", "symbol")
        limit = _limit(asked)
        page = self.engine._read(
            lambda account: rows.risks_page(account, asked.get("after", ""), limit, symbol=asked.get("symbol", ""))
        )
        return _table(page)

    async def _health(self, request: Request) -> Response:
        _query(request)
        return _json(self.health())

    # ── documents and the page ───────────────────────────────────────────────────────────────────────────────────────

    async def _openapi(self, _: Request) -> Response:
        return _json(document(API))

    async def _docs(self, _: Request) -> Response:
        return HTMLResponse(reference(document(API)), headers=_SHUT)

    async def _page(self, request: Request) -> Response:
        response = HTMLResponse(_asset("page.html"), headers=_SHUT)
        if token_in_url(request.scope, self.doors):
            response.set_cookie(
                self.doors.cookie,
                self.doors.cookie_value,
                httponly=True,
                samesite="strict",
                secure=self._secure,
                path="/",
            )
        return response

    async def _file(self, kind: str, text: str, _: Request) -> Response:
        return Response(text, media_type=kind, headers=_SHUT)


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


_SHUT = {name.decode(): value.decode() for name, value in SHUT}


def _json(content: object, status: int = 200) -> Response:
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return Response(text, status, media_type="application/json", headers=_SHUT)


def answer_of(result: OrderResult) -> dict[str, Any]:
    order = None if result.order is None else rows.order_row(result.order)
    return {"success": result.success, "message": result.message, "order": order}


def status_of(result: OrderResult) -> int:
    if result.success:
        return 200
    return 202 if result.message.startswith(NOT_CONFIRMED) else 422


def _refusal(status: int, message: str) -> Response:
    return _json({"success": False, "message": message, "order": None}, status)


def _table(found: "list[Any]", shown: Callable[[Any], rows.Row] = lambda row: row) -> Response:
    """A table as an array, some rows at a time."""

    async def parts() -> AsyncIterator[str]:
        yield "["
        for start in range(0, len(found), ROWS_AT_ONCE):
            part = [json.dumps(shown(row), separators=(",", ":")) for row in found[start : start + ROWS_AT_ONCE]]
            yield ("," if start else "") + ",".join(part)
            await asyncio.sleep(0)
        yield "]"

    return StreamingResponse(parts(), media_type="application/json", headers=_SHUT)


def _guarded(answer: Answer) -> Answer:
    """What somebody asked wrongly is told in one sentence, with the status that it deserves."""

    async def guarded(request: Request) -> Response:
        try:
            return await answer(request)
        except Refused as refused:
            return _refusal(refused.status, refused.message)
        except EngineClosedError as error:
            return _refusal(503, str(error))
        except LiveTradeError as error:
            return _refusal(422, str(error))

    return guarded


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = {404: "no such route; /docs lists them", 405: "this route does not take that method"}
    response = _refusal(error.status_code, told.get(error.status_code, str(error.detail)))
    response.headers.update(error.headers or {})
    return response


async def _fault(_: Request, error: Exception) -> Response:
    """Something that has no right to happen; the server logs it, and ends the connection."""
    response = _refusal(500, f"an error of the desk, see its log: {type(error).__name__}")
    response.headers["connection"] = "close"
    return response


def _asset(name: str) -> str:
    return (files("livetrade.desk") / "page" / name).read_text("utf-8")


# ── what a request asks ──────────────────────────────────────────────────────────────────────────────────────────────


async def _body(request: Request, shape: bodies.Shape) -> dict[str, Any]:
    data = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if data and kind != "application/json":  # a form of another site could send any other kind by itself
        raise Refused(415, "send JSON, with the header Content-Type: application/json")
    return bodies.body_of(data, shape)


def _query(request: Request, *known: str) -> dict[str, str]:
    pairs = parse_qsl(request.url.query, keep_blank_values=True)
    for name, _ in pairs:
        if name not in known:
            raise Refused(422, f"unknown parameter {name[:40]!r}; known are {', '.join(known) or 'none'}")
    asked = dict(pairs)
    if len(asked) < len(pairs):
        raise Refused(422, "a parameter is given twice")
    return asked


def _limit(asked: Mapping[str, str]) -> int:
    text = asked.get("limit", str(ROWS))
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= MOST_ROWS):
        raise Refused(422, f"limit must be a number from 1 to {MOST_ROWS:,}, not {text[:40]!r}")
    return int(text)


def _flag(asked: Mapping[str, str], name: str) -> bool:
    text = asked.get(name, "false")
    if text not in ("true", "false"):
        raise Refused(422, f"{name} must be true or false, not {text[:40]!r}")
    return text == "true"


def _key_of(request: Request) -> str:
    key = request.headers.get("idempotency-key", "")
    if "idempotency-key" in request.headers and not (0 < len(key) <= 200 and key.isascii() and key.isprintable()):
        raise Refused(400, "an Idempotency-Key is 1 to 200 printable ASCII characters")
    return key
