"""The books reckoned once more, from nothing but fills and cash movements: `engine.audit()`.

It shares no arithmetic with the ledger: fractions, signs and a loop of its own.
"""

from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from livetrade.core import html
from livetrade.core.account import Account
from livetrade.core.events import VARIATION
from livetrade.core.kinds import InstrumentKind, OrderSide
from livetrade.core.numbers import MONEY_ONE, counted, money
from livetrade.core.records import record
from livetrade.core.values import Fill

if TYPE_CHECKING:
    import pandas as pd

_QUANTUM = 10**12
COLUMNS = ("symbol", "strategy", "product", "figure", "kept", "reckoned", "difference")


@record
class Audit:
    """What was found: a row (of `COLUMNS`) for each figure that differs, and a sentence."""

    rows: tuple[tuple[Any, ...], ...]
    verdict: str


class _Book:
    """What one strategy holds of one symbol in one product, reckoned from its fills."""

    def __init__(self) -> None:
        self.quantity = self.cost = self.realized = self.fees = Fraction(0)

    def take(self, fill: Fill) -> Fraction:
        """Books a fill; gives back what it realized."""
        item = fill.instrument
        price = Fraction(fill.price_raw, 10**item.scale) * Fraction(item.multiplier)
        quantity = Fraction(fill.quantity_raw, 10**item.quantity_scale)
        signed = quantity if fill.side is OrderSide.BUY else -quantity
        self.fees += Fraction(fill.fees_raw, MONEY_ONE)
        realized = Fraction(0)
        if self.quantity * signed < 0:
            closed = min(quantity, abs(self.quantity))
            out = self.cost if closed == abs(self.quantity) else _rounded(self.cost * closed / abs(self.quantity))
            sign = 1 if self.quantity > 0 else -1
            realized = sign * closed * price - out
            self.cost -= out
            self.quantity -= sign * closed
            signed += sign * closed
        self.quantity += signed
        self.cost += signed * price
        self.realized += realized
        return realized


def _rounded(amount: Fraction) -> Fraction:
    """Half-even at 10⁻¹²: the one rounding that the ledger states."""
    return Fraction(round(amount * _QUANTUM), _QUANTUM)


def audit_of(account: Account) -> Audit:
    """Compares what an account keeps with what its fills and cash movements come to."""
    fills: list[Fill] = account.fill_history.fills
    put_in = sum((Fraction(raw, MONEY_ONE) for raw in account.cash_moves), Fraction(0))
    gains_only = account.opened is not None and account.opened.futures == VARIATION
    books: dict[tuple[str, str, Any], _Book] = {}
    cash, rows = put_in, list[tuple[Any, ...]]()
    paid = Fraction(0)
    for fill in fills:
        key = (fill.strategy, fill.symbol, fill.product)
        book = books.setdefault(key, _Book())
        before = book.cost
        realized = book.take(fill)
        if realized != Fraction(fill.realized_raw, MONEY_ONE):
            rows.append(_row(key, f"realized_pnl of {fill.execution_id}", fill.realized_raw, realized))
        cost = Fraction(0) if gains_only and fill.instrument.kind is InstrumentKind.FUTURE else book.cost - before
        paid += cost
        cash += realized - cost - Fraction(fill.fees_raw, MONEY_ONE)
    rows += _book_rows(account, books)
    ledger = account.ledger
    value = sum((_value(account, key, book, gains_only=gains_only) for key, book in books.items()), Fraction(0))
    realized_sum, fees = sum(b.realized for b in books.values()), sum(b.fees for b in books.values())
    for figure, kept, reckoned in (
        ("cash", ledger.cash_raw, cash),
        ("money put in", ledger.put_in_raw, put_in),
        ("realized_pnl", ledger.realized_raw, realized_sum),
        ("unrealized_pnl", account.unrealized_raw, value - paid),
        ("fees", ledger.fees_raw, fees),
        ("portfolio_value", account.portfolio_value_raw, cash + value),
        ("total_pnl", account.total_pnl_raw, realized_sum + value - paid - fees),
    ):
        if Fraction(kept, MONEY_ONE) != reckoned:
            rows.append(_row(("", "", ""), figure, kept, Fraction(reckoned)))
    source = f"{counted(len(fills), 'fill')} and {counted(len(account.cash_moves), 'cash movement')}"
    if rows:
        differ = counted(len(rows), "figure differs", "figures differ")
        return Audit(tuple(rows), f"{differ} from what {source} come to")
    return Audit((), f"All is well: cash, P&L and {counted(len(books), 'book')} are what {source} come to")


def _book_rows(account: Account, books: dict[tuple[str, str, Any], _Book]) -> Iterable[tuple[Any, ...]]:
    kept = account.ledger.books
    for key in [*books, *(key for key in kept if key not in books)]:
        reckoned, book = books.get(key) or _Book(), kept.get(key)
        scale = 0 if book is None else book.instrument.quantity_scale
        held = Fraction(0 if book is None else book.quantity_raw, 10**scale)
        if held != reckoned.quantity:
            rest = reckoned.quantity - held
            yield (*_names(key), "quantity", _decimal(held), _decimal(reckoned.quantity), _decimal(rest))
        figures = (
            ("cost", 0 if book is None else book.cost_raw),
            ("realized_pnl", 0 if book is None else book.realized_raw),
        )
        for name, raw in (*figures, ("fees", 0 if book is None else book.fees_raw)):
            right = getattr(reckoned, name.partition("_")[0])
            if Fraction(raw, MONEY_ONE) != right:
                yield _row(key, name, raw, right)


def _value(account: Account, key: tuple[str, str, Any], book: _Book, *, gains_only: bool) -> Fraction:
    """What a book adds to the portfolio at the symbol's mark."""
    market = account.markets[key[1]]
    item = market.instrument
    future = gains_only and item.kind is InstrumentKind.FUTURE
    if not market.mark_raw:
        return Fraction(0) if future else book.cost
    price = Fraction(market.mark_raw, 2 * 10**item.scale) * Fraction(item.multiplier)
    return book.quantity * price - (book.cost if future else 0)


def _names(key: tuple[str, str, Any]) -> tuple[str, str, str]:
    strategy, symbol, product = key
    return symbol, strategy, str(product)


def _row(key: tuple[str, str, Any], figure: str, kept_raw: int, reckoned: Fraction) -> tuple[Any, ...]:
    difference = reckoned - Fraction(kept_raw, MONEY_ONE)
    return (*_names(key), figure, money(kept_raw), _decimal(reckoned), _decimal(difference))


def _decimal(amount: Fraction) -> Any:
    return money(round(amount * MONEY_ONE))


def frame_of(audit: Audit, seq: int, as_of: str) -> "pd.DataFrame":
    """The differences as a DataFrame that says in its text whether there are any."""
    import pandas as pd

    class Audited(pd.DataFrame):
        """A DataFrame of differences; `attrs["verdict"]` is a sentence."""

        @property
        def _constructor(self) -> type[pd.DataFrame]:
            return pd.DataFrame

        def __repr__(self) -> str:
            verdict = str(self.attrs.get("verdict", ""))
            return verdict if self.empty else f"{verdict}\n{super().__repr__()}"

        def _repr_html_(self) -> str:
            verdict = html.text(str(self.attrs.get("verdict", "")))
            return verdict if self.empty else verdict + self.to_html()

    made = Audited({name: [row[place] for row in audit.rows] for place, name in enumerate(COLUMNS)}, dtype=object)
    made.attrs = {"seq": seq, "as_of": as_of, "verdict": audit.verdict}
    return made
