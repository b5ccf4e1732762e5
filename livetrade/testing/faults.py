"""What a loopback server does wrong on demand."""

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from random import Random


class Fault(StrEnum):
    """What `FyersServer.fail` does. Those with "next" are for connections or calls to come, `times` of them."""

    CLOSE = "close"
    """Closes every connection, with `code` and `message`."""
    RESET = "reset"
    """Ends every connection with a TCP reset."""
    TORN = "torn"
    """Ends every connection in the middle of a frame."""
    HANG = "hang"
    """Half-open: the connections stay, and nothing is read or written on them any more."""
    MUTE = "mute"
    """The connections stay and answer pings, but send no prices any more."""
    GARBAGE = "garbage"
    """Sends frames that make no sense."""
    TRUNCATED = "truncated"
    """Sends the last data frame of each connection again, cut off at every place."""
    HUGE = "huge"
    """Sends a frame of 16 MiB."""
    MESSAGE = "message"
    """Sends a custom message (type 51) with `code` and `message`."""
    REFUSE = "refuse"
    """Nobody listens on the socket's port any more, and every connection is reset; until `heal()`."""
    STATUS = "status"
    """Answers the next handshakes with the HTTP `status`."""
    DENY = "deny"
    """Answers the next authentications with no."""
    KICK = "kick"
    """Closes the next connections, with `code` and `message`, as soon as they are authenticated."""
    DEAF = "deaf"
    """Keeps the next connections open without ever answering them."""
    REST = "rest"
    """Answers the next REST calls with the HTTP `status` and `message`."""
    EXPIRED = "expired"
    """The token is no longer accepted, neither here nor there; until `new_token()`."""
    INVALID = "invalid"
    """`symbols` have no topic; until `heal()`."""
    SILENT = "silent"
    """The next subscriptions of each of `symbols` are acknowledged, and nothing is sent."""


LATER = (Fault.STATUS, Fault.DENY, Fault.KICK, Fault.DEAF, Fault.REST)
"""Those that happen to connections and calls to come, and to none that there are."""


class Faults:
    """What is to go wrong, until it did. `status`, `code`, `message`, `retry_after`: as `FyersServer.fail` was told."""

    def __init__(self) -> None:
        self.status, self.code, self.message = 503, 1000, ""
        self.retry_after: int | None = None
        self.expired = False
        self.invalid: set[str] = set()
        self._silent: Counter[str] = Counter()
        self._left: Counter[Fault] = Counter()

    def expect(self, fault: Fault, symbols: Iterable[str], times: int) -> None:
        """What is to happen later, or from now on."""
        if fault in LATER:
            self._left[fault] = times
        elif fault in (Fault.MUTE, Fault.HANG):
            self._left[fault] = times - 1
        elif fault is Fault.INVALID:
            self.invalid.update(symbols)
        elif fault is Fault.SILENT:
            self._silent.update(dict.fromkeys(symbols, times))
        elif fault is Fault.EXPIRED:
            self.expired = True

    def happens(self, fault: Fault) -> bool:
        """True where it is to happen now, and once less from then on."""
        self._left[fault] -= 1
        return self._left[fault] >= 0

    def is_silent(self, symbol: str) -> bool:
        self._silent[symbol] -= 1
        return self._silent[symbol] >= 0


def garbage(random: Random) -> list[bytes | str]:
    """Nothing at all, text, noise, and noise that begins as something does."""
    kinds = (1, 4, 5, 6, 7, 8, 12, 13, 51, 99)
    beginnings = [b"", b"\x00", b"\x00\x00\x06", *(bytes((0, 9, kind, 7)) for kind in kinds)]
    noise: list[bytes | str] = [beginning + random.randbytes(length) for beginning in beginnings for length in (0, 40)]
    return ["", "pong", '{"s":"error"}', *noise]
