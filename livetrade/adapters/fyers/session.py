"""One session with Fyers: what is asked is sent at its pace, what is heard becomes reports, what is unknown is looked
up.

An order whose submission got no clear answer is UNKNOWN, and looked for in the book by its tag; it is never sent again.
Once the book or the socket shows it, it is known. Where the book has not shown it for `certain` seconds it never
arrived; unless an order without a tag might be it: then a person has to look.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from livetrade.adapters.fyers import rows
from livetrade.adapters.fyers.books import Books
from livetrade.adapters.fyers.calls import Done, Lost, OrderApi, Outcome, Refused, Throttled, Unsent
from livetrade.adapters.fyers.grid import Grid
from livetrade.adapters.fyers.ordersocket import OrderSocket
from livetrade.adapters.fyers.pacing import Job, Queue
from livetrade.adapters.fyers.patience import Timing
from livetrade.adapters.fyers.rows import OddRowError, OrderRow
from livetrade.adapters.fyers.terms import Protection, UnfitError, check, modify_body, place_body
from livetrade.adapters.fyers.tracking import Tracked, Tracker, settle_unsent
from livetrade.core import events as ev
from livetrade.core.kinds import Product
from livetrade.core.records import record
from livetrade.errors import BrokerError, FeedError
from livetrade.ports import Requests

LINK = "order socket"
LOOKING = "order look-up"
ODD = "odd report"

_log = logging.getLogger("livetrade")


@record
class Pauses:
    """In seconds; tests bring shorter ones."""

    heard: float = 1.0
    """After an order was placed, until it is looked up if nobody told of it."""
    first: float = 0.3
    """Until the first look for what is unknown, and for trades that nobody told; then twice that, and so on."""
    longest: float = 3.0
    certain: float = 15.0
    """How long the book has to be without an order that never arrived."""
    alert: float = 25.0
    """How long an order may be unknown before a person hears of it."""
    poll: float = 2.0
    """Between two looks while there is no order socket and something is open."""
    positions: float = 20.0
    """Between two looks at the broker's own positions."""
    again: float = 1.0
    """Until a position that was changed elsewhere is looked at a second time, to be sure."""


class Doubt:
    """Why an order is looked up. what: the request that got no clear answer; None where only news is missing."""

    def __init__(self, what: ev.Request | None, since: float, due: float, pause: float) -> None:
        self.what = what
        self.since, self.due, self.pause = since, due, pause
        self.looks = 0
        self.is_told = False


class Session:
    def __init__(
        self,
        api: OrderApi,
        books: Books,
        tracker: Tracker,
        grid: Grid,
        protection: Protection,
        report: Callable[[ev.News], None],
        pauses: Pauses,
        timing: Timing,
        socket_url: str,
    ) -> None:
        self._api, self._books, self._tracker, self._grid = api, books, tracker, grid
        self._protection, self._report, self._pauses = protection, report, pauses
        loop = asyncio.get_running_loop()
        self._now = loop.time
        self._busy: set[str] = set()
        self._doubts: dict[str, Doubt] = {}
        self._queue = Queue(loop.time, self._busy.__contains__)
        self._wake = asyncio.Event()
        self._look = asyncio.Event()
        self._calls: set[asyncio.Task[None]] = set()
        self._modified = 0
        self._is_lost = False
        self._all_due = 0.0
        self._positions_due = 0.0
        self._told: dict[tuple[str, Product], int] = {}
        self._doubted: dict[tuple[str, Product], int] = {}
        self._strays: set[str] = set()
        for tracked in tracker.open():  # the statement could not tell of them
            if not tracked.is_heard:
                self._doubt(tracked, ev.Submit(0, tracked.order), 0)
        self.socket = OrderSocket(
            socket_url, partial(api.token, anew=True), timing, self._hear, self._on_up, self._on_down
        )

    async def run(self, requests: Requests) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                for job in (self._take(requests), self._send_all(), self._watch(), self.socket.keep()):
                    tasks.create_task(job)
        finally:
            for call in self._calls:
                call.cancel()
            if self._calls:
                await asyncio.wait(self._calls, timeout=1)

    # ── what is asked ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _take(self, requests: Requests) -> None:
        while True:
            await requests.arrived()
            for request in requests():
                self._accept(request)
            self._wake.set()

    def _accept(self, request: ev.Request) -> None:
        if isinstance(request, ev.Submit):
            order = request.order
            self._tracker.add(order)
            self._queue.put(request, order.client_order_id, order.symbol)
            return
        name = request.client_order_id
        tracked = self._tracker.orders.get(name)
        if tracked is None:
            self._report(ev.RequestRejected(0, name, "the broker does not know this order"))
        elif isinstance(request, ev.Cancel) and self._queue.take_submit(name):
            settle_unsent(tracked)
            self._report(ev.Canceled(0, name, "canceled before it was sent"))
        else:
            self._queue.put(request, name, tracked.order.symbol)

    async def _send_all(self) -> None:
        while True:
            self._wake.clear()
            wait = 60.0
            if len(self._queue):
                try:
                    pace = await self._api.pace()
                except FeedError as error:
                    self._refuse_all(str(error))
                    continue
                job, wait = self._queue.next(pace)
                if job is not None:
                    self._busy.add(job.order_id)
                    call = asyncio.create_task(self._send(job, partial(self._queue.leave, job, pace)))
                    self._calls.add(call)
                    call.add_done_callback(self._calls.discard)
                    continue
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def _refuse_all(self, reason: str) -> None:
        """There is no token: nothing can be sent, and what is left of an exit is sent at the next quote."""
        for job in self._queue.take_all():
            self._settle(job, Unsent(reason))

    async def _send(self, job: Job, leave: Callable[[], None]) -> None:
        try:
            outcome = await self._outcome(job)
        finally:
            leave()
            self._busy.discard(job.order_id)
            self._wake.set()
        try:
            self._settle(job, outcome)
        except Exception as error:  # noqa: BLE001  a task's edge: one answer costs itself
            _log.exception("Fyers orders: the answer about %s was not taken", job.order_id)
            self._alarm(ODD, f"the answer about {job.order_id} was not taken: {error!r}")

    async def _outcome(self, job: Job) -> Outcome:
        tracked = self._tracker.orders[job.order_id]
        order, request = tracked.order, job.request
        if isinstance(request, ev.Submit):
            try:
                check(order)
            except UnfitError as error:
                return Unsent(str(error))
            tick_raw = await self._grid.tick_raw(order.instrument, wait=job.rank > 0)
            return await self._api.call("POST", "orders/sync", place_body(order, self._protection, tick_raw))
        if tracked.ended or tracked.venue_id is None:
            return Refused(f"it is over: {order.client_order_id} cannot be changed any more")
        if isinstance(request, ev.Cancel):
            return await self._api.call("DELETE", "orders/sync", {"id": tracked.venue_id})
        tracked.asked = request.change
        self._modified += 1
        tick_raw = await self._grid.tick_raw(order.instrument, wait=job.rank > 0)
        body = modify_body(order, request.change, tracked.venue_id, self._protection, tick_raw)
        return await self._api.call("PATCH", "orders/sync", body)

    def _settle(self, job: Job, outcome: Outcome) -> None:
        tracked = self._tracker.orders[job.order_id]
        match outcome:
            case Throttled(wait=wait):
                _log.warning("Fyers orders: refused for the rate of calls; the next one in %.2f s", wait)
                self._queue.put_back(job, wait)
                self._wake.set()
            case Done(fields=fields):
                self._done(tracked, job.request, fields)
            case Lost(reason=reason):
                self._lose(tracked, job.request, reason)
            case Refused(message=message):
                self._refused(tracked, job.request, message, sent=True)
            case Unsent(reason=reason):
                self._refused(tracked, job.request, reason, sent=False)

    def _done(self, tracked: Tracked, request: ev.Request, fields: dict[str, Any]) -> None:
        if isinstance(request, ev.Submit):
            venue_id = str(fields.get("id") or "")
            if not venue_id:
                self._lose(tracked, request, "Fyers has taken it, and does not tell its id")
                return
            self._tell(self._tracker.claim(tracked, venue_id))
        elif isinstance(request, ev.Modify):
            change = request.change
            tracked.terms = change.quantity_raw, change.limit_raw, change.trigger_raw
            tracked.asked = None
            self._modified += 1
            self._tell([ev.Modified(0, tracked.id, *tracked.terms)])
        if isinstance(request, ev.Cancel):
            self._doubt(tracked, request, self._pauses.heard)
        elif not tracked.is_clear:
            self._doubt(tracked, None, self._pauses.heard)

    def _refused(self, tracked: Tracked, request: ev.Request, message: str, *, sent: bool) -> None:
        if not isinstance(request, ev.Submit):
            tracked.asked = None
            self._tell([ev.RequestRejected(0, tracked.id, message)])
            if sent and not tracked.ended:  # it may be over, and nobody told
                self._doubt(tracked, None, 0)
        elif tracked.is_heard:
            self._doubt(tracked, None, 0)
        else:
            settle_unsent(tracked)
            self._tell([ev.Rejected(0, tracked.id, message, sent=sent)])

    def _lose(self, tracked: Tracked, request: ev.Request, reason: str) -> None:
        """Nobody knows what became of it."""
        if tracked.ended or (isinstance(request, ev.Submit) and tracked.is_clear):
            return  # the socket was quicker
        self._doubt(tracked, request, self._pauses.first)
        self._tell([ev.Unknown(0, tracked.id, reason)])

    # ── what is heard ────────────────────────────────────────────────────────────────────────────────────────────────

    def _tell(self, reports: list[ev.Report]) -> None:
        for report in reports:
            self._report(report)
        for odd in self._tracker.take_odd():
            self._alarm(ODD, odd)
        for venue_id in self._tracker.strays.keys() - self._strays:
            self._strays.add(venue_id)
            call = asyncio.create_task(self._cancel_stray(venue_id, self._tracker.strays[venue_id].id))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    async def _cancel_stray(self, venue_id: str, name: str) -> None:
        """It was given up, and something else was sent in its place: it must not work on."""
        self._alarm(LOOKING, f"{name} arrived after all, as {venue_id}, and is canceled: it was told that it never had")
        outcome = await self._api.call("DELETE", "orders/sync", {"id": venue_id})
        if not isinstance(outcome, Done):
            self._strays.discard(venue_id)
            self._alarm(LOOKING, f"{venue_id} was not canceled: {outcome}")

    def _alarm(self, kind: str, message: str) -> None:
        self._report(ev.BlockOpening(0, kind, alarm=message))

    def _hear(self, told: dict[str, Any]) -> None:
        """A message of the order socket."""
        foreign = self._tracker.foreign
        try:
            if isinstance(told.get("orders"), dict):
                self._heard_row(rows.order_of_socket(told["orders"]))
            elif isinstance(told.get("trades"), dict):
                trade = rows.trade_of_socket(told["trades"])
                self._tell(self._tracker.trade(trade))
            elif not isinstance(told.get("positions"), dict) and told.get("s") != "ok":
                raise OddRowError("neither an order, a trade nor a position")
        except OddRowError as error:
            self._alarm(ODD, f"something on the order socket makes no sense: {error}")
            self._sync()
        if self._tracker.foreign != foreign:
            self._positions_due = 0.0
            self._look.set()

    def _heard_row(self, row: OrderRow) -> None:
        self._tell(self._tracker.row(row))
        tracked = self._tracker.find(row.id, row.tag, row.symbol, row.side)
        if tracked is not None:
            self._after_news(tracked)

    def _after_news(self, tracked: Tracked) -> None:
        """What is known now need not be looked up; what is still missing is."""
        doubt = self._doubts.get(tracked.id)
        if doubt is not None and self._is_settled(tracked, doubt):
            self._doubts.pop(tracked.id)
            self._wake.set()
        if tracked.wants_trades or not tracked.is_clear:
            self._doubt(tracked, None, self._pauses.first)

    def _is_settled(self, tracked: Tracked, doubt: Doubt) -> bool:
        if tracked.ended:
            return not tracked.wants_trades
        if isinstance(doubt.what, ev.Modify):
            return tracked.asked is None
        if isinstance(doubt.what, ev.Cancel):
            return False
        return tracked.is_clear and not tracked.wants_trades

    def _on_up(self) -> None:
        if self._is_lost:
            self._is_lost = False
            self._report(ev.BlockOpening(0, LINK))
        self._sync()

    def _on_down(self, reason: str) -> None:
        alarm = "" if self._is_lost else f"the order socket is lost: {reason}"
        self._is_lost = True
        self._report(ev.BlockOpening(0, LINK, f"Connection lost: the order socket is ({reason})", alarm))
        self._sync()

    def _sync(self) -> None:
        """Everything is looked at: something may have happened that nobody told."""
        self._all_due = 0.0
        self._positions_due = 0.0
        self._look.set()

    # ── looking things up ────────────────────────────────────────────────────────────────────────────────────────────

    def _doubt(self, tracked: Tracked, what: ev.Request | None, wait: float) -> None:
        now = self._now()
        doubt = self._doubts.get(tracked.id)
        if doubt is None or (what is not None and doubt.what is None):
            self._doubts[tracked.id] = Doubt(what, now, now + wait, self._pauses.first)
        else:
            doubt.due = min(doubt.due, now + wait)
        self._look.set()

    async def _watch(self) -> None:
        while True:
            self._look.clear()
            now = self._now()
            due = min([self._all_due, self._positions_due, *(doubt.due for doubt in self._doubts.values())])
            try:
                async with asyncio.timeout(max(due - now, 0) if due > now else 0.0):
                    await self._look.wait()
            except TimeoutError:
                pass
            try:
                await self._look_around()
            except (BrokerError, FeedError) as error:
                _log.warning("Fyers orders: %s", error)
                self._all_due = max(self._all_due, self._now() + self._pauses.poll)
                self._positions_due = max(self._positions_due, self._now() + self._pauses.poll)
            self._alert()

    async def _look_around(self) -> None:
        now = self._now()
        if not self._tracker.orders:
            self._all_due = self._positions_due = now + self._pauses.positions
            return
        if now >= self._all_due or any(now >= doubt.due for doubt in self._doubts.values()):
            await self._look_at_orders()
            is_blind = self._is_lost and any(self._tracker.open())
            self._all_due = self._now() + (self._pauses.poll if is_blind else 3600.0)
        if now >= self._positions_due:
            self._positions_due = self._now() + self._pauses.positions
            await self._look_at_positions()

    async def _look_at_orders(self) -> None:
        began, modified = self._now(), self._modified
        for doubt in self._doubts.values():
            if doubt.due <= began:  # also where the book cannot be read
                doubt.due = began + doubt.pause
                doubt.pause = min(2 * doubt.pause, self._pauses.longest)
        found = await self._books.orders()
        for row in found:
            self._tell(self._tracker.row(row, terms_count=modified == self._modified))
        if any(tracked.wants_trades for tracked in self._tracker.orders.values()):
            for trade in await self._books.trades():
                self._tell(self._tracker.trade(trade))
        for name, doubt in list(self._doubts.items()):
            if doubt.since <= began:
                self._looked(self._tracker.orders[name], doubt, found)
        for row in found:
            tracked = self._tracker.find(row.id, row.tag, row.symbol, row.side)
            if tracked is not None:
                self._after_news(tracked)

    def _looked(self, tracked: Tracked, doubt: Doubt, found: list[OrderRow]) -> None:
        doubt.looks += 1
        shown = any(row.id == tracked.venue_id for row in found)
        sure = doubt.looks >= 3 and self._now() - doubt.since >= self._pauses.certain
        if self._is_settled(tracked, doubt):
            self._doubts.pop(tracked.id, None)
            self._wake.set()
        elif isinstance(doubt.what, ev.Submit) and not shown and sure:
            self._conclude_missing(tracked, doubt, found)
        elif isinstance(doubt.what, ev.Modify | ev.Cancel) and shown and sure:
            self._doubts.pop(tracked.id, None)
            tracked.asked = None
            reason = f"it did not arrive: the order is as it was {self._pauses.certain:g} s later"
            self._tell([ev.RequestRejected(0, tracked.id, reason)])
            self._alarm(LOOKING, f"{tracked.id}: {reason}")
        elif doubt.what is None and sure and not tracked.wants_trades and tracked.is_clear:
            self._doubts.pop(tracked.id, None)  # a cancel was taken, and the order works on

    def _conclude_missing(self, tracked: Tracked, doubt: Doubt, found: list[OrderRow]) -> None:
        alike = self._tracker.look_alikes(tracked, found)
        if alike:
            if not doubt.is_told:
                doubt.is_told = True
                ids = ", ".join(row.id for row in alike)
                self._alarm(
                    LOOKING,
                    f"{tracked.id} is not in the broker's book under its tag, and {ids} there, which has no tag, may "
                    "be it: look at engine.broker_orders(); it is not sent again",
                )
            return
        self._doubts.pop(tracked.id, None)
        settle_unsent(tracked)
        reason = f"it never arrived: the broker's book is without it {self._pauses.certain:g} s later"
        self._tell([ev.Rejected(0, tracked.id, reason, sent=False)])
        self._alarm(LOOKING, f"{tracked.id}: {reason}")

    def _alert(self) -> None:
        for name, doubt in self._doubts.items():
            age = self._now() - doubt.since
            if age >= self._pauses.alert and not doubt.is_told:
                doubt.is_told = True
                self._alarm(
                    LOOKING, f"what became of {name} is not known for {age:.0f} s: look at the broker's own screen"
                )

    # ── positions ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _look_at_positions(self) -> None:
        """What the broker holds, told when every execution of ours that it counts was reported."""
        keys = {tracked.key for tracked in self._tracker.orders.values()}
        if not keys:
            return
        before = self._tracker.executions
        held = await self._books.positions()
        for trade in await self._books.trades():
            self._tell(self._tracker.trade(trade))
        if self._tracker.executions != before or self._queue or self._busy:
            self._positions_due = self._now() + self._pauses.first  # ours are on their way
            return
        for key in keys:
            self._compare(key, held.get(key, 0))

    def _compare(self, key: tuple[str, Product], held: int) -> None:
        foreign = held - self._tracker.net.get(key, 0)
        if key in self._told and foreign == self._told[key]:
            self._doubted.pop(key, None)
        elif key not in self._told or self._doubted.get(key) == foreign:
            self._doubted.pop(key, None)
            self._told[key] = foreign
            item = next(t.order.instrument for t in self._tracker.orders.values() if t.key == key)
            self._report(ev.BrokerPosition(0, *key, held * 10**item.quantity_scale))
        else:
            self._doubted[key] = foreign
            self._positions_due = self._now() + self._pauses.again
