"""A trading process that is there to be killed.

    python tests/crash/trader.py PORT JOURNAL SEED [ORDERS [SLOW]]

It trades at the exchange that listens on PORT (0: on paper), keeps JOURNAL on a disk that takes up to SLOW milliseconds
more for each step, and ends in good order after so many ORDERS (0: never). What order number N asks for follows from
SEED and N alone, so that a later life can ask for the same again: it begins with the numbers around the last one that
its journal knows. It prints

    OPEN json               the engine answers: what it knows of orders and of exits
    ACK what json           a command was answered, and how; `told`: a callback was given an order
    FILL id                 a callback was given a fill
    END                     it was closed in good order
"""

import asyncio
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import partial
from queue import Queue
from random import Random
from threading import Event, Thread
from time import sleep
from typing import Any

import livetrade as lt
from livetrade.core import events as ev
from livetrade.core.account import Account
from livetrade.core.kinds import ExitStatus, OrderStatus, PriceSource, Product
from livetrade.core.ticks import Tick
from livetrade.core.values import Order
from livetrade.ports import Statement
from livetrade.surface import OrderHandle

CASH = 10_000_000
SYMBOLS = ("NSE:SBIN-EQ", "NSE:INFY-EQ", "NSE:TCS-EQ")
MIDDLE = 10_000
AT_ONCE = 6
"""Commands that wait for their answers at the same time."""
AGAIN = AT_ONCE
"""How many numbers below and above the last known one are sent again."""
_ON_THEIR_WAY = (
    OrderStatus.SUBMITTED,
    OrderStatus.PENDING_UPDATE,
    OrderStatus.PENDING_CANCEL,
    OrderStatus.UNKNOWN,
)


def tell(*words: object) -> None:
    """One line, in one write: it is there whole, or not at all."""
    os.write(1, " ".join(map(str, words)).encode() + b"\n")


# ── the broker ───────────────────────────────────────────────────────────────────────────────────────────────────────


class SocketBroker:
    """A session with the exchange: requests out, reports in."""

    real = False
    venue = None

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._early: list[dict[str, Any]] = []
        self.calmed = Event()
        self._calm_wanted = False

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self._reader, self._writer

    async def statement(self, orders: Sequence[Order]) -> Statement:
        reader, writer = await self._connect()
        writer.write(_line(do="statement", names=[order.client_order_id for order in orders]))
        while True:
            message = await _read(reader)
            if "statement" in message:
                break
            self._early.append(message)
        return Statement(
            {name: [_report(said) for said in history] for name, history in message["statement"].items()},
            {(symbol, Product.INTRADAY): raw for symbol, raw in message["filled"].items()},
        )

    async def run(self, requests: Callable[[], Sequence[ev.Request]], report: Callable[[ev.Report], None]) -> None:
        reader, writer = await self._connect()
        for message in self._early:
            report(_report(message))
        sending = asyncio.create_task(self._send(writer, requests))
        try:
            while True:
                message = await _read(reader)
                if "calm" in message:
                    self.calmed.set()
                else:
                    report(_report(message))
        finally:
            sending.cancel()
            writer.close()

    async def _send(self, writer: asyncio.StreamWriter, requests: Callable[[], Sequence[ev.Request]]) -> None:
        while True:
            for request in requests():
                writer.write(_asked(request))
            if self._calm_wanted:
                self._calm_wanted = False
                writer.write(_line(do="calm"))
            await asyncio.sleep(0.001)

    def calm(self) -> None:
        """Asks the exchange to finish, and waits until all that it did before has been reported."""
        self.calmed.clear()
        self._calm_wanted = True
        self.calmed.wait()


def _line(**message: object) -> bytes:
    return json.dumps(message).encode() + b"\n"


async def _read(reader: asyncio.StreamReader) -> dict[str, Any]:
    line = await reader.readline()
    if not line:
        raise ConnectionError("the exchange is gone")
    message: dict[str, Any] = json.loads(line)
    return message


def _asked(request: ev.Request) -> bytes:
    match request:
        case ev.Submit(order=order):
            terms = {"symbol": order.symbol, "sign": order.side.sign, "quantity": order.quantity_raw}
            return _line(do="submit", name=order.client_order_id, limit=order.limit_raw, **terms)
        case ev.Cancel():
            return _line(do="cancel", name=request.client_order_id)
        case ev.Modify(change=change):
            return _line(
                do="modify", name=request.client_order_id, quantity=change.quantity_raw, limit=change.limit_raw
            )


def _report(said: dict[str, Any]) -> ev.Report:
    name = said["name"]
    match said["say"]:
        case "accepted":
            return ev.Accepted(0, name, said["number"])
        case "rejected":
            return ev.Rejected(0, name, said["reason"])
        case "canceled":
            return ev.Canceled(0, name)
        case "modified":
            return ev.Modified(0, name, said["quantity"], said["limit"], None)
        case "request_rejected":
            return ev.RequestRejected(0, name, said["reason"])
        case "executed":
            return ev.Executed(0, name, said["execution"], said["quantity"], said["price"], PriceSource.VENUE)
    raise ValueError(f"the exchange says {said}")


# ── the journal ──────────────────────────────────────────────────────────────────────────────────────────────────────


class SlowJournal(lt.FileJournal):
    """On a disk that takes its time: what an engine does too early for a journal, it does long before that is safe."""

    def __init__(self, path: str, slow_ms: int) -> None:
        super().__init__(path)
        self._slow_s = slow_ms / 1000
        self._late: Queue[Callable[[], None] | None] = Queue()
        self._clerk = Thread(target=self._write, name="slow disk", daemon=True)

    def start(self, post: Callable[[Callable[[], None]], None], failed: Callable[[], None]) -> None:
        super().start(post, failed)
        self._clerk.start()

    def append(self, events: Sequence[ev.Event], durable: Callable[[], None]) -> None:
        self._late.put(partial(super().append, events, durable))

    def record(self, quotes: list[Tick]) -> None:
        self._late.put(partial(super().record, quotes))

    def _write(self) -> None:
        dice = Random()
        while (job := self._late.get()) is not None:
            sleep(dice.uniform(0, self._slow_s))
            job()

    def close(self, seconds: float) -> bool:
        self._late.put(None)
        self._clerk.join()
        return super().close(seconds)


# ── what it trades ───────────────────────────────────────────────────────────────────────────────────────────────────


class Trader:
    """Sends orders, a few at a time, and tells every answer."""

    def __init__(self, engine: lt.LiveTradingEngine, seed: int, numbers: Iterator[int]) -> None:
        self._engine = engine
        self._seed = seed
        self._numbers = numbers

    async def trade(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._work())

    async def _work(self) -> None:
        for number in self._numbers:
            dice = Random(f"{self._seed}:{number}")
            await self._act(f"C{number}", dice.choice(SYMBOLS), dice, number)
            await asyncio.sleep(dice.uniform(0, 0.01))

    async def _act(self, name: str, symbol: str, dice: Random, number: int) -> None:
        engine, quantity, kind = self._engine, dice.randint(1, 9), dice.random()
        if kind < 0.42:
            await self._told("order", engine.market_buy(symbol, quantity, client_order_id=name, **_exits(dice)))
        elif kind < 0.58:
            await self._told("order", engine.market_sell(symbol, (quantity + 1) // 2, client_order_id=name))
        elif kind < 0.86:
            send = engine.limit_buy if kind < 0.79 else engine.limit_sell
            price = Decimal(MIDDLE + 5 * dice.randint(-6, 6)) / 100
            if await self._told("order", send(symbol, quantity, price, client_order_id=name)):
                await self._change(name, quantity, price, dice)
        elif kind < 0.96:
            distance = Decimal(1_000_000 + number) / 10_000_000  # its own: it shows which command armed the stop
            await self._told("stop", engine.set_stop_loss(symbol, pct=distance), symbol=symbol, pct=str(distance))
        elif kind < 0.98:
            await self._told("close", engine.close_position(symbol))
        else:
            await self._told("transfer", engine.transfer(number), amount=number)

    async def _change(self, name: str, quantity: int, price: Decimal, dice: Random) -> None:
        """Of the limit orders some are modified, and some of them more than once; and some are canceled."""
        for _ in range(dice.choice((0, 0, 1, 2, 3))):
            terms = {"quantity": quantity + dice.randint(0, 1), "limit_price": price + Decimal(dice.randint(0, 1)) / 10}
            await self._told("modify", self._engine.modify(name, **terms))
        if dice.random() < 0.6:
            await self._told("cancel", self._engine.cancel(name))

    async def _told(self, what: str, handle: OrderHandle, **more: object) -> bool:
        success, message, order = await handle
        tell("ACK", what, json.dumps({"success": success, "message": message, **picture(order), **more}))
        return success


def _exits(dice: Random) -> dict[str, Decimal]:
    exits = {}
    for name, chance in (("stop_loss_pct", 0.4), ("take_profit_pct", 0.15), ("trailing_stop_pct", 0.15)):
        if dice.random() < chance:
            exits[name] = Decimal(dice.randint(10, 40)) / 100
    return exits


def picture(order: Order | None) -> dict[str, object]:
    if order is None:
        return {"name": None}
    return {
        "name": order.client_order_id,
        "status": order.status,
        "quantity": order.quantity_raw,
        "limit": order.limit_raw,
        "filled": order.filled_raw,
        "value": str(order.filled_value_raw),
    }


async def quote(stream: lt.LivePriceStream, dice: Random) -> None:
    """Prices that wander, and now and then jump through the stops."""
    bids = dict.fromkeys(SYMBOLS, MIDDLE)
    while True:
        symbol = dice.choice(SYMBOLS)
        bids[symbol] += dice.randint(-6, 6) + (MIDDLE - bids[symbol]) // 20
        post(stream, symbol, bids[symbol])
        await asyncio.sleep(0.002)


def post(stream: lt.LivePriceStream, symbol: str, bid: int) -> None:
    stream.update(symbol, bid=Decimal(bid) / 100, ask=Decimal(bid + 5) / 100, last=Decimal(bid) / 100)


# ── a life ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def known(account: Account) -> dict[str, Any]:
    return {
        "orders": {name: picture(order) for name, order in account.orders.items()},
        "exits": {risk_id: risk.status for risk_id, risk in account.risks.items()},
        "events": account.seq,
    }


def tell_news(engine: lt.LiveTradingEngine) -> None:
    engine.on_fill(lambda fill: tell("FILL", fill.execution_id))
    engine.on_order(lambda order: tell("ACK told", json.dumps({"success": False, "message": "", **picture(order)})))


def last_number(told: dict[str, Any]) -> int:
    """Of the last order that an engine knew as it opened."""
    return max((int(name[1:]) for name in told["orders"] if name[0] == "C" and name[1:].isdigit()), default=0)


def numbers_from(last: int, orders: int) -> Iterator[int]:
    first = max(1, last + 1 - AGAIN)
    return itertools.count(first) if not orders else iter(range(first, last + 1 + AGAIN + orders))


def at_rest(account: Account) -> bool:
    """Nothing is on its way, and nothing is about to be."""
    moving = any(order.status in _ON_THEIR_WAY or order.limit_raw is None for order in account.open_orders.values())
    fired = [risk for risk in account.risks.values() if risk.status is ExitStatus.TRIGGERED]
    return not moving and not account.closing and all(risk.retry_ns <= account.ts for risk in fired)


async def come_to_rest(engine: lt.LiveTradingEngine, broker: SocketBroker | None) -> None:
    while True:
        if broker is not None:
            await asyncio.to_thread(broker.calm)
        if engine._read(at_rest):
            return
        await asyncio.sleep(0.01)


async def live(port: int, journal: str, seed: int, orders: int = 0, slow_ms: int = 0) -> None:
    stream = lt.LivePriceStream()
    for symbol in SYMBOLS:
        post(stream, symbol, MIDDLE + Random(f"{seed} {os.getpid()} {symbol}").randint(-40, 40))
    broker = SocketBroker(port) if port else None
    simulated = lt.PaperBroker(latency=(0, 0.001, 0.01)[seed % 3])
    terms = {"fees": lt.NoFees() if port else lt.FlatFee("1.25"), "broker": broker or simulated}
    kept = SlowJournal(journal, slow_ms) if slow_ms else lt.FileJournal(journal)
    engine = lt.LiveTradingEngine(CASH, stream, journal=kept, **terms)
    told = engine._read(known)
    tell("OPEN", json.dumps(told))
    tell_news(engine)
    prices = asyncio.create_task(quote(stream, Random(f"{seed} {os.getpid()}")))
    await Trader(engine, seed, numbers_from(last_number(told), orders)).trade()
    prices.cancel()
    with suppress(asyncio.CancelledError):
        await prices
    await come_to_rest(engine, broker)
    engine.close()
    tell("END")


if __name__ == "__main__":
    where, path, *numbers = sys.argv[1:]
    asyncio.run(live(int(where), path, *map(int, numbers)))
