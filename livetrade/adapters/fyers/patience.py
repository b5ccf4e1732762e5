"""How long a feed waits: for an answer, for prices, before it connects anew, and until it gives up. Pure: time is an
argument, and chance too."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from random import Random
from time import time_ns

from livetrade.core.records import record

ONE_CONNECTION = "Fyers allows one data connection for each user: is another program or notebook connected?"
STEEPEST = 10
"""The exponent after which a delay has long reached its cap."""
LONGEST_SILENCE = 300.0


@record
class Timing:
    """In seconds. Tests bring shorter ones, and a sleep and a time of their own."""

    ping: float = 10.0
    """Between two of the pings that Fyers wants; nothing answers them."""
    keepalive: float = 20.0
    """Between two pings of the WebSocket itself, and for how long their answer may take."""
    answer: float = 10.0
    """For the opening handshake, and again for the answer to the authentication."""
    snapshot: float = 5.0
    """For the snapshots of what was subscribed to, before it is asked for once more, and then again."""
    gap: float = 0.5
    """Between two frames of subscriptions."""
    closing: float = 0.3
    """For the other side's goodbye."""
    first: float = 1.0
    longest: float = 30.0
    """The delay before a new connection doubles from the one to the other."""
    lasting: float = 60.0
    """A connection that lived longer than this was a good one."""
    token: float = 60.0
    """Between two looks for a new token, and at the age of the one in use."""
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    wall: Callable[[], int] = time_ns
    """The time of day, in nanoseconds UTC, for what has no engine's clock."""
    random: Random = Random()


class Cure(StrEnum):
    """What may help after a connection was lost."""

    TIME = "time"
    TOKEN = "token"
    NONE = "none"


@record
class Loss:
    """Why there is no connection (any more).

    lasted: seconds since the server had let us in; None where it never did. sent_away: the server itself ended it, in
    good order. wait: seconds that it wants to be left alone.
    """

    reason: str
    cure: Cure = Cure.TIME
    lasted: float | None = None
    sent_away: bool = False
    wait: float = 0.0


class Retries:
    """When to connect anew, and when to give up.

    Failures count until the server lets us in. The delay forgets them only after a connection that lasted, so that two
    programs that send each other away do not do so every second.
    """

    def __init__(self, most: int | None, timing: Timing) -> None:
        self._most = most
        self._timing = timing
        self._failures = self._brief = self._sent_away = 0

    def after(self, loss: Loss) -> float | None:
        """Seconds to wait before the next connection, or None to give up."""
        timing = self._timing
        lasting = loss.lasted is not None and loss.lasted >= timing.lasting
        self._failures = self._failures + 1 if loss.lasted is None else 1
        self._brief = 1 if lasting else self._brief + 1
        self._sent_away = self._sent_away + 1 if loss.sent_away and not lasting else 0
        if loss.cure is Cure.NONE:
            return None
        if self._most is not None and (loss.cure is Cure.TOKEN or self._failures > self._most):
            return None
        if loss.cure is Cure.TOKEN:
            return timing.token
        delay = min(timing.longest, timing.first * 2.0 ** min(self._brief - 1, STEEPEST))
        return max(loss.wait, delay * timing.random.uniform(0.5, 1.0))

    def told(self, loss: Loss) -> str:
        """The reason, with what may be behind it."""
        return f"{loss.reason}; {ONE_CONNECTION}" if self._sent_away >= 2 else loss.reason

    @property
    def failures(self) -> int:
        """How many times in a row there was no connection."""
        return self._failures


class Verdict(StrEnum):
    FINE = "fine"
    STALE = "stale"
    DEAD = "dead"


class Silence:
    """Judges a connection that sends nothing while its markets trade.

    It is stale after `stale_after` seconds, and dead after as many again: that is the first time. While a new
    connection is silent too (a holiday, or a share that hardly trades) the next one gets twice as long each time, for
    then it is not the connection that is dead.
    """

    def __init__(self, stale_after: float) -> None:
        self._stale_after_ns = round(stale_after * 1e9)
        self._in_vain = 0
        self._begun_ns: int | None = None
        self._heard_ns = 0
        self.stale = False

    def end(self) -> None:
        """There is no connection to judge."""
        self._begun_ns = None
        self.stale = False

    def begin(self, now_ns: int) -> None:
        """A connection has sent what it was asked for."""
        self._begun_ns = self._heard_ns = now_ns

    def heard(self, now_ns: int) -> bool:
        """Something came; true where that ends a silence."""
        self._heard_ns = now_ns
        if self._begun_ns is not None and now_ns - self._begun_ns > self._stale_after_ns:
            self._in_vain = 0
        was, self.stale = self.stale, False
        return was

    def look(self, now_ns: int, in_session: bool) -> Verdict:
        if not in_session:
            self._heard_ns = max(self._heard_ns, now_ns)
        silent_ns = now_ns - self._heard_ns
        if silent_ns >= self._stale_after_ns + self._patience_ns:
            self._in_vain = min(self._in_vain + 1, STEEPEST)
            return Verdict.DEAD
        self.stale = silent_ns >= self._stale_after_ns
        return Verdict.STALE if self.stale else Verdict.FINE

    def next_look(self, now_ns: int) -> float:
        """Seconds until the verdict may be another one."""
        due_ns = self._heard_ns + self._stale_after_ns + (self._patience_ns if self.stale else 0)
        return max(due_ns - now_ns, 0) / 1e9

    def half_over(self, now_ns: int) -> float:
        """Seconds until half of the time is over after which it is stale."""
        return max(self._heard_ns + self._stale_after_ns // 2 - now_ns, 0) / 1e9

    @property
    def _patience_ns(self) -> int:
        return max(self._stale_after_ns, min(self._stale_after_ns << self._in_vain, round(LONGEST_SILENCE * 1e9)))
