"""What the data socket and the order socket have in common: how they are opened, and what that needs first."""

import logging
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from livetrade.adapters.fyers.losses import DiscreetLog
from livetrade.adapters.fyers.patience import Timing

if TYPE_CHECKING:
    from websockets.asyncio.client import connect


def connecting(
    url: str, context: ssl.SSLContext, timing: Timing, most_bytes: int, headers: Mapping[str, str] | None = None
) -> "connect":
    """Opens a WebSocket by `async with`. most_bytes: of a frame; a larger one ends the connection."""
    from websockets.asyncio.client import connect

    outside = url.startswith("wss:")
    here: dict[str, Any] = {} if outside else {"proxy": None}  # on this machine; proxies are for outside
    return connect(
        url,
        ssl=context if outside else None,
        additional_headers=headers,
        compression=None,
        max_size=most_bytes,
        open_timeout=timing.answer,
        ping_interval=timing.keepalive,
        ping_timeout=timing.keepalive,
        close_timeout=timing.closing,
        logger=DiscreetLog(logging.getLogger("livetrade.fyers.socket"), {}),
        **here,
    )


def prepared() -> ssl.SSLContext:
    """Loads, on a thread of its own, what would hold up the engine's at its first use: modules and certificates."""
    import httpx
    import websockets.asyncio.client
    import websockets.exceptions  # noqa: F401

    context = httpx.create_ssl_context()
    httpx.AsyncClient(verify=context)
    with suppress(ImportError):
        import anyio.streams.tls

        anyio.run(anyio.sleep, 0)
    return context
