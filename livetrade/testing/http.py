"""As much of HTTP/1.1 as a loopback server of a few JSON calls needs: one request for each connection."""

import asyncio
import json
import socket as sockets
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

LARGEST_BODY = 1 << 20


class Request(NamedTuple):
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body's JSON object; empty where it holds none."""
        try:
            told = json.loads(self.body)
        except ValueError:
            return {}
        return told if isinstance(told, dict) else {}


class Response(NamedTuple):
    status: int
    body: bytes
    kind: str = "application/json"
    headers: Mapping[str, str] = {}
    delay: float = 0.0
    """Seconds until it is sent."""
    cut: bool = False
    """The connection is reset in its place."""

    @classmethod
    def of(cls, told: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> "Response":
        return cls(status, json.dumps(told).encode(), headers=headers or {})


async def serve(answer: Callable[[Request], Response]) -> asyncio.Server:
    """Listens on a free port of loopback; `answer` gives the response to a request."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await _request(reader)
            response = answer(request)
            if response.delay:
                await asyncio.sleep(response.delay)
            if response.cut:
                reset(writer.transport)
                return
            writer.write(_bytes(response))
            await writer.drain()
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # whoever asked has gone, or talks something else; or the server ends, and 3.11 would log that
        finally:
            writer.close()

    return await asyncio.start_server(talk, "127.0.0.1", 0)


def reset(transport: asyncio.BaseTransport) -> None:
    """A TCP reset: closed without a goodbye, what was on its way is lost."""
    linger = struct.pack("ii", 1, 0)
    with suppress(OSError):  # the other end was quicker, and the socket is closed already
        transport.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, linger)
    if isinstance(transport, asyncio.Transport):
        transport.abort()


async def _request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.splitlines()
    method, target, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers.get("content-length", 0))
    if length > LARGEST_BODY:
        raise ValueError("too large")
    url = urlsplit(target)
    return Request(method, url.path, dict(parse_qsl(url.query)), headers, await reader.readexactly(length))


def _bytes(response: Response) -> bytes:
    headers = {
        "Content-Type": response.kind,
        "Content-Length": str(len(response.body)),
        "Connection": "close",
        **response.headers,
    }
    status = HTTPStatus(response.status)
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + response.body
