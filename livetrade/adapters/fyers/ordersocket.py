"""The order socket: one connection after another, as long as its task lives.

Facts: `wss://socket.fyers.in/trade/v3` with the header `authorization: APPID:JWT` (403 for a bad one); text frames of
JSON; the text `ping` every 10 s is answered by `pong`; `SUB_ORD` subscribes, and is answered by code 1605. What happens
while nobody is connected is told by the books alone.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from livetrade.adapters.fyers.credentials import AccessToken
from livetrade.adapters.fyers.losses import discreet, loss_of
from livetrade.adapters.fyers.patience import Cure, Loss, Retries, Timing
from livetrade.adapters.fyers.rows import loads
from livetrade.adapters.fyers.sockets import connecting
from livetrade.core.records import replaced
from livetrade.errors import FeedError

if TYPE_CHECKING:
    import ssl

    from websockets.asyncio.client import ClientConnection

SUBSCRIBED = 1605
SUBSCRIBE = json.dumps({"T": "SUB_ORD", "SLIST": ["orders", "trades", "positions"], "SUB_T": 1})
MOST_BYTES = 4 << 20

_log = logging.getLogger("livetrade")


class OrderSocket:
    """hear: takes each message. up: a connection is subscribed. down: there is none, and why."""

    def __init__(
        self,
        url: str,
        token: Callable[[], Awaitable[AccessToken]],
        context: "ssl.SSLContext",
        timing: Timing,
        hear: Callable[[dict[str, Any]], None],
        up: Callable[[], None],
        down: Callable[[str], None],
    ) -> None:
        self._url = url
        self._token, self._context = token, context
        self._timing = timing
        self._hear, self._up, self._down = hear, up, down
        self._retries = Retries(None, timing)
        self.is_up = False
        self.connections = 0
        self._heard = 0.0

    async def keep(self) -> None:
        """Connects, and again whenever the connection is lost."""
        told = ""
        while True:
            loss = await self._connect()
            self.is_up = False
            wait = self._retries.after(loss) or self._timing.first
            if loss.reason != told or loss.lasted is not None:
                _log.warning("Fyers orders: %s; connecting again in %.1f s", loss.reason, wait)
                told = loss.reason
            self._down(loss.reason)
            await self._timing.sleep(wait)

    async def _connect(self) -> Loss:
        loop = asyncio.get_running_loop()
        try:
            token = await self._token()
        except FeedError as error:
            return Loss(str(error), Cure.TOKEN)
        began = loop.time()
        try:
            await self._talk(token)
        except Exception as error:
            lasted = loop.time() - began if self.is_up else None
            loss = loss_of(error, self._url, lasted)
            if loss is None:
                raise
            return replaced(loss, reason=discreet(loss.reason, token))
        raise AssertionError("a connection ends by its loss only")

    async def _talk(self, token: AccessToken) -> None:
        timing, headers = self._timing, {"authorization": token.authorization.reveal()}
        async with connecting(self._url, self._context, timing, MOST_BYTES, headers) as socket:
            await socket.send("ping")
            await socket.send(SUBSCRIBE)
            async with asyncio.timeout(timing.answer):
                while not self._is_subscribed(await socket.recv()):
                    pass
            self.is_up = True
            self.connections += 1
            self._heard = asyncio.get_running_loop().time()
            self._up()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._ping(socket))
                tasks.create_task(self._read(socket))

    def _is_subscribed(self, text: str | bytes) -> bool:
        with suppress(ValueError):
            told = loads(text)
            return isinstance(told, dict) and told.get("code") == SUBSCRIBED
        return False

    async def _read(self, socket: "ClientConnection") -> None:
        while True:
            text = await socket.recv()
            self._heard = asyncio.get_running_loop().time()
            if text == "pong":
                continue
            try:
                told = loads(text)
            except ValueError:
                told = None
            self._hear(told if isinstance(told, dict) else {})

    async def _ping(self, socket: "ClientConnection") -> None:
        """A socket that does not even answer pings any more is dead, whatever TCP says."""
        while True:
            await asyncio.sleep(self._timing.ping)
            silent = asyncio.get_running_loop().time() - self._heard
            if silent > 2.5 * self._timing.ping:
                raise FeedError(f"its pings were not answered for {silent:.0f} s")
            await socket.send("ping")
