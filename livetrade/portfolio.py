"""Figures read from an account between two events: the portfolio's P&L and its parts, positions, watched exits."""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

from livetrade.core.account import Account
from livetrade.core.exits import watched
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import ExitKind, ExitStatus, Product
from livetrade.core.ledger import Book
from livetrade.core.numbers import divide, money, to_decimal
from livetrade.core.records import record, replaced
from livetrade.core.state import Market
from livetrade.core.ticks import Tick
from livetrade.core.values import Fill, Position, RiskOrder

PNL_FIELDS = (
    "portfolio_value",
    "cash",
    "realized_pnl",
    "unrealized_pnl",
    "total_pnl",
    "total_pnl_percent",
    "day_pnl",
    "fees",
)


@record
class PortfolioPnl:
    """The figures behind `pnl()`, in raw money."""

    portfolio_value: int
    cash: int
    realized_pnl: int
    unrealized_pnl: int
    total_pnl: int
    day_pnl: int
    fees: int
    put_in: int

    @classmethod
    def of(cls, account: Account) -> "PortfolioPnl":
        ledger = account.ledger
        return cls(
            account.portfolio_value_raw,
            ledger.cash_raw,
            ledger.realized_raw,
            account.unrealized_raw,
            account.total_pnl_raw,
            account.day_pnl_raw,
            ledger.fees_raw,
            ledger.put_in_raw,
        )

    def as_dict(self) -> dict[str, Decimal]:
        """Decimals by name; total_pnl_percent is of the money put in, half-even at six decimals."""
        percent = divide(self.total_pnl * 10**8, self.put_in) if self.put_in > 0 else 0
        figures = {name: money(getattr(self, name)) for name in PNL_FIELDS if name != "total_pnl_percent"}
        figures["total_pnl_percent"] = to_decimal(percent, 6)
        return {name: figures[name] for name in PNL_FIELDS}


def risk_rows(account: Account, risks: Iterable[RiskOrder] | None = None) -> list[tuple[RiskOrder, int]]:
    """Each exit (or some) with the price it watches (0 unknown); an armed one protects all that its book holds now."""
    rows = []
    for risk in account.risks.values() if risks is None else risks:
        if risk.status is ExitStatus.ARMED:
            held = account.ledger.books[risk.strategy, risk.symbol, risk.product].quantity_raw
            risk = replaced(risk, quantity_raw=abs(held))  # noqa: PLW2901
        rows.append((risk, watched(account.markets[risk.symbol].quote, risk.long, account.trigger_by)))
    return rows


LABELS: dict[str, Callable[[Book], str]] = {
    "symbol": lambda book: book.symbol,
    "strategy": lambda book: book.strategy,
    "product": lambda book: book.product,
}


def quotes(account: Account) -> list[Tick]:
    """The quote of each symbol that has one."""
    return [market.quote for market in list(account.markets.values()) if market.quote is not None]


def position_rows(
    account: Account, label: Callable[[Book], str], strategy: str | None = None
) -> list[tuple[str, Product, Position]]:
    """(strategy, product, position) for each group of books in a symbol that share a label: those of one strategy, or
    all."""
    rows: list[tuple[str, Product, Position]] = []
    for _, market in sorted(account.markets.items()):
        groups: dict[str, list[Book]] = {}
        for book in _books_of(market, strategy):
            groups.setdefault(label(book), []).append(book)
        for books in groups.values():
            position = _position_of(account, market.instrument, market, books)
            rows.append((books[0].strategy, books[0].product, position))
    return rows


def position(account: Account, item: Instrument, strategy: str | None = None) -> Position:
    """What one strategy holds of a symbol, or all together."""
    market = account.markets.get(item.symbol)
    return _position_of(account, item, market, _books_of(market, strategy) if market else [])


def _books_of(market: Market, strategy: str | None) -> list[Book]:
    if strategy is None:
        return market.books
    return [book for book in market.books if book.key[0] == strategy]


def _position_of(account: Account, item: Instrument, market: Market | None, books: Sequence[Book]) -> Position:
    """The sum of some books of one symbol."""
    mark = market.mark_raw if market else 0
    quantity = cost = paid = realized = fees = opened = 0
    exits: dict[ExitKind, RiskOrder] = {}
    for book in books:
        quantity += book.quantity_raw
        cost += book.cost_raw
        paid += book.paid_raw
        realized += book.realized_raw
        fees += book.fees_raw
        if book.quantity_raw:
            opened = min(opened or book.opened_ns, book.opened_ns)
        if account.brackets:
            exits.update(account.brackets.get(book.key, {}))
    stop = target = None
    if exits:
        stop = exits.get(ExitKind.STOP_LOSS) or exits.get(ExitKind.TRAILING_STOP)
        target = exits.get(ExitKind.TAKE_PROFIT)
    stop_raw, target_raw = stop.trigger_raw if stop else None, target.trigger_raw if target else None
    return Position(item, quantity, cost, paid, realized, fees, mark, stop_raw, target_raw, opened)


def _book_pnl(account: Account, book: Book) -> int:
    market = account.markets[book.symbol]
    return book.realized_raw - book.fees_raw + book.market_value_raw(market.mark_raw) - book.paid_raw


def _by_book(key: Callable[[Book], str]) -> Callable[[Account], dict[Any, int]]:
    def parts(account: Account) -> dict[Any, int]:
        sums: dict[Any, int] = {}
        for book in account.ledger.books.values():
            sums[key(book)] = sums.get(key(book), 0) + _book_pnl(account, book)
        return sums

    return parts


def _by_tag(account: Account) -> dict[Any, int]:
    """Realized P&L and fees by the tag of each fill, what is open by the tag that opened it."""
    sums: dict[Any, int] = {}
    for fill in account.fill_history.fills:
        assert isinstance(fill, Fill)
        sums[fill.tag] = sums.get(fill.tag, 0) + fill.realized_raw - fill.fees_raw
    for book in account.ledger.held():
        open_pnl = book.market_value_raw(account.markets[book.symbol].mark_raw) - book.paid_raw
        sums[book.tag] = sums.get(book.tag, 0) + open_pnl
    return sums


def _by_date(account: Account) -> dict[Any, int]:
    bases = [*account.day_bases, ("", account.total_pnl_raw)]
    return {day: following - base for (day, base), (_, following) in pairwise(bases)}


by_strategy = _by_book(lambda book: book.strategy)
"""Total P&L of each strategy that has a book, in raw money."""

PARTS: dict[str, Callable[[Account], dict[Any, int]]] = {
    "strategy": by_strategy,
    "tag": _by_tag,
    "symbol": _by_book(lambda book: book.symbol),
    "date": _by_date,
}
