"""A still picture of a snapshot, for places without widgets: saved notebooks, untrusted ones, code hosting sites.

It says everything in plain tables: such places often take away styles and drawings, and always scripts.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from livetrade.core import html

Row = Mapping[str, Any]

UNKNOWN = "–"
TOTALS = {
    "Day P&L": "day_pnl",
    "Realized": "realized_pnl",
    "Unrealized": "unrealized_pnl",
    "Fees": "fees",
    "Cash": "cash",
    "Portfolio value": "portfolio_value",
}
POSITIONS = ("Position", "Quantity", "Avg", "Last", "P&L", "Stop", "Target")
ORDERS = ("Working order", "Quantity", "Filled", "Limit", "Trigger", "Status")
FILLS = ("Fill", "At", "Price", "Realized")


def as_text(snap: Row) -> str:
    """In one line."""
    if "pnl" not in snap:
        return "<Panel: no snapshot yet>"
    total = f"{_money(snap['pnl'].get('total_pnl'))} {snap.get('currency', '')}".strip()
    return f"<Panel {_headline(snap)}: P&L {total}, tick {snap.get('tick') or 0:,}>"


def as_html(snap: Row) -> str:
    """As tables, with the equity curve as a drawing."""
    if "pnl" not in snap:
        return "<p>livetrade panel: no snapshot yet</p>"
    pnl = snap["pnl"]
    title = f"{_headline(snap)}, tick {snap.get('tick') or 0:,}, as of {_moment(snap)} (not live)"
    total = f"P&L {_toned(pnl.get('total_pnl'))} {snap.get('currency', '')} ({_percent(pnl.get('total_pnl_percent'))})"
    tables = (
        ([*TOTALS], [[_money(pnl.get(key)) for key in TOTALS.values()]], ""),
        (POSITIONS, [_position(row) for row in snap.get("positions", [])], "positions()"),
        (ORDERS, [_order(row) for row in snap.get("orders", [])], "orders(open=True)"),
        (FILLS, [_fill(row, snap) for row in snap.get("fills", [])], "fills()"),
    )
    parts = [html.text(title), html.card(total, _curve(snap.get("equity", [])))]
    parts += [html.table(head, rows, more) for head, rows, more in tables if rows]
    return f'<div class="livetrade-picture">{"".join(parts)}</div>'


def _headline(snap: Row) -> str:
    state = "closed" if snap.get("closed") else "halted" if snap.get("halted") else snap.get("feed", "NONE")
    return f"{snap.get('name', '')} {snap.get('mode', '')} {state}".strip()


def _position(row: Row) -> list[str]:
    stops = [row[key] for key in ("stop_loss_price", "trailing_stop_price") if row.get(key) is not None]
    nearest = min if (row.get("quantity") or 0) < 0 else max
    return [
        str(row.get("symbol", "")),
        _quantity(row, "quantity"),
        _price(row, "avg_price"),
        _price(row, "last_price"),
        _toned(row.get("total_pnl")),
        _exit(row, nearest(stops, default=None)),
        _exit(row, row.get("take_profit_price")),
    ]


def _order(row: Row) -> list[str]:
    what = f"{row.get('side', '')} {row.get('symbol', '')}, {_words(row.get('order_type'))}"
    figures = _quantity(row, "quantity"), _quantity(row, "filled_qty")
    return [what, *figures, _price(row, "limit_price"), _price(row, "trigger_price"), _words(row.get("status"))]


def _fill(row: Row, snap: Row) -> list[str]:
    source = row.get("source", "USER")
    what = f"{row.get('side', '')} {_quantity(row, 'quantity')} {row.get('symbol', '')}"
    why = "" if source == "USER" else f", {_words(source)}"
    when = _at(row.get("time"), snap, "%H:%M:%S")
    return [what + why, when, _price(row, "price"), _toned(row.get("realized_pnl"))]


def _exit(row: Row, level: float | None) -> str:
    last = row.get("last_price")
    if level is None or not last:
        return _number(level, row.get("price_decimals"))
    return f"{_number(level, row.get('price_decimals'))} ({_percent(100 * (level - last) / last)})"


def _price(row: Row, key: str) -> str:
    return _number(row.get(key), row.get("price_decimals"))


def _quantity(row: Row, key: str) -> str:
    return _number(row.get(key), row.get("quantity_decimals"))


def _words(name: object) -> str:
    return str(name or "").lower().replace("_", " ")


def _money(value: object) -> str:
    return _number(value, 2)


def _number(value: object, decimals: object) -> str:
    places = decimals if isinstance(decimals, int) else 2
    return f"{value:z,.{places}f}" if isinstance(value, int | float) else UNKNOWN


def _percent(value: object) -> str:
    if not isinstance(value, int | float):
        return UNKNOWN
    return f"{value:+.2f}%" if abs(value) >= 0.005 else "0.00%"


def _toned(value: object) -> str:
    """Money with a sign and an arrow, which colours could not say better."""
    if not isinstance(value, int | float):
        return UNKNOWN
    text = _money(value)
    return text if abs(value) < 0.005 else f"{text} ▼" if value < 0 else f"+{text} ▲"


def _moment(snap: Row) -> str:
    return f"{_at(snap.get('as_of'), snap, '%Y-%m-%d %H:%M:%S')} {snap.get('timezone', 'UTC')}"


def _at(milliseconds: object, snap: Row, form: str) -> str:
    if not isinstance(milliseconds, int | float):
        return "an unknown time"
    zone = ZoneInfo(snap["timezone"]) if "timezone" in snap else UTC
    return datetime.fromtimestamp(milliseconds / 1000, zone).strftime(form)


def _curve(equity: Iterable[float | None]) -> str:
    values = [value for value in equity if value is not None]
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    across, down = 600 / (len(values) - 1), 40 / ((high - low) or 1)
    points = " ".join(f"{number * across:.1f},{44 - (value - low) * down:.1f}" for number, value in enumerate(values))
    label = f"Equity, low {_money(low)}, high {_money(high)}, at last {_money(values[-1])}"
    line = f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.5"/>'
    return f'<svg viewBox="0 0 600 48" width="600" height="48" role="img" aria-label="{label}">{line}</svg>'
