"""The calls of the order side, each with one of four outcomes: done, refused, never sent, or nobody knows.

Facts: 1101 placed, 1102 modified, 1103 canceled; 201 means sent and not acknowledged; a refusal is JSON with `s` at
"error" and a negative code. Whatever else comes back (nothing, 5xx, no JSON) leaves open whether the call was done.
Nothing is sent a second time here, but for a call that was refused for an old token while there is a new one.
"""

import asyncio
import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from livetrade.adapters.fyers.credentials import HOW, AccessToken, Secret, find_token
from livetrade.adapters.fyers.losses import discreet
from livetrade.adapters.fyers.rest import (
    LOOPBACK,
    RATE_CODES,
    TOKEN_CODES,
    Pace,
    code_of,
    retry_after,
    shared_pace,
)
from livetrade.adapters.fyers.rows import loads
from livetrade.adapters.fyers.sockets import prepared
from livetrade.core.records import record
from livetrade.errors import BrokerError, FeedError

if TYPE_CHECKING:
    import ssl

    import httpx

UNACKNOWLEDGED = 201
ADDRESS = "the app lacks a permission, or this machine's IP address is not the one registered for it"

_log = logging.getLogger("livetrade")


@record
class Done:
    fields: dict[str, Any]


@record
class Refused:
    """The broker's words."""

    message: str
    code: int = 0


@record
class Unsent:
    """It surely never arrived."""

    reason: str


@record
class Lost:
    """It may have arrived."""

    reason: str


@record
class Throttled:
    """Not done, for the rate; worth trying again after so many seconds."""

    wait: float


Outcome = Done | Refused | Unsent | Lost | Throttled


class OrderApi:
    """Lives on one loop. timeout: seconds for connecting and for each wait. Its calls count for the user's pace, which
    whoever calls holds by `pace`."""

    def __init__(self, url: str, access_token: Secret | None, timeout: float) -> None:
        self._url = url
        self._given = access_token
        self._timeout = timeout
        self._token: AccessToken | None = None
        self._client: httpx.AsyncClient | None = None
        self._context: ssl.SSLContext | None = None
        self._opening = asyncio.Lock()

    async def token(self, *, anew: bool = False) -> AccessToken:
        """The token; looked for where there is none yet, where it has expired, or `anew`. Raises `FeedError`."""
        token = self._token
        if token is None or anew or token.seconds_left(datetime.now(UTC)) <= 0:
            token = self._token = await asyncio.to_thread(find_token, self._given)
            token.check(datetime.now(UTC))
        return token

    async def pace(self) -> Pace:
        """The user's, shared with all that calls Fyers in this process."""
        return shared_pace(self._url.split("/", 3)[2], (await self.token()).app_id)

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Outcome:
        try:
            token = await self.token()
        except FeedError as error:
            return Unsent(str(error))
        outcome = await self._call(method, path, body, token)
        if isinstance(outcome, _OldToken):
            try:
                newer = await self.token(anew=True)
            except FeedError as error:
                return Unsent(str(error))
            outcome = await self._call(method, path, body, newer) if newer != token else outcome
        return Unsent(outcome.reason) if isinstance(outcome, _OldToken) else outcome

    async def read(self, path: str) -> dict[str, Any]:
        """What a book holds. Raises `BrokerError`."""
        outcome = await self.call("GET", path)
        match outcome:
            case Done(fields=fields):
                return fields
            case Refused(message=why) | Unsent(reason=why) | Lost(reason=why):
                raise BrokerError(f"Fyers does not tell its {path}: {why}")
            case Throttled(wait=wait):
                raise BrokerError(f"Fyers does not tell its {path} for the rate of calls: wait {wait:g} s")

    async def close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    # ── one call ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def open(self) -> "httpx.AsyncClient":
        """Gets ready, so that the first order does not wait for it."""
        context = await self.context()
        if self._client is None:
            import httpx

            self._client = httpx.AsyncClient(
                headers={"Content-Type": "application/json", "version": "3", "User-Agent": "livetrade"},
                timeout=self._timeout,
                verify=context,
                mounts={f"all://{host}": None for host in LOOPBACK},  # a proxy is for the outside
            )
        return self._client

    async def context(self) -> "ssl.SSLContext":
        """That of every connection of the order side, made once."""
        async with self._opening:
            if self._context is None:
                self._context = await asyncio.to_thread(prepared)
            return self._context

    async def _call(
        self, method: str, path: str, body: dict[str, Any] | None, token: AccessToken
    ) -> "Outcome | _OldToken":
        import httpx

        client = await self.open()

        def sign(request: httpx.Request) -> httpx.Request:
            request.headers["Authorization"] = token.authorization.reveal()
            return request

        content = None if body is None else json.dumps(body)
        try:
            response = await client.request(method, f"{self._url}/{path}", content=content, auth=sign)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return Unsent(f"Fyers cannot be reached: {discreet(str(error) or type(error).__name__, token)}")
        except httpx.HTTPError as error:
            name = "no answer" if isinstance(error, httpx.TimeoutException) else "the connection broke"
            return Lost(f"{name} ({type(error).__name__})")
        return _outcome(response, token)


@record
class _OldToken:
    reason: str


def _outcome(response: "httpx.Response", token: AccessToken) -> Outcome | _OldToken:
    status = response.status_code
    try:
        told = loads(response.content)
    except ValueError:
        told = None
    fields = told if isinstance(told, dict) else {}
    code = code_of(fields)
    message = discreet(str(fields.get("message") or f"HTTP {status}"), token)
    if status == 429 or code in RATE_CODES:
        wait = retry_after(response)
        return Throttled(1.0 if wait is None else max(wait, 0.05))
    if status < 500 and (status == 401 or code in TOKEN_CODES):
        return _OldToken(f"the Fyers token has expired or is not valid ({message}): {HOW}")
    if status < 500 and (status == 403 or fields.get("s") == "error"):
        return Refused(f"Fyers does not allow it ({message}): {ADDRESS}" if status == 403 else message, code)
    if status < 400 and fields.get("s") in ("ok", "no_data") and code != UNACKNOWLEDGED:
        return Done(fields)
    return Lost(_unclear(status, code, message))


def _unclear(status: int, code: int, message: str) -> str:
    if status >= 500:
        return f"Fyers has a fault (HTTP {status})"
    if code == UNACKNOWLEDGED:
        return f"Fyers has sent it on, and nobody has acknowledged it ({message})"
    return f"Fyers answered something that makes no sense (HTTP {status})"
