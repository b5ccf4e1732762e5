"""The simulated venue, used by paper trading and by replay.

It holds no orders of its own: what an order waits for is read from the order, so that a restart or a replica needs
nothing more. `advance` says what happens to one order at one moment; only the size taken from the current quote is
remembered, until the quote changes.

A buy meets the ask and a sell the bid, at once; a limit order fills when the opposite side reaches it (with only a last
price: when that trades through), at the better price. A stop triggers as exits do.
"""

from datetime import timedelta

from livetrade.core.events import Accepted, Canceled, Executed, Expired, Modified, Report, RequestRejected, Triggered
from livetrade.core.exits import watched
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import OrderSide, OrderStatus, PriceSource, TimeInForce
from livetrade.core.numbers import EXACT, Number, number
from livetrade.core.quotes import touch
from livetrade.core.ticks import Tick
from livetrade.core.values import Order
from livetrade.errors import OrderError


class Venue:
    """slippage: price amount by which every fill is worse than the quote (a limit is still respected).
    latency: seconds or `timedelta` that each request travels. size: "unlimited", or "quoted" to fill at most what is
    shown (where no size is shown, nothing limits)."""

    def __init__(
        self, slippage: Number = 0, latency: float | timedelta = 0, size: str = "unlimited", trigger_by: str = "quote"
    ) -> None:
        self.slippage = number(slippage, "slippage")
        seconds = latency.total_seconds() if isinstance(latency, timedelta) else float(number(latency, "latency"))
        if self.slippage < 0 or not 0 <= seconds < 3600:
            raise OrderError(f"slippage and latency must not be negative, not {slippage} and {latency}")
        if size not in ("unlimited", "quoted"):
            raise OrderError(f"size must be 'unlimited' or 'quoted', not {size!r}")
        self.latency_ns = round(seconds * 1e9)
        self.quoted = size == "quoted"
        self.trigger_by = trigger_by
        self._taken: dict[tuple[str, OrderSide], tuple[Tick, int]] = {}

    def due_ns(self, order: Order) -> int | None:
        """When the order's next request that is on its way arrives; None when none is. Requests arrive in turn."""
        if order.status not in (OrderStatus.SUBMITTED, OrderStatus.PENDING_UPDATE, OrderStatus.PENDING_CANCEL):
            return None
        return (order.requested_ns if order.venue_order_id else order.created_ns) + self.latency_ns

    def advance(self, order: Order, quote: Tick | None, ts: int) -> list[Report]:
        """What the venue says of one open order at `ts`; asked again until it says nothing more."""
        due = self.due_ns(order)
        if due is not None and ts >= due:
            return [self._answer(order, ts)]
        if order.venue_order_id:  # it rests here, even while a request about it travels
            return self._match(order, quote, ts)
        return []

    def _answer(self, order: Order, ts: int) -> Report:
        if not order.venue_order_id:
            return Accepted(ts, order.client_order_id, f"SIM{order.client_order_id}")
        change = order.pending
        if change is None or order.status is OrderStatus.PENDING_CANCEL:
            return Canceled(ts, order.client_order_id)
        if change.quantity_raw <= order.filled_raw:
            return RequestRejected(ts, order.client_order_id, f"{order.filled_qty} had filled before it arrived")
        return Modified(ts, order.client_order_id, change.quantity_raw, change.limit_raw, change.trigger_raw)

    def expire(self, order: Order, ts: int) -> list[Report]:
        """The day is over."""
        if order.time_in_force is TimeInForce.DAY:
            return [Expired(ts, order.client_order_id, "the day is over")]
        return []

    def _match(self, order: Order, quote: Tick | None, ts: int) -> list[Report]:
        reports: list[Report] = []
        if order.trigger_raw is not None and not order.triggered:
            if not self.triggers(order, quote):
                return self._end_of_ioc(order, order.leaves_raw, ts)
            reports.append(Triggered(ts, order.client_order_id))
        execution = self._execution(order, quote, ts)
        left = order.leaves_raw
        if execution is not None:
            reports.append(execution)
            left -= execution.quantity_raw
        return reports + self._end_of_ioc(order, left, ts)

    def _end_of_ioc(self, order: Order, left_raw: int, ts: int) -> list[Report]:
        if left_raw and order.time_in_force is TimeInForce.IOC:
            return [Canceled(ts, order.client_order_id, "immediate or cancel: nothing more to fill at the price")]
        return []

    def triggers(self, order: Order, quote: Tick | None) -> bool:
        buy = order.side is OrderSide.BUY
        price = watched(quote, not buy, self.trigger_by)
        if not price or order.trigger_raw is None:
            return False
        return price >= order.trigger_raw if buy else price <= order.trigger_raw

    def price(self, order: Order, quote: Tick | None) -> tuple[int, PriceSource] | None:
        """What an order that has no trigger to wait for would fill at now; None where it would rest."""
        met = touch(quote, order.side)
        if met is None:
            return None
        price, source = met
        sign = order.side.sign
        if order.limit_raw is not None:
            room = sign * (order.limit_raw - price)
            if room < 0 or (room == 0 and source is PriceSource.LAST):
                return None
        price = max(price + sign * self._slippage_raw(order.instrument), 1)
        if order.limit_raw is not None and sign * (price - order.limit_raw) >= 0:
            price, source = order.limit_raw, PriceSource.LIMIT
        return price, source

    def _execution(self, order: Order, quote: Tick | None, ts: int) -> Executed | None:
        met = self.price(order, quote)
        if quote is None or met is None:
            return None
        price, source = met
        quantity = self._take(order, quote)
        if not quantity:
            return None
        execution_id = f"{order.client_order_id}-{len(order.executions) + 1}"
        return Executed(ts, order.client_order_id, execution_id, quantity, price, source)

    def _slippage_raw(self, instrument: Instrument) -> int:
        if not self.slippage:
            return 0
        return int(EXACT.to_integral_value(EXACT.scaleb(self.slippage, instrument.scale)))

    def _take(self, order: Order, quote: Tick) -> int:
        """How much fills now; what it takes from the quote is gone until the quote changes."""
        shown = quote.ask_size_raw if order.side is OrderSide.BUY else quote.bid_size_raw
        if not self.quoted or shown is None:
            return order.leaves_raw
        key = (order.symbol, order.side)
        seen, taken = self._taken.get(key, (quote, 0))
        if seen is not quote:
            taken = 0
        quantity = max(0, shown - taken)
        quantity = min(order.leaves_raw, quantity - quantity % order.instrument.lot_raw)
        self._taken[key] = (quote, taken + quantity)
        return quantity
