"""What is shown meanwhile: plain lines, or a live picture on a terminal."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, Self

import livetrade as lt
from livetrade.demo import figures
from livetrade.demo.tape import Tape

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

WIDE = 200


def make_console() -> "Console":
    """A terminal, or a plain and wide page for a pipe, a file or a terminal that cannot move its cursor."""
    from rich.console import Console

    terminal = Console(highlight=False)
    if sys.stdout.isatty() and not terminal.is_dumb_terminal:
        return terminal
    return Console(highlight=False, force_terminal=False, color_system=None, width=WIDE)


class Screen(Protocol):
    """What shows the demo while it runs."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def show(self, engine: lt.LiveTradingEngine, symbols: Sequence[str], left: float) -> None:
        """The state of things, with `left` seconds to go."""


class PlainScreen:
    """A line for each thing that happens."""

    def __init__(self, tape: Tape, title: str) -> None:
        self._tape = tape
        print(title, flush=True)  # noqa: T201

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._print_new()

    def show(self, engine: lt.LiveTradingEngine, symbols: Sequence[str], left: float) -> None:
        self._print_new()

    def _print_new(self) -> None:
        while self._tape.events:
            print(self._tape.events.popleft(), flush=True)  # noqa: T201


class LiveScreen:
    """One picture, drawn again and again on a screen of its own that gives the terminal back at the end."""

    def __init__(self, tape: Tape, title: str, console: "Console") -> None:
        from rich.live import Live

        self._tape, self._title, self._console = tape, title, console
        self._live = Live(console=console, screen=True, auto_refresh=False)
        self._first: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, engine: lt.LiveTradingEngine, symbols: Sequence[str], left: float) -> None:
        from rich.columns import Columns
        from rich.console import Group

        shown = symbols[: max(1, (self._console.height - 14) // 3)]
        title = "PRICES" if len(shown) == len(symbols) else f"PRICES, {len(shown)} of {len(symbols)}"
        tables = [self._prices(title, engine, shown), _holdings(engine, shown)]
        parts: list[RenderableType] = [self._header(left), _money_line(engine), _health_line(engine), ""]
        parts += [Columns(tables, padding=(1, 3)), "", self._working(len(shown)), "", self._events()]
        self._live.update(Group(*parts), refresh=True)

    def _header(self, left: float) -> "Table":
        from rich.table import Table

        header = Table.grid(expand=True)
        header.style = "reverse"
        header.add_column(no_wrap=True)
        header.add_column(justify="right", no_wrap=True)
        header.add_row(f" {self._title}", f"{left:.1f} s left " if left else "closing ")
        return header

    def _prices(self, title: str, engine: lt.LiveTradingEngine, symbols: Sequence[str]) -> "Table":
        table = _live_table(title, "bid", "ask", "last", "change")
        for symbol in symbols:
            tick = engine.stream.last(symbol)
            if tick is None:
                table.add_row(symbol, "-", "-", "-", "-")
                continue
            change = 100 * (tick.price / self._first.setdefault(symbol, tick.price) - 1)
            table.add_row(
                symbol,
                figures.price(tick.bid),
                figures.price(tick.ask),
                figures.price(tick.last),
                figures.signed(change, " %"),
            )
        return table

    def _working(self, most: int) -> "Table":
        table = _live_table("WORKING ORDERS", "side", "quantity", "limit", "status")
        for order in list(self._tape.working.values())[:most]:
            table.add_row(
                order.symbol,
                order.side,
                figures.quantity(order.quantity),
                figures.price(order.limit_price),
                str(order.status),
            )
        if not table.rows:
            table.add_row("none")
        return table

    def _events(self) -> "Text":
        from rich.text import Text

        newest = list(self._tape.events)[: -self._console.height : -1]
        lines = [Text(str(event), event.style) for event in newest]
        return Text("\n", no_wrap=True, overflow="ellipsis").join([Text("EVENTS, newest first", "bold"), *lines])


def _holdings(engine: lt.LiveTradingEngine, symbols: Sequence[str]) -> "Table":
    table = _live_table("POSITIONS", "quantity", "average", "stop", "target", "P&L")
    for position in map(engine.position, symbols):
        prices = (position.avg_price, position.stop_loss_price, position.take_profit_price)
        held = figures.quantity(position.quantity) if position else "-"
        table.add_row(position.symbol, held, *map(figures.price, prices), figures.signed(position.total_pnl))
    return table


def _live_table(title: str, *headings: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column(title, min_width=15, no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", min_width=8, no_wrap=True)
    return table


def _money_line(engine: lt.LiveTradingEngine) -> "Text":
    from rich.text import Text

    pnl = engine.get_portfolio_pnl().result()
    parts: list[str | Text] = [" total P&L ", figures.signed(pnl["total_pnl"])]
    for name in ("realized", "unrealized"):
        parts += [f"   {name} ", figures.signed(pnl[f"{name}_pnl"])]
    return Text.assemble(*parts, f"   fees {pnl['fees']:,.2f}", style="bold", no_wrap=True)


def _health_line(engine: lt.LiveTradingEngine) -> str:
    health = engine.health()
    return (
        f" tick {health['ticks']:,}   {health['ticks_per_second']:,.0f} ticks/s   feed {health['feed']}   "
        f"lag {health['lag_ms']['p99']:.1f} ms   worst stall {health['worst_stall_ms']:.1f} ms"
    )
