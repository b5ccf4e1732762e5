"""The REST calls of Fyers API v3: what is sent, how often, and what each refusal means.

Facts: headers are `Authorization: APPID:JWT` (no "Bearer") and `version: 3`; an answer is JSON with `s` ("ok",
"no_data", "error"), `code` and `message`; at most 10 calls a second and 200 a minute for a user, all calls together;
whoever exceeds the minute's limit more than three times in a day is blocked until the next. A call that got no answer
is never sent again here: an order may have been taken. httpx loads with the first client, not with this module.
"""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import IntEnum
from functools import cache
from typing import TYPE_CHECKING, Any, Self

from livetrade.adapters.fyers.credentials import HOW, AccessToken, Secret
from livetrade.columns import needs
from livetrade.errors import FeedError, OrderError

if TYPE_CHECKING:
    import httpx

API_URL = "https://api-t1.fyers.in/api/v3"
DATA_URL = "https://api-t1.fyers.in/data"
STATIC_URL = "https://public.fyers.in/sym_details"

LIMITS = ((10, 1.0), (200, 60.0))
RETRIES = 2
LONGEST_WAIT = 60.0
UNKNOWN_SYMBOL = -300

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
TOKEN_CODES = (-8, -15, -16, -17)
RATE_CODES = (-429, -353)


class RestError(FeedError):
    """A call that Fyers refused, or that got no answer. `status`: of HTTP; `code`: of Fyers; 0 where there is none."""

    def __init__(self, message: str, status: int = 0, code: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Use(IntEnum):
    """What a call is for."""

    ORDER = 0
    """Placing, modifying, canceling; and the books where somebody waits for them."""
    LOOK = 1
    """A look at the books, which tells what became of orders."""
    OTHER = 2
    """History, quotes, a login."""


PARTS = {Use.ORDER: 1.0, Use.LOOK: 0.6, Use.OTHER: 0.2}
"""Of each limit, how much a use may take while somebody sends orders: an exit that fires waits neither for looks at the
books nor for a history that is downloaded, and nor does a look that tells what became of an order."""


class Pace:
    """Holds `limits` (so many calls in so many seconds, in any window) over all threads that share it.

    A call counts from its start until a full window after its *end*, for the server counted it somewhere in between:
    so the limit holds by the server's clock too, however long a call is under way.
    """

    def __init__(
        self,
        limits: tuple[tuple[int, float], ...] = LIMITS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.sleep = sleep
        self._limits = limits
        self._clock = clock
        most = max(count for count, _ in limits)
        self._all = _Calls(most)
        self._by_use = {use: _Calls(most) for use in Use}
        self._senders: set[object] = set()
        self._lock = threading.Lock()

    @contextmanager
    def call(self) -> Iterator[None]:
        """Waits until one more call is within the limits; the call is made inside."""
        while wait := self.enter():
            self.sleep(wait)
        try:
            yield
        finally:
            self.leave()

    def reserve(self, sender: object) -> None:
        """`sender` sends orders from now on, until `release`."""
        self._senders.add(sender)

    def release(self, sender: object) -> None:
        self._senders.discard(sender)

    def enter(self, use: Use = Use.OTHER) -> float:
        """Lets one more call in, and gives 0.0; or the seconds until it is worth asking again. `leave` ends it."""
        with self._lock:
            now, mine = self._clock(), self._by_use[use]
            wait = max(self._all.wait(count, seconds, now) for count, seconds in self._limits)
            if self._senders:
                part = PARTS[use]
                wait = max(wait, *(mine.wait(int(count * part), seconds, now) for count, seconds in self._limits))
            if wait <= 0:
                self._all.under_way += 1
                mine.under_way += 1
                return 0.0
            return wait

    def leave(self, use: Use = Use.OTHER) -> None:
        """A call that was let in has ended."""
        with self._lock:
            now = self._clock()
            for calls in (self._all, self._by_use[use]):
                calls.under_way -= 1
                calls.ended.append(now)

    def withdraw(self, use: Use = Use.OTHER) -> None:
        """A call that was let in is not made after all."""
        with self._lock:
            for calls in (self._all, self._by_use[use]):
                calls.under_way -= 1


class _Calls:
    def __init__(self, most: int) -> None:
        self.under_way = 0
        self.ended: deque[float] = deque(maxlen=most)

    def wait(self, count: int, seconds: float, now: float) -> float:
        """How long until one more makes no more than so many in so many seconds."""
        back = count - self.under_way
        if back <= 0:
            return seconds
        return self.ended[-back] + seconds - now if len(self.ended) >= back else 0.0


@cache
def shared_pace(host: str, user: str) -> Pace:
    """One for each user at each host, in this process: the limits are a user's, not a client's."""
    return Pace()


class FyersRest:
    """A client for one user. Without a token it makes the calls that need none. Threads may share it.

    Every call raises `FeedError` (mostly `RestError`) saying what to do, never showing a secret; the body may hold
    `Secret`s. A base URL is https, or http on loopback, else `OrderError`. `timeout` is in seconds, for connecting and
    for each wait. Close it, or use it as a context manager.
    """

    def __init__(
        self,
        token: AccessToken | None = None,
        *,
        api_url: str | None = None,
        data_url: str | None = None,
        static_url: str | None = None,
        timeout: float = 15.0,
        pace: Pace | None = None,
    ) -> None:
        needs("httpx", "the Fyers API", "fyers")
        import httpx

        self._token = token
        self._api = base_url(api_url or API_URL, "api_url")
        self._data = base_url(data_url or DATA_URL, "data_url")
        self._static = base_url(static_url or STATIC_URL, "static_url")
        self._timeout = timeout
        self._pace = pace
        self._client = httpx.Client(
            headers={"Content-Type": "application/json", "version": "3", "User-Agent": "livetrade"},
            timeout=timeout,
            mounts={f"all://{host}": None for host in LOOPBACK},  # a proxy is for the outside
        )

    def api(
        self, method: str, path: str, *, params: Mapping[str, Any] | None = None, body: Any = None
    ) -> dict[str, Any]:
        """A call to the account's side: orders, positions, profile, log-in. The answer's fields."""
        return self._call(method, f"{self._api}/{path}", params, body)

    def data(
        self, method: str, path: str, *, params: Mapping[str, Any] | None = None, body: Any = None
    ) -> dict[str, Any]:
        """A call to the market's side: quotes, history, symbol tokens. The answer's fields."""
        return self._call(method, f"{self._data}/{path}", params, body)

    def static(self, name: str) -> bytes:
        """A public file. It needs no token and counts for no limit."""
        url = f"{self._static}/{name}"
        response = self._send("GET", url, None, None, signed=False)
        if response.status_code != 200:
            raise RestError(
                f"Fyers does not serve {name} (HTTP {response.status_code} from {url}): try again later",
                response.status_code,
            )
        return response.content

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"FyersRest({self._token!r}, api_url={self._api!r}, data_url={self._data!r})"

    # ── one call ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _call(self, method: str, url: str, params: Mapping[str, Any] | None, body: Any) -> dict[str, Any]:
        if self._token is not None:
            self._token.check(datetime.now(UTC))
        pace = self._pace or shared_pace(_host(url), "" if self._token is None else self._token.app_id)
        response = self._paced(pace, method, url, params, body)
        for _ in range(RETRIES):
            wait = retry_after(response)
            if wait is None or wait > LONGEST_WAIT:
                break
            pace.sleep(wait)
            response = self._paced(pace, method, url, params, body)
        return self._answer(response, _secrets(self._token, body))

    def _paced(
        self, pace: Pace, method: str, url: str, params: Mapping[str, Any] | None, body: Any
    ) -> "httpx.Response":
        with pace.call():
            return self._send(method, url, params, body, signed=self._token is not None)

    def _send(
        self, method: str, url: str, params: Mapping[str, Any] | None, body: Any, *, signed: bool
    ) -> "httpx.Response":
        import httpx

        try:
            return self._client.request(
                method,
                url,
                params=params,
                content=None if body is None else json.dumps(body, default=Secret.reveal),
                auth=self._sign if signed else None,
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            failure = self._unreachable(_host(url), error, _secrets(self._token, body))
        raise failure  # here, where httpx's error is gone: it holds the request

    def _sign(self, request: "httpx.Request") -> "httpx.Request":
        assert self._token is not None
        request.headers["Authorization"] = self._token.authorization.reveal()
        return request

    def _unreachable(self, host: str, error: Exception, secrets: list[Secret]) -> RestError:
        import httpx

        if isinstance(error, httpx.TimeoutException):
            return RestError(
                f"{host} did not answer within {self._timeout:g} s: try again; Fyers may be busy or in maintenance"
            )
        if isinstance(error, httpx.ConnectError):
            reason = _plain(str(error), secrets)
            return RestError(f"{host} cannot be reached ({reason}): check the network, and a firewall or proxy")
        return RestError(f"the connection to {host} broke ({type(error).__name__}): try again")

    def _answer(self, response: "httpx.Response", secrets: list[Secret]) -> dict[str, Any]:
        body = _json(response)
        fields = body if isinstance(body, dict) else {}
        if response.status_code < 400 and fields.get("s") in ("ok", "no_data"):
            return fields
        status, code = response.status_code, code_of(fields)
        raise RestError(self._refusal(response, status, code, _told(fields, status, code, secrets)), status, code)

    def _refusal(self, response: "httpx.Response", status: int, code: int, told: str) -> str:
        if self._token is not None and (status == 401 or code in TOKEN_CODES):
            return f"the Fyers token has expired or is not valid ({told}): {HOW}"
        if status == 429 or code in RATE_CODES:
            return (
                f"Fyers refuses for the rate of calls ({told}): wait {_waiting(response)}, and let nothing else call "
                "Fyers beside this; whoever passes the limit of a minute again and again is blocked for the day"
            )
        if status == 403:
            return (
                f"Fyers does not allow this call ({told}): the app lacks a permission, or this machine's IP address is "
                "not the app's"
            )
        if status >= 500:
            return f"Fyers has a fault ({told}): try again later"
        if code or told.startswith("“"):
            return f"Fyers refused the call: {told}"
        return (
            f"Fyers answered with {_kind(response)} in place of an answer ({told}): it may be in maintenance, or "
            "something else answers in its place; check the address, or try again later"
        )


def _told(fields: Mapping[str, Any], status: int, code: int, secrets: list[Secret]) -> str:
    said = _plain(str(fields.get("message") or ""), secrets)
    return ", ".join(
        part for part in (f"“{said}”" if said else "", f"code {code}" if code else "", f"HTTP {status}") if part
    )


def base_url(url: str, name: str) -> str:
    """The URL without its last slash. Raises `OrderError` for one over which a token would travel in the clear."""
    if not _is_safe(url, "https", "http"):
        raise OrderError(f"{name} must be an https:// address, or an http:// one on 127.0.0.1, not {url!r}")
    return url.rstrip("/")


def socket_address(url: str, name: str) -> str:
    """The URL of a WebSocket, over which a token travels: encrypted, or not off this machine. Raises `OrderError`."""
    if not _is_safe(url, "wss", "ws"):
        raise OrderError(f"{name} must be a wss:// address, or a ws:// one on 127.0.0.1, not {url!r}")
    return url


def _is_safe(url: str, encrypted: str, plain: str) -> bool:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        safe = parts.scheme == encrypted or (parts.scheme == plain and host in LOOPBACK)
        return safe and bool(host) and parts.port != 0
    except (ValueError, AttributeError, TypeError):
        return False


def _host(url: str) -> str:
    return url.split("/", 3)[2].rpartition("@")[2]


def retry_after(response: "httpx.Response") -> float | None:
    """The seconds that a refusal for the rate asks to wait; None where it does not say: then nobody tries again."""
    if response.status_code != 429:
        return None
    for name, unit in (("X-Retry-After-Ms", 1000), ("Retry-After", 1)):
        try:
            return max(0.0, float(response.headers[name]) / unit)
        except (KeyError, ValueError):
            continue
    return None


def _waiting(response: "httpx.Response") -> str:
    wait = retry_after(response)
    return "a minute" if wait is None else f"{wait:g} s"


def _json(response: "httpx.Response") -> Any:
    """The body, or None where it is no JSON."""
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):
        return None


def _kind(response: "httpx.Response") -> str:
    start = response.content.lstrip()[:1]
    return {b"": "an empty body", b"<": "HTML", b"{": "other JSON", b"[": "other JSON"}.get(start, "text")


def code_of(fields: Mapping[str, Any]) -> int:
    code = fields.get("code")
    return code if isinstance(code, int) else 0


def _secrets(token: AccessToken | None, body: Any) -> list[Secret]:
    """What must not be shown of a call, the longest first."""
    values = body.values() if isinstance(body, dict) else ()
    found = [value for value in values if isinstance(value, Secret)]
    if token is not None:
        found += [token.authorization, token.jwt, token.hsm_key]
    return sorted((secret for secret in found if secret), key=lambda secret: -len(secret.reveal()))


def _plain(text: str, secrets: list[Secret]) -> str:
    """What a server said, as one short line that shows no secret."""
    for secret in secrets:
        text = text.replace(secret.reveal(), "***")
    line = " ".join(text.split())
    return "".join(letter for letter in line if letter.isprintable())[:200]
