"""Requests to a desk: as programs send them, and as bytes on a socket."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from livetrade.desk.desk import Desk
from tests.desk.kit import HOST
from tests.support import PATIENCE

API = "/api/live-trading"
JSON = {"Content-Type": "application/json"}


def bearer(desk: Desk) -> dict[str, str]:
    return {"Authorization": f"Bearer {desk.token}"} if desk.token else {}


@contextmanager
def asking(desk: Desk, **terms: Any) -> Iterator[httpx.Client]:
    """A client that knows the token, unless told otherwise."""
    given = {"base_url": desk.url, "headers": bearer(desk), "timeout": PATIENCE, "trust_env": False, **terms}
    with httpx.Client(**given) as client:
        yield client


def head(method: str, target: str, *headers: str, host: str = HOST) -> bytes:
    """The head of a request, as bytes."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode("latin-1")


@contextmanager
def connected(desk: Desk) -> Iterator[socket.socket]:
    with socket.create_connection((HOST, desk.port), timeout=PATIENCE) as connection:
        yield connection


def one_answer(connection: socket.socket) -> bytes:
    """The answer to one request, whole; its body has a length."""
    came = bytearray()
    while b"\r\n\r\n" not in came:
        part = connection.recv(1 << 16)
        assert part, f"it ended after {bytes(came)!r}"
        came += part
    first, _, body = bytes(came).partition(b"\r\n\r\n")
    lengths = [line.partition(b":")[2] for line in first.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while len(body) < int(lengths[0]):
        body += connection.recv(1 << 16)
    return first + b"\r\n\r\n" + body


def to_the_end(connection: socket.socket) -> bytes:
    """What comes until the desk ends the connection. Fails where it never does."""
    came = bytearray()
    try:
        while part := connection.recv(1 << 16):
            came += part
    except ConnectionError:
        pass
    return bytes(came)


def exchange(desk: Desk, data: bytes) -> bytes:
    """Sends bytes, gives back all that comes until the desk ends the connection."""
    with connected(desk) as connection:
        try:
            connection.sendall(data)
        except ConnectionError:
            return b""
        return to_the_end(connection)


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])
