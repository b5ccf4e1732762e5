"""A desk: an engine, its server on a thread of its own, and the file by which others find it."""

import asyncio
import ipaddress
import logging
import os
import secrets
import socket
import ssl
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from livetrade.desk import runtime
from livetrade.desk.auth import BOUNDS, LARGEST_BODY, Bounds, Doors
from livetrade.desk.server import Server
from livetrade.engine import LiveTradingEngine
from livetrade.errors import DeskError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
START_SECONDS = 15.0
STOP_SECONDS = 3

_log = logging.getLogger("livetrade")


class Guarded(H11Protocol):
    """Cuts off who does not finish the head of a request, or does not take the answer: such a connection would stay for
    ever. And idle ones keep nobody out: where there are too many, the one that is idle longest gives way to a new one.
    """

    def __init__(self, bounds: Bounds, **terms: Any) -> None:
        super().__init__(**terms)
        self._bounds = bounds
        self._deadline: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None
        self._heard = self.loop.time()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self._bounds.connections:
            self._make_room()
        self._wait()

    def _make_room(self) -> None:
        idle = [other for other in self.connections if isinstance(other, Guarded) and other.is_idle]
        longest = min(idle, key=lambda other: other._heard)
        longest.transport.abort()

    @property
    def is_idle(self) -> bool:
        cycle: Any = self.cycle
        return (cycle is None or cycle.response_complete) and not self.transport.is_closing()

    def data_received(self, data: bytes) -> None:
        self._heard = self.loop.time()
        before: Any = self.cycle
        if self._deadline is None and (before is None or before.response_complete):
            self._wait()
        super().data_received(data)
        if self.cycle is not before or self.transport.get_protocol() is not self:
            self._arrived()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        self._moves()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck = self.loop.call_later(self._bounds.idle_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        self._moves()
        super().resume_writing()

    def _moves(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        super().handle_websocket_upgrade(event)
        protocol: Any = self.transport.get_protocol()
        if not protocol.handshake_initiated:  # it is not one, and nothing would ever end the connection
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Something that is not HTTP; in the body of a request it ends that one too, answered or not."""
        cycle: Any = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.abort()

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(self._bounds.head_seconds, self._too_slow)

    def _arrived(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        self.transport.abort()


class Line(WebSocketsSansIOProtocol):
    """A WebSocket. One that is refused was answered, and is no error that its server would write down."""

    async def send(self, message: Any) -> None:
        await super().send(message)
        if self.close_sent:
            self.handshake_complete = True


class Desk:
    """Serves one engine. host, port: where (0 picks a port). token: a new one unless given; `no_token` asks for none,
    which only the paper broker on loopback may. certfile, keyfile: serve over TLS. remote: an explicit word that others
    than this machine may come, which needs TLS. names: further names by which it is reached. bounds: how much of
    everybody is taken.

    Raises `DeskError` for what would not be safe, and where it cannot listen.
    """

    def __init__(
        self,
        engine: LiveTradingEngine,
        *,
        host: str = "127.0.0.1",
        port: int = 5000,
        token: str | None = None,
        no_token: bool = False,
        certfile: Path | None = None,
        keyfile: Path | None = None,
        remote: bool = False,
        names: tuple[str, ...] = (),
        bounds: Bounds = BOUNDS,
    ) -> None:
        check_place(
            host, certfile=certfile, keyfile=keyfile, remote=remote, no_token=no_token, real=engine.mode != "PAPER"
        )
        runtime.check_name(engine.name)
        self.engine = engine
        self.stopped = Event()
        self._tls = certfile is not None
        _check_certificate(certfile, keyfile)
        self._socket = _listening(host, port)
        self.port = self._socket.getsockname()[1]
        self.token = None if no_token else token or secrets.token_urlsafe(32)
        shown = "127.0.0.1" if host in ("0.0.0.0", "127.0.0.1", "localhost") else f"[{host}]" if ":" in host else host
        self.url = f"{'https' if self._tls else 'http'}://{shown}:{self.port}"
        known = frozenset({*LOOPBACK, host.lower(), *(name.lower() for name in names)}) - {"0.0.0.0", "::"}
        self._doors = doors = Doors(known, self.token, f"livetrade_{self.port}")
        server = Server(engine, doors, self.stopped.set, secure=self._tls)
        self._uvicorn = uvicorn.Server(_config(server.application(bounds), bounds, certfile, keyfile))
        self._thread = Thread(target=self._run, name=f"livetrade-{engine.name}-server", daemon=True)
        self._running = runtime.Running(self.url, self.token or "", os.getpid(), engine.name)
        self._failure: BaseException | None = None

    @property
    def secrets(self) -> list[str]:
        """What opens this desk, and so may be written down nowhere."""
        return [self.token, self._doors.cookie_value] if self.token else []

    @property
    def link(self) -> str:
        """The page's address, with the token in it: for a person, never for a log."""
        return f"{self.url}/?token={self.token}" if self.token else self.url

    def _run(self) -> None:
        try:
            self._uvicorn.run(sockets=[self._socket])
        except BaseException as error:  # noqa: BLE001  handed to the thread that starts it
            self._failure = error
        finally:
            self.stopped.set()

    def start(self) -> None:
        """Serves from now on, and can be found. Raises `DeskError`."""
        self._thread.start()
        waited = 0.0
        while not self._uvicorn.started:
            self._thread.join(0.01)
            waited += 0.01
            if not self._thread.is_alive() or waited > START_SECONDS:
                raise DeskError(f"the desk's server did not start: {self._failure or 'see its log'}")
        runtime.write(self._running)

    def stop(self) -> None:
        """Ends the server and takes the file away; the engine stays. May be called again."""
        runtime.remove(self._running)
        self._uvicorn.should_exit = True
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS + 1)
        self._uvicorn.force_exit = True
        self._socket.close()


def check_place(
    host: str, *, certfile: Path | None, keyfile: Path | None, remote: bool, no_token: bool, real: bool
) -> None:
    """Raises `DeskError` for a desk that others could reach without being let in."""
    outside = host not in LOOPBACK and not _is_loopback(host)
    if (certfile is None) is not (keyfile is None):
        raise DeskError("TLS needs both --certfile and --keyfile")
    if no_token and outside:
        raise DeskError(f"--no-token is for this machine only, not for {host}")
    if no_token and real:
        raise DeskError("--no-token is for the paper broker only: this desk moves real money")
    if outside and certfile is None:
        raise DeskError(
            f"{host} can be reached from other machines: that needs TLS (--certfile, --keyfile) and --remote"
        )
    if outside and not remote:
        raise DeskError(f"{host} can be reached from other machines: say --remote if that is meant")


def _is_loopback(host: str) -> bool:
    """A name is none, whatever it looks like: it says nothing of where it leads."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends small messages at once only where it sees that it is TCP
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise DeskError(
            f"the desk cannot listen on {host}:{port}: {error}; --port names another, 0 picks one"
        ) from None
    listening.listen(128)
    listening.set_inheritable(False)
    return listening


def _check_certificate(certfile: Path | None, keyfile: Path | None) -> None:
    if certfile is not None:
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certfile, keyfile)
        except (OSError, ssl.SSLError) as error:
            raise DeskError(f"the certificate cannot be used: {error}") from None


def _config(application: Any, bounds: Bounds, certfile: Path | None, keyfile: Path | None) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        http=partial(Guarded, bounds),  # type: ignore[arg-type]
        ws=Line,
        ws_max_size=LARGEST_BODY,
        ws_ping_interval=20,
        ws_ping_timeout=120,
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        log_level="error",  # what strangers send wrongly fills no disk
        access_log=False,  # it would hold the address of the page, and with it the token
        server_header=False,
        proxy_headers=False,  # nobody stands in between whose word on an address counts
        timeout_keep_alive=bounds.idle_seconds,
        timeout_graceful_shutdown=STOP_SECONDS,
        workers=1,
        ssl_certfile=certfile,
        ssl_keyfile=keyfile,
    )
