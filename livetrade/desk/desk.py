"""A desk: an engine, its server on a thread of its own, and the file by which others find it."""

import asyncio
import logging
import os
import secrets
import socket
import ssl
from pathlib import Path
from threading import Event, Thread
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from livetrade.desk import runtime
from livetrade.desk.auth import LARGEST_BODY, Doors
from livetrade.desk.server import Server
from livetrade.engine import LiveTradingEngine
from livetrade.errors import DeskError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
HEADER_SECONDS = 10.0
MOST_CONNECTIONS = 256
START_SECONDS = 15.0
STOP_SECONDS = 3

_log = logging.getLogger("livetrade")


class Guarded(H11Protocol):
    """Cuts off who does not finish the head of a request: a connection that trickles would stay for ever."""

    def connection_made(self, transport: Any) -> None:
        self._deadline: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        before: Any = self.cycle
        if self._deadline is None and (before is None or before.response_complete):
            self._wait()
        super().data_received(data)
        if self.cycle is not before or self.transport.get_protocol() is not self:
            self._arrived()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(HEADER_SECONDS, self._too_slow)

    def _arrived(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        self.transport.abort()


class Desk:
    """Serves one engine. host, port: where (0 picks a port). token: a new one unless given; `no_token` asks for none,
    which only the paper broker on loopback may. certfile, keyfile: serve over TLS. remote: an explicit word that others
    than this machine may come, which needs TLS. names: further names by which it is reached.

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
    ) -> None:
        check_place(
            host, certfile=certfile, keyfile=keyfile, remote=remote, no_token=no_token, real=engine.mode != "PAPER"
        )
        self.engine = engine
        self.stopped = Event()
        self._tls = certfile is not None
        self._socket = _listening(host, port)
        self.port = self._socket.getsockname()[1]
        self.token = None if no_token else token or secrets.token_urlsafe(32)
        shown = "127.0.0.1" if host in ("0.0.0.0", "127.0.0.1", "localhost") else f"[{host}]" if ":" in host else host
        self.url = f"{'https' if self._tls else 'http'}://{shown}:{self.port}"
        known = frozenset({*LOOPBACK, host.lower(), *(name.lower() for name in names)}) - {"0.0.0.0", "::"}
        doors = Doors(known, self.token, f"livetrade_{self.port}")
        server = Server(engine, doors, self.stopped.set, secure=self._tls)
        self._uvicorn = uvicorn.Server(_config(server.application(), certfile, keyfile))
        self._thread = Thread(target=self._run, name=f"livetrade-{engine.name}-server", daemon=True)
        self._running = runtime.Running(self.url, self.token or "", os.getpid(), engine.name)
        self._failure: BaseException | None = None

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
    outside = host not in LOOPBACK and not host.startswith("127.")
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


def _config(application: Any, certfile: Path | None, keyfile: Path | None) -> uvicorn.Config:
    if certfile is not None:
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certfile, keyfile)
        except (OSError, ssl.SSLError) as error:
            raise DeskError(f"the certificate cannot be used: {error}") from None
    return uvicorn.Config(
        application,
        http=Guarded,
        ws="websockets-sansio",
        ws_max_size=LARGEST_BODY,
        ws_ping_interval=20,
        ws_ping_timeout=120,
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,  # it would hold the address of the page, and with it the token
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=STOP_SECONDS,
        workers=1,
        ssl_certfile=certfile,
        ssl_keyfile=keyfile,
    )
