"""`livetrade serve` and what speaks to the desk that it starts: `status`, `flatten`, `halt`, `resume`."""

import json
import os
import signal
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

import livetrade as lt
from livetrade.cli.functions import function_named, parameters
from livetrade.core.kinds import Process
from livetrade.core.numbers import counted

if TYPE_CHECKING:
    from livetrade.desk.desk import Desk
    from livetrade.desk.runtime import Running

OPENING_CASH = "500000"
FEED_URLS = ("socket_url", "data_url", "static_url")
BROKER_URLS = ("api_url", "order_socket_url", "static_url")
URLS = tuple(dict.fromkeys(FEED_URLS + BROKER_URLS))

Name = Annotated[str | None, typer.Option(help="Which desk, where several run.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


# ── livetrade serve ──────────────────────────────────────────────────────────────────────────────────────────────────


def serve(
    feed: Annotated[
        str, typer.Option(help="Where prices come from: none (they are posted), simulated, fyers, or an installed one.")
    ] = "none",
    symbols: Annotated[str, typer.Option(help="What the feed should bring, parted by commas.")] = "",
    cash: Annotated[
        str | None,
        typer.Option(
            help=f"The opening cash of a new account; {OPENING_CASH} unless given, with --live the broker's balance.",
            show_default=False,
        ),
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option(
            help="Where the account is kept; by its name in your data directory unless given.", show_default=False
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="The engine's name: how others find it.")] = "main",
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 picks a free one.", min=0, max=65535)] = 5000,
    live: Annotated[bool, typer.Option("--live", help="Trade real money, at Fyers.")] = False,
    fyers_url: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=URL", help=f"Another address of Fyers, such as a server's on loopback: {', '.join(URLS)}."
        ),
    ] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Let every program of this machine in; only on paper, only on loopback.")
    ] = False,
    certfile: Annotated[
        Path | None, typer.Option(help="Serve over TLS with this certificate.", show_default=False)
    ] = None,
    keyfile: Annotated[Path | None, typer.Option(help="The certificate's key.", show_default=False)] = None,
    remote: Annotated[bool, typer.Option("--remote", help="Other machines may come, over TLS.")] = False,
    names: Annotated[str, typer.Option(help="Further host names of this desk, parted by commas.")] = "",
    strategy: Annotated[
        str | None,
        typer.Option(metavar="MODULE:FUNCTION", help="Run this strategy in the desk.", show_default=False),
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A parameter of the strategy; may be repeated.")
    ] = None,
) -> int:
    """Run a desk: an engine that notebooks and programs attach to.

    It trades on when they end: stops fire whatever a notebook does. The first line printed holds its URL. It ends in
    good order on Ctrl-C or SIGTERM, and goes on from its journal when it is started again.
    """
    try:
        from livetrade.desk import logs
        from livetrade.desk.desk import Desk, check_place
    except ImportError as error:
        raise lt.DeskError(f"a desk needs more packages ({error.name}): pip install 'livetrade[desk]'") from None
    from livetrade.options import default_journal

    if live and feed != "fyers":
        raise lt.DeskError("--live sends real orders to Fyers, at its prices: --feed fyers --symbols NSE:SBIN-EQ,...")
    urls = _urls(fyers_url, feed)
    if live:
        _check_rehearsal(urls, journal)
    if os.environ.get("WEB_CONCURRENCY", "1") not in ("", "1"):
        raise lt.DeskError("a desk is one process: several workers would be several accounts; unset WEB_CONCURRENCY")
    if param and strategy is None:
        raise lt.DeskError("--param is for a strategy: name it with --strategy MODULE:FUNCTION")
    function, given = None if strategy is None else function_named(strategy), parameters(param)
    check_place(host, certfile=certfile, keyfile=keyfile, remote=remote, no_token=no_token, real=live)
    path = journal if journal is not None else default_journal(name)
    opening = cash if cash is not None or path.exists() or live else OPENING_CASH
    broker = lt.FyersBroker(confirm="LIVE", **_those(urls, BROKER_URLS)) if live else None
    source = _feed(feed, _listed(symbols), _those(urls, FEED_URLS))
    engine = lt.LiveTradingEngine(opening, feed=source, broker=broker, journal=path, name=name)
    engine.process = Process.DESK
    try:
        place = {"host": host, "port": port, "certfile": certfile, "keyfile": keyfile}
        desk = Desk(engine, **place, no_token=no_token, remote=remote, names=tuple(_listed(names)))  # type: ignore[arg-type]
        logs.begin(desk.secrets, path.with_name(path.name + ".audit"))
        if function is not None:
            engine.start(function, params=given)
        _run(desk)
    finally:
        engine.close()
    return 0


def _run(desk: "Desk") -> None:
    def end(number: int, frame: FrameType | None) -> None:
        desk.stopped.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    try:
        desk.start()
        engine = desk.engine
        print(f"livetrade desk {engine.name!r} {engine.mode} at {desk.url}", flush=True)
        if desk.token is None:
            print("no token is asked for: every program of this machine may trade here, on paper", flush=True)
        elif sys.stdout.isatty():  # a file that keeps this would keep the token
            print(f"the live page: {desk.link}", flush=True)
        else:
            print("`livetrade status --link` shows the address of the live page", flush=True)
        desk.stopped.wait()
    finally:
        desk.stop()
    left = engine._read(lambda account: sum(len(bracket) for bracket in account.brackets.values()))
    if left:
        print(f"{counted(left, 'exit is', 'exits are')} not watched until the desk is started again", file=sys.stderr)


def _listed(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _urls(given: list[str] | None, feed: str) -> dict[str, str]:
    found = dict(each.partition("=")[::2] for each in given or ())
    if found and feed != "fyers":
        raise lt.DeskError("--fyers-url is for --feed fyers")
    wrong = [each for each in given or () if each.partition("=")[0] not in URLS]
    if wrong:
        raise lt.DeskError(f"write --fyers-url NAME=URL, with one of {', '.join(URLS)}, not {wrong[0]}")
    return found


def _check_rehearsal(urls: dict[str, str], journal: Path | None) -> None:
    """Real orders go where their prices come from; what is filled elsewhere is not in the real account's journal."""
    orders = {"api_url", "order_socket_url"}
    if urls.keys() - {"static_url"} and not orders <= urls.keys():
        raise lt.DeskError(
            "--live with --fyers-url: name api_url and order_socket_url too; prices of another place are no reason for "
            "orders at Fyers"
        )
    if orders <= urls.keys() and journal is None:
        raise lt.DeskError(
            "--live with --fyers-url: orders at another place are none of the real account's; keep them in a journal "
            "of their own, --journal PATH"
        )


def _those(urls: dict[str, str], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: url for name, url in urls.items() if name in names}


def _feed(name: str, symbols: list[str], urls: dict[str, Any]) -> Any:
    if name == "none":
        if symbols:
            raise lt.DeskError("symbols are for a feed: say --feed simulated, or post prices of what you like")
        return None
    if name == "simulated":
        return lt.SimulatedFeed(symbols or ["NSE:SBIN-EQ", "NSE:RELIANCE-EQ", "NSE:INFY-EQ"])
    if name == "fyers":
        return lt.FyersFeed(symbols, **urls)
    known = {entry.name: entry for entry in entry_points(group="livetrade.feeds")}
    if name not in known:
        others = "".join(f", {other}" for other in known)
        raise lt.DeskError(f"there is no feed {name!r}; choose none, simulated, fyers{others}")
    return known[name].load()(symbols)


# ── what speaks to a desk ────────────────────────────────────────────────────────────────────────────────────────────


def status(
    name: Name = None,
    as_json: AsJson = False,
    link: Annotated[
        bool, typer.Option("--link", help="Show the address of the live page, which holds the token.")
    ] = False,
) -> int:
    """Show the desks that run, and how they are. Exit code 1 where there is none, or one does not answer."""
    from livetrade.desk.runtime import all_running

    desks = [desk for desk in all_running() if name in (None, desk.name)]
    if not desks:
        where = f" under the name {name!r}" if name else ""
        raise lt.DeskError(f"no desk is running here{where}; `livetrade serve` starts one")
    if link:
        for desk in desks:
            print(f"{desk.url}/?token={desk.token}" if desk.token else desk.url)
        return 0
    found = [_status_of(desk) for desk in desks]
    if as_json:
        print(json.dumps(found))
    else:
        for row in found:
            print(_told(row))
    return 0 if all(row["answers"] for row in found) else 1


def _status_of(desk: "Running") -> dict[str, Any]:
    from livetrade.desk.request import ask

    row: dict[str, Any] = {"name": desk.name, "url": desk.url, "pid": desk.pid, "answers": True}
    try:
        _, health = ask(desk, "GET", "health")
        _, portfolio = ask(desk, "GET", "portfolio")
        _, positions = ask(desk, "GET", "positions")
        return {**row, "mode": health["mode"], "health": health, "portfolio": portfolio, "positions": positions}
    except (lt.DeskError, LookupError, TypeError) as error:
        return {**row, "answers": False, "error": str(error)}


def _told(row: dict[str, Any]) -> str:
    first = f"{row['name']}  {row['url']}  pid {row['pid']}"
    if not row["answers"]:
        return f"{first}\n  does not answer: {row['error']}"
    health, figures = row["health"], row["portfolio"]
    held = ", ".join(f"{position['quantity']} {position['symbol']}" for position in row["positions"]) or "nothing held"
    return (
        f"{first}  {row['mode']}  feed {health['feed']}\n"
        f"  {figures['portfolio_value']} {figures['currency']}, P&L {figures['total_pnl']}: {held}"
    )


def flatten(
    symbol: Annotated[str | None, typer.Option(help="One symbol; everything unless given.", show_default=False)] = None,
    name: Name = None,
    as_json: AsJson = False,
) -> int:
    """Cancel a desk's working orders and close its positions."""
    return _command("flatten", {"symbol": symbol}, name, as_json=as_json)


def halt(
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "command line",
    name: Name = None,
    as_json: AsJson = False,
) -> int:
    """Refuse opening orders on a desk; its stops stay armed and fire."""
    return _command("halt", {"reason": reason}, name, as_json=as_json)


def resume(name: Name = None, as_json: AsJson = False) -> int:
    """End a halt."""
    return _command("resume", {}, name, as_json=as_json)


def _command(command: str, body: dict[str, Any], name: str | None, *, as_json: bool) -> int:
    from livetrade.desk.request import ask
    from livetrade.desk.runtime import find

    _, answer = ask(find(name), "POST", command, body)
    done = bool(answer.get("success"))
    if as_json:
        print(json.dumps(answer))
    else:
        print(answer.get("message", ""), file=sys.stdout if done else sys.stderr)
    return 0 if done else 1


COMMANDS = (serve, status, flatten, halt, resume)
