"""Everything livetrade raises, as one tree.

    LiveTradeError
    ├── OrderError              you asked for something that cannot be right; the message says what would be
    │   └── PriceError          a number that cannot be; `.reason` is the word that such a price is counted under
    ├── OrderRefusedError       `OrderResult.raise_if_failed()`: the order was refused
    ├── OrderPendingError       `OrderResult.raise_if_failed()`: the outcome is not known yet; do not send it again
    ├── EngineClosedError       a command to a closed engine
    ├── FeedError               a source of ticks that cannot be read or reached
    ├── BrokerError             a broker that cannot be asked; what is known of its books would be old
    ├── StrategyError           a replayed strategy raised; `.result` is what there was so far
    ├── JournalError            a journal that cannot be opened or does not fit
    ├── CalendarError           a day whose trading hours nobody knows; never taken for an open or a closed one
    ├── DeskError               a desk that cannot be started or reached; what is known of it would be old
    └── LedgerError             the books do not add up: a defect in livetrade, never in your code

What *you* asked wrongly raises. What the market, a broker or a feed did oddly is recorded, counted and answered.
"""

from typing import Any


class LiveTradeError(Exception):
    """Base of everything livetrade raises."""


class OrderError(LiveTradeError, ValueError):
    """A wrong use: a negative quantity, a malformed symbol, a price off the tick grid. The account is unchanged."""


class PriceError(OrderError):
    """A number that cannot be: a price that is not on its instrument's scale, an amount or a quantity that is none.

    `reason` is one of `not_a_number`, `infinite`, `zero`, `negative`, `off_scale`, `out_of_range`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class BrokerError(LiveTradeError):
    """A broker that does not answer, or refuses to tell what is in its books."""


class OrderRefusedError(LiveTradeError):
    """Raised by `OrderResult.raise_if_failed()` when the order did not do what its type asks."""


class OrderPendingError(LiveTradeError):
    """Raised by `OrderResult.raise_if_failed()` while the outcome is not known. The order must not be sent again."""


class EngineClosedError(LiveTradeError):
    """A command was given to an engine that is closed. Reads still answer."""


class FeedError(LiveTradeError):
    """A source of ticks cannot be read: a missing file or column, times out of order, no price in a row."""


class StrategyError(LiveTradeError):
    """A strategy raised in a replay, which ended there. `__cause__` is what it raised, `result` the `ReplayResult` so
    far."""

    def __init__(self, message: str, result: Any = None) -> None:
        super().__init__(message)
        self.result = result


class JournalError(LiveTradeError):
    """A journal cannot be opened, or does not fit what was asked of it."""


class CalendarError(LiveTradeError):
    """A trading calendar was asked for a day that it does not know, or for hours that are not known."""


class DeskError(LiveTradeError):
    """A desk cannot be started, found or reached. Raised in place of numbers that would be old."""


class LedgerError(LiveTradeError, AssertionError):
    """The ledger's identity does not hold. It is checked after every event and has no right to happen."""
