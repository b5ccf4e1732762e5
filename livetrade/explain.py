"""Where the P&L came from: the move of prices, the spread, slippage and each charge. `engine.explain()`.

A fill at p of an order whose side was quoted at r, in a market whose bid and ask were s apart, cost s/2 of spread and
p - r of slippage for each unit bought (r - p sold). What is left of the P&L is the move of prices: from the middle of
the market at each fill to that of the next, and to the mark. So the parts sum to the total, exactly, however many there
are.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from livetrade.columns import Exact, Maker, View, money_column
from livetrade.core.values import Fill
from livetrade.frames import EXPLAINED, itemised

if TYPE_CHECKING:
    import pandas as pd

EXPLAINED_BY = ("symbol", "strategy", "tag")


def explained(
    fills: Iterable[Fill], totals: Mapping[str, int], view: View, *, by: str, exact: Exact = False
) -> "pd.DataFrame":
    """A row for each of `totals`: total P&L in raw money by what `by` names."""
    parts = parts_of(fills, totals, by)
    columns = {name: money_column(part[name] for part in parts.values()) for name in EXPLAINED}
    return Maker(view, exact).frame(EXPLAINED, {**columns, by: list(parts)}, index=by)


def parts_of(fills: Iterable[Fill], totals: Mapping[str, int], by: str) -> dict[str, dict[str, int]]:
    """What each total is made of, in raw money; what costs is below zero."""
    parts = {label: dict.fromkeys(EXPLAINED, 0) for label in sorted(totals)}
    for fill in fills:
        part = parts[getattr(fill, by)]
        part["spread"] -= _half(fill)
        part["slippage"] -= _slipped(fill)
        for name, raw in itemised(fill).items():
            part[name] -= raw
    for label, part in parts.items():
        part["price_move"] = totals[label] - sum(part.values())
        part["total_pnl"] = totals[label]
    return parts


def _half(fill: Fill) -> int:
    """Half the spread, for the whole fill."""
    return fill.spread_raw * fill.quantity_raw * (fill.instrument.unit // 2)


def _slipped(fill: Fill) -> int:
    if not fill.reference_raw:
        return 0
    return fill.side.sign * fill.instrument.value_raw(fill.price_raw - fill.reference_raw, fill.quantity_raw)
