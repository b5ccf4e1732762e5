"""An account at a glance, as a notebook shows it: money, positions with their exits, working orders, alarms.

What is shown is of one moment, and was read; nothing here moves by itself. The live one is `engine.panel()`.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal

from livetrade.core import html
from livetrade.core.account import Account
from livetrade.core.kinds import FeedState
from livetrade.core.numbers import at, counted, money, short
from livetrade.core.records import record
from livetrade.core.values import Order, Position
from livetrade.portfolio import LABELS, PortfolioPnl, position_rows

ALARMS = 3
"""The last so many are shown."""


@record
class Summary:
    """What is shown of an account, all of one moment."""

    as_of: datetime
    currency: str
    pnl: PortfolioPnl
    positions: tuple[Position, ...]
    orders: tuple[Order, ...]
    alarms: tuple[str, ...]
    alarm_count: int
    feed: str
    halted: str | None


def summary_of(account: Account) -> Summary:
    rows = position_rows(account, LABELS["symbol"])
    alarms = list(account.alarms)
    feed = account.feed
    state = "no feed" if feed.state is FeedState.NONE else f"feed {feed.state}"
    return Summary(
        as_of=at(account.ts, account.zone),
        currency=account.currency,
        pnl=PortfolioPnl.of(account),
        positions=tuple(position for _, _, position in rows if position),
        orders=tuple(account.open_orders.values()),
        alarms=tuple(f"{at(alarm.ts, account.zone):%H:%M:%S} {alarm.message}" for alarm in alarms[-ALARMS:]),
        alarm_count=len(alarms),
        feed=f"{state} ({feed.reason})" if feed.reason and feed.state is not FeedState.LIVE else state,
        halted=account.halted,
    )


def shown(title: str, above: str, seen: Summary, below: str) -> str:
    """The summary as HTML under its title, between two parts that are HTML already."""
    return html.card(title, above, _money(seen), *_held(seen), below, *_alarmed(seen))


def state_of(seen: Summary) -> str:
    """Its feed, its time, and whether it is halted, in one line."""
    halted = "" if seen.halted is None else f" · HALTED{': ' if seen.halted else ''}{seen.halted}"
    return f"{seen.feed} · {seen.as_of:%Y-%m-%d %H:%M:%S}{halted}"


def _money(seen: Summary) -> str:
    pnl = seen.pnl.as_dict()
    signed = ("total_pnl", "day_pnl", "realized_pnl", "unrealized_pnl")
    head = ("Portfolio value", "Cash", "P&L", "P&L %", "Day P&L", "Realized", "Unrealized", "Fees")
    names = ("portfolio_value", "cash", "total_pnl", "total_pnl_percent", *signed[1:], "fees")
    row = [_amount(pnl[name], "+" if name in (*signed, "total_pnl_percent") else "") for name in names]
    row[0] += f" {seen.currency}"
    return html.table(head, [row])


def _held(seen: Summary) -> Iterator[str]:
    yield _positions(seen.positions) if seen.positions else html.text("Nothing is held.")
    yield _orders(seen.orders) if seen.orders else html.text("No order is working.")


def _alarmed(seen: Summary) -> Iterator[str]:
    if seen.alarms:
        last = f", the last {len(seen.alarms)}" if seen.alarm_count > len(seen.alarms) else ""
        yield html.card(f"{counted(seen.alarm_count, 'alarm')}{last}", *(html.text(alarm) for alarm in seen.alarms))


def _positions(positions: Sequence[Position]) -> str:
    head = ("Position", "Quantity", "Avg", "Last", "Value", "Unrealized", "%", "P&L", "Stop", "Target")
    rows = [
        (
            each.symbol,
            each.quantity,
            short(each.avg_price),
            each.last_price,
            _amount(each.market_value),
            _amount(each.unrealized_pnl, "+"),
            None if each.unrealized_pnl_pct is None else _amount(each.unrealized_pnl_pct, "+"),
            _amount(each.total_pnl, "+"),
            each.stop_loss_price or "none",
            each.take_profit_price or "none",
        )
        for each in positions
    ]
    return html.table(head, rows, "positions()")


def _orders(orders: Sequence[Order]) -> str:
    head = ("Working order", "Side", "Quantity", "Filled", "Symbol", "Type", "Limit", "Trigger", "Status", "Strategy")
    rows = [
        (
            each.client_order_id,
            each.side,
            each.quantity,
            each.filled_qty,
            each.symbol,
            each.order_type,
            each.limit_price,
            each.trigger_price,
            each.status,
            each.strategy,
        )
        for each in orders
    ]
    return html.table(head, rows, "orders(open=True)")


def _amount(value: Decimal, sign: str = "") -> str:
    return f"{value:{sign},.2f}"


def headline(account: Account) -> str:
    """An account in one line."""
    held = sum(1 for _ in account.ledger.held())
    feed = "" if account.feed.state is FeedState.NONE else f", feed {account.feed.state}"
    alarms = f", {counted(len(account.alarms), 'alarm')}" if account.alarms else ""
    working = counted(len(account.open_orders), "working order")
    return (
        f"{money(account.portfolio_value_raw):,.2f} {account.currency}, P&L {money(account.total_pnl_raw):+,.2f}, "
        f"{counted(held, 'position')}, {working}{feed}{alarms}"
    )
