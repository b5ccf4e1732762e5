"""What an order is judged by: its account as it stands, the limits, its margin and fees, the exits it brings.

Asking changes nothing and emits nothing; the answer is `Approved` or `Denied`, and `Ordering` acts on it.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from livetrade.core.exits import entry_price, reached
from livetrade.core.fees import Fees, FeeSchedule, charge
from livetrade.core.kinds import OrderSide, PriceSource, Product
from livetrade.core.limits import Approved, Denied, Limits, Situation, approve, balance_denied, reckoned_at
from livetrade.core.numbers import money, money_raw
from livetrade.core.quotes import touch
from livetrade.core.records import replaced
from livetrade.core.state import SECOND_NS, Market, State
from livetrade.core.values import Fill, Order

ASKED = "broker"
"""Who blocks opening while the broker is asked what became of earlier orders. What it holds is not known until then:
nothing is closed either, for it may be gone."""
MarginRule = Callable[[Any, Order], Decimal]  # its first argument is the whole `Account`


class Approving(State):
    """A state that can say whether an order may be sent."""

    __slots__ = (
        "_blocks",
        "_elsewhere",
        "_margin",
        "_stale_before_ns",
        "_stale_reason",
        "fees",
        "limits",
        "trigger_by",
        "ts",
    )

    def __init__(
        self,
        *,
        limits: Limits | None,
        fees: Fees,
        margin: MarginRule | None,
        trigger_by: str,
    ) -> None:
        super().__init__()
        self.ts = 0
        self.limits = limits or Limits()
        self.trigger_by = trigger_by
        self.fees = fees
        self._margin = margin
        self._blocks: dict[tuple[str, str], str] = {}
        self._elsewhere: dict[tuple[str, Product], int] = {}  # by how much the broker's own book differs from ours
        self._stale_before_ns = 0
        self._stale_reason = ""

    def _approve(self, order: Order, market: Market, instead_of: Order | None = None) -> Approved | Denied:
        """`instead_of` is the working order that this one would replace."""
        reason = self._through_market(order, market) or self._still_asked(order)
        if reason:
            return Denied(order, reason)
        verdict = approve(order, self.limits, self._situation(order, market, instead_of))
        if isinstance(verdict, Denied) or not verdict.opening_raw:
            return verdict
        order = replaced(order, opening_raw=verdict.opening_raw)
        margin = self._margin_of(order)
        if isinstance(margin, str):
            return Denied(order, margin)
        freed = instead_of.blocked_raw if instead_of else 0
        reason = balance_denied(margin + self._fees_estimate(order), self.ledger.free_raw - self.blocked_raw + freed)
        if reason:
            return Denied(order, reason)
        return Approved(replaced(order, margin_raw=margin), order.opening_raw)

    def _through_market(self, order: Order, market: Market) -> str | None:
        """An exit that would fire at once is refused before its entry is sent."""
        long = order.side is OrderSide.BUY
        price = entry_price(order, market.quote, self.trigger_by)
        for term in order.exits:
            if term.price_raw is not None and reached(term.kind, long, term.price_raw, price):
                item = order.instrument
                return f"{term.kind} {item.price(term.price_raw)} is already through the market at {item.price(price)}"
        return None

    def _situation(self, order: Order, market: Market, instead_of: Order | None) -> Situation:
        met = touch(market.quote, order.side)
        price = met[0] if met else 0
        same_side = sum(o.working_raw for o in market.working.values() if o.side is order.side and o is not instead_of)
        return Situation(
            halted=self.halted,
            blocked=next((why for (_, symbol), why in self._blocks.items() if symbol in ("", order.symbol)), None),
            feed=self.feed.state,
            feed_reason=self.feed.reason,
            stale=self._stale(market),
            price_raw=reckoned_at(order, price),
            market_raw=price,
            closable_raw=self._closable(order, market, instead_of),
            position_raw=market.position_raw + order.side.sign * same_side,
            day_pnl_raw=self.day_pnl_raw,
            sent_last_second=sum(ns > self.ts - SECOND_NS for ns in self.sent_ns),
        )

    def _closable(self, order: Order, market: Market, instead_of: Order | None = None) -> int:
        """What an order's own book lets it close: the position less what already works to reduce it."""
        book = self.ledger.books.get(order.book_key)
        if book is None or self.is_asked:
            return 0
        rivals = [o for o in market.working.values() if o.side is order.side and o is not instead_of]
        working = sum(other.working_raw for other in rivals if other.book_key == order.book_key)
        closable = max(0, book.closes(order.side) - working)
        if not self._gone(order.symbol, order.product, order.side):
            return closable
        closing = sum(other.working_raw - min(other.opening_raw, other.working_raw) for other in rivals)
        return min(closable, max(0, self._left_at_broker(market, order.product, order.side) - closing))

    @property
    def is_asked(self) -> bool:
        """Whether the broker is being asked what became of earlier orders."""
        return (ASKED, "") in self._blocks

    def _still_asked(self, order: Order) -> str | None:
        book = self.ledger.books.get(order.book_key)
        return self._blocks[ASKED, ""] if self.is_asked and book is not None and book.closes(order.side) else None

    def _gone(self, symbol: str, product: Product, side: OrderSide) -> int:
        """How much of what an order on this side would close was closed elsewhere."""
        return max(0, self._elsewhere.get((symbol, product), 0) * side.sign)

    def _left_at_broker(self, market: Market, product: Product, side: OrderSide) -> int:
        """What the broker's own book lets an order on this side close, over the books of all strategies."""
        held = sum(book.closes(side) for book in market.books if book.product is product)
        return max(0, held - self._gone(market.instrument.symbol, product, side))

    def _stale(self, market: Market) -> str | None:
        quote = market.quote
        if quote is None:
            return None
        lost_ns, reason = max(market.lost, (self._stale_before_ns, self._stale_reason))
        if quote.received_ns < lost_ns:
            return reason
        limit = self.limits.max_tick_age_ns
        age = self.ts - quote.received_ns
        if limit is not None and age > limit:
            return f"{quote.symbol} is {age / 1e9:.1f} s old, max_tick_age is {limit / 1e9:g} s"
        return None

    # ── money ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _margin_of(self, order: Order) -> int | str:
        """Money that backs the opening part, or why it cannot be told."""
        if self._margin is None:
            return order.instrument.value_raw(reckoned_at(order, order.reference_raw), order.opening_raw)
        try:
            margin = money_raw(self._margin(self, order), "margin")
        except Exception as error:  # noqa: BLE001  a user's callable
            return f"Insufficient balance: the margin rule failed: {error!r}"
        return margin if margin >= 0 else f"Insufficient balance: the margin rule asked for {money(margin)}"

    def _fees_estimate(self, order: Order) -> int:
        """Only the built-in schedules are asked: another one is called once, for the fill."""
        price = reckoned_at(order, order.reference_raw)
        if not isinstance(self.fees, FeeSchedule) or not price:
            return 0
        return charge(self.fees, self._draft(order, order.opening_raw, price, PriceSource.VENUE, ""))[0]

    def _draft(self, order: Order, quantity_raw: int, price_raw: int, source: PriceSource, execution: str) -> Fill:
        return Fill(
            client_order_id=order.client_order_id,
            execution_id=execution,
            instrument=order.instrument,
            side=order.side,
            product=order.product,
            strategy=order.strategy,
            tag=order.tag,
            source=order.source,
            time_ns=self.ts,
            quantity_raw=quantity_raw,
            price_raw=price_raw,
            price_source=source,
            filled_before_raw=order.filled_raw,
            value_before_raw=order.filled_value_raw,
        )
