"""What a fee schedule is: a callable `(fill) -> Decimal | dict[str, Decimal]`, called once for each fill.

What it answers is recorded in the fill; a dict itemises: each charge by its name. Built-in schedules round half-even to
the paisa; what another schedule returns is expensed as it is.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal

from livetrade.core.numbers import money_raw
from livetrade.core.values import Fill

Charged = Decimal | Mapping[str, Decimal]
Fees = Callable[[Fill], Charged]


class FeeSchedule:
    """A schedule without side effects, so that an order's fees can be estimated before it is sent."""

    def __call__(self, fill: Fill) -> Charged:
        raise NotImplementedError


def charge(schedule: Fees, fill: Fill) -> tuple[int, tuple[tuple[str, int], ...]]:
    """(fees, charges by name) of a fill, in raw money."""
    answer = schedule(fill)
    if isinstance(answer, Mapping):
        charges = tuple((str(name), money_raw(amount, f"fee {name}")) for name, amount in answer.items())
        return sum(amount for _, amount in charges), charges
    return money_raw(answer, "fee"), ()
