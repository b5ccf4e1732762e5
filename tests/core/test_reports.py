"""Each report counts once: reports that come twice, late or in another order end as the orderly ones do.

A venue that tells the truth lives through what is asked of it, and its reports reach one account in turn. Another asks
the same and gets them shuffled, some of them again; in the end both know the same. The venue answers each request, but
of two on their way it need not say which one it turns down. Left out of "the same" are

- when it was heard, and the ids made of that: `updated_ns`, `opened_ns`, `armed_ns`, `risk_id`, the histories;
- `reason`, the text of whichever refusal or end came last, and alarms, which tell what looked odd when it came;
- realized P&L, cost and margin of what was opened at several prices and closed in part between: at average cost they
  depend on which fill came first. Realized P&L less cost does not; it is in the cash, which is always compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from livetrade.core import events as ev
from livetrade.core.account import Account
from livetrade.core.fees import FlatFee, PercentFee
from livetrade.core.kinds import OrderSide, OrderStatus, PriceSource
from livetrade.core.limits import Limits
from livetrade.core.records import replaced
from livetrade.core.values import Order
from tests.core.kit import Desk, stop, target

Step = tuple[Any, ...]
Terms = dict[str, Any]


# ── the venue ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Resting:
    """An order at the venue, which does what was asked as far as that is still possible, and reports the truth."""

    order: Order
    quantity: int = 100
    filled: int = 0
    over: bool = False
    reports: list[ev.Report] = field(default_factory=list)

    def live(self, steps: Sequence[Step]) -> list[ev.Report]:
        """What is said while all this happens, in turn."""
        self.reports = []
        for what, *figures in steps:
            getattr(self, what)(*figures)
        return self.reports

    def say(self, kind: Callable[..., ev.Report], *figures: Any) -> None:
        self.reports.append(kind(0, self.order.client_order_id, *figures))

    def accept(self) -> None:
        self.say(ev.Accepted, f"V{self.order.client_order_id}")
        if self.order.trigger_raw is not None:
            self.say(ev.Triggered)

    def execute(self, quantity: int, price: int) -> None:
        if not self.over:
            quantity = min(quantity, self.quantity - self.filled)
            self.filled += quantity
            self.over = self.filled == self.quantity
            self.say(ev.Executed, f"{self.order.client_order_id}-{self.filled}", quantity, price, PriceSource.VENUE)

    def modify(self, willing: bool) -> None:
        change = self.order.pending
        if change is None:
            return
        if self.over or not willing or change.quantity_raw < self.filled:
            self.say(ev.RequestRejected, "no")
        else:
            self.quantity = change.quantity_raw
            self.over = self.filled == self.quantity
            self.say(ev.Modified, change.quantity_raw, change.limit_raw, change.trigger_raw)

    def cancel(self, willing: bool) -> None:
        if self.order.status is not OrderStatus.PENDING_CANCEL:
            return
        if self.over or not willing:
            self.say(ev.RequestRejected, "no")
        else:
            self.end(ev.Canceled)

    def end(self, how: Callable[..., ev.Report]) -> None:
        if not self.over:
            self.over = True
            self.say(how, "over")

    def lose(self) -> None:
        """A connection breaks; what becomes of the request is heard all the same."""
        self.say(ev.Unknown, "timeout")


# ── what is asked, and what becomes of it ────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Asked:
    """An order, what else is asked of it before anything is heard, and what becomes of it all."""

    terms: Terms
    change: Terms | None
    cancels: bool
    steps: Sequence[Step]

    def submit(self, desk: Desk, key: str) -> None:
        desk.submit(quantity_raw=100, order_id=key, **self.terms)
        ask(desk, key, self.change, self.cancels)


def ask(desk: Desk, key: str, change: Terms | None, cancels: bool) -> None:
    if change is not None:
        desk.modify(key, **change)
    if cancels:
        desk.cancel(key)


def half(_: Account, order: Order) -> Decimal:
    return order.instrument.price(order.limit_raw or order.trigger_raw or order.reference_raw) * order.quantity / 2


ACCOUNTS = st.fixed_dictionaries(
    {
        "fees": st.sampled_from([PercentFee("0.03", cap=20), FlatFee(7)]),
        "margin": st.sampled_from([None, half]),
    }
)
QUANTITIES = st.sampled_from([50, 100, 150, 200])
PARTS = st.sampled_from([7, 20, 50, 100])
PRICES = st.sampled_from([54000, 54001, 54903])
ONE_PRICE = st.just(54900)
LIMITS = st.sampled_from(["548", "549", "550"])
CHANGES = st.fixed_dictionaries({"quantity": QUANTITIES, "limit": LIMITS})
EXITS = st.sampled_from([(), (stop("500"),), (stop("500"), target("600"))])
STARTS = st.sampled_from([("accept",)] * 7 + [("end", ev.Rejected)])


@st.composite
def lives(draw: st.DrawFn, prices: st.SearchStrategy[int]) -> list[Step]:
    """Executions, answers to what may have been asked, a lost connection, an end that nobody asked for; in any turn."""
    steps: list[Step] = [("modify", draw(st.booleans())), ("cancel", draw(st.booleans()))]
    steps += [("execute", draw(PARTS), draw(prices)) for _ in range(draw(st.integers(0, 5)))]
    steps += [("lose",)] * draw(st.integers(0, 1))
    steps += [("end", draw(st.sampled_from([ev.Canceled, ev.Expired])))] * draw(st.integers(0, 1))
    return draw(st.permutations(steps))


@st.composite
def orders(draw: st.DrawFn, side: OrderSide, prices: st.SearchStrategy[int] = PRICES) -> Asked:
    limit = draw(st.fixed_dictionaries({}, optional={"limit": LIMITS}))
    trigger = draw(st.fixed_dictionaries({}, optional={"trigger": st.just("549.5")}))
    exits = draw(EXITS) if side is OrderSide.BUY else ()
    terms = {"side": side, "tag": side.lower(), "exits": exits, **limit, **trigger}
    change = {"quantity": draw(QUANTITIES), **({"limit": draw(LIMITS)} if limit else {})}
    start = draw(STARTS)
    return Asked(terms, draw(st.sampled_from([None, change])), draw(st.booleans()), [start, *draw(lives(prices))])


def a_desk(terms: Terms) -> Desk:
    desk = Desk(live=True, limits=Limits(allow_short=True), **terms)
    desk.quote("549", "549.05")
    return desk


def tell(desk: Desk, reports: Sequence[ev.Report]) -> list[ev.Event]:
    events = []
    for report in reports:
        desk.pass_time(0.001)
        events += desk.handle(replaced(report, ts=desk.ts))
    return events


def mixed(data: st.DataObject, reports: list[ev.Report], earlier: Sequence[ev.Report] = ()) -> list[ev.Report]:
    """The reports in any order, and any of them, or of those before, again."""
    said = [*earlier, *reports]
    again = data.draw(st.lists(st.sampled_from(said), max_size=6)) if said else []
    return data.draw(st.permutations(reports + again))


# ── what is known in the end ─────────────────────────────────────────────────────────────────────────────────────────


def ending(desk: Desk) -> dict[str, Any]:
    account, ledger = desk.account, desk.account.ledger
    return {
        "orders": {key: replaced(order, updated_ns=0, reason="") for key, order in account.orders.items()},
        "open": account.open_orders.keys(),
        "blocked": account.blocked_raw,
        "money": (ledger.cash_raw, ledger.put_in_raw, ledger.fees_raw, account.portfolio_value_raw),
        "shares": (ledger.realized_raw, ledger.cost_raw, ledger.margin_raw) if has_one_cost(desk) else None,
        "held": {key: (book.quantity_raw, book.tag) for key, book in ledger.books.items() if book.quantity_raw},
        "exits": {
            key: {kind: (risk.trigger_raw, risk.long, risk.tag, risk.status) for kind, risk in bracket.items()}
            for key, bracket in account.brackets.items()
        },
        "closing": account.closing,
    }


def has_one_cost(desk: Desk) -> bool:
    """Whether what is held costs the same however its fills were mixed with those of the other side."""
    fills = desk.fills()
    opening = {fill.price_raw for fill in fills if fill.side.sign * desk.position > 0}
    return len({fill.side for fill in fills}) < 2 or len(opening) < 2


# ── the properties ───────────────────────────────────────────────────────────────────────────────────────────────────


def check(terms: Terms, asked: list[Asked], data: st.DataObject) -> None:
    """Orders that were all asked for before anything is heard of them."""
    orderly, other = a_desk(terms), a_desk(terms)
    reports: list[ev.Report] = []
    for number, each in enumerate(asked):
        for desk in (orderly, other):
            each.submit(desk, f"A{number}")
        reports += Resting(orderly.order(f"A{number}")).live(each.steps)
    tell(orderly, reports)
    tell(other, mixed(data, reports))
    assert ending(other) == ending(orderly)
    assert tell(other, mixed(data, reports)) == [], "what is known is no event"


@given(ACCOUNTS, orders(OrderSide.BUY), st.data())
@settings(max_examples=300)
def test_the_reports_of_an_order(terms: Terms, order: Asked, data: st.DataObject) -> None:
    check(terms, [order], data)


@given(ACCOUNTS, orders(OrderSide.BUY, ONE_PRICE), orders(OrderSide.SELL), st.data())
@settings(max_examples=300)
def test_the_reports_of_an_order_and_of_one_that_closes(
    terms: Terms, buy: Asked, sell: Asked, data: st.DataObject
) -> None:
    check(terms, [buy, sell], data)


@given(ACCOUNTS, CHANGES, CHANGES, st.booleans(), lives(PRICES), lives(PRICES), st.data())
@settings(max_examples=300)
def test_a_later_modification_is_not_reverted(
    terms: Terms,
    change: Terms,
    later: Terms,
    cancels: bool,
    life: list[Step],
    later_life: list[Step],
    data: st.DataObject,
) -> None:
    """Of two modifications the second is asked once the first is answered; then all that was said before comes again.

    Left out is a second one to the very same terms: a late confirmation of the first cannot be told from its own.
    """
    assume(change != later)
    orderly, other = a_desk(terms), a_desk(terms)
    first = Asked({"side": OrderSide.BUY, "limit": "549"}, change, False, [("accept",), *life])
    for desk in (orderly, other):
        first.submit(desk, "A0")
    resting = Resting(orderly.order("A0"))
    earlier = resting.live(first.steps)
    for desk in (orderly, other):
        tell(desk, earlier)
        ask(desk, "A0", later, cancels)
    resting.order = orderly.order("A0")
    reports = resting.live(later_life)
    tell(orderly, reports)
    tell(other, mixed(data, reports, earlier))
    assert ending(other) == ending(orderly)
