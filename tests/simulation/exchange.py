"""A truthful venue behind the Broker port. What it filled it knows for good; what it says travels, and so do requests.

Reports are late, doubled, lost until the venue says everything again, and overtaken by others. What travels while the
engine crashes is lost for good. Requests that were handed over arrive, whatever becomes of the engine.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from heapq import heapify, heappop, heappush
from typing import Any

from livetrade.core import events as ev
from livetrade.core.kinds import OrderType, PriceSource, Product
from livetrade.core.values import Order
from livetrade.core.venue import Venue
from livetrade.ports import Statement
from tests.simulation.world import World

ENDS = ev.Rejected | ev.Canceled | ev.Expired


class Entry:
    """One order in the venue's book."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.quantity = order.quantity_raw
        self.filled = 0
        self.is_open = True
        self.said: list[ev.Report] = []
        self.is_cut = False
        """Something was lost, and so is what ends the order, until all is said again."""

    @property
    def leaves(self) -> int:
        return self.quantity - self.filled


class Exchange:
    real = False
    venue: Venue | None = None

    def __init__(self, world: World, price: Callable[[str], int], handed: Callable[[ev.Request], None]) -> None:
        self._world = world
        self._dice = world.dice("exchange")
        self._price = price
        self._handed = handed
        self._report: Callable[[ev.Report], None] | None = None
        self._coming: list[tuple[float, int, ev.Request]] = []
        self._going: list[tuple[float, int, ev.Report]] = []
        self._last_due: dict[str, float] = {}
        self._count = 0
        self._asked = self._has_orphans = False
        self.taken: set[str] = set()
        self.book: dict[str, Entry] = {}
        self.calm = False
        """Everything is done as asked, at once."""

    # ── Broker ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def statement(self, orders: Sequence[Order]) -> Statement:
        await asyncio.sleep(self._dice.random())
        if not self.calm and self._dice.random() < 0.3:
            raise ConnectionError("the venue does not answer")
        self._arrive()
        self._asked = True
        on_the_way = {_order_id(request) for _, _, request in self._coming}
        if on_the_way and self._has_orphans:
            raise ConnectionError("the venue cannot tell yet what it holds")
        reports: dict[str, list[ev.Report]] = {}
        for order in orders:
            key = order.client_order_id
            entry = self.book.get(key)
            said = list(entry.said) if entry else []
            if key in on_the_way:
                self._say_again(entry)
                continue
            self._dice.shuffle(said)
            reports[key] = said + said[:1]
            if entry is not None:
                entry.is_cut = False
        return Statement(reports, None if on_the_way else self.filled())

    async def run(self, requests: Callable[[], Sequence[ev.Request]], report: Callable[[ev.Report], None]) -> None:
        self._report = report
        self._asked = True
        while True:
            for request in requests():
                self._take(request)
            self.pass_time()
            await asyncio.sleep(0.05)

    def crash(self) -> None:
        """The engine is gone, and with it what was on its way to it."""
        self._report, self._asked = None, False
        self._going.clear()
        for entry in self.book.values():
            entry.is_cut = True

    def end_orphans(self, known: Collection[str]) -> None:
        """What an engine sent that does not know of it any more has arrived, and rests no longer: it only reduces, and
        what protects is immediate or canceled."""
        for coming in sorted(self._coming):
            if isinstance(coming[2], ev.Submit) and _order_id(coming[2]) not in known:
                self._coming.remove(coming)
                self._land(coming[2])
        heapify(self._coming)
        for key, entry in self.book.items():
            self._has_orphans |= key not in known
            if key not in known and entry.is_open:
                self._close(entry, ev.Canceled)

    # ── ways ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _take(self, request: ev.Request) -> None:
        key = _order_id(request)
        if isinstance(request, ev.Submit):
            self._world.expect(key not in self.taken, f"{key} was handed over twice")
            self.taken.add(key)
        self._handed(request)
        delay = 0 if self.calm else self._dice.choice((0, 0, 0.01, 0.1, 0.6, 3))
        due = max(self._world.now + delay, self._last_due.get(key, 0))
        self._last_due[key] = due
        self._count += 1
        heappush(self._coming, (due, self._count, request))

    def _send(self, report: ev.Report, entry: Entry | None) -> None:
        if not self._asked:
            return
        due = self._world.now + (0 if self.calm else self._dice.choice((0, 0, 0.02, 0.2, 1.5)))
        if entry is not None and entry.is_cut and isinstance(report, ENDS):
            return
        self._count += 1
        heappush(self._going, (due, self._count, report))

    def pass_time(self) -> None:
        """What is due arrives, there and here."""
        self._arrive()
        while self._report is not None and self._going and self._going[0][0] <= self._world.now:
            self._report(heappop(self._going)[2])

    def _arrive(self) -> None:
        while self._coming and self._coming[0][0] <= self._world.now:
            self._land(heappop(self._coming)[2])

    @property
    def is_quiet(self) -> bool:
        return not (self._coming or self._going)

    def say_all_again(self) -> None:
        """As after a lost connection: nothing that was ever said is missing any more."""
        for entry in self.book.values():
            self._say_again(entry)

    def _say_again(self, entry: Entry | None) -> None:
        if entry is None:
            return
        entry.is_cut = False
        for report in entry.said:
            if not isinstance(report, ev.RequestRejected):  # it does not say which request it answered
                self._send(report, entry)

    # ── the venue ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _land(self, request: ev.Request) -> None:
        key = _order_id(request)
        entry = self.book.get(key)
        if isinstance(request, ev.Submit):
            self._world.expect(entry is None, f"{key} was submitted twice")
            entry = self.book[key] = Entry(request.order)
            if not self.calm and self._dice.random() < 0.08:
                self._close(entry, ev.Rejected)
            else:
                self._say(entry, ev.Accepted(0, key, f"V{key}"))
                if request.order.order_type is OrderType.MARKET and (self.calm or self._dice.random() < 0.8):
                    self.fill(entry, entry.leaves)
        elif entry is None or not entry.is_open:
            self._refuse(entry, key, "it is over")
        elif isinstance(request, ev.Cancel):
            self._close(entry, ev.Canceled)
        elif request.change.quantity_raw <= entry.filled:
            self._refuse(entry, key, "it has filled")
        else:
            change = request.change
            entry.quantity = change.quantity_raw
            self._say(entry, ev.Modified(0, key, change.quantity_raw, change.limit_raw, change.trigger_raw))

    def _refuse(self, entry: Entry | None, key: str, why: str) -> None:
        report = ev.RequestRejected(0, key, why)
        if entry is not None:
            entry.said.append(report)
        self._send(report, None)

    def _say(self, entry: Entry, report: ev.Report) -> None:
        entry.said.append(report)
        times = 1 if self.calm else self._dice.choice((0, 2, *[1] * 12))
        entry.is_cut |= not times or not self._asked
        for _ in range(times):
            self._send(report, entry)

    def _close(self, entry: Entry, how: Any) -> None:
        entry.is_open = False
        key = entry.order.client_order_id
        self._say(entry, how(0, key, "closed by the venue", filled_raw=entry.filled))

    def fill(self, entry: Entry, quantity: int) -> None:
        key = entry.order.client_order_id
        if not self.calm and quantity > 1 and self._dice.random() < 0.3:
            quantity = self._dice.randint(1, quantity - 1)
        entry.filled += quantity
        entry.is_open = entry.leaves > 0
        price = max(5, self._price(entry.order.symbol) + 5 * self._dice.randint(-2, 2))
        self._say(entry, ev.Executed(0, key, f"{key}/{len(entry.said)}", quantity, price, PriceSource.VENUE))

    def act(self) -> str:
        """Something happens to one of the open orders."""
        working = [entry for entry in self.book.values() if entry.is_open]
        if not working:
            return "the venue has nothing to do"
        entry = self._dice.choice(working)
        if self._dice.random() < 0.2:
            self._close(entry, self._dice.choice((ev.Canceled, ev.Expired)))
        else:
            self.fill(entry, entry.leaves)
        return f"the venue did something to {entry.order.client_order_id}: {entry.filled} of {entry.quantity}"

    def fill_markets(self) -> None:
        for entry in list(self.book.values()):
            if entry.is_open and entry.order.order_type is OrderType.MARKET:
                self.fill(entry, entry.leaves)

    def filled(self) -> dict[tuple[str, Product], int]:
        """The position that its fills add up to."""
        net: dict[tuple[str, Product], int] = {}
        for entry in self.book.values():
            key = (entry.order.symbol, entry.order.product)
            net[key] = net.get(key, 0) + entry.order.side.sign * entry.filled
        return net


def _order_id(request: ev.Request) -> str:
    return request.order.client_order_id if isinstance(request, ev.Submit) else request.client_order_id
