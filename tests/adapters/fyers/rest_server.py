"""A loopback server that speaks Fyers's REST calls as the facts describe them, and misbehaves on demand."""

import base64
import json
import socketserver
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit
from zoneinfo import ZoneInfo

APP_ID = "ABCD1234EF-100"
SECRET = "s3cretOfTheApp"
AUTH_CODE = "eyJhbGciOi.codeFromTheBrowser.x"
LATE = 4_000_000_000  # the year 2096
IST = ZoneInfo("Asia/Kolkata")


def jwt(exp: object = LATE, hsm_key: str = "0f" * 28, signature: str = "c2lnbmF0dXJl") -> str:
    def part(fields: Mapping[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")

    return f"{part({'alg': 'HS256'})}.{part({'exp': exp, 'hsm_key': hsm_key})}.{signature}"


TOKEN = f"{APP_ID}:{jwt()}"


@dataclass
class Asked:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Reply:
    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


HANG = Reply(status=-1)
DROP = Reply(status=-2)


def error(code: int, message: str, status: int = 400) -> Reply:
    return Reply({"s": "error", "code": code, "message": message}, status)


class RestServer:
    """`faults` are answered first, one a call; what is not a fault is answered as Fyers would."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.faults: deque[Reply] = deque()
        self.files: dict[str, bytes] = {}
        self.bars: list[list[float]] = []
        self.quotes: dict[str, dict[str, Any]] = {}
        self.denies: dict[str, str] | None = None
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Visit)
        self._server.rest = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.api_url = f"{self.url}/api/v3"
        self.data_url = f"{self.url}/data"
        self.static_url = f"{self.url}/sym_details"

    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]

    def answer(self, asked: Asked) -> Reply:
        if self.faults:
            return self.faults.popleft()
        if asked.path.startswith("/sym_details/"):
            data = self.files.get(asked.path.removeprefix("/sym_details/"))
            return Reply(status=404) if data is None else Reply(data)
        if asked.path == "/api/v3/generate-authcode":
            return self._back(asked.query)
        if asked.path == "/api/v3/validate-authcode":
            return self._token(asked.body)
        return self._private(asked)

    def _private(self, asked: Asked) -> Reply:
        if asked.headers.get("Authorization") != TOKEN:
            return error(-16, "Could not authenticate the user", 401)
        if asked.path == "/data/history":
            return self._history(asked.query)
        if asked.path == "/data/quotes":
            return self._quotes(asked.query["symbols"].split(","))
        return Reply({"s": "ok", "code": 200, "message": "", "echo": asked.body})

    def _back(self, query: dict[str, str]) -> Reply:
        brought = self.denies or {"s": "ok", "code": "200", "auth_code": AUTH_CODE, "state": query["state"]}
        return Reply(status=302, headers={"Location": f"{query['redirect_uri']}?{urlencode(brought)}"})

    def _token(self, body: dict[str, str]) -> Reply:
        if body["appIdHash"] != sha256(f"{APP_ID}:{SECRET}".encode()).hexdigest():
            return error(-371, "Invalid app id hash", 401)
        if body["code"] != AUTH_CODE:
            return error(-374, "Invalid auth code", 401)
        return Reply({"s": "ok", "code": 200, "message": "", "access_token": TOKEN.partition(":")[2]})

    def _history(self, query: dict[str, str]) -> Reply:
        if query["symbol"] not in ("NSE:SBIN-EQ", "NSE:M&M-EQ"):
            return error(-300, "Invalid symbol")
        first, last = query["range_from"], query["range_to"]
        if query["date_format"] == "1":
            start = datetime.combine(date.fromisoformat(first), datetime.min.time(), IST).timestamp()
            end = datetime.combine(date.fromisoformat(last), datetime.max.time(), IST).timestamp()
        else:
            start, end = int(first), int(last)
        found = [bar for bar in self.bars if start <= bar[0] <= end]
        return Reply({"s": "ok", "code": 200, "candles": found} if found else {"s": "no_data", "candles": []})

    def _quotes(self, symbols: list[str]) -> Reply:
        def item(symbol: str) -> dict[str, Any]:
            known = self.quotes.get(symbol)
            if known is None:
                return {"n": symbol, "s": "error", "v": {"code": -300, "errmsg": "Invalid symbol"}}
            return {"n": symbol, "s": "ok", "v": known}

        return Reply({"s": "ok", "code": 200, "message": "", "d": [item(symbol) for symbol in reversed(symbols)]})


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    rest: RestServer


class _Visit(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def _do(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        at = urlsplit(self.path)
        asked = Asked(self.command, at.path, dict(parse_qsl(at.query)), dict(self.headers.items()), body)
        asked.headers = {name.title(): value for name, value in asked.headers.items()}
        rest = self.server.rest
        reply = rest.answer(asked)
        rest.asked.append(asked)
        if reply is HANG:
            rest.closing.wait()
        if reply in (HANG, DROP):
            self.close_connection = True
            return
        data = (
            reply.body
            if isinstance(reply.body, bytes)
            else b""
            if reply.body is None
            else json.dumps(reply.body).encode()
        )
        self.send_response(reply.status)
        for name, value in {**reply.headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self._do()

    def do_POST(self) -> None:
        self._do()

    def do_DELETE(self) -> None:
        self._do()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[RestServer]:
    server = RestServer()
    thread = threading.Thread(target=server._server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server._server.shutdown()
        server._server.server_close()
        thread.join()


def epoch(text: str) -> int:
    """Epoch seconds of a time in India."""
    return int(datetime.fromisoformat(text).replace(tzinfo=IST).timestamp())


def utc_midnight(day: date) -> int:
    """How Fyers labels a daily bar."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
