"""What `livetrade demo` runs: a simulated market, traded on paper, shown meanwhile and told at the end.

What only the screens and the tables need (rich, pandas) loads when it is first used.
"""

import asyncio
import warnings
from collections.abc import Sequence
from importlib import import_module

import livetrade as lt
from livetrade.demo.report import print_report
from livetrade.demo.screen import LiveScreen, PlainScreen, Screen, make_console
from livetrade.demo.session import CASH, trade
from livetrade.demo.tape import Tape


def run_demo(feed: lt.SimulatedFeed, symbols: Sequence[str], seconds: float, title: str) -> int:
    """Trades the symbols of a feed for some seconds, then prints the report. Gives the exit code."""
    tape, console = Tape(), make_console()
    screen: Screen = LiveScreen(tape, title, console) if console.is_terminal else PlainScreen(tape, title)
    # the report tells what is left, so the engine's warning need not
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning), tape, screen:
        with lt.LiveTradingEngine(CASH, feed=feed, name="demo") as engine:
            tape.follow(engine)
            code = asyncio.run(trade(engine, symbols, seconds, screen))
        import_module("pandas")  # takes a moment, in which the last picture stands
    print_report(engine, console)
    return code
