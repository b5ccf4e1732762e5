"""The REST calls of the loopback Fyers, and who may make them."""

import base64
import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from livetrade.testing.faults import Fault, Faults
from livetrade.testing.http import Request, Response
from livetrade.testing.listings import INDEX_NAMES, SEGMENTS, Listing

RESOLUTIONS = {"D": 86_400, "1D": 86_400, **{f"{n}S": n for n in (5, 10, 15, 30, 45)}}
RESOLUTIONS |= {str(n): n * 60 for n in (1, 2, 3, 5, 10, 15, 20, 30, 60, 120, 240)}


class Keys:
    """The app, its user's way in, and the token that is accepted now."""

    def __init__(self) -> None:
        self.app_id, self.app_secret, self.auth_code = "LOOPBACK01-100", secrets.token_hex(8), secrets.token_hex(16)
        self.token = self.hsm_key = ""
        self.issue(timedelta(days=1))

    def issue(self, lasts: timedelta) -> str:
        now = datetime.now(UTC)
        self.hsm_key = secrets.token_hex(28)
        payload = {
            "iss": "api.login.fyers.in",
            "iat": int(now.timestamp()),
            "exp": int((now + lasts).timestamp()),
            "sub": "access_token",
            "hsm_key": self.hsm_key,
        }
        parts = ({"alg": "HS256", "typ": "JWT"}, payload)
        jwt = ".".join([*(_base64(json.dumps(part).encode()) for part in parts), _base64(secrets.token_bytes(32))])
        self.token = f"{self.app_id}:{jwt}"
        return self.token

    @property
    def jwt(self) -> str:
        return self.token.partition(":")[2]


class Calls:
    """Answers them. `asked`: the symbols of each symbol-token call; `authorizations`: the header of each."""

    def __init__(self, listings: Mapping[str, Listing], keys: Keys) -> None:
        self.faults = Faults()
        self.orders: Callable[[Request], Response | None] = lambda _: None
        self._listings = listings
        self._keys = keys
        self.asked: list[list[str]] = []
        self.authorizations: list[str] = []

    def answer(self, request: Request) -> Response:
        faults = self.faults
        if faults.happens(Fault.REST):
            again = {} if faults.retry_after is None else {"Retry-After": str(faults.retry_after)}
            return Response.of(_error(-99, faults.message or "out of order"), faults.status, again)
        if request.path.startswith("/sym_details/"):
            return self._file(request.path.removeprefix("/sym_details/"))
        if (request.method, request.path) == ("POST", "/api/v3/validate-authcode"):
            return self._log_in(request.json())
        return self._refusal(request) or self.orders(request) or self._data(request)

    def _refusal(self, request: Request) -> Response | None:
        if request.headers.get("authorization", "").rpartition(":")[2] != self._keys.jwt:
            return Response.of(_error(-15, "Please provide valid token"), 401)
        return Response.of(_error(-8, "Your token has expired"), 401) if self.faults.expired else None

    def _data(self, request: Request) -> Response:
        match request.method, request.path:
            case "POST", "/data/symbol-token":
                return self._symbol_token(request)
            case "GET", "/data/quotes":
                return self._quotes(request)
            case "GET", "/data/history":
                return self._history(request)
        return Response.of(_error(-99, "no such call"), 404)

    def _symbol_token(self, request: Request) -> Response:
        symbols = request.json().get("symbols", [])
        self.asked.append(symbols)
        self.authorizations.append(request.headers["authorization"])
        known = {s: self._listings[s].fytoken for s in symbols if s in self._listings and s not in self.faults.invalid}
        invalid = [symbol for symbol in symbols if symbol not in known]
        backward = dict(reversed(known.items()))  # its order means nothing
        return Response.of({"s": "ok", "code": 200, "message": "", "validSymbol": backward, "invalidSymbol": invalid})

    def _quotes(self, request: Request) -> Response:
        rows = []
        for symbol in request.query.get("symbols", "").split(","):
            listing = self._listings.get(symbol)
            bad = {"n": symbol, "s": "error", "v": _error(-300, "Please provide a valid symbol")}
            rows.append(listing.quote() if listing else bad)
        return Response.of({"s": "ok", "code": 200, "message": "", "d": rows})

    def _history(self, request: Request) -> Response:
        query = request.query
        listing = self._listings.get(query.get("symbol", ""))
        if listing is None:
            return Response.of(_error(-300, "Please provide a valid symbol"), 400)
        try:
            seconds = RESOLUTIONS[query.get("resolution", "")]
            first, last = (_day(query[name], query.get("date_format")) for name in ("range_from", "range_to"))
        except (KeyError, ValueError):
            return Response.of(_error(-50, "Invalid input"), 400)
        if last < first or (last - first).days >= (366 if seconds >= 86_400 else 100):
            return Response.of(_error(-50, "Invalid range"), 400)
        candles = listing.candles(first, last, seconds)
        return Response.of({"s": "ok" if candles else "no_data", "code": 200, "message": "", "candles": candles})

    def _file(self, name: str) -> Response:
        if name == "index_hsm_mapping.json":
            return Response.of(INDEX_NAMES)
        files = {f"{file}.csv": file for _, file in SEGMENTS.values()}
        if name not in files:
            return Response.of(_error(-99, "no such file"), 404)
        rows = [listing.row() for listing in self._listings.values() if listing.file == files[name]]
        return Response(200, "".join(f"{row}\n" for row in rows).encode(), "text/csv")

    def _log_in(self, body: dict[str, Any]) -> Response:
        keys = self._keys
        right = hashlib.sha256(f"{keys.app_id}:{keys.app_secret}".encode()).hexdigest()
        if body.get("appIdHash") != right and not body.get("code_verifier"):
            return Response.of(_error(-371, "Invalid app id hash"), 400)
        if body.get("grant_type") != "authorization_code" or body.get("code") != keys.auth_code:
            return Response.of(_error(-437, "Invalid auth code"), 400)
        return Response.of({"s": "ok", "code": 200, "message": "", "access_token": keys.jwt, "refresh_token": "none"})


def _error(code: int, message: str) -> dict[str, Any]:
    return {"s": "error", "code": code, "message": message}


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _day(text: str, date_format: str | None) -> date:
    moment = datetime.fromtimestamp(int(text), UTC) if date_format == "0" else datetime.fromisoformat(text)
    return moment.date()
