"""Who is asking: secrets that no text shows, and the day's access token.

A token is `APPID:JWT`. The JWT's payload holds when it expires (`exp`, epoch seconds) and the key of the data socket
(`hsm_key`); its signature is the server's business. It is found, in this order: given as an argument; in the
environment, `FYERS_AUTH_TOKEN` (`APPID:JWT`, or the JWT with `FYERS_APP_ID` beside it); in the keyring, where
`livetrade login fyers` puts it. It is looked for again at every connect, for it changes every day.
"""

import base64
import json
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NoReturn

from livetrade.errors import FeedError

SERVICE = "livetrade-fyers"
HOW = "run `livetrade login fyers`, set FYERS_AUTH_TOKEN to APPID:JWT, or pass access_token="

_APP_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_JWT = re.compile(r"[A-Za-z0-9_-]+={0,2}\.[A-Za-z0-9_-]+={0,2}\.[A-Za-z0-9_-]*={0,2}")


class Secret:
    """A text that is shown only where `reveal()` is called: not by repr, str, logs, tracebacks, or pickle."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        from hmac import compare_digest  # pulls in OpenSSL, and `import livetrade` needs none

        return isinstance(other, Secret) and compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __repr__(self) -> str:
        return "Secret('***')"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled; the other process reads it itself")

    def __format__(self, _: str) -> str:
        return repr(self)


def app_id_of(text: str) -> str:
    """The app id itself. Raises `FeedError` for one that cannot be, without showing it: it may be a secret that got
    into the wrong place."""
    if not _APP_ID.fullmatch(text):
        raise FeedError("the Fyers app id is malformed: it looks like ABCD1234EF-100")
    return text


class AccessToken:
    """The day's token, taken apart. `expires`: aware, UTC; None where the token does not say.

    Raises `FeedError` for a text that is no token, naming what one looks like and never showing it.
    """

    def __init__(self, text: str | Secret, app_id: str = "") -> None:
        whole = text.reveal() if isinstance(text, Secret) else text
        given, colon, jwt = whole.strip().partition(":")
        if not colon:
            given, jwt = app_id.strip(), whole.strip()
        if not given:
            raise FeedError("the Fyers token lacks its app id: give APPID:JWT, or set FYERS_APP_ID beside it")
        payload = _payload(jwt)
        key = payload.get("hsm_key")
        self.app_id = app_id_of(given)
        self.jwt = Secret(jwt)
        self.hsm_key = Secret(key if isinstance(key, str) else "")
        self.expires = _expiry(payload.get("exp"))

    @property
    def authorization(self) -> Secret:
        """`APPID:JWT`, as the REST calls and the order socket want it."""
        return Secret(f"{self.app_id}:{self.jwt.reveal()}")

    def seconds_left(self, now: datetime) -> float:
        return float("inf") if self.expires is None else (self.expires - now).total_seconds()

    def check(self, now: datetime) -> None:
        """Raises `FeedError` once it has expired."""
        if self.expires is not None and now >= self.expires:
            raise FeedError(f"the Fyers token expired at {self.expires:%Y-%m-%d %H:%M} UTC; {HOW}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccessToken) and (self.app_id, self.jwt) == (other.app_id, other.jwt)

    def __hash__(self) -> int:
        return hash((self.app_id, self.jwt))

    def __repr__(self) -> str:
        until = "" if self.expires is None else f", expires {self.expires:%Y-%m-%d %H:%M} UTC"
        return f"AccessToken({self.app_id}:***{until})"


def _payload(jwt: str) -> dict[str, Any]:
    """The middle part of a JWT. What cannot be read raises after its own error is gone, for that carries the text."""
    payload: object = None
    if _JWT.fullmatch(jwt):
        middle = jwt.split(".")[1].rstrip("=")
        try:
            payload = json.loads(base64.b64decode(middle + "=" * (-len(middle) % 4), altchars=b"-_", validate=True))
        except (ValueError, RecursionError):
            payload = None
    if not isinstance(payload, dict):
        raise FeedError(f"the Fyers token is malformed: it is not APPID:JWT; {HOW}")
    return payload


def _expiry(seconds: object) -> datetime | None:
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def find_token(given: str | Secret | None = None) -> AccessToken:
    """The token as it is found now. Raises `FeedError` where there is none, or where it is malformed."""
    text = given or os.environ.get("FYERS_AUTH_TOKEN") or from_keyring()
    if not text:
        raise FeedError(f"there is no Fyers token: {HOW}")
    return AccessToken(text, os.environ.get("FYERS_APP_ID", ""))


def from_keyring() -> str | None:
    """What `livetrade login fyers` kept; None where nothing is kept, or where there is no keyring."""
    return _with_keyring(lambda keyring: keyring.get_password(SERVICE, _user()))


def to_keyring(token: AccessToken) -> bool:
    """Keeps the token; False where there is no keyring that keeps it."""
    _with_keyring(lambda keyring: keyring.set_password(SERVICE, _user(), token.authorization.reveal()))
    return Secret(from_keyring() or "") == token.authorization


def _user() -> str:
    return os.environ.get("FYERS_USER_ID") or "default"


def _with_keyring(use: Callable[[Any], str | None]) -> str | None:
    try:
        import keyring
    except ImportError:
        return None
    try:
        return use(keyring)
    except Exception:  # noqa: BLE001 - each system's keyring raises errors of its own; without one there are other ways
        return None
