"""The connection to a desk: one WebSocket on a thread of its own, made again whenever it is lost.

What is asked of the desk has a key, and stays pending until its answer comes. A connection that is lost with something
pending leaves it open whether that arrived; so the desk is asked, once it is there again, and nothing is sent twice.
"""

import asyncio
import json
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from threading import Condition, Thread, get_ident
from time import monotonic
from typing import Any, Protocol
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from livetrade.desk.runtime import Running
from livetrade.errors import DeskError

LARGEST = 64 * 1024 * 1024
OPEN_SECONDS = 10.0
SHORTEST, LONGEST = 0.05, 2.0
"""Seconds between two attempts."""
TEND = 0.25
MUTE_LOOKS = 40
"""A desk that says nothing for so many regular looks (10 s), not even its sign of life each second, is connected to
anew. Looks and not seconds: a cell that kept this thread from running blames nobody."""
FRESH_SECONDS = 2.5
"""What is known is fresh while the desk's last word is no older."""

_log = logging.getLogger("livetrade")


class Ends(Protocol):
    """Who uses a link; each is called on the link's thread."""

    def hello(self, message: dict[str, Any]) -> bool:
        """The desk is there. False where all that is known is of another account, and was forgotten."""

    def take(self, message: dict[str, Any] | bytes) -> None:
        """One message of the stream."""

    def answered(self, key: str, answer: dict[str, Any]) -> None:
        """An answer came."""

    def after(self) -> int:
        """The number of the last event that is known."""

    def lost(self, reason: str) -> None:
        """The connection is lost; it is being made again."""

    def tend(self) -> None:
        """A regular look."""


class Link:
    """find: gives the desk's address and token, asked again at each attempt."""

    def __init__(self, name: str, find: Callable[[], Running], ends: Ends) -> None:
        self._find = find
        self._ends = ends
        self._loop = asyncio.new_event_loop()
        self._outgoing: asyncio.Queue[str] | None = None
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._changed = Condition()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._socket: ClientConnection | None = None
        self._mute = 0
        self.ready = False
        self.heard = 0.0
        self.reconnects = -1
        self.reason = "not connected yet"
        self.failure: BaseException | None = None
        """Why the first connection could not be made."""

    @property
    def ident(self) -> int | None:
        return self._thread.ident

    # ── from any thread ──────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, seconds: float, watch: Callable[[], None]) -> None:
        """Returns when everything that happened before is known; calls `watch` now and then meanwhile. Raises
        `DeskError` where nothing comes for so many seconds."""
        self._thread.start()
        mute = 0.0
        while not self.ready and self.failure is None:
            with self._changed:
                before = self.heard
                self._changed.wait_for(lambda: self.ready or self.failure is not None, TEND)
            mute = mute + TEND if self.heard == before else 0.0
            if mute > seconds and self.failure is None:
                self.failure = DeskError(f"the desk did not answer within {seconds:g} s")
            watch()
        if self.failure is not None:
            self.close()
            raise self.failure

    def say(self, key: str, command: str, body: dict[str, Any]) -> bool:
        """Sends a command; False where there is no connection that could take it."""
        if not self.ready or self._closing:
            return False
        text = json.dumps({"key": key, "command": command, "body": body})
        try:
            self._loop.call_soon_threadsafe(self._put, text)
        except RuntimeError:
            return False
        return True

    def _put(self, text: str) -> None:
        if self._outgoing is not None:
            self._outgoing.put_nowait(text)

    def soon(self, job: Callable[[], None]) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(job)

    def wait_fresh(self, seconds: float) -> bool:
        """Whether what is known is no older than the desk's last sign of life; waits for one, if it must."""
        if get_ident() == self._thread.ident or self.is_fresh():
            return True
        with self._changed:
            return self._changed.wait_for(self.is_fresh, seconds)

    def is_fresh(self) -> bool:
        return self.ready and monotonic() - self.heard < FRESH_SECONDS

    def close(self) -> None:
        self._closing = True
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stop)
        if self._thread.is_alive() and get_ident() != self._thread.ident:
            self._thread.join(OPEN_SECONDS)

    def abandon(self) -> None:
        """In a forked child: the thread stayed behind in the parent."""
        self._closing = True
        self.ready = False

    # ── on the link's thread ─────────────────────────────────────────────────────────────────────────────────────────

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self._live())
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _live(self) -> None:
        tending = asyncio.create_task(self._tend())
        wait = SHORTEST
        try:
            while True:
                began = monotonic()
                reason = await self._connected()
                if self._is_closing():
                    return
                wait = SHORTEST if self.reconnects >= 0 and monotonic() - began > LONGEST else min(2 * wait, LONGEST)
                self._lose(reason)
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))
        finally:
            tending.cancel()
            self.ready = False

    def _is_closing(self) -> bool:
        return self._closing

    async def _connected(self) -> str:
        """One connection, from its beginning to its end; gives back why it ended."""
        try:
            desk = self._find()
            url = f"{desk.url.replace('http', 'ws', 1)}/api/live-trading/stream?after={self._ends.after()}"
            async with connect(
                url,
                additional_headers={"Authorization": f"Bearer {desk.token}"} if desk.token else {},
                max_size=LARGEST,
                open_timeout=OPEN_SECONDS,
                compression=None,
                ping_interval=None,
                proxy=None,
            ) as socket:
                self._outgoing, self._socket, self._mute = asyncio.Queue(), socket, 0
                sending = asyncio.create_task(self._send(socket, self._outgoing))
                try:
                    await self._receive(socket)
                finally:
                    self._socket = None
                    sending.cancel()
            return "the desk closed the connection"
        except InvalidStatus as error:
            told = {401: "the desk does not know this token", 403: "the desk does not answer to this address"}
            return self._failed(told.get(error.response.status_code, f"it answered {error.response.status_code}"))
        except TimeoutError:
            return self._failed("it does not answer")
        except (OSError, WebSocketException, DeskError) as error:
            return self._failed(str(error) or type(error).__name__)

    def _failed(self, reason: str) -> str:
        if self.reconnects < 0:  # the first time is the caller's own affair
            with self._changed:
                self.failure = DeskError(f"the desk cannot be reached: {reason}")
                self._changed.notify_all()
            self._closing = True
        return reason

    async def _send(self, socket: ClientConnection, outgoing: "asyncio.Queue[str]") -> None:
        with suppress(WebSocketException):  # the other side of the connection tells it
            while True:
                await socket.send(await outgoing.get())

    async def _receive(self, socket: ClientConnection) -> None:
        while True:
            received = await socket.recv()
            self._mute = 0
            self._take(received if isinstance(received, bytes) else json.loads(received))

    def _take(self, message: "dict[str, Any] | bytes") -> None:
        if isinstance(message, bytes):
            self._ends.take(message)
        elif message["type"] == "answer":
            self._ends.answered(message["key"], message)
        elif message["type"] == "hello":
            if not self._ends.hello(message):
                raise DeskError("the desk keeps another account now; what was known is forgotten")
        else:
            self._ends.take(message)
            if message["type"] == "ready":
                self._become_ready()
        self._hear()

    def _become_ready(self) -> None:
        self.reason = ""
        self.reconnects += 1
        self.ready = True

    def _hear(self) -> None:
        with self._changed:
            self.heard = monotonic()
            self._changed.notify_all()

    def _lose(self, reason: str) -> None:
        was_ready, self.ready, self._outgoing = self.ready, False, None
        self.reason = reason
        if was_ready:
            _log.warning("the desk is not connected: %s; connecting again", reason)
        self._ends.lost(reason)

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(TEND)
            self._mute += 1
            if self._mute > MUTE_LOOKS and self._socket is not None:
                self._socket.transport.abort()
            self._ends.tend()


def new_key() -> str:
    return uuid4().hex
