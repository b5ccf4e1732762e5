"""How commands are answered: a handle waits until its orders have come to rest, or its time is over."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import takewhile

from livetrade.core import events as ev
from livetrade.core.account import Account
from livetrade.core.kinds import OrderStatus, OrderType, TimeInForce
from livetrade.core.ledger import BookKey
from livetrade.core.limits import settle_it
from livetrade.core.numbers import money
from livetrade.core.slices import together
from livetrade.core.values import FINAL, Order
from livetrade.surface import NOT_CONFIRMED, OrderHandle, OrderResult

ANSWER_NS = 5_000_000_000
"""An order command is answered after this much engine time at the latest."""

Test = Callable[[Order], bool]


class Waiting:
    """A handle, the orders it waits for, and when they have come far enough."""

    __slots__ = (
        "books",
        "closes",
        "deadline_ns",
        "done",
        "handle",
        "held",
        "ids",
        "overdue",
        "settled",
        "since_ns",
        "told",
    )

    def __init__(
        self,
        handle: OrderHandle,
        ids: Sequence[str],
        settled: Test,
        done: Test,
        deadline_ns: int,
        books: Sequence[BookKey] = (),
        since_ns: int = 0,
    ) -> None:
        self.handle = handle
        self.ids = list(ids)
        self.settled = settled
        self.done = done  # has an order done what was asked?
        self.deadline_ns = deadline_ns
        self.books = books  # what is still to be closed by orders that are sent from `since_ns` on
        self.since_ns = since_ns
        self.held: Callable[[], str] = str  # what should not be held any more, once everything is done
        self.closes: str | None = None  # the symbol of which something must be closed for this to have succeeded
        self.told = ""
        self.overdue = "no answer yet"


class Answers:
    """The handles of one engine that wait for an answer. Lives on the engine's thread."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._waiting: dict[str, list[Waiting]] = {}
        self.unsaved = ""
        """Why nothing is saved now; then no success is confirmed."""
        self.when_safe: Callable[[Callable[[], None]], None] = _at_once
        """Runs what it is given once all that has happened so far is durable; the outbox's."""

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def all(self) -> list[Waiting]:
        return list({id(waiting): waiting for group in self._waiting.values() for waiting in group}.values())

    def awaited(self) -> Counter[object]:
        """By who waits (`handle.flow`): for how many handles."""
        return Counter(who for waiting in self.all() for who in waiting.handle.awaited_by)

    def take(self, command: ev.Command, events: Sequence[ev.Event], handle: OrderHandle, now_ns: int) -> None:
        """Answers a command that the account has just taken, or keeps its handle until its orders have come to rest."""
        denied = next((event for event in events if isinstance(event, ev.CommandDenied)), None)
        if denied is not None:
            order = self._account.order(denied.client_order_id)
            self._answer(handle, OrderResult(False, denied.reason, order))
            return
        order = self._account.orders.get(handle.client_order_id or "")
        if isinstance(command, ev.SubmitOrder) and order is not None and _at_rest(order):
            self._answer(handle, self._doubting(_outcome(order)))
            return
        others = [order for order in self._account.open_orders.values() if _concerns(command, order)]
        ids, settled, done = _awaited_by(command, events, others)
        if ids == [handle.client_order_id]:
            ids = self._concerned(command, handle.client_order_id, events)
        waiting = Waiting(handle, ids, settled, done, now_ns + ANSWER_NS, self._still_to_close(command), now_ns)
        if isinstance(command, ev.Flatten) or (isinstance(command, ev.ClosePosition) and not command.quantity_raw):
            waiting.held = partial(self._held, command.symbol, now_ns)
        if isinstance(command, ev.ClosePosition):
            waiting.closes = command.symbol
        self.wait(waiting, _told(command) + self._more(command, events))

    def _more(self, command: ev.Command, events: Sequence[ev.Event]) -> str:
        """What a person should know beside that it was done."""
        match command:
            case ev.SetExit() if any(isinstance(event, ev.ExitFired) for event in events):
                return ": the market is through it, and it has fired"
            case ev.Flatten(symbol=str(symbol)) | ev.CancelAll(symbol=str(symbol)):
                return self._account.doubt(symbol)
        return ""

    def _concerned(self, command: ev.Command, order_id: str | None, events: Sequence[ev.Event]) -> list[str]:
        """The orders that an id stands for; of slices that are to be canceled, those that still worked."""
        ids = self._account.ids_of(order_id)
        if isinstance(command, ev.CancelOrder) and len(ids) > 1:
            canceled = [event.client_order_id for event in events if isinstance(event, ev.Cancel)]
            return canceled or [key for key in ids if self._account.orders[key].is_open]
        return ids

    def _held(self, symbol: str | None, since_ns: int) -> str:
        """What is held and was to be closed, apart from books where something was opened since; and what to do where an
        order cannot close it."""
        later = takewhile(lambda order: order.created_ns > since_ns, reversed(self._account.orders.values()))
        opened = {order.book_key for order in later if order.opening_raw}
        books = [book for book in self._account.ledger.held() if symbol in (None, book.symbol)]
        held = [book for book in books if book.key not in opened]
        told = ", ".join(f"{book.instrument.quantity(book.quantity_raw)} {book.symbol}" for book in held)
        gone = filter(self._account.was_closed_elsewhere, dict.fromkeys(book.symbol for book in held))
        return "; ".join([f"{told} held", *map(settle_it, gone)]) if held else ""

    def _still_to_close(self, command: ev.Command) -> list[BookKey]:
        if not isinstance(command, ev.ClosePosition | ev.Flatten):
            return []
        return [key for key in self._account.closing if command.symbol in (None, key[1])]

    def _doubting(self, result: OrderResult) -> OrderResult:
        """An order that rests in a symbol without a price may do so for ever: SBIN, meant for NSE:SBIN-EQ."""
        order = result.order
        if not result.success or order is None or not order.is_open:
            return result
        doubt = self._account.doubt(order.symbol)
        return OrderResult(True, f"{result.message}; no price of it is known{doubt}", order) if doubt else result

    def _answer(self, handle: OrderHandle, result: OrderResult) -> None:
        self.when_safe(partial(self._tell, handle, result))

    def _tell(self, handle: OrderHandle, result: OrderResult) -> None:
        if result.success and self.unsaved:
            message = f"{NOT_CONFIRMED}: {result.message}, but this is not saved. {self.unsaved}; do not send it again"
            result = OrderResult(False, message, result.order)
        handle.resolve(result)

    def follow(self, handle: OrderHandle, order_id: str | None, status: OrderStatus, deadline_ns: int) -> None:
        """Keeps `handle` until the order is `status`, or final."""
        ids = self._account.ids_of(order_id)
        if not ids:
            handle.resolve(OrderResult(False, "there is no order to wait for", None))
            return
        done = partial(_is, _BEYOND.get(status, frozenset({status})))
        reached = partial(_is, FINAL | _BEYOND.get(status, frozenset({status})))
        waiting = Waiting(handle, ids, reached, done, deadline_ns)
        waiting.overdue = f"not {status} in the time given"
        self.wait(waiting, f"{order_id} is {status}")

    def wait(self, waiting: Waiting, told: str) -> None:
        waiting.told = told
        if not self._resolve(waiting):
            for order_id in waiting.ids or (NO_ORDER_YET,):
                self._waiting.setdefault(order_id, []).append(waiting)

    def orders_changed(self, orders: Sequence[Order]) -> None:
        for order in orders:
            if order.is_protective and order.client_order_id not in self._waiting:
                self._follow_closing(order)
        for order_id in (NO_ORDER_YET, *(order.client_order_id for order in orders)):
            for waiting in self._waiting.get(order_id, ())[:]:
                self._resolve(waiting)

    def _follow_closing(self, order: Order) -> None:
        """An order that closes what had to wait until others were out of its way."""
        for waiting in self.all():
            if order.book_key in waiting.books and order.created_ns >= waiting.since_ns:
                waiting.ids.append(order.client_order_id)
                self._waiting.setdefault(order.client_order_id, []).append(waiting)

    def overdue(self, now_ns: int) -> None:
        """Answers what has waited too long."""
        for waiting in self.all():
            if now_ns >= waiting.deadline_ns:
                self._resolve(waiting, why=waiting.overdue)

    def end(self, why: str) -> None:
        """Answers everything that still waits: nothing more will happen."""
        for waiting in self.all():
            self._resolve(waiting, why=why)

    def _resolve(self, waiting: Waiting, why: str = "") -> bool:
        orders = [self._account.orders[order_id] for order_id in waiting.ids]
        closing = any(book in self._account.closing for book in waiting.books)
        if not why and (closing or not all(waiting.settled(order) for order in orders)):
            return False
        for order_id in (NO_ORDER_YET, *waiting.ids):
            rest = [other for other in self._waiting.get(order_id, ()) if other is not waiting]
            if rest:
                self._waiting[order_id] = rest
            else:
                self._waiting.pop(order_id, None)
        result = _unclosed(orders, waiting, why) if closing else _result(orders, waiting, why)
        if len(orders) > 1 and orders[0].parent_id and len({order.parent_id for order in orders}) == 1:
            result = _of_slices(result, together(orders), len(orders), waiting.told)
        answer = self._answer if result.success or not why else self._tell
        answer(waiting.handle, self._doubting(result))
        return True


def _at_once(answer: Callable[[], None]) -> None:
    answer()


NO_ORDER_YET = ""
"""What a handle waits for by that is to be closed once the broker has told what it holds."""
_AWAITED = frozenset({OrderStatus.PENDING_CANCEL, OrderStatus.UNKNOWN})
_WORKING = frozenset({OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED})
_PLACED = _WORKING | {OrderStatus.FILLED}
_BEYOND = {OrderStatus.ACCEPTED: _PLACED, OrderStatus.PARTIALLY_FILLED: _PLACED - {OrderStatus.ACCEPTED}}
"""What has filled was accepted: states that an order has reached when it is further."""
_CANCELED = frozenset({OrderStatus.CANCELED})
_GONE = frozenset({OrderStatus.CANCELED, OrderStatus.FILLED, OrderStatus.EXPIRED})


def _is(states: frozenset[OrderStatus], order: Order) -> bool:
    return order.status in states


def _is_settled(order: Order) -> bool:
    """Nothing that was asked of the order is on its way: it is final, or works (on, where a request was refused)."""
    return order.status in FINAL or order.status in _WORKING


def _is_placed(order: Order) -> bool:
    return _at_rest(order) and order.status in _PLACED


def _is_changed(command: ev.ModifyOrder, order: Order) -> bool:
    asked = (command.quantity_raw, command.limit_raw, command.trigger_raw)
    terms = (order.quantity_raw, order.limit_raw, order.trigger_raw)
    return order.status in _PLACED and all(want in (None, have) for want, have in zip(asked, terms, strict=True))


def _closes(in_the_way: frozenset[str], order: Order) -> bool:
    at_once = order.is_protective or (order.order_type is OrderType.MARKET and not order.opening_raw)
    return at_once and order.client_order_id not in in_the_way


def _closes_no_more(in_the_way: frozenset[str], order: Order) -> bool:
    return order.status in FINAL or (order.status in _WORKING and not _closes(in_the_way, order))


def _is_closed(in_the_way: frozenset[str], order: Order) -> bool:
    """What closes a position must fill; what stood in its way must be gone."""
    return order.status is OrderStatus.FILLED or (order.status in _GONE and not _closes(in_the_way, order))


def _at_rest(order: Order) -> bool:
    """Has a new or changed order come as far as its answer waits for?"""
    if order.status in FINAL:
        return True
    if order.order_type is OrderType.MARKET or order.time_in_force is TimeInForce.IOC:
        return False
    return order.status in _WORKING


def _concerns(command: ev.Command, order: Order) -> bool:
    """Whether a command waits for an open order of an earlier one too: for what is being canceled or is unknown, and
    when it closes, for what does so already."""
    match command:
        case ev.Halt():
            return order.status in _AWAITED and order.opening_raw > 0
        case ev.CancelAll():
            mine = command.symbol in (None, order.symbol) and command.strategy in (None, order.strategy)
            return mine and order.status in _AWAITED
        case ev.ClosePosition(quantity_raw=int()):
            return command.symbol in (None, order.symbol) and not order.opening_raw and _is_on_its_way(order)
        case ev.ClosePosition() | ev.Flatten():
            return command.symbol in (None, order.symbol) and _is_on_its_way(order)
    return False


def _is_on_its_way(order: Order) -> bool:
    return order.status in _AWAITED or order.order_type is OrderType.MARKET


def _awaited_by(
    command: ev.Command, events: Sequence[ev.Event], others: Sequence[Order]
) -> tuple[list[str], Test, Test]:
    """The orders that a command's answer waits for, when they are far enough, and which ends are what was asked."""
    if isinstance(command, ev.SubmitOrder):
        return [command.client_order_id], _at_rest, _is_placed
    if isinstance(command, ev.ModifyOrder):
        return [command.client_order_id], _is_settled, partial(_is_changed, command)
    if isinstance(command, ev.CancelOrder):
        return [command.client_order_id], _is_settled, partial(_is, _CANCELED)
    ids = [order.client_order_id for order in others]
    ids += [event.client_order_id for event in events if isinstance(event, ev.Cancel)]
    if not isinstance(command, ev.ClosePosition | ev.Flatten):
        return list(dict.fromkeys(ids)), _is_settled, partial(_is, _GONE)
    ids += [event.order.client_order_id for event in events if isinstance(event, ev.Submit | ev.OrderDenied)]
    in_the_way = frozenset(order.client_order_id for order in others if order.status in _AWAITED)
    return list(dict.fromkeys(ids)), partial(_closes_no_more, in_the_way), partial(_is_closed, in_the_way)


def _result(orders: Sequence[Order], waiting: Waiting, why: str) -> OrderResult:
    last = orders[-1] if orders else None
    failed = next((order for order in orders if not waiting.done(order)), None)
    if failed is None:
        held = waiting.held()
        if held:
            return OrderResult(False, f"Not closed: {held}", last)
        if waiting.closes is not None and not any(order.filled_raw and not order.opening_raw for order in orders):
            canceled = "its working orders were canceled"
            return OrderResult(False, f"No position to sell: {waiting.closes} is flat; {canceled}", last)
        return OrderResult(True, waiting.told or (_done(last) if last else ""), last)
    if failed.is_open and not waiting.settled(failed):
        known = f"{failed.client_order_id} is {failed.status}{_part(failed)}"
        return OrderResult(False, f"{NOT_CONFIRMED}: {known}, {why}; do not send it again", failed)
    return _failed(failed)


def _outcome(order: Order) -> OrderResult:
    """The answer of an order that is at rest."""
    return OrderResult(True, _done(order), order) if _is_placed(order) else _failed(order)


def _failed(order: Order) -> OrderResult:
    return OrderResult(False, f"{order.reason or order.status}{_part(order)}", order)


def _part(order: Order) -> str:
    return f", filled {order.filled_qty} of {order.quantity}" if order.filled_raw else ""


def _of_slices(result: OrderResult, whole: Order, count: int, told: str) -> OrderResult:
    """The answer of one order that was sent in slices."""
    if result.success:
        return OrderResult(True, told or f"{_done(whole)} in {count} orders", whole)
    return OrderResult(
        False, f"{result.message}; {whole.filled_qty} of {whole.quantity} filled in {count} orders", whole
    )


def _unclosed(orders: Sequence[Order], waiting: Waiting, why: str) -> OrderResult:
    symbols = ", ".join(dict.fromkeys(symbol for _, symbol, _ in waiting.books))
    return OrderResult(
        False, f"{NOT_CONFIRMED}: {symbols} is not closed, {why}; do not send it again", orders[-1] if orders else None
    )


def _done(order: Order | None) -> str:
    if order is None:
        return ""
    if order.status is OrderStatus.FILLED:
        verb = "Bought" if order.side.sign > 0 else "Sold"
        return f"{verb} {order.filled_qty} {order.symbol} at {order.avg_price}"
    return f"Accepted: {order.side} {order.quantity} {order.symbol} {order.order_type}"


_TOLD: dict[type, Callable[..., str]] = {
    ev.SubmitOrder: lambda _: "",
    ev.ModifyOrder: lambda c: f"Modified {c.client_order_id}",
    ev.CancelOrder: lambda c: f"Canceled {c.client_order_id}",
    ev.CancelAll: lambda c: "Canceled all working orders" + (f" of {c.symbol}" if c.symbol else ""),
    ev.SetExit: lambda c: f"{c.term.kind} of {c.symbol} {'disarmed' if c.disarms else 'armed'}",
    ev.ClosePosition: lambda c: f"Closed {c.symbol}",
    ev.Flatten: lambda c: f"Closed {c.symbol or 'everything'}",
    ev.Settle: lambda c: f"Settled {c.symbol}",
    ev.Halt: lambda _: "Trading is halted: opening orders are refused, exits stay armed",
    ev.Resume: lambda _: "Trading goes on",
    ev.Transfer: lambda c: f"Transferred {money(c.amount_raw):,}",
}


def _told(command: ev.Command) -> str:
    """What a command's success is told as; an order tells it itself."""
    return _TOLD[type(command)](command)
