"""The words of the field, as enums: sides, order types and statuses, products, exits, feeds."""

from enum import StrEnum


class OrderSide(StrEnum):
    """What an order does."""

    sign: int
    """+1 for BUY, -1 for SELL."""

    BUY = "BUY"
    """Opens a long position or adds to it; buys a short one back."""
    SELL = "SELL"
    """Closes a long position; opens a short one where limits allow it."""

    def __init__(self, name: str) -> None:
        self.sign = 1 if name == "BUY" else -1


class OrderType(StrEnum):
    """How an order wants to be filled."""

    MARKET = "MARKET"
    """At once, at whatever price there is."""
    LIMIT = "LIMIT"
    """At its limit price or better."""
    STOP = "STOP"
    """At the market, once its trigger is reached."""
    STOP_LIMIT = "STOP_LIMIT"
    """At its limit price or better, once its trigger is reached."""


class TimeInForce(StrEnum):
    """How long an order works."""

    DAY = "DAY"
    """Until the day ends."""
    IOC = "IOC"
    """What cannot be filled at once is canceled."""
    GTC = "GTC"
    """Until it fills or is canceled."""


class Product(StrEnum):
    """What the broker takes an order for."""

    CNC = "CNC"
    """Shares for delivery: kept, and paid in full."""
    INTRADAY = "INTRADAY"
    """To be closed on the same day, which a broker may do by itself. The default."""
    MARGIN = "MARGIN"
    """Futures and options that are kept overnight."""


class OrderStatus(StrEnum):
    """Where an order stands in its life; `livetrade.core.orders` has the table of what leads where."""

    INITIALIZED = "INITIALIZED"
    """Asked for, and not looked at yet."""
    DENIED = "DENIED"
    """Refused by our own limits or account; it never left."""
    SUBMITTED = "SUBMITTED"
    """On its way to the broker."""
    ACCEPTED = "ACCEPTED"
    """The broker has it; it works."""
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    """Some of it has filled; the rest works."""
    FILLED = "FILLED"
    """All of it has filled. Final."""
    PENDING_UPDATE = "PENDING_UPDATE"
    """A modification is on its way."""
    PENDING_CANCEL = "PENDING_CANCEL"
    """A cancel is on its way."""
    CANCELED = "CANCELED"
    """Taken back, whatever had not filled. Final."""
    REJECTED = "REJECTED"
    """Refused by the broker or the exchange. Final."""
    EXPIRED = "EXPIRED"
    """Its time was over, as a DAY order's is with the day. Final."""
    UNKNOWN = "UNKNOWN"
    """Nobody told what became of it. It is looked up, and never sent again."""


class Source(StrEnum):
    """Who asked for an order."""

    USER = "USER"
    STRATEGY = "STRATEGY"
    STOP_LOSS = "STOP_LOSS"
    TAKE_PROFIT = "TAKE_PROFIT"
    TRAILING_STOP = "TRAILING_STOP"
    FLATTEN = "FLATTEN"
    REST = "REST"
    EXTERNAL = "EXTERNAL"


class PriceSource(StrEnum):
    """Which price a fill was made at."""

    BID = "BID"
    ASK = "ASK"
    LAST = "LAST"
    LIMIT = "LIMIT"
    VENUE = "VENUE"


class ExitKind(StrEnum):
    STOP_LOSS = "STOP_LOSS"
    TAKE_PROFIT = "TAKE_PROFIT"
    TRAILING_STOP = "TRAILING_STOP"


class ExitStatus(StrEnum):
    ARMED = "ARMED"
    TRIGGERED = "TRIGGERED"
    FILLED = "FILLED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


class StrategyState(StrEnum):
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


class Process(StrEnum):
    """Where a strategy runs: in the notebook's kernel (or any program of the user's), or in the desk."""

    KERNEL = "KERNEL"
    DESK = "DESK"


class InstrumentKind(StrEnum):
    EQUITY = "EQUITY"
    FUTURE = "FUTURE"
    OPTION = "OPTION"
    INDEX = "INDEX"
    CURRENCY = "CURRENCY"
    CRYPTO = "CRYPTO"


class FeedState(StrEnum):
    NONE = "NONE"
    CONNECTING = "CONNECTING"
    LIVE = "LIVE"
    STALE = "STALE"
    RECONNECTING = "RECONNECTING"
    FAILED = "FAILED"
    CLOSED = "CLOSED"
