"""What an order is judged by: its account as it stands, the limits, its margin and fees, the exits it brings.

Asking changes nothing and emits nothing; the answer is `Approved` or `Denied`, and `Ordering` acts on it.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from livetrade.core.exits import entry_price, reached
from livetrade.core.instruments import doubted
from livetrade.core.kinds import OrderSide, PriceSource, Product
from livetrade.core.ledger import Book
from livetrade.core.limits import (
    Approved,
    Check,
    Denied,
    Limits,
    Situation,
    approve,
    balance_check,
    balance_denied,
    checks,
    opening_part,
    reckoned_at,
)
from livetrade.core.numbers import money, money_raw
from livetrade.core.quotes import touched_at
from livetrade.core.records import replaced
from livetrade.core.schedules import Fees, FeeSchedule, charge
from livetrade.core.state import SECOND_NS, Market, State
from livetrade.core.values import Fill, Order
from livetrade.errors import OrderError

ASKED = "broker"
"""Who blocks opening while the broker is asked what became of earlier orders. What it holds is not known until then:
nothing is closed either, for it may be gone."""
MarginRule = Callable[[Any, Order], Decimal]  # its first argument is the whole `Account`


class Approving(State):
    """A state that can say whether an order may be sent."""

    __slots__ = (
        "_blocks",
        "_elsewhere",
        "_stale_before_ns",
        "_stale_reason",
        "fees",
        "limits",
        "margin",
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
        self.margin = margin
        self._blocks: dict[tuple[str, str], str] = {}
        self._elsewhere: dict[tuple[str, Product], int] = {}  # by how much the broker's own book differs from ours
        self._stale_before_ns = 0
        self._stale_reason = ""

    def _approve(
        self, order: Order, market: Market, instead_of: Order | None = None, parts: Sequence[int] = ()
    ) -> Approved | Denied:
        """instead_of: the working order that this one would replace. parts: the slices that it would be sent in."""
        for check in self._early_checks(order, market):
            if check.reason:
                return Denied(order, check.reason)
        verdict = approve(order, self.limits, self._situation(order, market, instead_of, parts))
        if isinstance(verdict, Denied) or not verdict.opening_raw:
            return verdict
        opening = verdict.opening_raw
        needed = self._needed(order, opening, parts)
        if isinstance(needed, Check):
            return Denied(replaced(order, opening_raw=opening), needed.reason)
        margin, total = needed
        freed = instead_of.blocked_raw if instead_of else 0
        short = balance_denied(total, self.free_raw + freed)
        return Denied(replaced(order, opening_raw=opening), short) if short else Approved(order, opening, margin)

    def tested(self, order: Order, market: Market, parts: Sequence[int]) -> tuple[int, list[Check]]:
        """(how much of it opens, all that `_approve` asks, whatever the answers are)."""
        situation = self._situation(order, market, None, parts)
        opening = opening_part(order, situation)
        asked = [*self._early_checks(order, market), *checks(order, opening, self.limits, situation)]
        if opening:
            needed = self._needed(order, opening, parts)
            asked.append(needed if isinstance(needed, Check) else balance_check(needed[1], self.free_raw))
        return opening, asked

    def _early_checks(self, order: Order, market: Market) -> Iterator[Check]:
        """What is asked before any limit, also of an order that only closes."""
        if order.exits:
            yield from self._exit_checks(order, market)
        if self.is_asked:
            yield Check("broker", None, None, self._asking)

    def _exit_checks(self, order: Order, market: Market) -> Iterator[Check]:
        """An exit that would fire at once is refused before its entry is sent."""
        long, item = order.side is OrderSide.BUY, order.instrument
        for term in order.exits:
            if term.price_raw is None:
                continue
            price = entry_price(order, market.quote, self.trigger_by)
            asked = item.price(term.price_raw)
            through = reached(term.kind, long, term.price_raw, price)
            reason = f"{term.kind} {asked} is already through the market at {item.price(price)}" if through else ""
            shown = f"{asked}, the market is at {item.price(price)}" if price else asked
            yield Check(term.kind.value.lower(), None, shown, reason)

    def _situation(self, order: Order, market: Market, instead_of: Order | None, parts: Sequence[int]) -> Situation:
        price = touched_at(market.quote, order.side)
        same_side = sum([rival.working_raw for rival in self._rivals(order, market, instead_of)])
        limits, symbol = self.limits, order.instrument.symbol
        return Situation(
            halted=self.halted,
            blocked=self._blocked(symbol),
            feed=self.feed.state,
            feed_reason=self.feed.reason,
            stale=self._stale(market),
            price_raw=reckoned_at(order, price),
            market_raw=price,
            closable_raw=self._closable(order, market, instead_of),
            position_raw=market.position_raw + order.side.sign * same_side,
            day_pnl_raw=0 if limits.max_daily_loss is None else self.day_pnl_raw,
            sent_last_second=self._sent_last_second() if limits.max_orders_per_second else 0,
            day=self.day,
            margined=self.margin is not None,
            doubt="" if price else self.doubt(symbol),
            parts=max(len(parts), 1),
            gone_raw=self._gone(symbol, order.product, order.side),
            tick_age=(self.ts - market.quote.received_ns) / 1e9 if market.quote is not None else None,
        )

    def doubt(self, symbol: str) -> str:
        """What may be wrong with a symbol that has had neither a price nor a position, as the end of a sentence."""
        market = self.markets.get(symbol)
        if market is not None and _is_known(market):
            return ""
        doubt = doubted(symbol, (name for name, other in self.markets.items() if _is_known(other)))
        return f"; {doubt}" if doubt else ""

    def _sent_last_second(self) -> int:
        return sum(ns > self.ts - SECOND_NS for ns in self.sent_ns)

    @staticmethod
    def _rivals(order: Order, market: Market, instead_of: Order | None) -> list[Order]:
        """The working orders on the same side."""
        return [other for other in market.working.values() if other.side is order.side and other is not instead_of]

    def _closable(self, order: Order, market: Market, instead_of: Order | None = None) -> int:
        """What an order's own book lets it close: the position less what already works to reduce it."""
        book = self.ledger.books.get(order.book_key)
        held = 0 if book is None or self.is_asked else book.closes(order.side)
        if not held:
            return 0
        rivals = self._rivals(order, market, instead_of)
        working = sum([other.working_raw for other in rivals if other.book_key == order.book_key])
        closable = max(0, held - working)
        if not self._gone(order.symbol, order.product, order.side):
            return closable
        closing = sum(other.working_raw - min(other.opening_raw, other.working_raw) for other in rivals)
        return min(closable, max(0, self._left_at_broker(market, order.product, order.side) - closing))

    @property
    def is_asked(self) -> bool:
        """Whether the broker is being asked what became of earlier orders."""
        return bool(self._asking)

    @property
    def _asking(self) -> str:
        """Why nothing may be closed either for now; empty while it may."""
        return self._blocks.get((ASKED, ""), "")

    def _blocked(self, symbol: str) -> str | None:
        """Why nothing of a symbol may be opened for now, whatever the broker is asked."""
        for (by, of), why in self._blocks.items():
            if by != ASKED and of in ("", symbol):
                return why
        return None

    def _gone(self, symbol: str, product: Product, side: OrderSide) -> int:
        """How much of what an order on this side would close was closed elsewhere."""
        return max(0, self._elsewhere.get((symbol, product), 0) * side.sign)

    def was_closed_elsewhere(self, symbol: str) -> bool:
        """Whether the books hold something of a symbol that the broker's own book is without."""
        return bool(self._gone_parts(self.markets[symbol]))

    def _gone_parts(self, market: Market) -> list[tuple[Book, int]]:
        """What was closed elsewhere of a symbol, taken from one book after the other."""
        parts = []
        for product, side in itertools.product(Product, OrderSide):
            left = self._gone(market.instrument.symbol, product, side)
            for book in market.books:
                part = min(left, book.closes(side)) if book.product is product else 0
                if part:
                    parts.append((book, part))
                    left -= part
        return parts

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

    def _needed(self, order: Order, opening_raw: int, parts: Sequence[int]) -> tuple[int, int] | Check:
        """(the margin of the opening part, that and its fees), or what refuses to tell them."""
        margin, fees = self._margin_of(order, opening_raw), self._fees_estimate(order, parts or (opening_raw,))
        if isinstance(margin, str):
            return Check("margin", None, None, margin)
        if isinstance(fees, str):
            return Check("charges", None, None, fees)
        return margin, margin + fees

    def _margin_of(self, order: Order, opening_raw: int) -> int | str:
        """Money that backs the opening part, or why it cannot be told."""
        if self.margin is None:
            return order.instrument.value_raw(reckoned_at(order, order.reference_raw), opening_raw)
        try:
            margin = money_raw(self.margin(self, replaced(order, opening_raw=opening_raw)), "margin")
        except Exception as error:  # noqa: BLE001  a user's callable
            return f"Insufficient balance: the margin rule failed: {error!r}"
        return margin if margin >= 0 else f"Insufficient balance: the margin rule asked for {money(margin)}"

    def _fees_estimate(self, order: Order, parts: Sequence[int]) -> int | str:
        """Only the built-in schedules are asked: another one is called once, for the fill. A text says why what the
        order would be charged cannot be told."""
        price = reckoned_at(order, order.reference_raw)
        if not isinstance(self.fees, FeeSchedule) or not price:
            return 0
        try:
            drafts = [self._draft(order, part, price, PriceSource.VENUE, "") for part in parts]
            return sum(charge(self.fees, draft)[0] for draft in drafts)
        except OrderError as error:
            return f"Charges unknown: {error}"

    def _draft(
        self, order: Order, quantity_raw: int, price_raw: int, source: PriceSource, execution: str, **more: Any
    ) -> Fill:
        """A fill that was charged nothing."""
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
            **more,
        )


def _is_known(market: Market) -> bool:
    return market.quote is not None or bool(market.books)
