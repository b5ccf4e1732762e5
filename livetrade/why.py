"""Why an order came to be and what became of it, told from the events: `engine.why(...)`.

The events up to the order are folded again, so that the limits' figures are those of that moment. What only ticks told
(the day's P&L, the age of a quote) is not known from events, and left out.
"""

from collections.abc import Iterable, Iterator
from itertools import takewhile

from livetrade.core import events as ev
from livetrade.core import html
from livetrade.core.account import Account
from livetrade.core.fees import NoFees, schedule_of
from livetrade.core.kinds import OrderSide, OrderStatus, Source
from livetrade.core.limits import limits_of
from livetrade.core.numbers import at, money
from livetrade.core.records import record
from livetrade.core.ticks import Tick
from livetrade.core.values import Fill, Order, RiskOrder

_FROM_TICKS = ("max_daily_loss", "max_tick_age", "balance", "price")


@record
class Step:
    """One link of the chain: when (ISO 8601, the account's zone), what it is (such as SUBMITTED), and its figures."""

    time: str
    what: str
    told: str


@record
class Why:
    """One sentence, and the chain of events behind it."""

    sentence: str
    steps: tuple[Step, ...]

    def __repr__(self) -> str:
        width = max((len(step.what) for step in self.steps), default=0)
        lines = (f"  {step.time}  {step.what:<{width}}  {step.told}".rstrip() for step in self.steps)
        return "\n".join([self.sentence, *lines])

    def _repr_html_(self) -> str:
        return html.card(self.sentence, html.facts((step.what, step.time, step.told) for step in self.steps))


def why_of(events: Iterable[ev.Event], order_id: str) -> Why | None:
    """What events tell of an order (or of all slices of one); None where they know of none."""
    telling = _Telling(order_id)
    for event in events:
        telling.take(event)
    order = telling.account.order(order_id)
    if order is None:
        return None
    joined = " because " if order.filled_raw else "; "
    return Why(f"{_ending(order, telling.account)}{joined}{telling.cause}.", tuple(telling.steps))


class _Telling:
    """Folds events, and keeps what concerns one order."""

    def __init__(self, order_id: str) -> None:
        self.account = Account()
        self.steps: list[Step] = []
        self.cause = "nothing is known of where it came from"
        self._id = order_id
        self._ids = {order_id}
        self._armed: dict[str, ev.ExitArmed] = {}
        self._fired: dict[str, ev.ExitFired] = {}
        self._arming = False  # what is armed now, our fill has armed

    def take(self, event: ev.Event) -> None:
        if isinstance(event, ev.ExitArmed):
            self._armed[event.risk.risk_id] = event
            if self._arming:
                self._add(event.ts, "ARMED", f"{event.risk.kind} at {event.risk.trigger_price}")
        elif isinstance(event, ev.ExitFired):
            self._fired[event.risk_id] = event
        elif not isinstance(event, ev.EquityPoint | ev.ExitEnded):
            self._arming = False
        if isinstance(event, ev.Submit | ev.OrderDenied | ev.Settling):
            self._take_order(event)
        elif isinstance(event, ev.Filled):
            self._take_fill(event)
        else:
            order = self.account.orders.get(getattr(event, "client_order_id", None) or "")
            if order is not None and order.client_order_id in self._ids:
                self._add(event.ts, *_heard(event, order))
        self.account.apply(event)
        if isinstance(event, ev.SessionStarted):
            self.account.limits = limits_of(event.limits)
            self.account.fees = schedule_of(event.fees) or NoFees()

    def _add(self, ts: int, what: str, told: str) -> None:
        self.steps.append(Step(at(ts, self.account.zone).isoformat(timespec="milliseconds"), what, told))

    def _take_order(self, event: ev.Submit | ev.OrderDenied | ev.Settling) -> None:
        order = event.order
        if self._id not in (order.client_order_id, order.parent_id):
            return
        first = not self.steps
        self._ids.add(order.client_order_id)
        if first:
            self.cause = self._caused(order)
        for step in self._checks(order, event.ts):
            self._add(event.ts, "TESTED", step)
        met = f", the market at {order.instrument.price(order.reference_raw)}" if order.reference_raw else ""
        terms = f"{order.side} {order.quantity} {order.symbol} {order.order_type} {order.product}{_prices(order)}{met}"
        what = {ev.Submit: "SUBMITTED", ev.OrderDenied: "DENIED", ev.Settling: "SETTLED"}[type(event)]
        slice_of = f", {order.client_order_id} of {order.parent_id}" if order.parent_id else ""
        self._add(event.ts, what, f"{terms}{slice_of}" + (f": {order.reason}" if order.reason else ""))

    def _caused(self, order: Order) -> str:
        """Adds what came before the order; gives back the cause as a part of a sentence."""
        risk_id = order.risk_id or ""
        if risk_id in self._fired:
            armed, fired, risk = self._armed[risk_id], self._fired[risk_id], self.account.risks[risk_id]
            item = risk.instrument
            self._add(armed.ts, "ARMED", f"{risk.kind} of {risk.symbol} at {armed.risk.trigger_price}{_distance(risk)}")
            if risk.trigger_raw != armed.risk.trigger_raw:
                self._add(
                    fired.ts, "MOVED", f"to {risk.trigger_price}, behind the best price {item.price(risk.best_raw)}"
                )
            price = item.price(fired.price_raw)
            self._add(fired.ts, "FIRED", f"the price was {price}, {item.quantity(fired.quantity_raw)} were held")
            return f"the {risk.kind} of {risk.symbol} at {risk.trigger_price} was reached: the price was {price}"
        cause = _CAUSES[order.source].format(strategy=order.strategy)
        self._add(order.created_ns, "ASKED", f"{cause}{_exits(order)}")
        return cause

    def _checks(self, order: Order, ts: int) -> Iterator[str]:
        """The limits that it was tested by, with the figures of then."""
        account, market = self.account, self.account.markets[order.symbol]
        if order.source is Source.EXTERNAL:
            return
        before, account.ts = account.ts, ts
        quote = market.quote
        if order.reference_raw:
            market.quote = Tick(order.instrument, ts, last_raw=order.reference_raw)
        opening, checks = account.tested(order, market, ())
        account.ts, market.quote = before, quote
        for check in takewhile(lambda check: not check.reason or check.name in _FROM_TICKS, checks):
            if check.name not in _FROM_TICKS:
                yield f"{check.name}: {check.asked}" + ("" if check.allowed is None else f", allowed {check.allowed}")
        if order.margin_raw:
            lost = ", before what open futures and shorts had lost" if account.ledger.at_risk else ""
            yield f"balance: {money(order.margin_raw):,} and fees, {money(account.free_raw):,} free{lost}"
        if not opening:
            yield "it only closes what is held, so no limit holds it back"

    def _take_fill(self, event: ev.Filled) -> None:
        fill = event.fill
        if fill.client_order_id in self._ids:
            self._add(event.ts, "FILLED", _filled(fill))
            self._arming = True


_CAUSES = {
    Source.USER: "you asked for it",
    Source.STRATEGY: "the strategy {strategy} asked for it",
    Source.FLATTEN: "what was held was to be closed (flatten, close_position)",
    Source.REST: "a request over REST asked for it",
    Source.EXTERNAL: "it was settled by hand: the contract had expired, or the position was closed elsewhere",
    Source.STOP_LOSS: "a stop-loss was reached",
    Source.TAKE_PROFIT: "a take-profit was reached",
    Source.TRAILING_STOP: "a trailing stop was reached",
}


def _heard(event: ev.Event, order: Order) -> tuple[str, str]:
    """What was asked of an order, or said of it, later on."""
    item = order.instrument
    match event:
        case ev.Modify(change=change):
            prices = [item.price(raw) for raw in (change.limit_raw, change.trigger_raw) if raw]
            return "MODIFY", f"to {item.quantity(change.quantity_raw)} at {', '.join(map(str, prices)) or 'market'}"
        case ev.Cancel():
            return "CANCEL", "its cancel was asked for"
        case ev.Accepted(venue_order_id=venue_id):
            return "ACCEPTED", f"by the venue, as {venue_id}" if venue_id else "by the venue"
        case ev.Triggered():
            return "TRIGGERED", "its trigger was reached at the venue"
    return type(event).__name__.upper(), getattr(event, "reason", "")


def _prices(order: Order) -> str:
    named = (("limit", order.limit_price), ("trigger", order.trigger_price))
    return "".join(f" {name} {price}" for name, price in named if price is not None)


def _exits(order: Order) -> str:
    return f", with {', '.join(term.kind.value for term in order.exits)}" if order.exits else ""


def _distance(risk: RiskOrder) -> str:
    if risk.amount_raw is not None:
        return f", {risk.instrument.price(risk.amount_raw)} behind the best price"
    return "" if risk.pct is None else f", {risk.pct} %"


def _filled(fill: Fill) -> str:
    told = f"{fill.quantity} at {fill.price} ({fill.price_source}), fees {fill.fees}"
    return told + (f", realized {fill.realized_pnl:+}" if fill.realized_raw else "")


def _ending(order: Order, account: Account) -> str:
    """What became of it, as the beginning of a sentence."""
    key, bought = order.client_order_id, order.side is OrderSide.BUY
    traded = f"{'bought' if bought else 'sold'} {order.filled_qty} {order.symbol} at {order.avg_price}"
    if order.status is OrderStatus.FILLED:
        slices = account.slices.get(key, [])
        return f"{key} {traded}" + (f" in {len(slices)} orders" if slices else "")
    reason = f": {order.reason}" if order.reason else ""
    verbs = {OrderStatus.DENIED: "was refused", OrderStatus.REJECTED: "was rejected by the venue"}
    verb = verbs.get(order.status, f"{'is' if order.is_open else 'ended'} {order.status}")
    ended = f"{key} ({order.side} {order.quantity} {order.symbol}) {verb}{reason}"
    return f"{ended}; it {traded}" if order.filled_raw else ended
