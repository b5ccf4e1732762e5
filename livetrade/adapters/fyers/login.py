"""Logging in to Fyers: a browser, its way back to this machine, and the day's token.

Facts: the browser opens `generate-authcode` and is sent back to the redirect URI that the app is registered with, with
`s`, `auth_code` (or `code` and `message` where it was denied) and the `state` it was opened with; `validate-authcode`
gives the token for that code and the SHA-256 of `APPID:SECRET`. A token lives for a day, to about 03:00 in India.
"""

import hashlib
import hmac
import os
import queue
import secrets
import socket
import socketserver
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from livetrade.adapters.fyers.credentials import AccessToken, Secret, app_id_of
from livetrade.adapters.fyers.rest import API_URL, FyersRest, RestError, base_url
from livetrade.errors import FeedError, OrderError

REDIRECT_URI = "http://127.0.0.1:5173/"
PATIENCE = 180.0

_WRONG = {
    -371: "the app id or its secret is wrong: both stand on the app's page in the Fyers API dashboard",
    -352: "there is no such app id: it stands on the app's page in the Fyers API dashboard, and ends in -100",
    -374: "the code that the browser brought was not accepted, for it is good once and for a short time: log in again",
}
_WRONG[-437] = _WRONG[-374]

_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>livetrade</title>'
    '<body style="font: 1.1em sans-serif; margin: 4em">{}</body></html>'
)
_DONE = "livetrade has what it needs. You can close this window."
_FAILED = "The log-in did not succeed; livetrade says why where it was started. You can close this window."
_NOTHING = "There is nothing here. livetrade waits for Fyers to send your browser back."


def log_in(
    app_id: str,
    secret: Secret,
    redirect_uri: str = REDIRECT_URI,
    *,
    api_url: str | None = None,
    timeout: float = PATIENCE,
    tell: Callable[[str], None],
    open_browser: Callable[[str], bool],
) -> AccessToken:
    """Logs in through a browser, and gives back the token; nothing is kept.

    redirect_uri: the one that the app is registered with; http on loopback, where it is listened to for one answer.
    timeout: how many seconds a person may take. tell: gets the lines to show. open_browser: opens a URL, and says
    whether it could. Raises `FeedError` where it was denied, came back wrong, took too long, or Fyers refused, and for
    a port that is in use; `OrderError` for a redirect URI that cannot be listened to.
    """
    app = app_id_of(app_id.strip())
    state = secrets.token_urlsafe(32)
    with FyersRest(api_url=api_url) as rest, Doorway(redirect_uri, state) as doorway:
        url = f"{base_url(api_url or API_URL, 'api_url')}/generate-authcode?" + urlencode(
            {"client_id": app, "redirect_uri": doorway.uri, "response_type": "code", "state": state}
        )
        tell(f"Log in to Fyers in your browser, at:\n\n    {url}\n")
        if not open_browser(url):
            tell("No browser was opened here: open that address yourself.")
        tell(f"Waiting for it at {doorway.uri} (a browser elsewhere needs `ssh -L {doorway.tunnel} HOST` first) ...")
        return _exchange(rest, app, secret, doorway.wait(timeout))


def _exchange(rest: FyersRest, app_id: str, secret: Secret, code: Secret) -> AccessToken:
    digest = Secret(hashlib.sha256(f"{app_id}:{secret.reveal()}".encode()).hexdigest())
    body = {"grant_type": "authorization_code", "appIdHash": digest, "code": code}
    try:
        answer = rest.api("POST", "validate-authcode", body=body)
    except RestError as error:
        if error.code not in _WRONG:
            raise
        raise RestError(f"{_WRONG[error.code]} ({error})", error.status, error.code) from None
    token = answer.get("access_token")
    if not isinstance(token, str) or not token:
        raise FeedError("Fyers accepted the log-in but gave no token: try again later")
    return AccessToken(Secret(f"{app_id}:{token}"))


# ── the way back ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Doorway:
    """A server on loopback that waits for one browser to come back. `uri`: where it listens; port 0 picks one."""

    def __init__(self, redirect_uri: str, state: str) -> None:
        parts = _redirect(redirect_uri)
        self._server = _listening(parts, redirect_uri)
        self._server.path = parts.path or "/"
        self._server.state = state
        host, port = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname, self._server.port
        self.uri = redirect_uri if parts.port != 0 else parts._replace(netloc=f"{host}:{port}").geturl()
        self.tunnel = f"{port}:{host}:{port}"

    def __enter__(self) -> "Doorway":
        import threading

        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="livetrade-login", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait(self, timeout: float) -> Secret:
        """The code that the browser brings. Raises `FeedError` where it brings none in time."""
        try:
            answer = self._server.answers.get(timeout=timeout)
        except queue.Empty:
            answer = FeedError(
                f"nobody came back from Fyers within {timeout:g} s: run it again; the app's redirect URI in the Fyers "
                f"API dashboard must be {self.uri}, or give yours as --redirect-uri"
            )
        if isinstance(answer, FeedError):
            raise answer
        return answer


def read_answer(query: Mapping[str, str], state: str) -> Secret | FeedError:
    """The code in what a browser brought, or why there is none."""
    if query.get("s") == "error" or not query.get("auth_code"):
        told = " ".join((query.get("message") or "it was denied").split())[:200]
        code = f", code {query['code']}" if query.get("code", "").lstrip("-").isdecimal() else ""
        return FeedError(f"Fyers did not log you in: {''.join(c for c in told if c.isprintable())}{code}")
    if not hmac.compare_digest(query.get("state", "").encode(), state.encode()):
        return FeedError("what came back is not the log-in that was started here: close old log-in pages, run it again")
    return Secret(query["auth_code"])


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # elsewhere it would share a port that is in use

    def __init__(self, address: tuple[str, int], family: socket.AddressFamily) -> None:
        self.address_family = family
        self.answers: queue.SimpleQueue[Secret | FeedError] = queue.SimpleQueue()
        self.path = "/"
        self.state = ""
        super().__init__(address, _Visit)

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])


class _Visit(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10  # a connection that a browser opened ahead and never used
    server_version, sys_version = "livetrade", ""

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        query = dict(parse_qsl(asked.query))
        if asked.path != self.server.path or not {"s", "auth_code", "state"} & set(query):
            self._page(404, _NOTHING)
            return
        answer = read_answer(query, self.server.state)
        self._page(*((400, _FAILED) if isinstance(answer, FeedError) else (200, _DONE)))
        self.server.answers.put(answer)

    def _page(self, status: int, text: str) -> None:
        page = _PAGE.format(text).encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Length": str(len(page)),
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "Connection": "close",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: Any) -> None:
        """Nothing: the request line holds the code."""


def _redirect(uri: str) -> SplitResult:
    try:
        parts = urlsplit(uri)
        if parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1") and parts.port is not None:
            return parts
    except ValueError:
        pass
    raise OrderError(
        f"the redirect URI must be http://127.0.0.1:PORT/ or so, as registered in the Fyers API dashboard, not {uri!r}"
    )


def _listening(parts: SplitResult, uri: str) -> _Server:
    is_six = parts.hostname == "::1"
    address = ("::1" if is_six else "127.0.0.1", parts.port or 0)
    try:
        return _Server(address, socket.AF_INET6 if is_six else socket.AF_INET)
    except OSError as error:
        raise FeedError(
            f"port {parts.port} of the redirect URI {uri} cannot be listened to ({error.strerror}): stop what uses it, "
            "or register another one with Fyers and give it as --redirect-uri"
        ) from None
