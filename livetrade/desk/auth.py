"""Who may speak to a desk, and how much at a time. Everything that comes in passes here first.

In this order, the first that fails answers:

    Host             one of the desk's own names, so that a foreign name that points here (DNS rebinding) opens nothing
    Origin           where a browser names one, it is the page's own: another page may not read, send or connect
    Sec-Fetch-Site   what a browser fetches for another site is refused; a person who follows a link comes to `/`
    token            256 random bits: `Authorization: Bearer ...`, or the cookie that a browser gets at `/?token=...`
    size and time    a head of at most 16 KiB and a body of at most 64 KiB, each within 10 s; and no more requests than
                     a person or a strategy makes

No request is exempt: pages, documents and the WebSocket stand behind it too. The cookie is no copy of the token, and as
browsers send cookies by themselves, what changes something needs an Origin beside it.
"""

import asyncio
import hmac
import json
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from hashlib import sha256
from time import monotonic
from typing import Any
from urllib.parse import parse_qs

from livetrade.core.records import record

LARGEST_BODY = 64 * 1024
LARGEST_HEAD = 16 * 1024

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

ALWAYS = frozenset({"/api/live-trading/flatten", "/api/live-trading/halt", "/api/live-trading/cancel"})
"""What makes an account safer is never held up for being asked too often."""
_SAFE = frozenset({"GET", "HEAD"})
_ONCE = (
    b"host",
    b"origin",
    b"authorization",
    b"content-length",
    b"content-type",
    b"idempotency-key",
    b"sec-fetch-site",
)
_HOST = re.compile(r"(?:\[(?P<ipv6>[0-9a-f]*:[0-9a-f:.]*)\]|(?P<name>[0-9a-z_.-]+))(?::[0-9]{1,5})?")


class Refused(Exception):  # noqa: N818  an answer, and no error of ours
    """What is answered in place of what was asked for."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@record
class Bounds:
    """How much is taken, and how long is waited.

    head_seconds, body_seconds: until the head and the body of a request are there. idle_seconds: how long a connection
    stays open between two requests, and while nothing of an answer is taken. connections: so many stay open; one more,
    and the one that is idle longest gives way. requests: so many are worked on at once. per_second, burst: how many
    that change something are taken on the long run, and at once.
    """

    head_seconds: float = 10.0
    body_seconds: float = 10.0
    idle_seconds: int = 30
    connections: int = 256
    requests: int = 256
    per_second: float = 500.0
    burst: float = 2_000.0


BOUNDS = Bounds()


@record
class Doors:
    """What a desk answers to: its names (as a Host says them, without the port), its token (None: nobody needs one) and
    the name of its cookie."""

    names: frozenset[str]
    token: str | None
    cookie: str

    def __repr__(self) -> str:
        return f"Doors({', '.join(sorted(self.names))})"

    @property
    def cookie_value(self) -> str:
        return hmac.digest((self.token or "").encode(), b"livetrade cookie", "sha256").hex()


class Gate:
    """An ASGI application in front of another, which hears only of what may come in."""

    def __init__(self, app: App, doors: Doors, bounds: Bounds = BOUNDS) -> None:
        self._app = app
        self._doors = doors
        self._bounds = bounds
        self._pace = Pace(bounds.per_second, bounds.burst)
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            headers = _headers(scope)
            check_place(scope, headers, self._doors.names)
            check_token(scope, headers, self._doors)
            if scope["type"] == "websocket":
                await self._app(scope, receive, send)
            else:
                await self._serve(scope, headers, receive, send)
        except Refused as refused:
            await refuse(scope, send, refused)

    async def _serve(self, scope: Scope, headers: dict[bytes, str], receive: Receive, send: Send) -> None:
        if scope["path"] not in ALWAYS:
            self._check_pace(scope)
        self._running += 1
        try:
            whole = await _whole_body(headers, receive, self._bounds.body_seconds)
            if whole is not None:
                await self._app(scope, whole, send)
        finally:
            self._running -= 1

    def _check_pace(self, scope: Scope) -> None:
        if self._running >= self._bounds.requests:
            raise Refused(503, "too many requests are worked on; try again in a second")
        if scope["method"] not in _SAFE and not self._pace.allows():
            raise Refused(429, "too many requests at once; try again in a second")


# ── from where ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _headers(scope: Scope) -> dict[bytes, str]:
    """The headers by name; those that decide something may stand there once only."""
    if sum(len(name) + len(value) for name, value in scope["headers"]) + len(scope["query_string"]) > LARGEST_HEAD:
        raise Refused(431, f"the head of the request is too large: at most {LARGEST_HEAD:,} bytes")
    headers: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        if name in headers and name in _ONCE:
            raise Refused(400, f"the header {name.decode('latin-1')} is given twice")
        headers[name] = f"{headers[name]}; {value.decode('latin-1')}" if name in headers else value.decode("latin-1")
    if b"content-length" in headers and b"transfer-encoding" in headers:  # somebody in between may read the other one
        raise Refused(400, "the length of the body is given in two ways")
    return headers


def check_place(scope: Scope, headers: dict[bytes, str], names: Iterable[str]) -> None:
    """The Host is the desk's; and what a browser says of the page that asks fits to it."""
    host = headers.get(b"host", "").lower()
    if _name_in(host) not in names:
        raise Refused(403, "this is not a name of the desk: use the URL that it was started with")
    origin = headers.get(b"origin")
    if origin is not None and not _is_own(origin, host):
        raise Refused(403, "requests from pages of other origins are refused")
    site = headers.get(b"sec-fetch-site", "none")
    if site not in ("none", "same-origin") and not _follows_a_link(scope, headers):
        raise Refused(403, "requests from pages of other sites are refused")


def _name_in(host: str) -> str:
    found = _HOST.fullmatch(host)
    return "" if found is None else found["ipv6"] or found["name"]


def _is_own(origin: str, host: str) -> bool:
    return origin.lower() in (f"http://{host}", f"https://{host}")


def _follows_a_link(scope: Scope, headers: dict[bytes, str]) -> bool:
    """A person who comes from another page: it sees nothing of the answer, and nothing is changed."""
    opens = headers.get(b"sec-fetch-mode") == "navigate" and headers.get(b"sec-fetch-dest") == "document"
    return opens and scope["type"] == "http" and scope["method"] == "GET" and scope["path"] == "/"


# ── who ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def check_token(scope: Scope, headers: dict[bytes, str], doors: Doors) -> None:
    if doors.token is None:
        return
    kind, _, given = headers.get(b"authorization", "").partition(" ")
    if kind.lower() == "bearer" and _same(given.strip(), doors.token):
        return
    if scope["type"] == "http" and scope["method"] == "GET" and scope["path"] == "/" and token_in_url(scope, doors):
        return
    if _same(_cookies(headers.get(b"cookie", "")).get(doors.cookie, ""), doors.cookie_value):
        changes = scope["type"] == "websocket" or scope["method"] not in _SAFE
        if not changes or b"origin" in headers:
            return
    raise Refused(401, "no token, or a wrong one; `livetrade status` shows where the desk's is kept")


def token_in_url(scope: Scope, doors: Doors) -> bool:
    """Whether the address holds the token, as the one that opens the page for the first time does."""
    given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])
    return doors.token is not None and len(given) == 1 and _same(given[0], doors.token)


def _same(given: str, wanted: str) -> bool:
    """Compares in a time that tells nothing, whatever the lengths."""
    one, other = (sha256(text.encode("utf-8", "replace")).digest() for text in (given, wanted))
    return hmac.compare_digest(one, other)


def _cookies(header: str) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in header.split(";"))
    return {name: value for name, _, value in pairs}


# ── how much ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Pace:
    """So many a second on the long run, and at most `burst` at once."""

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float] = monotonic) -> None:
        self._per_second, self._burst, self._clock = per_second, burst, clock
        self._left, self._looked = burst, clock()

    def allows(self) -> bool:
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._looked) * self._per_second)
        self._looked = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    async def turn(self) -> None:
        """Returns when it is allowed."""
        while not self.allows():  # noqa: ASYNC110  time is all that it waits for
            await asyncio.sleep(1 / self._per_second)


async def _whole_body(headers: dict[bytes, str], receive: Receive, seconds: float) -> Receive | None:
    """The body, read to its end before anything is done with it; what comes after it is passed on. None where the other
    end has gone before."""
    announced = headers.get(b"content-length", "0")
    if announced.isdecimal() and int(announced[:20]) > LARGEST_BODY:
        raise Refused(413, f"the body is too large: at most {LARGEST_BODY:,} bytes")
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return None
                body += message.get("body", b"")
                if len(body) > LARGEST_BODY:
                    raise Refused(413, f"the body is too large: at most {LARGEST_BODY:,} bytes")
                if not message.get("more_body"):
                    break
    except TimeoutError:
        raise Refused(408, f"the body did not come within {seconds:g} s") from None
    whole: Message | None = {**message, "body": bytes(body)}

    async def again() -> Message:
        nonlocal whole
        if whole is None:
            return await receive()
        message, whole = whole, None
        return message

    return again


# ── the answer to what may not come in ───────────────────────────────────────────────────────────────────────────────


async def refuse(scope: Scope, send: Send, refused: Refused) -> None:
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
    body = json.dumps({"success": False, "message": refused.message, "order": None}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if refused.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
        if scope["type"] == "http" and scope["path"] == "/" and scope["method"] == "GET":
            comes_from_elsewhere = (b"sec-fetch-site", b"cross-site") in scope["headers"] and not scope["query_string"]
            body = _LOCKED.replace(b"<title>", _AGAIN + b"<title>") if comes_from_elsewhere else _LOCKED
            headers = [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    if refused.status in (400, 408, 413, 431):  # what is left of the body is not read
        headers.append((b"connection", b"close"))
    if refused.status in (429, 503):
        headers.append((b"retry-after", b"1"))
    await send({"type": f"{kind}.start", "status": refused.status, "headers": headers + SHUT})
    await send({"type": f"{kind}.body", "body": body})


SHUT = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
        b"img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
]
"""Headers of every answer: nobody keeps it, frames it, or loads it into a page of another site."""

_AGAIN = b'<meta http-equiv="refresh" content="0; url=/">'
"""Who follows a link from another site leaves a strict cookie at home; asked again from here, the browser sends it."""

_LOCKED = b"""<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,"><title>livetrade desk</title>
<style>body { font: 16px/1.45 system-ui, sans-serif; margin: 12vh auto; max-width: 28rem; padding: 0 1rem }
h1 { font-size: 1.3rem } form { display: flex; flex-wrap: wrap; gap: 10px } label { display: flex; flex: 1 1 16rem; gap:
10px; align-items: center } input { flex: 1; min-width: 0 } input, button { min-height: 44px; box-sizing: border-box;
padding: 5px 14px; font: inherit }</style>
<h1>livetrade desk</h1><p>This desk needs its token.
<code>livetrade status --link</code> on its machine shows an address that holds it.
<form action="/" method="get"><label>Token <input name="token" type="password"
autocomplete="off" required autofocus></label> <button>Open</button></form>"""
