"""The command line. A command is one function under `@app.command()` that gives back its exit code.

What only one command needs (rich, pandas) loads inside it, so that the help and the first screen of the demo are there
at once. Exit codes: 0; 1 for an error, told in one line; 2 for wrong usage; 130 after Ctrl-C and 143 after SIGTERM.
"""

import asyncio
import logging
import signal
import sys
import warnings
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from importlib import import_module
from itertools import cycle, pairwise
from math import hypot, isnan
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Protocol, Self

import typer

import livetrade as lt

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

app = typer.Typer(name="livetrade", add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def main() -> None:
    """Runs the command that this process was started with, and exits."""
    try:
        code = app(prog_name="livetrade", standalone_mode=False)
    except typer.TyperException as error:
        hint = "" if isinstance(error, typer.BadParameter) else " (see --help)"
        code = _complain(error.format_message() + hint, error.exit_code)
    except lt.LiveTradeError as error:
        code = _complain(str(error), 1)
    except (typer.Abort, KeyboardInterrupt):
        code = 128 + signal.SIGINT
    sys.exit(code or 0)


def _complain(message: str, code: int) -> int:
    print("livetrade:", *message.split(), file=sys.stderr)
    return code


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Trade live prices, on paper by default, with stops that keep firing."""
    if version:
        print(f"livetrade {lt.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


# ── livetrade demo ───────────────────────────────────────────────────────────────────────────────────────────────────

CASH = 1_000_000
START_PRICES = {"NSE:SBIN-EQ": "812.40", "NSE:RELIANCE-EQ": "1402.10", "NSE:INFY-EQ": "1588.60"}
LONGEST = 86_400


@app.command()
def demo(
    seconds: Annotated[float, typer.Option(help="How long to trade.")] = 8,
    seed: Annotated[int, typer.Option(help="Which market: one seed always gives the same prices.")] = 26,
    symbols: Annotated[str, typer.Option(help="What to trade, parted by commas.")] = ",".join(START_PRICES),
    ticks_per_second: Annotated[float, typer.Option(help="How many prices a second each symbol gets.")] = 20,
) -> int:
    """Trade a simulated market on paper for some seconds.

    Two small strategies buy with a stop-loss and a take-profit, or with a trailing stop, and again when one has fired.
    Everything is closed at the end, and positions, orders, fills and P&L are shown. Nothing leaves this machine. Ctrl-C
    ends it early.
    """
    if not 0 < seconds <= LONGEST:
        raise typer.BadParameter(f"it must be above 0 and at most {LONGEST}, not {seconds:g}", param_hint="--seconds")
    feed = _market(symbols, seed, ticks_per_second)
    tape, console = Tape(), _console()
    title = f"livetrade demo   PAPER   simulated market, seed {seed}"
    screen: Screen = LiveScreen(tape, title, console) if console.is_terminal else PlainScreen(tape, title)
    # the report tells what is left, so the engine's warning need not
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning), tape, screen:
        with lt.LiveTradingEngine(CASH, feed=feed, name="demo") as engine:
            tape.follow(engine)
            code = asyncio.run(_session(engine, _tradable(feed), seconds, screen))
        import_module("pandas")  # takes a moment, in which the last picture stands
    _report(engine, console)
    return code


def _market(symbols: str, seed: int, ticks_per_second: float) -> lt.SimulatedFeed:
    names = [name.strip() for name in symbols.split(",")]
    known = {name: price for name, price in START_PRICES.items() if name in names}
    try:
        feed = lt.SimulatedFeed(names, seed=seed, ticks_per_second=ticks_per_second, start_prices=known)
    except lt.OrderError as error:
        raise typer.BadParameter(str(error)) from None
    if not _tradable(feed):
        raise typer.BadParameter("an index cannot be traded; add a share such as NSE:SBIN-EQ", param_hint="--symbols")
    return feed


def _tradable(feed: lt.SimulatedFeed) -> list[str]:
    return [instrument.symbol for instrument in feed.instruments if instrument.kind != "INDEX"]


# ── two strategies ───────────────────────────────────────────────────────────────────────────────────────────────────

WINDOW = 12
"""How many prices a strategy looks back on."""
SWING = 1.25
"""How many of the usual moves within a window an exit is away."""
PATIENCE = 1.5
"""Seconds that a limit order may rest before it is canceled and placed anew."""


async def follow_rises(engine: lt.LiveTradingEngine, symbol: str, budget: int) -> None:
    """Buys while the price is above its recent average, with a stop and a target one usual swing away."""
    window = Window()
    async for tick in engine.stream.ticks(symbol):
        if not window.add(tick) or not tick.ask or tick.mid < window.average or engine.position(symbol):
            continue
        swing = window.swing(tick)
        await engine.market_buy(
            symbol,
            affordable(tick, budget),
            stop_loss_price=tick.ask - swing,
            take_profit_price=tick.ask + swing,
            tag="rises",
        )


async def catch_dips(engine: lt.LiveTradingEngine, symbol: str, budget: int) -> None:
    """Rests a limit order half a swing below the market; a trailing stop follows what it bought."""
    window = Window()
    ticks = engine.stream.ticks(symbol)
    async for tick in ticks:
        if not window.add(tick) or not tick.bid or ticks.behind or engine.position(symbol):
            continue
        limit = tick.bid - window.swing(tick, 0.5)
        entry = engine.limit_buy(symbol, affordable(tick, budget), limit, trailing_stop=window.swing(tick), tag="dips")
        answer = await entry.wait_for("FILLED", timeout=PATIENCE)
        if answer.order and answer.order.is_open:
            await engine.cancel(answer.order.client_order_id)


class Window:
    """The last prices of a symbol: their average, and how far they usually swing."""

    def __init__(self) -> None:
        self._prices: deque[float] = deque(maxlen=WINDOW)

    def add(self, tick: lt.Tick) -> bool:
        """Takes one more price; True once there are enough."""
        self._prices.append(tick.mid)
        return len(self._prices) == WINDOW

    @property
    def average(self) -> float:
        return fmean(self._prices)

    def swing(self, tick: lt.Tick, share: float = 1) -> Decimal:
        """How far a price usually gets within a window, at least two spreads, on the symbol's tick grid."""
        usual = SWING * hypot(*(after - before for before, after in pairwise(self._prices)))
        spread = float(tick.ask - tick.bid) if tick.ask and tick.bid else 0.0
        step = tick.instrument.tick_size or Decimal(1).scaleb(-tick.instrument.scale)
        return step * max(2, round(share * max(usual, 2 * spread) / float(step)))


def affordable(tick: lt.Tick, budget: int) -> Decimal:
    """The quantity that a budget buys, in whole lots, or in hundredths where fractions are traded; at least one."""
    step = Decimal("0.01") if tick.instrument.quantity_scale else tick.instrument.lot_size
    return step * max(1, int(budget / tick.price / float(step)))


# ── running them ─────────────────────────────────────────────────────────────────────────────────────────────────────

FRAME = 0.1
"""Seconds from one picture to the next."""


def _strategies(engine: lt.LiveTradingEngine, symbols: Sequence[str]) -> list[Coroutine[Any, Any, None]]:
    budget = CASH * 9 // (10 * len(symbols))
    kinds = cycle((follow_rises, catch_dips))
    return [strategy(engine, symbol, budget) for symbol, strategy in zip(symbols, kinds, strict=False)]


async def _session(engine: lt.LiveTradingEngine, symbols: Sequence[str], seconds: float, screen: "Screen") -> int:
    """Trades until the time is over or a signal comes, then closes everything. Gives the exit code."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[int] = loop.create_future()
    until = loop.time() + seconds
    loop.call_at(until, _settle, over, 0)
    with _signals(lambda number: loop.call_soon_threadsafe(_settle, over, 128 + number)):
        tasks = [loop.create_task(strategy) for strategy in _strategies(engine, symbols)]
        ends: list[asyncio.Future[Any]] = [over, *tasks]
        try:
            while not over.done():
                screen.show(engine, symbols, max(0.0, until - loop.time()))
                done, _ = await asyncio.wait(ends, timeout=FRAME, return_when=asyncio.FIRST_EXCEPTION)
                for ended in done:
                    ended.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await engine.flatten()
            screen.show(engine, symbols, 0.0)
    return over.result()


def _settle(future: "asyncio.Future[int]", code: int) -> None:
    if not future.done():
        future.set_result(code)


@contextmanager
def _signals(tell: Callable[[int], object]) -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM are told, and end nothing by themselves."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda number, _: tell(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# ── what happens ─────────────────────────────────────────────────────────────────────────────────────────────────────

TAPE_LENGTH = 1_000
EXITS = {
    "STOP_LOSS": ("stop-loss", "red"),
    "TAKE_PROFIT": ("take-profit", "green"),
    "TRAILING_STOP": ("trailing stop", "yellow"),
    "FLATTEN": ("flatten", "cyan"),
}


class Event(NamedTuple):
    """One line of what happened."""

    time: datetime
    what: str
    text: str
    style: str = ""

    def __str__(self) -> str:
        return f"{self.time:%H:%M:%S}.{self.time.microsecond // 10_000:02}  {self.what:<13}  {self.text}"


class Tape(logging.Handler):
    """What happened, as the engine calls back and warns, and which orders work.

    Callbacks share one thread, so these only note what they are told; a screen shows it in its own time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.events: deque[Event] = deque(maxlen=TAPE_LENGTH)
        self.working: dict[str, lt.Order] = {}
        self._zone: tzinfo = UTC

    def follow(self, engine: lt.LiveTradingEngine) -> None:
        self._zone = engine.stream.zone
        engine.on_fill(self.on_fill)
        engine.on_order(self.on_order)

    def on_fill(self, fill: lt.Fill) -> None:
        what, style = EXITS.get(fill.source, ("bought", ""))
        gain = f" {fill.realized_pnl:>+11,.2f}" if fill.side == "SELL" else ""
        self._note(fill.time, what, f"{_terms(fill)} {fill.price:>10,.2f}{gain}", style)

    def on_order(self, order: lt.Order) -> None:
        known = self.working.pop(order.client_order_id, None)
        if order.status in ("DENIED", "REJECTED"):
            self._note(order.updated_at, "refused", f"{_terms(order)} {order.reason}", "red")
        elif order.status == "CANCELED":
            self._note(order.updated_at, "canceled", _terms(order))
        elif order.is_open and order.limit_price is not None:
            self.working[order.client_order_id] = order
            if known is None:
                self._note(order.updated_at, "limit order", f"{_terms(order)} {order.limit_price:>10,.2f}")

    def emit(self, record: logging.LogRecord) -> None:
        """Takes what the engine logs."""
        self._note(datetime.fromtimestamp(record.created, self._zone), "warning", record.getMessage(), "red")

    def _note(self, time: datetime, what: str, text: str, style: str = "") -> None:
        self.events.append(Event(time, what, text, style))

    def __enter__(self) -> Self:
        logging.getLogger("livetrade").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("livetrade").removeHandler(self)


def _terms(what: lt.Order | lt.Fill) -> str:
    return f"{what.side:<4} {_quantity(what.quantity):>6} {what.symbol:<15}"


# ── what is shown meanwhile ──────────────────────────────────────────────────────────────────────────────────────────

WIDE = 200


def _console() -> "Console":
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
        print(title, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._print_new()

    def show(self, engine: lt.LiveTradingEngine, symbols: Sequence[str], left: float) -> None:
        self._print_new()

    def _print_new(self) -> None:
        while self._tape.events:
            print(self._tape.events.popleft(), flush=True)


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
            table.add_row(symbol, _price(tick.bid), _price(tick.ask), _price(tick.last), _signed(change, " %"))
        return table

    def _working(self, most: int) -> "Table":
        table = _live_table("WORKING ORDERS", "side", "quantity", "limit", "status")
        for order in list(self._tape.working.values())[:most]:
            table.add_row(
                order.symbol, order.side, _quantity(order.quantity), _price(order.limit_price), str(order.status)
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
        held = _quantity(position.quantity) if position else "-"
        table.add_row(position.symbol, held, *map(_price, prices), _signed(position.total_pnl))
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
    parts: list[str | Text] = [" total P&L ", _signed(pnl["total_pnl"])]
    for name in ("realized", "unrealized"):
        parts += [f"   {name} ", _signed(pnl[f"{name}_pnl"])]
    return Text.assemble(*parts, f"   fees {pnl['fees']:,.2f}", style="bold", no_wrap=True)


def _health_line(engine: lt.LiveTradingEngine) -> str:
    health = engine.health()
    return (
        f" tick {health['ticks']:,}   {health['ticks_per_second']:,.0f} ticks/s   feed {health['feed']}   "
        f"lag {health['lag_ms']['p99']:.1f} ms   worst stall {health['worst_stall_ms']:.1f} ms"
    )


# ── how figures are written ──────────────────────────────────────────────────────────────────────────────────────────


def _quantity(value: Any) -> str:
    return f"{value:,.8f}".rstrip("0").rstrip(".")


def _price(value: Any) -> str:
    return "-" if value is None or isnan(value) else f"{value:,.2f}"


def _money(value: Any) -> str:
    return f"{value:,.2f}"


def _percent(value: Any) -> str:
    return f"{value:,.4f} %"


def _clock(value: Any) -> str:
    return f"{value:%H:%M:%S}"


def _signed(value: Any, unit: str = "") -> "Text":
    """A gain in green, a loss in red; the sign tells it without colors too."""
    from rich.text import Text

    if not value:
        return Text(f"0.00{unit}")
    return Text(f"{value:+,.2f}{unit}", "green" if value > 0 else "red")


def _gain(value: Any) -> "Text | str":
    return _signed(value) if value else "-"


# ── the report ───────────────────────────────────────────────────────────────────────────────────────────────────────

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
QUANTITY = Column("quantity", "Qty", _quantity)
AVERAGE = Column("avg_price", "Average", _price)
FEES = Column("fees", "Fees", _money)
REALIZED = Column("realized_pnl", "Realized", _signed)
TOTAL = Column("total_pnl", "Total P&L", _signed)
POSITIONS = (SYMBOL, QUANTITY, AVERAGE, REALIZED, FEES, TOTAL)
ORDERS = (
    Column("created_at", "Time", _clock, "left"),
    SYMBOL,
    SIDE,
    QUANTITY,
    Column("limit_price", "Limit", _price),
    AVERAGE,
    Column("status", "Status", justify="left"),
    SOURCE,
)
FILLS = (
    Column("time", "Time", _clock, "left"),
    SYMBOL,
    SIDE,
    QUANTITY,
    Column("price", "Price", _price),
    FEES,
    Column("realized_pnl", "Realized", _gain),
    SOURCE,
)
PNL = (
    Column("portfolio_value", "Portfolio value", _money),
    Column("cash", "Cash", _money),
    REALIZED,
    Column("unrealized_pnl", "Unrealized", _signed),
    FEES,
    TOTAL,
    Column("total_pnl_percent", "in percent", _percent),
)


def _report(engine: lt.LiveTradingEngine, console: "Console") -> None:
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
    return "Still held: " + ", ".join(f"{_quantity(quantity)} {symbol}" for symbol, quantity in held.items())


if __name__ == "__main__":
    main()
