"""The built-in fee schedules, and how a journal names them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from livetrade.core.numbers import EXACT, Number, number, positive
from livetrade.core.schedules import FeeSchedule
from livetrade.core.values import Fill

_PAISA = Decimal("0.01")
_INDIAN = ("NSE:", "BSE:", "MCX:")


def described(rule: Callable[..., Any]) -> tuple[str, ...]:
    """A schedule (or another rule) as a journal keeps it: its name and, of a built-in schedule, its terms."""
    name = type(rule).__name__
    if type(rule) is not _built_in(name):
        return (getattr(rule, "__qualname__", type(rule).__qualname__),)
    terms = _terms(rule)
    return (f"{name} with its user's own brokerage",) if terms is None else (name, *terms)


def _terms(schedule: Any) -> tuple[str, ...] | None:
    if not is_dataclass(schedule):
        told: tuple[str, ...] | None = schedule.terms
        return told
    terms = (getattr(schedule, item.name) for item in fields(schedule) if item.init)
    return tuple("" if term is None else str(term) for term in terms)


def schedule_of(description: Sequence[str]) -> FeeSchedule | None:
    """The built-in schedule that is `described` so; None for a user's own."""
    name, *terms = description
    kind = _built_in(name)
    if kind is None:
        return None
    made: Callable[..., FeeSchedule] = getattr(kind, "of_terms", kind)
    return made(*(term or None for term in terms))


def _built_in(name: str) -> Any:
    if name == "IndianEquityFees":  # loaded where it is used: not every program trades in India
        from livetrade.core.indian import IndianEquityFees

        return IndianEquityFees
    return _BUILT_IN.get(name)


def _round(amount: Decimal) -> Decimal:
    return amount.quantize(_PAISA, rounding=ROUND_HALF_EVEN, context=EXACT)


@dataclass(frozen=True)
class NoFees(FeeSchedule):
    """Nothing is charged."""

    def __call__(self, fill: Fill) -> Decimal:
        return Decimal(0)


@dataclass(frozen=True)
class FlatFee(FeeSchedule):
    """The same amount for each executed order, charged with its first fill."""

    amount: Number

    def __post_init__(self) -> None:
        number(self.amount, "FlatFee amount")

    def __call__(self, fill: Fill) -> Decimal:
        return Decimal(0) if fill.filled_before_raw else _round(number(self.amount, "FlatFee amount"))


@dataclass(frozen=True)
class PercentFee(FeeSchedule):
    """A percentage of the value (`PercentFee("0.03")` is 0.03 %), at most `cap` for one order."""

    rate: Number
    """Percent of the value."""
    cap: Number | None = None
    """The most that one order is charged, in the account's currency."""
    _rate: Decimal = field(init=False, repr=False, compare=False)
    _cap: Decimal | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_rate", EXACT.divide(number(self.rate, "PercentFee rate"), Decimal(100)))
        object.__setattr__(self, "_cap", None if self.cap is None else positive(self.cap, "PercentFee cap"))

    def __call__(self, fill: Fill) -> Decimal:
        before = self._on(fill.order_value_before)
        return self._on(EXACT.add(fill.order_value_before, fill.value)) - before

    def _on(self, value: Decimal) -> Decimal:
        fee = _round(EXACT.multiply(value, self._rate))
        return fee if self._cap is None else min(fee, self._cap)


@dataclass(frozen=True)
class DefaultFees(FeeSchedule):
    """0.03 % capped at 20 per order for Indian symbols, none elsewhere."""

    def __call__(self, fill: Fill) -> Decimal:
        return _DISCOUNT_BROKER(fill) if fill.symbol.startswith(_INDIAN) else Decimal(0)


_BUILT_IN: dict[str, type[Any]] = {kind.__name__: kind for kind in (NoFees, FlatFee, PercentFee, DefaultFees)}
_DISCOUNT_BROKER = PercentFee("0.03", cap=20)
DEFAULT_FEES = DefaultFees()
"""0.03 % of a fill's value capped at 20 per order for Indian symbols, none elsewhere."""
