"""The golden journal: what an engine of version 1 wrote, and what it must always read as.

`uv run python -m tests.journal.make_golden` made `data/v1.journal`, its head, and `data/v1.json`. It is not made again:
a later version makes one of its own beside it.
"""

import json
import tempfile
import warnings
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd

import livetrade as lt
from livetrade.reads import Reads
from tests.journal.kit import copied

GOLDEN = Path(__file__).with_name("data") / "v1.journal"
SBIN, NIFTY = "NSE:SBIN-EQ", "NSE:NIFTY26MARFUT"
INSTRUMENT = lt.Instrument(NIFTY, kind="FUTURE", tick_size="0.05", lot_size=75, expiry=date(2026, 3, 26))
LIMITS = lt.Limits(max_order_value="200000")
SHORT = lt.Limits(allow_short=True)


def make(path: Path) -> None:
    """Two sessions: orders that fill, rest, are denied and canceled, exits in parts, a trailing stop, and a halt."""
    broker = lt.PaperBroker(size="quoted")
    with lt.LiveTradingEngine(500_000, broker=broker, journal=path, limits=LIMITS, instruments=[INSTRUMENT]) as engine:
        _first_session(engine, engine.stream)
    broker = lt.PaperBroker(size="quoted")
    with lt.LiveTradingEngine(journal=path, broker=broker, limits=SHORT, fees=lt.FlatFee("1.25")) as engine:
        _second_session(engine, engine.stream)


def _first_session(engine: lt.LiveTradingEngine, stream: lt.LivePriceStream) -> None:
    stream.update(SBIN, bid="548.95", ask="549.00", last="549", bid_size=500, ask_size=500, volume=10_000)
    stream.update(NIFTY, bid="24999.95", ask="25000", bid_size=750, ask_size=750)
    engine.market_buy(SBIN, 100, stop_loss_price="545", take_profit_price="560", tag="swing “₹”").result(5)
    engine.limit_buy(SBIN, 10, "540", client_order_id="rests", time_in_force="GTC", product="CNC").result(5)
    engine.limit_buy(SBIN, 10, "541", client_order_id="gone").result(5)
    engine.modify("gone", quantity=12).result(5)
    engine.cancel("gone").result(5)
    engine.market_buy(NIFTY, 75).result(5)  # more than the limits allow
    engine.set_trailing_stop(SBIN, amount=2).result(5)
    stream.update(SBIN, bid="551", ask="551.05", last="551")
    stream.update(SBIN, bid="549", ask="549.05", last="549", bid_size=40)  # the stop sells what is bid for
    stream.update(SBIN, bid="548.90", ask="549", last="548.95", bid_size=35)
    engine.halt("lunch").result(5)
    engine.market_buy(SBIN, 1).result(5)
    engine.transfer("-1000.50").result(5)


def _second_session(engine: lt.LiveTradingEngine, stream: lt.LivePriceStream) -> None:
    stream.update(SBIN, bid="550", ask="550.05", last="550", bid_size=500, ask_size=500)
    engine.resume().result(5)
    engine.market_sell(SBIN, 20).result(5)
    engine.market_buy(SBIN, 50, stop_loss_pct="1.5").result(5)  # through zero
    stream.update(SBIN, bid="553.30", ask="553.35", last="553.35")


def picture(account: Reads) -> dict[str, Any]:
    """All that can be read of an account, as plain texts."""
    tables = ("orders", "fills", "risk_orders", "equity", "round_trips")
    frames = {name: getattr(account, name)(exact=True) for name in tables}
    frames["positions"] = account.positions(closed=True, exact=True)
    frames["ticks"] = account.ticks(SBIN, exact=True)
    shown = {name: _columns(frame) for name, frame in frames.items()}
    return {**shown, "pnl": {str(name): _text(value) for name, value in account.pnl(exact=True).items()}}


def _columns(frame: pd.DataFrame) -> dict[str, list[str]]:
    return {str(name): [_text(value) for value in column] for name, column in frame.reset_index().items()}


def _text(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return "-" if value is None or value is pd.NaT else str(value)


if __name__ == "__main__":
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / GOLDEN.name
        make(made)
        GOLDEN.parent.mkdir(exist_ok=True)
        for suffix in ("", ".head"):
            made.with_name(made.name + suffix).replace(GOLDEN.with_name(GOLDEN.name + suffix))
    with tempfile.TemporaryDirectory() as folder:
        shown = picture(lt.open_journal(copied(GOLDEN, Path(folder))))
        GOLDEN.with_suffix(".json").write_text(json.dumps(shown, indent=1, ensure_ascii=False) + "\n")
