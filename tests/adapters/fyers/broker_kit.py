"""A real engine with the real `FyersBroker` on the loopback Fyers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import livetrade as lt
from livetrade.adapters.fyers.broker import FyersBroker
from livetrade.adapters.fyers.lookups import Pauses
from livetrade.adapters.fyers.patience import Timing
from livetrade.testing import FyersServer
from tests.adapters.fyers.market import ALWAYS, in_india
from tests.support import FREE, quietly_close, soon

SBIN, INFY = "NSE:SBIN-EQ", "NSE:INFY-EQ"
ITEMS = tuple(lt.Instrument(symbol, tick_size="0.05") for symbol in (SBIN, INFY))
BRISK = Pauses(heard=0.2, first=0.05, longest=0.2, certain=1.0, alert=2.0, poll=0.1, positions=0.5, again=0.1)
NOON = in_india("2026-03-02 12:00")  # long before anything is squared off
QUICK = Timing(ping=0.5, answer=2.0, first=0.05, longest=0.2, lasting=0.2, wall=lambda: NOON)


def broker_of(server: FyersServer, *, pauses: Pauses = BRISK, timeout: float = 1.0, **terms: Any) -> FyersBroker:
    token = terms.pop("access_token", server.token)
    settings = {"calendar": ALWAYS, "_timing": QUICK, **server.broker_urls, **terms}
    return FyersBroker(token, confirm="LIVE", _pauses=pauses, _timeout=timeout, **settings)


@contextmanager
def live(
    server: FyersServer, journal: Path, broker: FyersBroker | None = None, *, cash: Any = 500_000, **terms: Any
) -> Iterator[lt.LiveTradingEngine]:
    """An engine whose prices are those of the server; its order socket is up."""
    broker = broker if broker is not None else broker_of(server)
    terms = {"fees": FREE, "instruments": ITEMS, **terms}
    engine = lt.LiveTradingEngine(None if journal.exists() else cash, journal=journal, broker=broker, **terms)
    try:
        soon(lambda: broker.connections, "the order socket was never up")
        yield engine
    finally:
        quietly_close(engine)


def quote(server: FyersServer, engine: lt.LiveTradingEngine, bid: str, ask: str, symbol: str = SBIN) -> None:
    """The same quote there and here; the engine hears of it first, as it would of one that moves."""
    engine.stream.update(symbol, bid=bid, ask=ask, last=bid)
    server.quote(symbol, bid=bid, ask=ask, last=bid)


def ours(engine: lt.LiveTradingEngine) -> dict[tuple[str, str], int]:
    """Net quantities by symbol and product, as the server shows them."""
    net: dict[tuple[str, str], int] = {}
    for symbol, product, quantity in engine._read(
        lambda account: [(b.symbol, b.product.value, b.quantity_raw) for b in account.ledger.books.values()]
    ):
        net[symbol, product] = net.get((symbol, product), 0) + quantity
    return {key: quantity for key, quantity in net.items() if quantity}
