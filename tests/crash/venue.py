"""A truthful exchange on loopback, in the test's own process: it outlives the traders that are killed.

It forgets nothing and never lies: it keeps how often each id was submitted, every execution, and all it ever said of an
order. What it says while no trader is connected is lost, and a statement tells it again. What an earlier trader has
sent is read to its end before the next one is served, as a session layer does; so "it never came" is certain.

Lines of JSON. To it: `submit`, `cancel`, `modify`, `statement` (what became of these ids?) and `calm` (finish what is
on its way, and let what rests rest). From it: reports, and the answers to `statement` and `calm`.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")
MIDDLE = 10_000
"""Raw price that everything is traded around."""


@dataclass
class Placed:
    """An order as the exchange has it; quantities and prices are raw."""

    name: str
    symbol: str
    sign: int
    quantity: int
    limit: int | None
    filled: int = 0
    working: bool = True
    said: list[dict[str, Any]] = field(default_factory=list)

    @property
    def left(self) -> int:
        return self.quantity - self.filled


@dataclass(frozen=True)
class Execution:
    name: str
    order: Placed
    quantity: int
    price: int


@dataclass
class Due:
    """Something that the exchange will do later; what rests may also be left to rest."""

    timer: asyncio.TimerHandle
    job: Callable[[], None]
    rests: bool


class Exchange:
    """Runs on a thread of its own; `look` asks it something between two of its steps."""

    def __init__(self, seed: int) -> None:
        self._dice = Random(seed)
        self.submissions: Counter[str] = Counter()
        self.orders: dict[str, Placed] = {}
        self.executions: list[Execution] = []
        self.lost = 0
        """Reports that nobody heard."""
        self.faults: list[BaseException] = []
        self._due: dict[int, Due] = {}
        self._number = 0
        self._calm = False
        self._writer: asyncio.StreamWriter | None = None  # the one that is served
        self._writers: set[asyncio.StreamWriter] = set()
        self._read_to_end: asyncio.Event | None = None
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = Thread(target=self._loop.run_forever, name="exchange", daemon=True)
        self._thread.start()

    def look(self, question: Callable[["Exchange"], T]) -> T:
        async def asked() -> T:
            return question(self)

        return asyncio.run_coroutine_threadsafe(asked(), self._loop).result(30)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        for due in self._due.values():
            due.timer.cancel()
        sessions = asyncio.all_tasks() - {asyncio.current_task()}
        for writer in self._writers:
            writer.close()
        if sessions:
            await asyncio.wait(sessions, timeout=10)

    # ── the line ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        earlier, ended = self._read_to_end, asyncio.Event()
        self._read_to_end = ended
        self._writers.add(writer)
        try:
            if earlier is not None:
                await earlier.wait()
            self._writer = writer
            while line := await reader.readline():
                self._take(json.loads(line))
        except ConnectionError:
            pass
        except Exception as error:  # noqa: BLE001  the test that reads it fails
            self.faults.append(error)
        finally:
            if self._writer is writer:
                self._writer = None
            ended.set()
            self._writers.discard(writer)
            writer.close()

    def _take(self, request: dict[str, Any]) -> None:
        match request.pop("do"):
            case "submit":
                self._submit(**request)
            case "cancel":
                self._cancel(**request)
            case "modify":
                self._modify(**request)
            case "statement":
                delay = 0.0 if self._dice.random() < 0.5 else self._dice.uniform(0, 0.03)
                self._later(delay, partial(self._state, request["names"], self._writer))
            case "calm":
                self._become_calm()
                self._write({"calm": True})

    def _state(self, names: list[str], asked_by: asyncio.StreamWriter | None) -> None:
        if self._writer is not asked_by:
            return  # whoever asked is dead
        histories = {name: self.orders[name].said if name in self.orders else [] for name in names}
        self._write({"statement": histories, "filled": self.positions()})

    def positions(self) -> dict[str, int]:
        """The net raw quantity of all executions, by symbol."""
        net: Counter[str] = Counter()
        for execution in self.executions:
            net[execution.order.symbol] += execution.order.sign * execution.quantity
        return dict(net)

    def _write(self, message: dict[str, Any]) -> bool:
        if self._writer is None or self._writer.is_closing():
            return False
        self._writer.write(json.dumps(message).encode() + b"\n")
        return True

    def _say(self, order: Placed, what: str, told_after: float = 0.0, **figures: Any) -> None:
        report = {"say": what, "name": order.name, **figures}
        order.said.append(report)
        self._later(told_after, lambda: self._tell(report))

    def _tell(self, report: dict[str, Any]) -> None:
        for _ in range(2 if self._dice.random() < 0.05 else 1):  # some things are said twice
            if not self._write(report):
                self.lost += 1

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _submit(self, name: str, symbol: str, sign: int, quantity: int, limit: int | None) -> None:
        self.submissions[name] += 1
        if name in self.orders:
            return
        order = self.orders[name] = Placed(name, symbol, sign, quantity, limit)
        if self._dice.random() < 0.04:
            order.working = False
            self._say(order, "rejected", reason="the exchange does not like it")
            return
        self._number += 1
        self._say(order, "accepted", number=f"V{self._number}")
        if limit is None:
            self._fill_in_parts(order, 0.0 if self._dice.random() < 0.5 else self._dice.uniform(0, 0.05))
        elif self._dice.random() < 0.5:
            self._fill_in_parts(order, self._dice.uniform(0.005, 0.4))

    def _fill_in_parts(self, order: Placed, delay: float) -> None:
        left = order.quantity
        while left:
            part = left if self._dice.random() < 0.5 else self._dice.randint(1, left)
            left -= part
            self._later(delay, lambda part=part: self._execute(order, part), rests=order.limit is not None)
            delay += 0.0 if self._dice.random() < 0.6 else self._dice.uniform(0, 0.02)

    def _execute(self, order: Placed, quantity: int, *, told_after: float = 0.0) -> None:
        quantity = min(quantity, order.left)
        if not order.working or not quantity:
            return
        price = order.limit or MIDDLE + self._dice.randint(-20, 20)
        execution = Execution(f"X{len(self.executions) + 1}", order, quantity, price)
        self.executions.append(execution)
        order.filled += quantity
        order.working = order.left > 0
        figures = {"execution": execution.name, "quantity": quantity, "price": price}
        self._say(order, "executed", told_after, **figures)

    def _cancel(self, name: str) -> None:
        order = self.orders.get(name)
        if order is None:
            return  # it cannot even be turned down: nobody knows it
        self._later(0.0 if self._dice.random() < 0.6 else self._dice.uniform(0, 0.03), lambda: self._canceled(order))

    def _canceled(self, order: Placed) -> None:
        if not order.working:
            self._say(order, "request_rejected", reason="too late, it has ended")
        elif self._dice.random() < 0.05:
            self._say(order, "request_rejected", reason="not now")
        else:
            if order.left > 1 and self._dice.random() < 0.2:  # it filled just before, and that is told after
                self._execute(order, self._dice.randint(1, order.left - 1), told_after=self._dice.uniform(0, 0.05))
            order.working = False
            self._say(order, "canceled")

    def _modify(self, name: str, quantity: int, limit: int | None) -> None:
        order = self.orders.get(name)
        if order is None:
            return
        if not order.working or quantity <= order.filled or self._dice.random() < 0.1:
            self._say(order, "request_rejected", reason="it stays as it is")
            return
        order.quantity, order.limit = quantity, limit
        self._say(order, "modified", quantity=quantity, limit=limit)

    # ── later ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _later(self, delay: float, job: Callable[[], None], *, rests: bool = False) -> None:
        if self._calm or not delay:
            if not (self._calm and rests):
                job()
            return
        key = max(self._due, default=0) + 1

        def act() -> None:
            del self._due[key]
            job()

        self._due[key] = Due(self._loop.call_later(delay, act), job, rests)

    def _become_calm(self) -> None:
        self._calm = True
        waiting, self._due = list(self._due.values()), {}
        for due in waiting:
            due.timer.cancel()
            if not due.rests:
                due.job()
