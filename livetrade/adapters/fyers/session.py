"""One session with Fyers: what is asked is sent at its pace, what is heard becomes reports."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from livetrade.adapters.fyers import rows
from livetrade.adapters.fyers.books import Books
from livetrade.adapters.fyers.calls import Done, Lost, OrderApi, Outcome, Refused, Throttled, Unsent
from livetrade.adapters.fyers.grid import Grid
from livetrade.adapters.fyers.lookups import LOOKING, LookUps, Pauses
from livetrade.adapters.fyers.ordersocket import OrderSocket
from livetrade.adapters.fyers.pacing import Job, Queue
from livetrade.adapters.fyers.patience import Timing
from livetrade.adapters.fyers.rest import Pace
from livetrade.adapters.fyers.rows import OddRowError
from livetrade.adapters.fyers.squareoff import SquareOff
from livetrade.adapters.fyers.standing import Key, Standing
from livetrade.adapters.fyers.terms import Protection, UnfitError, check, modify_body, place_body
from livetrade.adapters.fyers.tracking import Tracked, Tracker, settle_unsent
from livetrade.calendars import MarketHours
from livetrade.core import events as ev
from livetrade.errors import FeedError
from livetrade.ports import Requests

if TYPE_CHECKING:
    import ssl

LINK = "order socket"
ODD = "odd report"
SQUARE_OFF = "square-off"
LONGEST_WAIT = 60.0

_log = logging.getLogger("livetrade")


class Session:
    def __init__(
        self,
        api: OrderApi,
        books: Books,
        tracker: Tracker,
        grid: Grid,
        protection: Protection,
        report: Callable[[ev.News], None],
        context: "ssl.SSLContext",
        *,
        seen: set[Key],
        pauses: Pauses,
        timing: Timing,
        hours: MarketHours,
        socket_url: str,
    ) -> None:
        self._api, self._tracker, self._grid = api, tracker, grid
        self._protection, self._report, self._pauses = protection, report, pauses
        self._busy: set[str] = set()
        self._queue = Queue(asyncio.get_running_loop().time, self._must_wait)
        self._wake = asyncio.Event()
        self._calls: set[asyncio.Task[None]] = set()
        self._user_pace: Pace | None = None
        self._is_lost = False
        self._strays: set[str] = set()
        is_busy = lambda: bool(self._busy or len(self._queue))  # noqa: E731
        every = pauses.first, pauses.longest, pauses.again
        standing = Standing(tracker, books, seen, report, self._tell, is_busy, *every)
        self._lookups = LookUps(
            tracker, books, standing, pauses, self._tell, self._alarm, self._wake.set, lambda: self._is_lost
        )
        self._square_off = SquareOff(books, hours, timing, partial(self._alarm, SQUARE_OFF))
        token = partial(api.token, anew=True)
        self.socket = OrderSocket(socket_url, token, context, timing, self._hear, self._on_up, self._on_down)

    async def run(self, requests: Requests) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                parts = (part.keep() for part in (self._lookups, self.socket, self._square_off))
                for job in (self._take(requests), self._send_all(), *parts):
                    tasks.create_task(job)
        finally:
            self._reserve(None)
            for call in self._calls:
                call.cancel()
            if self._calls:
                await asyncio.wait(self._calls, timeout=1)

    def _must_wait(self, client_order_id: str) -> bool:
        return client_order_id in self._busy or self._lookups.is_unsure(client_order_id)

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
        with suppress(FeedError):  # told by what is sent
            await self._pace()
        while True:
            self._wake.clear()
            wait = await self._send_next() if len(self._queue) else LONGEST_WAIT
            if wait:
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._wake.wait()

    async def _send_next(self) -> float:
        """Sends what may leave now; else gives the seconds until something may."""
        try:
            pace = await self._pace()
        except FeedError as error:  # nothing can be sent; what an exit has left is sent again at the next quote
            for left in self._queue.take_all():
                self._settle(left, Unsent(str(error)))
            return 0.0
        job, wait = self._queue.next(pace)
        if job is not None:
            self._busy.add(job.order_id)
            self._begin(self._send(job, partial(self._queue.leave, job, pace)))
        return wait

    async def _pace(self) -> Pace:
        """The user's, with a part that is kept for what is sent here. Raises `FeedError`."""
        pace = await self._api.pace()
        if pace is not self._user_pace:
            self._reserve(pace)
        return pace

    def _reserve(self, pace: Pace | None) -> None:
        if self._user_pace is not None:
            self._user_pace.release(self)
        self._user_pace = pace
        if pace is not None:
            pace.reserve(self)

    def _begin(self, work: Any) -> None:
        call = asyncio.create_task(work)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

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
        self._lookups.asked += 1
        tick_raw = await self._grid.tick_raw(order.instrument, wait=job.rank > 0)
        body = modify_body(order, request.change, tracked.venue_id, self._protection, tick_raw)
        return await self._api.call("PATCH", "orders/sync", body)

    # ── what became of it ────────────────────────────────────────────────────────────────────────────────────────────

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
            tracked.terms, tracked.asked = (change.quantity_raw, change.limit_raw, change.trigger_raw), None
            self._lookups.asked += 1
            self._tell([ev.Modified(0, tracked.id, *tracked.terms)])
        if isinstance(request, ev.Cancel):
            self._lookups.doubt(tracked, request, self._pauses.heard)
        elif not tracked.is_clear:
            self._lookups.doubt(tracked, None, self._pauses.heard)

    def _refused(self, tracked: Tracked, request: ev.Request, message: str, *, sent: bool) -> None:
        if not isinstance(request, ev.Submit):
            tracked.asked = None
            self._tell([ev.RequestRejected(0, tracked.id, message)])
            if sent and not tracked.ended:  # it may be over, and nobody told
                self._lookups.doubt(tracked, None, 0)
        elif tracked.is_heard:
            self._lookups.doubt(tracked, None, 0)
        else:
            settle_unsent(tracked)
            self._tell([ev.Rejected(0, tracked.id, message, sent=sent)])

    def _lose(self, tracked: Tracked, request: ev.Request, reason: str) -> None:
        """Nobody knows what became of it."""
        if tracked.ended or (isinstance(request, ev.Submit) and tracked.is_clear):
            return  # the socket was quicker
        self._lookups.doubt(tracked, request, self._pauses.first)
        self._tell([ev.Unknown(0, tracked.id, reason)])

    # ── what is heard ────────────────────────────────────────────────────────────────────────────────────────────────

    def _tell(self, reports: list[ev.Report]) -> None:
        for report in reports:
            self._report(report)
        for odd in self._tracker.take_odd():
            self._alarm(ODD, odd)
        for venue_id in self._tracker.strays.keys() - self._strays:
            self._strays.add(venue_id)
            self._begin(self._cancel_stray(venue_id, self._tracker.strays[venue_id].id))

    async def _cancel_stray(self, venue_id: str, name: str) -> None:
        """It was given up, and something else may have been sent in its place: it must not work on."""
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
                row = rows.order_of_socket(told["orders"])
                self._tell(self._tracker.row(row))
                self._lookups.heard(row)
            elif isinstance(told.get("trades"), dict):
                self._tell(self._tracker.trade(rows.trade_of_socket(told["trades"])))
            elif not isinstance(told.get("positions"), dict) and told.get("s") != "ok":
                raise OddRowError("neither an order, a trade nor a position")
        except OddRowError as error:
            self._alarm(ODD, f"something on the order socket makes no sense: {error}")
            self._lookups.everything()
        if self._tracker.foreign != foreign:
            self._lookups.positions()

    def _on_up(self) -> None:
        if self._is_lost:
            self._is_lost = False
            self._report(ev.BlockOpening(0, LINK))
        self._lookups.everything()

    def _on_down(self, reason: str) -> None:
        alarm = "" if self._is_lost else f"the order socket is lost: {reason}"
        self._is_lost = True
        self._report(ev.BlockOpening(0, LINK, f"Connection lost: the order socket is ({reason})", alarm))
        self._lookups.everything()
