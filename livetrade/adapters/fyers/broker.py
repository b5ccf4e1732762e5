"""`FyersBroker`: real orders, with real money, at NSE, BSE and MCX."""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from livetrade.adapters.fyers.credentials import Secret
from livetrade.columns import needs
from livetrade.core import events as ev
from livetrade.core.kinds import Product
from livetrade.core.numbers import Number, positive
from livetrade.core.values import Order
from livetrade.core.venue import Venue
from livetrade.errors import BrokerError, OrderError
from livetrade.ports import Requests, Statement

if TYPE_CHECKING:
    from livetrade.adapters.fyers.books import Books
    from livetrade.adapters.fyers.calls import OrderApi
    from livetrade.adapters.fyers.lookups import Pauses
    from livetrade.adapters.fyers.patience import Timing
    from livetrade.adapters.fyers.rest import Use
    from livetrade.adapters.fyers.rows import OrderRow, TradeRow
    from livetrade.adapters.fyers.session import Session
    from livetrade.calendars import TradingCalendar

LIVE = "LIVE"
TIMEOUT = 7.0
"""Seconds for connecting and for each wait of a call."""

_log = logging.getLogger("livetrade")


class FyersBroker:
    """Sends orders to Fyers, with real money. Needs `pip install "livetrade[fyers]"`, an app with a registered static
    IP address, and the deliberate word `confirm="LIVE"`.

        broker = lt.FyersBroker(confirm="LIVE")
        engine = lt.LiveTradingEngine(feed=lt.FyersFeed("NSE:SBIN-EQ"), broker=broker, name="fyers")

    access_token: `APPID:JWT`; left out, it is looked for as by `FyersFeed`, and again when it is refused.
    protection_pct: a market order is sent as a limit so many percent behind the quote (1 unless given), a stop with the
    same behind its trigger. What exits and `flatten` send is immediate or cancel, and what an exit has left is sent
    again at the next quote. Stop-losses, take-profits and trailing stops are kept by the engine, not by the exchange:
    run it in a desk.

    `client_order_id` travels as Fyers' order tag. An order whose outcome is not known is UNKNOWN, and looked for by it;
    none is sent a second time. At most 10 orders, modifications and cancels a second leave, what reduces first; what
    waits is never dropped. Orders placed elsewhere are shown by `engine.broker_orders()`, and never booked.

    Fyers squares off INTRADAY positions in shares and their derivatives at about 15:15 to 15:20. Once a session, 20
    minutes before it closes (15:10), an alarm names those that its book holds, whoever bought them. calendar: a
    `TradingCalendar` that tells when that is, needed for overrides of your own; left out, the broker makes one where
    `livetrade[calendar]` is installed, and where nobody knows a day the usual hours of Monday to Friday count.
    `PaperBroker` squares nothing off, and so it warns of nothing.

    Raises `OrderError` without the confirmation and for wrong arguments, `ImportError` where the extra is missing. What
    goes wrong later is told by the orders, by `engine.health()["alarms"]`, and by refused opening orders.
    """

    real = True
    venue: Venue | None = None

    def __init__(
        self,
        access_token: str | None = None,
        *,
        confirm: str | None = None,
        protection_pct: Number = 1,
        api_url: str = "https://api-t1.fyers.in/api/v3",
        order_socket_url: str = "wss://socket.fyers.in/trade/v3",
        static_url: str = "https://public.fyers.in/sym_details",
        calendar: "TradingCalendar | None" = None,
        _pauses: "Pauses | None" = None,
        _timing: "Timing | None" = None,
        _timeout: float = TIMEOUT,
    ) -> None:
        if confirm != LIVE:
            raise OrderError(
                'FyersBroker trades real money: say so, FyersBroker(confirm="LIVE"); PaperBroker() does not'
            )
        needs("httpx", "the broker of Fyers", "fyers")
        from livetrade.adapters.fyers.lookups import Pauses
        from livetrade.adapters.fyers.patience import Timing
        from livetrade.adapters.fyers.rest import base_url, socket_address
        from livetrade.adapters.fyers.terms import Protection
        from livetrade.adapters.fyers.tracking import Tracker
        from livetrade.calendars import MarketHours

        pct = positive(protection_pct, "protection_pct")
        if pct >= 20:
            raise OrderError(f"protection_pct is in percent of the quote, and below 20, not {protection_pct}")
        self._given = None if access_token is None else Secret(access_token)
        self._protection = Protection(pct)
        self._api_url = base_url(api_url, "api_url")
        self._socket_url = socket_address(order_socket_url, "order_socket_url")
        self._static_url = base_url(static_url, "static_url")
        self._pauses = _pauses if _pauses is not None else Pauses()
        self._hours = MarketHours(calendar)
        self._timing = _timing if _timing is not None else Timing()
        self._timeout = _timeout
        self._tracker: Tracker = Tracker()
        self._api: OrderApi | None = None
        self._session: Session | None = None
        self._odd: list[str] = []
        self._seen: set[tuple[str, Product]] = set()
        self._running = False

    @property
    def connections(self) -> int:
        """How many times the order socket was connected in this session."""
        return self._session.socket.connections if self._session is not None else 0

    def opening_cash(self) -> Decimal:
        """What may be spent in equity, as Fyers says now. Blocks for the call; raises `FeedError`, `BrokerError`."""
        from livetrade.adapters.fyers.books import available
        from livetrade.adapters.fyers.credentials import find_token
        from livetrade.adapters.fyers.rest import FyersRest

        with FyersRest(find_token(self._given), api_url=self._api_url, timeout=self._timeout) as rest:
            return available(rest.api("GET", "funds"))

    # ── ports.Broker ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def statement(self, orders: Sequence[Order]) -> Statement:
        """What became of these orders, by the books of today; the books themselves, and what the account holds."""
        from livetrade.adapters.fyers.rest import Use

        books = self._books(Use.ORDER)
        trades = await books.trades()
        found = await books.orders()
        held = await books.positions()
        if len(await books.trades()) != len(trades):
            raise BrokerError("something is trading at this moment: the books do not fit together")
        from livetrade.adapters.fyers.rows import shown

        self._seen.update(held)
        reports = self._became(orders, found, trades, left_out=books.left_out) if orders else {}
        return Statement(
            reports,
            orders=[shown(row) for row in found],
            positions={key: Decimal(quantity) for key, quantity in held.items()},
        )

    async def run(self, requests: Requests, report: Callable[[ev.News], None]) -> None:
        """Sends and reports until it is cancelled."""
        from livetrade.adapters.fyers.grid import Grid
        from livetrade.adapters.fyers.rest import Use
        from livetrade.adapters.fyers.session import Session
        from livetrade.adapters.fyers.tracking import Tracker

        if self._running:
            raise BrokerError("this broker already serves another engine; make a broker for each")
        self._running = True
        books, grid = self._books(Use.LOOK), Grid(self._static_url)
        assert self._api is not None
        _log.warning("REAL money: orders go to Fyers (%s)", self._api_url)
        try:
            await self._api.open()
            self._session = Session(
                self._api,
                books,
                self._tracker,
                grid,
                self._protection,
                report,
                await self._api.context(),
                seen=self._seen,
                pauses=self._pauses,
                timing=self._timing,
                hours=self._hours,
                socket_url=self._socket_url,
            )
            await self._session.run(requests)
        finally:
            self._running = False
            grid.close()
            await self._api.close()
            self._tracker = Tracker()  # another engine may be of another account

    def _books(self, use: "Use") -> "Books":
        from livetrade.adapters.fyers.books import Books
        from livetrade.adapters.fyers.calls import OrderApi

        if self._api is None:
            self._api = OrderApi(self._api_url, self._given, self._timeout)
        return Books(self._api, self._notice, use)

    def _notice(self, odd: str) -> None:
        if odd not in self._odd:
            self._odd.append(odd)
            _log.warning("Fyers orders: %s", odd)

    # ── after a restart ──────────────────────────────────────────────────────────────────────────────────────────────

    def _became(
        self, orders: Sequence[Order], found: Sequence["OrderRow"], trades: Sequence["TradeRow"], *, left_out: int
    ) -> dict[str, list[ev.Report]]:
        tracker = self._tracker
        for order in orders:
            tracker.add(order)
        told: dict[str, list[ev.Report]] = {}
        for row in found:
            for report in tracker.row(row):
                told.setdefault(report.client_order_id, []).append(report)
        for trade in trades:
            for report in tracker.trade(trade):
                told.setdefault(report.client_order_id, []).append(report)
        for order in orders:
            tracked = tracker.orders[order.client_order_id]
            if not tracked.is_heard:
                self._is_in_no_book(order, found, told, left_out)
            elif tracked.is_clear and tracked.venue_id is not None:
                told.setdefault(order.client_order_id, [ev.Accepted(0, order.client_order_id, tracked.venue_id)])
        return told

    def _is_in_no_book(
        self, order: Order, found: Sequence["OrderRow"], told: dict[str, list[ev.Report]], left_out: int
    ) -> None:
        from livetrade.adapters.fyers.rows import KOLKATA
        from livetrade.adapters.fyers.tracking import settle_unsent

        name = order.client_order_id
        tracked = self._tracker.orders[name]
        now_ns = time.time_ns()
        age = (now_ns - order.created_ns) / 1e9
        days = [datetime.fromtimestamp(ns / 1e9, KOLKATA).date() for ns in (order.created_ns, now_ns)]
        if order.is_final:
            return
        if days[0] < days[1]:
            settle_unsent(tracked)
            reason = "a day order of an earlier day; if it filled after the engine had ended, no book tells it any more"
            told[name] = [ev.Expired(0, name, reason)]
        elif age < self._pauses.certain:
            raise BrokerError(f"{name} is in no book yet, {age:.0f} s after it was sent: it may be on its way")
        elif not (order.venue_order_id or left_out) and not self._tracker.look_alikes(tracked, found):
            settle_unsent(tracked)
            told[name] = []

    def __repr__(self) -> str:
        return f"<FyersBroker REAL {self._api_url}, market orders within {self._protection.pct} % of the quote>"
