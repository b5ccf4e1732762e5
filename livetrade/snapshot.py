"""What the panel shows and `health()` tells: the account's figures at one moment, and how late the engine runs."""

from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from livetrade.core.account import Account
from livetrade.core.kinds import ExitKind
from livetrade.core.numbers import MONEY_ONE
from livetrade.core.state import SECOND_NS, Market
from livetrade.core.values import Fill, Order

EQUITY_POINTS = 240
ORDERS_SHOWN = 50
FILLS_SHOWN = 6
FILLS_LOOKED_AT = 200
"""A panel of some symbols finds its fills among these: a long history costs no more than a short one."""
LAG_EVERY = 7
"""Every eighth tick is timed: enough to see the worst, cheap enough to do always."""


class Meter:
    """How late the engine runs by its own `clock`, over its last few thousand batches, and how many ticks it takes a
    second."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self.ticks = 0
        self.worst_stall_ms = 0.0
        self._countdown = 0
        self._lags: deque[float] = deque(maxlen=4096)
        self._samples: deque[tuple[float, int]] = deque(maxlen=64)

    def count_lag(self, posted_ns: int) -> None:
        """A tick posted then has had its effect now; one in a few is counted."""
        self._countdown -= 1
        if self._countdown < 0:
            self._countdown = LAG_EVERY
            self._lags.append(max(0, self._clock() - posted_ns) / 1e6)

    def stall(self, seconds: float) -> None:
        self.worst_stall_ms = max(self.worst_stall_ms, seconds * 1000)

    def sample(self) -> None:
        """Notes the count of ticks now; called on every beat."""
        self._samples.append((monotonic(), self.ticks))

    def rate(self) -> float:
        """Ticks a second over the last few seconds."""
        samples = list(self._samples)
        if len(samples) < 2:
            return 0.0
        (start, before), (end, after) = samples[0], samples[-1]
        return (after - before) / (end - start) if end > start else 0.0

    def lags_ms(self) -> dict[str, float]:
        """From the posting of a tick to its effect: p50, p99 and max in milliseconds."""
        ordered = sorted(self._lags.copy())
        if not ordered:
            return {"p50": 0.0, "p99": 0.0, "max": 0.0}
        last = len(ordered) - 1
        return {"p50": ordered[last // 2], "p99": ordered[round(last * 0.99)], "max": ordered[-1]}


def panel_snapshot(account: Account, symbols: Sequence[str] | None, now_ns: int) -> dict[str, Any]:
    """The account's part of a panel's snapshot (see `livetrade.panel.panel`): plain numbers and texts."""
    ledger = account.ledger
    put_in = ledger.put_in_raw
    total = account.total_pnl_raw
    markets = [m for s, m in sorted(account.markets.items()) if (m.position_raw if symbols is None else s in symbols)]
    orders = [o for o in account.open_orders.values() if symbols is None or o.symbol in symbols]
    lately = account.fill_history.fills[-FILLS_LOOKED_AT:]
    fills = [fill for fill in reversed(lately) if symbols is None or fill.symbol in symbols]
    newest = account.equity_history[-EQUITY_POINTS:]
    curve = [_float(point.cash_raw + point.market_value_raw) for point in newest]
    return {
        "currency": account.currency,
        "timezone": account.timezone,
        "as_of": now_ns // 1_000_000,
        "seq": account.seq,
        "tick": account.ticks,
        "feed": account.feed.state.value,
        "feed_reason": account.feed.reason,
        "halted": account.halted is not None,
        "halt_reason": account.halted or "",
        "alarms": len(account.alarms),
        "alarm": account.alarms[-1].message if account.alarms else "",
        "pnl": {
            "portfolio_value": _float(account.portfolio_value_raw),
            "cash": _float(ledger.cash_raw),
            "realized_pnl": _float(ledger.realized_raw),
            "unrealized_pnl": _float(account.unrealized_raw),
            "total_pnl": _float(total),
            "total_pnl_percent": 100 * total / put_in if put_in else 0.0,
            "day_pnl": _float(account.day_pnl_raw),
            "fees": _float(ledger.fees_raw),
        },
        "open_positions": sum(1 for market in account.markets.values() if market.position_raw),
        "positions": [_position(account, market, now_ns) for market in markets],
        "working_orders": len(account.open_orders),
        "orders": [_order(order) for order in orders[-ORDERS_SHOWN:]],
        "fills": [_fill(fill) for fill in fills[:FILLS_SHOWN]],
        "equity": curve or [_float(account.portfolio_value_raw)],
    }


def _position(account: Account, market: Market, now_ns: int) -> dict[str, Any]:
    item = market.instrument
    scale, quantity = 10**item.scale, market.position_raw
    cost = sum(book.cost_raw for book in market.books)
    gain = market.value_raw - sum(book.paid_raw for book in market.books)
    realized = sum(book.realized_raw - book.fees_raw for book in market.books)
    exits = {
        risk.kind: risk.trigger_raw / scale
        for book in market.books
        for risk in account.brackets.get(book.key, {}).values()
    }
    quote = market.quote
    mark = quote.mark_raw if quote is not None else market.mark_raw
    per_unit = quantity * item.unit * 10 ** (item.scale)
    return {
        "symbol": item.symbol,
        "quantity": quantity / 10**item.quantity_scale,
        "avg_price": cost / per_unit if quantity else None,
        "last_price": mark / (2 * scale) if mark else None,
        "market_value": _float(market.value_raw),
        "unrealized_pnl": _float(gain),
        "total_pnl": _float(realized + gain),
        "stop_loss_price": exits.get(ExitKind.STOP_LOSS),
        "take_profit_price": exits.get(ExitKind.TAKE_PROFIT),
        "trailing_stop_price": exits.get(ExitKind.TRAILING_STOP),
        "age": max(0, (now_ns - quote.received_ns) // SECOND_NS) if quote is not None else None,
        "price_decimals": item.scale,
        "quantity_decimals": item.quantity_scale,
    }


def _order(order: Order) -> dict[str, Any]:
    item = order.instrument
    prices, quantities = 10**item.scale, 10**item.quantity_scale
    return {
        "id": order.client_order_id,
        "symbol": item.symbol,
        "side": order.side.value,
        "order_type": order.order_type.value,
        "quantity": order.quantity_raw / quantities,
        "filled_qty": order.filled_raw / quantities,
        "limit_price": None if order.limit_raw is None else order.limit_raw / prices,
        "trigger_price": None if order.trigger_raw is None else order.trigger_raw / prices,
        "status": order.status.value,
        "source": order.source.value,
        "price_decimals": item.scale,
        "quantity_decimals": item.quantity_scale,
    }


def _fill(fill: Fill) -> dict[str, Any]:
    item = fill.instrument
    return {
        "id": f"{fill.client_order_id} {fill.execution_id}",
        "time": fill.time_ns // 1_000_000,
        "symbol": item.symbol,
        "side": fill.side.value,
        "quantity": fill.quantity_raw / 10**item.quantity_scale,
        "price": fill.price_raw / 10**item.scale,
        "realized_pnl": _float(fill.realized_raw),
        "source": fill.source.value,
        "price_decimals": item.scale,
        "quantity_decimals": item.quantity_scale,
    }


def _float(raw: int) -> float:
    return float(raw / MONEY_ONE)
