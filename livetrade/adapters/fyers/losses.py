"""How a connection ends, in words that a trader understands and that hold no secret."""

import logging
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from livetrade.adapters.fyers.credentials import AccessToken
from livetrade.adapters.fyers.patience import Cure, Loss
from livetrade.adapters.fyers.symbols import HttpError, refusal, wait_after
from livetrade.errors import FeedError

if TYPE_CHECKING:
    from websockets.frames import Close

SENT_AWAY = (1000, 1008)
"""Close codes by which a server ends a connection that works, like all from 4000 on."""
LONGEST_TEXT = 500
SHOWN = 10
"""How many symbols a message names."""

_OUR_REASONS = {1009: "a frame was larger than 32 MiB", 1011: "its pings were not answered"}
_RUN = re.compile(r"[\w.-]{12,}")


class DiscreetLog(logging.LoggerAdapter[logging.Logger]):
    """For a WebSocket: at the level of debugging it would show what authenticates."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802  the library's name
        return level > logging.DEBUG and super().isEnabledFor(level)


class LostError(FeedError):
    """Ends a connection from within."""

    def __init__(self, reason: str, cure: Cure = Cure.TIME) -> None:
        super().__init__(reason)
        self.cure = cure


def loss_of(error: BaseException, url: str, lasted: float | None, notice: str = "") -> Loss | None:
    """What an error says of the connection; None for one that is a defect of ours. `lasted`: as in `Loss`."""
    from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    cure, wait = Cure.TIME, 0.0
    match error:
        case ConnectionClosed():
            return _closed(error.rcvd, error.sent, lasted, notice)
        case InvalidStatus(response=response):
            reason = refusal(response.status_code, url)
            wait = wait_after(response.status_code, response.headers)
        case LostError():
            reason, cure = str(error), error.cure
        case HttpError():
            reason, wait = str(error), error.wait
        case FeedError():
            reason = str(error)
        case InvalidHandshake() | OSError() | EOFError():  # a timeout is an OSError
            reason = f"cannot connect to {url}: {str(error) or type(error).__name__}"
        case _:
            return None
    return Loss(reason, cure, lasted, False, wait)


def _closed(told: "Close | None", asked: "Close | None", lasted: float | None, notice: str) -> Loss:
    """`told`: how the other side closed, `asked`: how we did; None where nobody said a word."""
    if told is not None:
        reason = f"Fyers closed the connection ({f'{told.code} {told.reason}'.strip()})"
        sent_away = bool(notice) or told.code in SENT_AWAY or told.code >= 4000
        return Loss("; ".join(filter(None, (notice, reason))), lasted=lasted, sent_away=sent_away)
    why = _OUR_REASONS.get(asked.code if asked is not None else 0, "it broke off")
    return Loss(f"the connection was lost: {why}", lasted=lasted)


def named(symbols: Iterable[str]) -> str:
    """The first of them, and how many more there are."""
    names = sorted(symbols)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def discreet(text: str, token: AccessToken) -> str:
    """A text that somebody else wrote, on one line, without a secret or a part of one."""
    secrets = [secret.reveal() for secret in (token.hsm_key, token.jwt) if secret]

    def hidden(run: re.Match[str]) -> str:
        found = run[0]
        return "***" if any(found in secret or secret in found for secret in secrets) else found

    return " ".join(_RUN.sub(hidden, text)[:LONGEST_TEXT].split())


def moment(now_ns: int) -> datetime:
    return datetime.fromtimestamp(now_ns / 1e9, UTC)
