"""One request to a desk, for the command line: the standard library is enough, and no proxy has a part in it."""

import http.client
import json
import ssl
from typing import Any
from urllib.parse import urlsplit

from livetrade.desk.runtime import Running
from livetrade.errors import DeskError

SECONDS = 15.0


def ask(desk: Running, method: str, path: str, body: "dict[str, Any] | None" = None) -> tuple[int, Any]:
    """(status, what it answered) of a route under `/api/live-trading/`. Raises `DeskError`."""
    place = urlsplit(desk.url)
    host, port = place.hostname or "", place.port
    connection: http.client.HTTPConnection
    if place.scheme == "https":
        connection = http.client.HTTPSConnection(host, port, timeout=SECONDS, context=ssl.create_default_context())
    else:
        connection = http.client.HTTPConnection(host, port, timeout=SECONDS)
    headers = {"Content-Type": "application/json"}
    if desk.token:
        headers["Authorization"] = f"Bearer {desk.token}"
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, f"/api/live-trading/{path}", data, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DeskError(f"the desk {desk.name!r} at {desk.url} did not answer: {error}") from None
    finally:
        connection.close()
