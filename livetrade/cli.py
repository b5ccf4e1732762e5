"""The command line. A command is one function under `@app.command()` that gives back its exit code.

What only one command needs (rich, pandas) loads inside it, so that the help and the first screen of the demo are there
at once. Exit codes: 0; 1 for an error, told in one line; 2 for wrong usage; 130 after Ctrl-C and 143 after SIGTERM.
"""

import signal
import sys
from typing import Annotated

import typer

import livetrade as lt
from livetrade.demo import run_demo

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
    title = f"livetrade demo   PAPER   simulated market, seed {seed}"
    return run_demo(feed, _tradable(feed), seconds, title)


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


if __name__ == "__main__":
    main()
