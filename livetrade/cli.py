"""The command line. A command is one function under `@app.command()` that gives back its exit code.

What only one command needs (rich, pandas) loads inside it, so that `livetrade --help` and the first screen of the demo
are there at once. Exit codes: 0; 1 for an error, told in one line; 2 for wrong usage; 130 and 143 after Ctrl-C and SIGTERM.
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
from functools import partial
from itertools import cycle, pairwise
from math import hypot
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Protocol, Self

import typer

import livetrade as lt

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, RenderableType
    from rich.table import Table

app = typer.Typer(name="livetrade", add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def main() -> None:
    """Runs the command that the process was started with, and exits."""
    try:
        code = app(prog_name="livetrade", standalone_mode=False)
    except typer.TyperException as error:
        code = _complain(f"{error.format_message()} (try --help)", error.exit_code)
    except lt.LiveTradeError as error:
        code = _complain(error, 1)
    except (typer.Abort, KeyboardInterrupt):
        code = 128 + signal.SIGINT
    sys.exit(code or 0)


def _complain(what: object, code: int) -> int:
    print("livetrade:", *str(what).split(), file=sys.stderr)
    return code


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)] = False,
) -> None:
    """Trade live prices with stops that keep firing: on paper by default."""
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
    seed: Annotated[int, typer.Option(help="Which market: the same seed gives the same prices.")] = 7,
    symbols: Annotated[str, typer.Option(help="What to trade, parted by commas.")] = ",".join(START_PRICES),
    ticks_per_second: Annotated[float, typer.Option(help="How many prices a second each symbol gets.")] = 20,
) -> int:
    """Trade a simulated market on paper for some seconds, and show positions, orders, fills and P&L.

    Two small strategies buy with a stop-loss, a take-profit or a trailing stop, and buy again when one has fired. All
    money is simulated, no network is used, and everything is closed at the end. Ctrl-C ends it early.
    """
    if not 0 < seconds <= LONGEST:
        raise typer.BadParameter(f"must be above 0 and at most {LONGEST}, not {seconds:g}", param_hint="--seconds")
    feed = _market(symbols, seed, ticks_per_second)
    tradable = _tradable(feed)
    tape = Tape()
    screen = _screen(tape, f"livetrade demo   PAPER   simulated market, seed {seed}")
    with (
        warnings.catch_warnings(action="ignore", category=RuntimeWarning),  # of what is still held; the report says it
        tape,
        screen,
        lt.LiveTradingEngine(CASH, feed=feed, name="demo") as engine,
    ):
        tape.follow(engine)
        code = asyncio.run(_session(engine, tradable, seconds, screen))
    _report(engine)
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
PATIENCE = 1.5
"""Seconds a limit order may rest before it is canceled and placed anew."""


async def follow_rises(engine: lt.LiveTradingEngine, symbol: str, budget: int) -> None:
    """Buys while the price is above its recent average; one usual swing away on either side are a stop and a target."""
    window = Window()
    async for tick in engine.stream.ticks(symbol):
        if not window.add(tick) or tick.ask is None or tick.mid < window.average or engine.position(symbol):
            continue
        swing = window.swing(tick)
        await engine.market_buy(
            symbol,
            _affordable(tick, budget),
            stop_loss_price=tick.ask - swing,
            take_profit_price=tick.ask + swing,
            tag="rises",
        )


async def catch_dips(engine: lt.LiveTradingEngine, symbol: str, budget: int) -> None:
    """Rests a limit order half a swing below the market; what it buys is followed by a trailing stop."""
    window = Window()
    ticks = engine.stream.ticks(symbol)
    async for tick in ticks:
        if not window.add(tick) or tick.bid is None or ticks.behind or engine.position(symbol):
            continue
        limit = tick.bid - window.swing(tick, 0.5)
        order = engine.limit_buy(symbol, _affordable(tick, budget), limit, trailing_stop=window.swing(tick), tag="dips")
        answer = await order.wait_for("FILLED", timeout=PATIENCE)
        if answer.order and answer.order.is_open:
            await engine.cancel(answer.order.client_order_id)


class Window:
    """The last prices of one symbol: their average, and how far they usually swing."""

    def __init__(self) -> None:
        self._prices: deque[float] = deque(maxlen=WINDOW)

    def add(self, tick: lt.Tick) -> bool:
        """Takes one more price; True once there are enough of them."""
        self._prices.append(tick.mid)
        return len(self._prices) == WINDOW

    @property
    def average(self) -> float:
        return fmean(self._prices)

    def swing(self, tick: lt.Tick, share: float = 1) -> Decimal:
        """How far the price usually gets within a window, on the symbol's tick grid and never inside its spread."""
        moves = (after - before for before, after in pairwise(self._prices))
        usual = hypot(*moves) * sqrt()
        spread = float(tick.ask - tick.bid) if tick.ask and tick.bid else 0.0
        size = tick.instrument.tick_size or Decimal(1).scaleb(-tick.instrument.scale)
        return size * max(2, round(share * max(usual, 2 * spread) / float(size)))


def _affordable(tick: lt.Tick, budget: int) -> Decimal:
    """Whole lots, or hundredths where fractions are traded; at least one."""
    step = Decimal("0.01") if tick.instrument.quantity_scale else tick.instrument.lot_size
    return step * max(1, int(budget / tick.price / float(step)))


# ── running them ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _strategies(engine: lt.LiveTradingEngine, symbols: Sequence[str]) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    budget = CASH * 9 // (10 * len(symbols))
    kinds = cycle([follow_rises, catch_dips])
    return [partial(strategy, engine, symbol, budget) for symbol, strategy in zip(symbols, kinds, strict=False)]


async def _session(engine: lt.LiveTradingEngine, symbols: Sequence[str], seconds: float, screen: "Screen") -> int:
    """Trades until the time is over or a signal comes, then closes everything. Gives the exit code."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[int] = loop.create_future()
    until = loop.time() + seconds
    loop.call_at(until, _settle, over, 0)
    with _signals(lambda number: loop.call_soon_threadsafe(_settle, over, 128 + number)):
        tasks = [loop.create_task(strategy()) for strategy in _strategies(engine, symbols)]
        try:
            while not over.done():
                screen.show(engine, max(0.0, until - loop.time()))
                done, _ = await asyncio.wait([over, *tasks], timeout=FRAME, return_when=asyncio.FIRST_EXCEPTION)
                for task in done:
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await engine.flatten()
    return over.result()


def _settle(future: "asyncio.Future[int]", code: int) -> None:
    if not future.done():
        future.set_result(code)


@contextmanager
def _signals(told: Callable[[int], object]) -> Iterator[None]:
    """Ctrl-C and SIGTERM are told instead of ending the process at once."""
    before = {
        number: signal.signal(number, lambda number, _: told(number)) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# ── what is shown meanwhile ──────────────────────────────────────────────────────────────────────────────────────────

FRAME = 0.1
"""Seconds from one picture to the next."""
TAPE_LENGTH = 1_000
STYLES = {"stop-loss": "red", "take-profit": "green", "trailing-stop": "yellow", "refused": "red", "warning": "red"}


class Happening(NamedTuple):
    """One line of what happened."""

    time: datetime
    what: str
    text: str

    def __str__(self) -> str:
        return f"{self.time:%H:%M:%S}.{self.time.microsecond // 10_000:02}  {self.what:<13}  {self.text}"


class Tape(logging.Handler):
    """What happened, as the engine calls back, and which orders work.

    Callbacks share one thread, so these only note what they are told; others show it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[Happening] = deque(maxlen=TAPE_LENGTH)
        self.working: dict[str, lt.Order] = {}
        self._zone: tzinfo = UTC

    def follow(self, engine: lt.LiveTradingEngine) -> None:
        self._zone = engine.stream.zone
        engine.on_fill(self.on_fill)
        engine.on_order(self.on_order)

    def on_fill(self, fill: lt.Fill) -> None:
        gain = f"  {fill.realized_pnl:+,.2f}" if fill.side == "SELL" else ""
        self._note(fill.time, FIRED.get(fill.source, "fill"), f"{_terms(fill)} {fill.price:>9,.2f}{gain}")

    def on_order(self, order: lt.Order) -> None:
        known = self.working.pop(order.client_order_id, None)
        if order.status in ("DENIED", "REJECTED"):
            self._note(order.updated_at, "refused", f"{_terms(order)}  {order.reason}")
        elif order.status == "CANCELED":
            self._note(order.updated_at, "canceled", _terms(order))
        elif order.is_open and order.limit_price is not None:
            self.working[order.client_order_id] = order
            if known is None:
                self._note(order.updated_at, "limit order", f"{_terms(order)} {order.limit_price:>9,.2f}")

    def emit(self, record: logging.LogRecord) -> None:
        """Takes a warning of the engine."""
        self._note(datetime.fromtimestamp(record.created, self._zone), "warning", record.getMessage())

    def _note(self, time: datetime, what: str, text: str) -> None:
        self.lines.append(Happening(time, what, text))

    def __enter__(self) -> Self:
        logging.getLogger("livetrade").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("livetrade").removeHandler(self)


def _terms(what: lt.Order | lt.Fill) -> str:
    return f"{what.side:<4} {_quantity(what.quantity):>6} {what.symbol:<15}"


class Screen(Protocol):
    """What shows the demo while it runs."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def show(self, engine: lt.LiveTradingEngine, left: float) -> None: ...


class PlainScreen:
    """A line for each thing that happens; for a file, a pipe or a terminal that cannot move its cursor."""

    def __init__(self, tape: Tape, title: str) -> None:
        self._tape = tape
        print(title, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._print_new()

    def show(self, engine: lt.LiveTradingEngine, left: float) -> None:
        self._print_new()

    def _print_new(self) -> None:
        while self._tape.lines:
            print(self._tape.lines.popleft(), flush=True)


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

        shown = symbols[: max(1, (self._console.height - 13) // 3)]
        tables = [self._prices(engine, shown), _holdings(engine, shown)]
        parts = [self._header(left), _money_line(engine), _health_line(engine), ""]
        picture = Group(*parts, Columns(tables, padding=(1, 4)), "", self._working(len(shown)), "", self._events())
        self._live.update(picture, refresh=True)

    def _header(self, left: float) -> "RenderableType":
        from rich.table import Table

        header = Table.grid(expand=True)
        header.style = "reverse"
        header.add_column(no_wrap=True)
        header.add_column(justify="right", no_wrap=True)
        header.add_row(f" {self._title}", f"{left:.1f} s left ")
        return header

    def _prices(self, engine: lt.LiveTradingEngine, symbols: Sequence[str]) -> "Table":
        rows = []
        for symbol in symbols:
            tick = engine.stream.last(symbol)
            if tick is None:
                rows.append([symbol, "-", "-", "-", "-"])
                continue
            change = 100 * (tick.price / self._first.setdefault(symbol, tick.price) - 1)
            rows.append([symbol, _price(tick.bid), _price(tick.ask), _price(tick.last), _signed(change, " %")])
        return _live_table(["PRICES", "bid", "ask", "last", "change"], rows)

    def _working(self, rows: int) -> "Table":
        working = [
            [order.symbol, order.side, _quantity(order.quantity), _price(order.limit_price), order.status]
            for order in list(self._tape.working.values())[:rows]
        ]
        return _live_table(["WORKING ORDERS", "side", "quantity", "limit", "status"], working or [["none", *[""] * 4]])

    def _events(self) -> "RenderableType":
        from rich.text import Text

        newest = list(self._tape.lines)[: -self._console.height : -1]
        lines = [Text(str(event), STYLES.get(event.what, "")) for event in newest]
        return Text("\n", no_wrap=True, overflow="ellipsis").join([Text("EVENTS, newest first", "bold"), *lines])


def _holdings(engine: lt.LiveTradingEngine, symbols: Sequence[str]) -> "Table":
    rows = []
    for position in map(engine.position, symbols):
        exits = [_price(position.stop_loss_price), _price(position.take_profit_price)]
        rows.append(
            [position.symbol, _quantity(position.quantity), _price(position.avg_price), *exits, _signed(position.total_pnl)]
        )
    return _live_table(["POSITIONS", "quantity", "average", "stop", "target", "P&L"], rows)


def _live_table(headings: Sequence[str], rows: Sequence[Sequence["str | Text"]]) -> "Table":
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column(headings[0], min_width=15, no_wrap=True)
    for heading in headings[1:]:
        table.add_column(heading, justify="right", min_width=9, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _money_line(engine: lt.LiveTradingEngine) -> "Text":
    from rich.text import Text

    pnl = engine.get_portfolio_pnl().result()
    parts = [" Total P&L ", _signed(pnl["total_pnl"])]
    for name in ("realized", "unrealized"):
        parts += [f"   {name} ", _signed(pnl[f"{name}_pnl"])]
    return Text.assemble(*parts, f"   fees {pnl['fees']:,.2f}   value {pnl['portfolio_value']:,.2f}", style="bold")


def _health_line(engine: lt.LiveTradingEngine) -> str:
    health = engine.health()
    return (
        f" tick {health['ticks']:,}   {health['ticks_per_second']:,.0f} ticks/s   feed {health['feed']}   "
        f"lag {health['lag_ms']['p99']:.1f} ms   worst stall {health['worst_stall_ms']:.1f} ms"
    )


# ── how figures are written ──────────────────────────────────────────────────────────────────────────────────────────


def _is_unknown(value: Any) -> bool:
    return value is None or value != value


def _quantity(value: Any) -> str:
    return f"{value:,.8f}".rstrip("0").rstrip(".") if value else "-"


def _price(value: Any) -> str:
    return "-" if _is_unknown(value) else f"{value:,.2f}"


def _money(value: Any) -> str:
    return f"{value:,.2f}"


def _clock(value: Any) -> str:
    return f"{value:%H:%M:%S}"


def _signed(value: Any, unit: str = "") -> "Text":
    """A gain in green, a loss in red; the sign says it without colors too."""
    from rich.text import Text

    return Text(f"{value:+,.2f}{unit}", "green" if value > 0 else "red" if value < 0 else "")


# ── the report ───────────────────────────────────────────────────────────────────────────────────────────────────────

LAST_ROWS = 12


class Column(NamedTuple):
    """A column of a DataFrame as a table shows it."""

    name: str
    heading: str
    write: Callable[[Any], "str | Text"] = str
    justify: Literal["left", "right"] = "right"


SYMBOL = Column("symbol", "Symbol", str, "left")
POSITIONS = [
    SYMBOL,
    Column("quantity", "Quantity", _quantity),
    Column("avg_price", "Average", _price),
    Column("last_price", "Last", _price),
    Column("realized_pnl", "Realized", _signed),
    Column("fees", "Fees", _money),
    Column("total_pnl", "Total P&L", _signed),
]
ORDERS = [
    Column("created_at", "Time", _clock, "left"),
    SYMBOL,
    Column("side", "Side", str, "left"),
    Column("quantity", "Quantity", _quantity),
    Column("limit_price", "Limit", _price),
    Column("avg_price", "Average", _price),
    Column("status", "Status", str, "left"),
    Column("source", "Source", str, "left"),
]
FILLS = [
    Column("time", "Time", _clock, "left"),
    SYMBOL,
    Column("side", "Side", str, "left"),
    Column("quantity", "Quantity", _quantity),
    Column("price", "Price", _price),
    Column("fees", "Fees", _money),
    Column("realized_pnl", "Realized", _signed),
    Column("source", "Source", str, "left"),
]
NEXT = """\
Next, in a notebook (uv run jupyter lab):  import livetrade as lt
  engine = lt.LiveTradingEngine(500_000, feed=lt.SimulatedFeed("NSE:SBIN-EQ"))"""


def _report(engine: lt.LiveTradingEngine, console: "Console") -> None:
    positions = engine.positions(closed=True)
    pnl = engine.pnl().rename("value").rename_axis("figure").reset_index()
    for title, frame, columns in (
        ("Positions", positions, POSITIONS),
        ("Orders", engine.orders(), ORDERS),
        ("Fills", engine.fills(), FILLS),
        ("P&L", pnl, PNL),
    ):
        console.print(_report_table(title, frame, columns, console.width))
    ...
