"""What backs a position: `lt.RateMargin`, for paper trading of derivatives."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from livetrade.core.instruments import check_symbol
from livetrade.core.kinds import InstrumentKind, OrderSide
from livetrade.core.numbers import EXACT, Number, money, positive
from livetrade.core.values import Order
from livetrade.errors import OrderError

_NAME = "RateMargin"


class RateMargin:
    """Own money that backs a position, as a part of its value: `lt.RateMargin({"FUTURE": "0.15"})` is 15 %.

    By symbol, or else by kind; what neither names is paid in full, and so is an option that is bought. The value is
    price x quantity x multiplier; of an option that is sold it is strike x quantity x multiplier, for what it may cost
    has little to do with its premium. A rate of one's own, for paper: an exchange's margin is set by a model of its
    own (SPAN and exposure), and grows when markets move.

    Raises `OrderError` for what is no such mapping, for a rate that is not above 0 and at most 1, and for a name
    that is no kind and no symbol.
    """

    def __init__(self, rates: Mapping[str, Number]) -> None:
        if not isinstance(rates, Mapping):
            raise OrderError(f"RateMargin takes rates by kind or symbol, such as {{'FUTURE': '0.15'}}, not {rates!r}")
        self.rates: dict[str, Decimal] = {}
        for name, rate in rates.items():
            known = name if name in InstrumentKind.__members__ else check_symbol(name)
            part = positive(rate, f"RateMargin: the rate of {name}")
            if part > 1:
                raise OrderError(f"RateMargin: a rate is a part of the value, 0.15 for 15 %, not {rate} for {name}")
            self.rates[known] = part

    def __call__(self, account: Any, order: Order) -> Decimal:
        item = order.instrument
        opening = item.quantity(order.opening_raw)
        price_raw = order.limit_raw or order.trigger_raw or order.reference_raw
        value = money(item.value_raw(price_raw, order.opening_raw))
        if item.kind is InstrumentKind.OPTION:
            if order.side is OrderSide.BUY:
                return value
            if item.strike is not None:
                value = EXACT.multiply(EXACT.multiply(item.strike, opening), item.multiplier)
        rate = self.rates.get(item.symbol, self.rates.get(item.kind.value, Decimal(1)))
        return EXACT.multiply(value, rate)

    @property
    def described(self) -> str:
        """Its name and terms in one text, as a journal keeps it."""
        return " ".join([_NAME, *(f"{name}={rate}" for name, rate in self.rates.items())])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RateMargin) and self.rates == other.rates

    def __hash__(self) -> int:
        return hash(tuple(self.rates.items()))

    def __repr__(self) -> str:
        return f"RateMargin({ {name: str(rate) for name, rate in self.rates.items()} })".replace("{ ", "{").replace(
            " }", "}"
        )


def margin_of(description: str) -> RateMargin | None:
    """The rule that is `described` so; None for a user's own."""
    name, *terms = description.split(" ")
    if name != _NAME or not terms:
        return None
    return RateMargin(dict(term.rsplit("=", 1) for term in terms))
