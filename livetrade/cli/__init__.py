"""The command line. A command is one function under `@app.command()` that gives back its exit code.

What only one command needs (rich, pandas) loads inside it, so that the help and the first screen of the demo are there
at once. Exit codes: 0; 1 for an error, told in one line; 2 for wrong usage; 130 after Ctrl-C and 143 after SIGTERM.
"""

import inspect
import json
import os
import signal
import sys
import warnings
from math import isnan
from pathlib import Path
from typing import Annotated, Any

import typer

import livetrade as lt
from livetrade.cli import desk
from livetrade.cli.functions import function_named, parameters
from livetrade.demo import run_demo

app = typer.Typer(name="livetrade", add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
for command in desk.COMMANDS:
    app.command()(command)


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


# ── livetrade replay ─────────────────────────────────────────────────────────────────────────────────────────────────


@app.command()
def replay(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Recorded ticks: .parquet, .csv, .csv.gz, or a journal.")
    ],
    strategy: Annotated[
        str, typer.Argument(metavar="MODULE:FUNCTION", help="An async function, such as strategies:ema_cross.")
    ],
    param: Annotated[list[str] | None, typer.Option("--param", metavar="K=V", help="A parameter of it.")] = None,
    symbol: Annotated[
        str | None, typer.Option(help="Play this symbol alone; handed to the strategy if it takes a symbol.")
    ] = None,
    cash: Annotated[str, typer.Option(help="The opening cash.")] = "500000",
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> int:
    """Run a strategy over recorded ticks, and show what it made.

    The module is looked for in the current folder first. A value of --param is a number, True, False or None where it
    reads as one, and else text. Exit code 1 where the strategy raises or the ticks cannot be read.
    """
    from livetrade.replays.sweep import FIGURES

    function, params = function_named(strategy), parameters(param)
    takes = inspect.signature(function).parameters
    if symbol is not None and "symbol" in takes and "symbol" not in params:
        params["symbol"] = symbol
    ticks = source if symbol is None else lt.read_ticks(source, symbol)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", RuntimeWarning)
        result = lt.replay(function, ticks, cash=cash, params=params)
    for warning in told:
        _complain(str(warning.message), 0)
    figures = {name: _plain(value) for name, value in result.stats()[list(FIGURES)].items()}
    if as_json:
        print(json.dumps({"strategy": result.strategy, "params": params, "ticks": result.ticks_played, **figures}))
    else:
        print(f"{result.strategy} on {source.name}: {result.ticks_played:,} ticks")
        for name, value in figures.items():
            print(f"  {name:18} {_figure(value):>14}")
    return 0


def _plain(value: Any) -> float | int | None:
    """As JSON has it: None where a figure is not defined."""
    if isnan(value):
        return None
    return value if type(value) is int else float(value)


def _figure(value: float | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4f}"


# ── livetrade journal ────────────────────────────────────────────────────────────────────────────────────────────────

journal = typer.Typer(rich_markup_mode=None)
app.add_typer(journal, name="journal")
JournalPath = Annotated[
    Path, typer.Argument(metavar="PATH", help="The journal, such as main.journal.", show_default=False)
]


@journal.callback(invoke_without_command=True)
def journals(context: typer.Context) -> None:
    """Check, export or salvage the journal of an account."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@journal.command("verify")
def verify_journal(
    path: JournalPath,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> int:
    """Check a journal from its first event to its last.

    Nothing may be changed or missing, and every figure adds up. Nothing is written; it may be in use. Exit code 0 where
    it is whole, 1 where it is damaged or cannot be read.
    """
    from livetrade.journal.verify import verify

    verdict = verify(path)
    print(json.dumps({"path": str(path), **verdict.as_dict()}) if as_json else f"{path}: {verdict}")
    return 0 if verdict.whole else 1


@journal.command("export")
def export_journal(
    path: JournalPath,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="The folder to write into, made when not there.")],
    exact: Annotated[bool, typer.Option("--exact", help="Write exact decimals, not floats.")] = False,
) -> int:
    """Write what a journal holds as Parquet and CSV files.

    Orders, fills, ticks and the equity curve. It may be in use. Of a damaged journal what is good is written, and the
    exit code is 1.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # damage is told at the end
        opened = lt.open_journal(path)
    for file in opened.export_all(to, exact=exact):
        print(file)
    return _complain(f"{path} is damaged: {opened.damage}", 1) if opened.damage else 0


@journal.command("salvage")
def salvage_journal(
    path: JournalPath,
    to: Annotated[Path, typer.Option("--to", metavar="NEW", help="The new journal.", show_default=False)],
) -> int:
    """Write what is good of a damaged journal into a new one.

    An engine can go on from it. The damaged one stays as it is. Everything from the first damaged event on is left out.
    """
    from livetrade.journal.verify import salvage

    verdict = salvage(path, to)
    print(f"{to}: {verdict.events:,} events and {verdict.ticks:,} ticks")
    return 0


# ── livetrade login ──────────────────────────────────────────────────────────────────────────────────────────────────

login = typer.Typer(rich_markup_mode=None)
app.add_typer(login, name="login")


@login.callback(invoke_without_command=True)
def logins(context: typer.Context) -> None:
    """Get the day's access token of a broker, and keep it here."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@login.command("fyers")
def login_fyers(
    app_id: Annotated[
        str | None,
        typer.Option(envvar="FYERS_APP_ID", help="The app's id, such as ABCD1234EF-100; asked for if not given."),
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(
            envvar="FYERS_SECRET",
            help="The app's secret. Others may read a command line: better be asked for it, or set FYERS_SECRET.",
        ),
    ] = None,
    redirect_uri: Annotated[
        str,
        typer.Option(
            help="Where Fyers sends the browser back to: exactly the redirect URI that the app is registered with."
        ),
    ] = "http://127.0.0.1:5173/",
    timeout: Annotated[float, typer.Option(help="How many seconds to wait for the browser.")] = 180,
    browser: Annotated[bool, typer.Option(help="Open a browser, or only show the address.")] = True,
    api_url: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> int:
    """Log in to Fyers through a browser, once a day.

    The token is kept in this machine's keyring. Make an app in the Fyers API dashboard first, and register
    http://127.0.0.1:5173/ as its redirect URI. On a machine without a keyring the token is printed as a line for an
    environment file; such a line is a secret.
    """
    import webbrowser

    from livetrade.adapters.fyers import credentials
    from livetrade.adapters.fyers.login import log_in

    if not 0 < timeout <= LONGEST:
        raise typer.BadParameter(f"it must be above 0 and at most {LONGEST}, not {timeout:g}", param_hint="--timeout")
    app_id = app_id or _asked("The app's id", "--app-id or FYERS_APP_ID")
    hidden = credentials.Secret(secret or _asked("The app's secret (not shown)", "FYERS_SECRET or --secret", hide=True))
    try:
        token = log_in(
            app_id,
            hidden,
            redirect_uri,
            api_url=api_url,
            timeout=timeout,
            tell=lambda text: print(text, flush=True),
            open_browser=webbrowser.open if browser else lambda _: False,
        )
    except lt.OrderError as error:
        raise typer.BadParameter(str(error)) from None
    except ImportError as error:
        return _complain(str(error), 1)
    ends = "for a day at most" if token.expires is None else f"until {token.expires.astimezone():%a %d %b %Y %H:%M %Z}"
    if credentials.to_keyring(token):
        print(f"Logged in as {token.app_id}. The token is in the keyring, good {ends}.")
        if os.environ.get("FYERS_AUTH_TOKEN"):
            print("But FYERS_AUTH_TOKEN is set here, and goes first: unset it.")
        return 0
    print(f"Logged in as {token.app_id}. There is no keyring here that would keep the token, which is good {ends}.")
    print("Put this line into an environment file that only you can read; whoever has it can trade for you today:\n")
    print(f"export FYERS_AUTH_TOKEN={token.authorization.reveal()}")
    return 0


def _asked(what: str, otherwise: str, *, hide: bool = False) -> str:
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"give it as {otherwise}; there is no terminal to ask on", param_hint=what.lower())
    return str(typer.prompt(what, hide_input=hide)).strip()
