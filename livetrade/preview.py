"""What an order would do, as a person reads it: `engine.preview(...)`."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from livetrade.core import events as ev
from livetrade.core import html
from livetrade.core.account import Account
from livetrade.core.examining import Charges
from livetrade.core.kinds import OrderSide, OrderType, PriceSource, Product
from livetrade.core.limits import Check
from livetrade.core.numbers import money
from livetrade.core.records import record


@record
class Tested:
    """One thing that the order was tested by: what is allowed, what it asks for, both as texts (empty where there is no
    figure), and why it is refused (empty where it passes)."""

    name: str
    allowed: str
    asked: str
    reason: str = ""


@record
class Charge:
    name: str
    amount: Decimal


@record
class Preview:
    """What an order would do if it were sent now. Nothing was sent.

    Money is in the account's currency, exact; prices are per unit. None: not known (no price, or fees by a callable
    that is asked for fills only).
    """

    side: OrderSide
    quantity: Decimal
    symbol: str
    order_type: OrderType
    product: Product
    refused: bool
    reason: str
    """Why it would be refused; empty where it would be sent."""
    price: Decimal | None
    """What it is expected to fill at: the quote of now, or its own limit or trigger where it would wait for that."""
    price_source: PriceSource
    value: Decimal | None
    opening_quantity: Decimal
    """How much of it opens; the rest closes what its own book holds."""
    realized_pnl: Decimal
    """Gross, of the part that closes."""
    margin: Decimal
    """Own money that backs the part that opens."""
    cash_needed: Decimal
    """What has to be free: the margin, and charges reckoned at its own limit or trigger, else at the market."""
    cash_free: Decimal
    fees: Decimal | None
    exit_fees: Decimal | None
    """What closing the part that it opens is charged, at the same price."""
    break_even_price: Decimal | None
    """The nearest price on the tick grid at which closing that part loses nothing; None where nothing opens."""
    charges: tuple[Charge, ...]
    exit_charges: tuple[Charge, ...]
    checks: tuple[Tested, ...]
    """Everything that it was tested by, and the figures of each."""
    orders: int = 1
    """In how many it would be sent: more than one where it is above the exchange's freeze quantity."""
    currency: str = "INR"

    def as_dict(self) -> dict[str, Any]:
        """Plain values by name: charges as a dict by name, checks as a list of dicts."""
        values: dict[str, Any] = {name: getattr(self, name) for name in self.__match_args__}
        for name in ("charges", "exit_charges"):
            values[name] = {charge.name: charge.amount for charge in values[name]}
        values["checks"] = [{name: getattr(check, name) for name in Tested.__match_args__} for check in self.checks]
        return values

    def __repr__(self) -> str:
        lines = [f"Preview: {self._headline()}", *(f"  {name:<13} {told}" for name, told in self._lines())]
        lines += (f"  {mark} {name}: {figures}" for mark, name, figures in self._tests())
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        tests = ((f"{mark} {name}", figures) for mark, name, figures in self._tests())
        return html.card(self._headline(), html.facts([*self._lines(), *tests]))

    def _headline(self) -> str:
        at = "at an unknown price" if self.price is None else f"at {self.price} ({self.price_source})"
        end = f"would be refused: {self.reason}" if self.refused else "would be sent"
        return f"{self.side} {self.quantity} {self.symbol} {self.order_type} {self.product} {at} {end}"

    def _lines(self) -> Iterable[tuple[str, str]]:
        if self.value is not None:
            parts = f", in {self.orders} orders" if self.orders > 1 else ""
            yield "value", f"{self.value:,} {self.currency}{parts}"
        if self.opening_quantity != self.quantity:
            closes = self.quantity - self.opening_quantity
            yield "closes", f"{closes} of {self.quantity}, gross P&L {self.realized_pnl:+,}"
        yield "charges", _told(self.fees, self.charges)
        if self.opening_quantity:
            yield "exit charges", _told(self.exit_fees, self.exit_charges)
            yield "break-even", "not known" if self.break_even_price is None else str(self.break_even_price)
            yield "cash", f"{self.cash_needed:,} needed (margin {self.margin:,}), {self.cash_free:,} free"

    def _tests(self) -> Iterable[tuple[str, str, str]]:
        for check in self.checks:
            figures = f"{check.asked}, allowed {check.allowed}" if check.allowed else check.asked
            yield ("✗" if check.reason else "✓"), check.name, check.reason or figures


def _told(fees: Decimal | None, charges: tuple[Charge, ...]) -> str:
    if fees is None:
        return "not known before the fill"
    parts = ", ".join(f"{charge.name} {charge.amount}" for charge in charges if charge.amount)
    return f"{fees:,}" + (f" ({parts})" if parts else "")


def preview_of(account: Account, command: ev.SubmitOrder, ts: int) -> Preview:
    """What the order would do if it were sent at `ts`; the account is as before."""
    seen = account.examine(command, ts)
    order, item = seen.order, seen.order.instrument
    return Preview(
        side=order.side,
        quantity=order.quantity,
        symbol=order.symbol,
        order_type=order.order_type,
        product=order.product,
        refused=bool(seen.reason),
        reason=seen.reason,
        price=item.price(seen.price_raw) if seen.price_raw else None,
        price_source=seen.price_source,
        value=money(item.value_raw(seen.price_raw, order.quantity_raw)) if seen.price_raw else None,
        opening_quantity=item.quantity(seen.opening_raw),
        realized_pnl=money(seen.realized_raw),
        margin=money(seen.margin_raw),
        cash_needed=money(seen.needed_raw),
        cash_free=money(seen.free_raw),
        fees=None if seen.entry is None else money(seen.entry[0]),
        exit_fees=None if seen.exit is None else money(seen.exit[0]),
        break_even_price=None if seen.break_even_raw is None else item.price(seen.break_even_raw),
        charges=_charges(seen.entry),
        exit_charges=_charges(seen.exit),
        checks=tuple(_tested(check) for check in seen.checks),
        orders=seen.orders,
        currency=account.currency,
    )


def _charges(charged: Charges | None) -> tuple[Charge, ...]:
    """By name; what a schedule does not itemise is one charge, as in `fills(charges=True)`."""
    if charged is None:
        return ()
    total, parts = charged
    if not parts and total:
        parts = (("other_charges", total),)
    return tuple(Charge(name, money(raw)) for name, raw in parts)


def _tested(check: Check) -> Tested:
    return Tested(check.name, _text(check.allowed), _text(check.asked), check.reason)


def _text(figure: object) -> str:
    if figure is None:
        return ""
    if isinstance(figure, bool):
        return "yes" if figure else "no"
    return f"{figure:,f}" if isinstance(figure, Decimal) else str(figure)
