"""The report: the closing tables, and what to try next."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import livetrade as lt
from livetrade.demo import figures
from livetrade.demo.tape import EXITS

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.text import Text

LAST_ROWS = 12
NEXT = """\
Next, in a notebook (uv run jupyter lab):  import livetrade as lt
  engine = lt.LiveTradingEngine(500_000, feed=lt.SimulatedFeed("NSE:SBIN-EQ"))"""


class Column(NamedTuple):
    """A column of a DataFrame, as a table shows it."""

    name: str
    heading: str
    write: Callable[[Any], "str | Text"] = str
    justify: Literal["left", "right"] = "right"


SYMBOL = Column("symbol", "Symbol", justify="left")
SIDE = Column("side", "Side", justify="left")
SOURCE = Column("source", "Source", justify="left")
QUANTITY = Column("quantity", "Qty", figures.quantity)
AVERAGE = Column("avg_price", "Average", figures.price)
FEES = Column("fees", "Fees", figures.money)
REALIZED = Column("realized_pnl", "Realized", figures.signed)
TOTAL = Column("total_pnl", "Total P&L", figures.signed)
POSITIONS = (SYMBOL, QUANTITY, AVERAGE, REALIZED, FEES, TOTAL)
ORDERS = (
    Column("created_at", "Time", figures.clock, "left"),
    SYMBOL,
    SIDE,
    QUANTITY,
    Column("limit_price", "Limit", figures.price),
    AVERAGE,
    Column("status", "Status", justify="left"),
    SOURCE,
)
FILLS = (
    Column("time", "Time", figures.clock, "left"),
    SYMBOL,
    SIDE,
    QUANTITY,
    Column("price", "Price", figures.price),
    FEES,
    Column("realized_pnl", "Realized", figures.gain),
    SOURCE,
)
PNL = (
    Column("portfolio_value", "Portfolio value", figures.money),
    Column("cash", "Cash", figures.money),
    REALIZED,
    Column("unrealized_pnl", "Unrealized", figures.signed),
    FEES,
    TOTAL,
    Column("total_pnl_percent", "in percent", figures.percent),
)


def print_report(engine: lt.LiveTradingEngine, console: "Console") -> None:
    positions = engine.positions(closed=True)
    _print_table(console, "Positions", positions, POSITIONS)
    _print_table(console, "Orders", engine.orders(), ORDERS)
    _print_table(console, "Fills", engine.fills(), FILLS)
    _print_table(console, "P&L", engine.pnl().to_frame().T, PNL)
    for line in ("", _summary(engine), _left_over(positions), "", NEXT):
        console.print(line, markup=False, soft_wrap=True)


def _print_table(console: "Console", title: str, frame: "pd.DataFrame", columns: Sequence[Column]) -> None:
    from rich.box import SIMPLE
    from rich.table import Table

    shown = frame.reset_index().tail(LAST_ROWS)
    if len(shown) < len(frame):
        title = f"{title}, the last {len(shown)} of {len(frame)}"
    console.print(f"\n{title}", style="bold")
    box, gap = (SIMPLE, console.width >= 100) if console.is_terminal else (None, 2)
    table = Table(box=box, padding=(0, gap, 0, 0), pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column.heading, justify=column.justify, no_wrap=True)
    for row in shown.to_dict("records"):
        table.add_row(*(column.write(row[column.name]) for column in columns))
    console.print(table)


def _summary(engine: lt.LiveTradingEngine) -> str:
    risks = engine.risk_orders()
    fired = Counter(risks.loc[risks["status"] == "FILLED", "kind"].astype(str))
    counts = ", ".join(f"{EXITS[kind][0]} {number}" for kind, number in sorted(fired.items()))
    return f"{engine.health()['ticks']:,} ticks. Exits that fired: {counts or 'none'}."


def _left_over(positions: "pd.DataFrame") -> str:
    held = positions.loc[positions["quantity"] != 0, "quantity"]
    if held.empty:
        return "Nothing is held any more: the demo ended flat."
    return "Still held: " + ", ".join(f"{figures.quantity(quantity)} {symbol}" for symbol, quantity in held.items())
