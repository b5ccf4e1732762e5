"""A trading process that is there to be killed, as `trader.py`, its prices and its real orders at the loopback Fyers.

    python tests/crash/fyers_trader.py PLACE JOURNAL SEED [ORDERS [SLOW]]

PLACE: a file that tells where the server is, and the token, as JSON. Once it has sent what it is to send it prints
REST, and ends when nothing moves any more and the broker has nothing that the books have not.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import livetrade as lt
from livetrade.adapters.fyers.broker import FyersBroker
from livetrade.core.account import Account
from tests.adapters.fyers.broker_kit import BRISK, QUICK
from tests.crash.trader import (
    CASH,
    SYMBOLS,
    SlowJournal,
    Trader,
    at_rest,
    known,
    last_number,
    numbers_from,
    tell,
    tell_news,
)


async def until_ready(engine: lt.LiveTradingEngine, broker: FyersBroker) -> None:
    """Its prices are live, its order socket is up, and it knows what became of the orders of earlier lives."""
    while not (engine.health()["feed"] == "LIVE" and broker.connections and engine._read(_is_ready)):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def _is_ready(account: Account) -> bool:
    return not account.is_asked and account.markets.keys() >= set(SYMBOLS)


async def come_to_rest(engine: lt.LiveTradingEngine) -> None:
    while not engine._read(at_rest) or await asyncio.to_thread(_differs, engine):  # noqa: ASYNC110
        await asyncio.sleep(0.05)


def _differs(engine: lt.LiveTradingEngine) -> bool:
    try:
        return bool(engine.reconcile()["difference"].any())
    except (lt.BrokerError, lt.FeedError):  # of a fault, or something traded meanwhile
        return True


async def live(there: dict[str, Any], journal: str, seed: int, orders: int = 0, slow_ms: int = 0) -> None:
    feed = lt.FyersFeed(SYMBOLS, there["token"], stale_after=3600, **there["feed"])
    broker = FyersBroker(there["token"], confirm="LIVE", **there["broker"], _pauses=BRISK, _timing=QUICK, _timeout=1.0)
    kept = SlowJournal(journal, slow_ms) if slow_ms else lt.FileJournal(journal)
    engine = lt.LiveTradingEngine(CASH, feed=feed, journal=kept, broker=broker, fees=lt.NoFees())
    told = engine._read(known)
    tell("OPEN", json.dumps(told))
    tell_news(engine)
    await until_ready(engine, broker)
    await Trader(engine, seed, numbers_from(last_number(told), orders)).trade()
    tell("REST")
    await come_to_rest(engine)
    engine.close()
    tell("END")


if __name__ == "__main__":
    place, path, *numbers = sys.argv[1:]
    asyncio.run(live(json.loads(Path(place).read_text()), path, *map(int, numbers)))
