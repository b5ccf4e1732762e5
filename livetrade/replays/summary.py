"""The few figures of a replay that a command line and a table of many replays show."""

from typing import Any

from livetrade.core.numbers import MONEY_ONE
from livetrade.reads import Reads


def summary(account: Reads) -> dict[str, Any]:
    """orders, fills, round_trips, win_rate (share of round trips with a net P&L above zero; None without any),
    total_pnl, total_pnl_percent (of the money put in), max_drawdown (the deepest fall of the portfolio's value from its
    highest point so far, 0 to -1), fees. Money as floats."""
    trips = account.round_trips()["net_pnl"]
    pnl = account.pnl()
    return {
        "orders": len(account.orders()),
        "fills": len(account.fills()),
        "round_trips": len(trips),
        "win_rate": float((trips > 0).mean()) if len(trips) else None,
        "total_pnl": float(pnl["total_pnl"]),
        "total_pnl_percent": float(pnl["total_pnl_percent"]),
        "max_drawdown": _max_drawdown(account),
        "fees": float(pnl["fees"]),
    }


def _max_drawdown(account: Reads) -> float:
    import pandas as pd

    opened, now = account._read(lambda a: (a.opened, a.portfolio_value_raw))
    if opened is None:
        return 0.0
    curve = account.equity()["portfolio_value"].to_list()
    values = pd.Series([opened.cash_raw / MONEY_ONE, *curve, now / MONEY_ONE])
    highest = values.cummax()
    return float((values / highest - 1).where(highest > 0, 0.0).min())
