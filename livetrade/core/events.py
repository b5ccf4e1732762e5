"""Everything that goes into an account and comes out of it: commands, requests, reports and events.

Commands come from people and strategies, reports from a venue. Requests are what the account asks of a venue; they are
events too, as are the reports that changed something. Each carries `ts`, integer nanoseconds UTC, stamped once by
the shell. An event carries every figure of its decision, so that folding it (`Account.apply`) decides nothing.
"""

from decimal import Decimal

from livetrade.core.instruments import Instrument
from livetrade.core.kinds import ExitStatus, FeedState, OrderSide, OrderType, PriceSource, Product, Source, TimeInForce
from livetrade.core.records import record
from livetrade.core.ticks import Tick
from livetrade.core.values import Change, ExitTerm, Fill, Order, RiskOrder

# ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@record
class SubmitOrder:
    ts: int
    client_order_id: str
    instrument: Instrument
    side: OrderSide
    order_type: OrderType
    quantity_raw: int
    limit_raw: int | None = None
    trigger_raw: int | None = None
    time_in_force: TimeInForce = TimeInForce.DAY
    product: Product = Product.INTRADAY
    strategy: str = "manual"
    tag: str = ""
    source: Source = Source.USER
    exits: tuple[ExitTerm, ...] = ()
    sliced: bool = False
    """Above the freeze quantity it is sent in slices, not refused."""


@record
class ModifyOrder:
    ts: int
    client_order_id: str
    quantity_raw: int | None = None
    limit_raw: int | None = None
    trigger_raw: int | None = None


@record
class CancelOrder:
    ts: int
    client_order_id: str


@record
class CancelAll:
    ts: int
    symbol: str | None = None
    strategy: str | None = None


@record
class SetExit:
    """Arms, moves or (with an empty term) disarms one exit of a strategy's own books in a symbol."""

    ts: int
    symbol: str
    strategy: str
    term: ExitTerm

    @property
    def disarms(self) -> bool:
        return self.term.price_raw is None and self.term.pct is None and self.term.amount_raw is None


@record
class ClosePosition:
    """Closes every book of a symbol (of all symbols when None), or `quantity_raw` of it."""

    ts: int
    symbol: str | None = None
    quantity_raw: int | None = None


@record
class Flatten:
    """Cancels the working orders and closes every book of a symbol, or of all symbols; nothing held is fine."""

    ts: int
    symbol: str | None = None


@record
class Settle:
    """Closes what no order can close, at a price that a person tells: every book of an expired derivative (the price
    may be zero), else what was closed elsewhere."""

    ts: int
    symbol: str
    price_raw: int


@record
class Halt:
    ts: int
    reason: str = ""


@record
class Resume:
    ts: int


@record
class Transfer:
    ts: int
    amount_raw: int


@record
class Wake:
    """Time has come to a deadline of the account (`Account.next_deadline`)."""

    ts: int


@record
class ClockJumped:
    """The machine slept, or its time was set: every quote is stale until its next tick. `ts` has gone ahead by `by_ns`
    with it (0 when the time was set back): what waits for a timer waits on for as long as it had left."""

    ts: int
    by_ns: int
    reason: str


@record
class QuoteLost:
    """The feed no longer brings prices of this symbol: its quote is stale until its next tick."""

    ts: int
    symbol: str
    reason: str


@record
class BlockOpening:
    """While there is a `reason`, opening orders (of one `symbol`, where it is given) are refused with it; an empty one
    lifts the block. `by` names who blocks: each has one block of its own for each symbol, and one for all. What the
    machine can do now is no part of the account's past, so this is no event; the `alarm` that it raises is one."""

    ts: int
    by: str
    reason: str = ""
    alarm: str = ""
    symbol: str = ""


@record
class BrokerPosition:
    """What the broker's own book holds of a symbol and product, whoever bought it. Told when every execution of ours
    that it counts has been reported. No event: a broker tells it again, and only what follows from it is decided. Its
    quantity is exact, for a broker need not know our scales."""

    ts: int
    symbol: str
    product: Product
    quantity: Decimal


@record
class EndSession:
    """The engine is about to stop."""

    ts: int


@record
class FeedChanged:
    """The feed's state; anything but LIVE (or NONE: no feed) denies opening orders. An event too."""

    ts: int
    state: FeedState
    reason: str = ""


# ── requests: what the account asks of a venue ───────────────────────────────────────────────────────────────────────


@record
class Submit:
    ts: int
    order: Order


@record
class Modify:
    ts: int
    client_order_id: str
    change: Change


@record
class Cancel:
    ts: int
    client_order_id: str


# ── reports: what a venue says ───────────────────────────────────────────────────────────────────────────────────────


@record
class Accepted:
    ts: int
    client_order_id: str
    venue_order_id: str | None = None


@record
class Rejected:
    """`sent`: False where the order never left, and the venue said nothing of it. `filled_raw`: see `Canceled`."""

    ts: int
    client_order_id: str
    reason: str
    sent: bool = True
    filled_raw: int | None = None


@record
class Canceled:
    """The order's end. `filled_raw`: how much of it had filled then, by all that the venue knows; executions that were
    not reported yet are waited for. None from a venue that reports them all before it."""

    ts: int
    client_order_id: str
    reason: str = ""
    filled_raw: int | None = None


@record
class Expired:
    ts: int
    client_order_id: str
    reason: str = ""
    filled_raw: int | None = None


@record
class Modified:
    ts: int
    client_order_id: str
    quantity_raw: int
    limit_raw: int | None
    trigger_raw: int | None


@record
class RequestRejected:
    """A modify or a cancel was turned down; the order works on as it was."""

    ts: int
    client_order_id: str
    reason: str


@record
class Triggered:
    """A stop order's trigger was reached at the venue."""

    ts: int
    client_order_id: str


@record
class Unknown:
    """The outcome of a request is not known; it is looked up, never sent again."""

    ts: int
    client_order_id: str
    reason: str


@record
class Executed:
    """One execution. It counts once by its `execution_id`, however often it is reported."""

    ts: int
    client_order_id: str
    execution_id: str
    quantity_raw: int
    price_raw: int
    price_source: PriceSource


# ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────


PAID, VARIATION = "PAID", "VARIATION"


@record
class AccountOpened:
    """futures: VARIATION where their gains and losses alone move cash; accounts from before this was so paid for them
    as for shares."""

    ts: int
    cash_raw: int
    currency: str
    timezone: str
    futures: str = PAID


@record
class SessionStarted:
    """An engine works on the account from here on. mode: PAPER or REAL. `limits` and `fees` are described by name and
    value, as texts; of a user's own schedule or margin rule only the name is known."""

    ts: int
    version: str
    mode: str
    trigger_by: str
    limits: tuple[tuple[str, str], ...]
    fees: tuple[str, ...]
    margin: str = ""


@record
class SessionEnded:
    """The engine was closed in good order; a session without this was killed."""

    ts: int


@record
class InstrumentAdded:
    """A symbol's scales are fixed from here on."""

    ts: int
    instrument: Instrument


@record
class DayStarted:
    """A new day in the account's time zone. `base_raw` is total P&L where the day's counts from; None when positions
    are held, whose first mark of the day decides it."""

    ts: int
    day: str
    total_pnl_raw: int
    base_raw: int | None


@record
class Seen:
    """The extremes of the mark that one book of a symbol saw up to the symbol's last fill."""

    strategy: str
    product: Product
    low_raw: int
    high_raw: int


@record
class Marked:
    """What ticks have told of a symbol that is or was held: its mark (twice the price), the extremes of the mark since
    the symbol's last fill, and what each book saw before. Written at a day's start and a session's end, so that no
    ticks from before are needed again."""

    ts: int
    symbol: str
    mark_raw: int
    low_raw: int
    high_raw: int
    books: tuple[Seen, ...] = ()


@record
class CashMoved:
    """Money was put in (positive) or taken out."""

    ts: int
    amount_raw: int


@record
class OrderDenied:
    """An order that our own limits refused; it was never sent."""

    ts: int
    order: Order


@record
class Settling:
    """An order that is never sent: the exchange itself closes an expired position, or somebody has closed it elsewhere.
    Its fill follows."""

    ts: int
    order: Order


@record
class CommandDenied:
    """A command other than an order, or an order whose id was taken, was refused."""

    ts: int
    command: str
    reason: str
    client_order_id: str | None = None


@record
class Filled:
    """A fill with all its figures: fees, realized P&L and what they did."""

    ts: int
    fill: Fill


@record
class ExitArmed:
    """An exit is watched from here on. Each arming has a `risk_id` of its own; one that it replaces ends first."""

    ts: int
    risk: RiskOrder


@record
class TrailMoved:
    ts: int
    risk_id: str
    trigger_raw: int
    best_raw: int


@record
class ExitFired:
    ts: int
    risk_id: str
    price_raw: int
    quantity_raw: int


@record
class ExitRetry:
    """A fired exit's order ended with something left; the rest is sent at `retry_ns`. With the `attempts` of before:
    it had filled something, or the clock jumped, and `retry_ns` with it."""

    ts: int
    risk_id: str
    attempts: int
    retry_ns: int


@record
class ExitEnded:
    ts: int
    risk_id: str
    status: ExitStatus


@record
class Alarm:
    """Something a person should look at; trading goes on."""

    ts: int
    kind: str
    message: str


@record
class ClosePending:
    """What of a book is still to be closed once the orders in its way are gone; 0: nothing any more."""

    ts: int
    strategy: str
    symbol: str
    product: Product
    quantity_raw: int


@record
class DifferenceAccepted:
    """Somebody knows that the broker's fills under our ids differ by so much from the books (by nothing again: 0), and
    goes on with it. A command too."""

    ts: int
    symbol: str
    product: Product
    difference_raw: int


@record
class Halted:
    ts: int
    reason: str


@record
class Resumed:
    ts: int


@record
class EquityPoint:
    ts: int
    cash_raw: int
    market_value_raw: int
    realized_raw: int
    unrealized_raw: int
    fees_raw: int


Command = (
    SubmitOrder
    | ModifyOrder
    | CancelOrder
    | CancelAll
    | SetExit
    | ClosePosition
    | Flatten
    | Settle
    | Halt
    | Resume
    | Transfer
    | DifferenceAccepted
)
Request = Submit | Modify | Cancel
Report = Accepted | Rejected | Canceled | Expired | Modified | RequestRejected | Triggered | Unknown | Executed
News = Report | BrokerPosition | BlockOpening
"""What a broker may tell: of orders, of its own book, and that for now nothing should be opened."""
Input = Tick | Command | News | Wake | ClockJumped | QuoteLost | EndSession | FeedChanged
Event = (
    AccountOpened
    | SessionStarted
    | SessionEnded
    | InstrumentAdded
    | DayStarted
    | Marked
    | CashMoved
    | OrderDenied
    | Settling
    | CommandDenied
    | Submit
    | Modify
    | Cancel
    | Accepted
    | Rejected
    | Canceled
    | Expired
    | Modified
    | RequestRejected
    | Triggered
    | Unknown
    | Filled
    | ExitArmed
    | TrailMoved
    | ExitFired
    | ExitRetry
    | ExitEnded
    | FeedChanged
    | Alarm
    | ClosePending
    | DifferenceAccepted
    | Halted
    | Resumed
    | EquityPoint
)
