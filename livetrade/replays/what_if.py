"""A replay beside the same one with something changed."""

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from livetrade.adapters.paper import PaperBroker
from livetrade.core.numbers import counted
from livetrade.errors import OrderError
from livetrade.terms import exit_kind

if TYPE_CHECKING:
    import pandas as pd

    from livetrade.replays.result import ReplayResult

TERMS = ("cash", "fees", "limits", "margin", "broker", "trigger_by")
VENUE = ("latency", "slippage", "size")
_SAME = ["time", "symbol", "side", "product", "quantity", "price", "fees", "source", "strategy", "tag"]


class WhatIf(NamedTuple):
    """pnl_difference: total P&L after less before, exactly. fills: those that differ, by time, and `only` ("before" or
    "after"). result: the other replay."""

    pnl_difference: Decimal
    fills: "pd.DataFrame"
    result: "ReplayResult"

    def __repr__(self) -> str:
        differ = counted(len(self.fills), "fill differs", "fills differ")
        return f"<WhatIf P&L {self.pnl_difference:+,}, {differ}: {self.result!r}>"


Parted = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]


def parted(changes: Mapping[str, Any], params: Mapping[str, Any]) -> Parted:
    """What is changed of the terms of the replay, of the strategy's parameters, and of its exits."""
    if not changes:
        raise OrderError("what_if needs something to change, such as fees=lt.NoFees() or stop_loss_pct=2")
    terms = {name: value for name, value in changes.items() if name in TERMS and name not in params}
    venue = {name: value for name, value in changes.items() if name in VENUE and name not in params}
    exits = {name: value for name, value in changes.items() if exit_kind(name) is not None and name not in params}
    if venue:
        if "broker" in terms:
            raise OrderError(f"give broker=..., or {' and '.join(venue)}")
        terms["broker"] = PaperBroker(**venue)
    rest = {name: value for name, value in changes.items() if name not in {*terms, *venue, *exits}}
    return terms, rest, exits


def compared(before: "ReplayResult", after: "ReplayResult") -> WhatIf:
    import pandas as pd

    sides = {"before": before.fills(exact=True).reset_index(), "after": after.fills(exact=True).reset_index()}
    rows = [
        frame.assign(only=only, number=frame.groupby(_SAME, observed=True, sort=False).cumcount())
        for only, frame in sides.items()
    ]
    both = pd.concat(rows, ignore_index=True)
    differ = ~both.duplicated([*_SAME, "number"], keep=False)
    fills = both[differ].drop(columns="number").sort_values("time", kind="stable").set_index("time")
    pnl = (result.pnl(exact=True)["total_pnl"] for result in (after, before))
    return WhatIf(next(pnl) - next(pnl), fills, after)
