"""Cash, books, fees, realized and unrealized P&L: exact.

One book per (strategy, symbol, product), at average cost. A book carries its *total* cost, never a divided average: a
partial close releases its share of it, rounded half-even at 10⁻¹², the rest stays, and a full close releases all that
is left. A fill that crosses zero closes first, then opens. At every event, to the last digit,

    cash + market value == money put in + realized + unrealized - fees

where unrealized = market value - cost, so what is checked is cash + cost == money put in + realized - fees.

A future is not paid for: its gains and losses alone move cash, once they are realized or settled. Nothing was paid, so
its cost does not count here, and what it adds to the market value is its gain so far. In an account that was opened
before this was so (`AccountOpened.futures`) it is paid for as a share is. What a future, or a short of anything, has
lost on paper is not free meanwhile (`State.free_raw`).
"""

from collections.abc import Iterator

from livetrade.core.instruments import Instrument
from livetrade.core.kinds import InstrumentKind, OrderSide, Product
from livetrade.core.numbers import SHARE_QUANTUM, divide, money
from livetrade.core.values import Fill, value_at
from livetrade.errors import LedgerError

BookKey = tuple[str, str, Product]
"""(strategy, symbol, product)"""


class Book:
    """What one strategy holds of one symbol in one product."""

    __slots__ = (
        "cost_raw",
        "fees_raw",
        "high_raw",
        "instrument",
        "key",
        "low_raw",
        "margin_raw",
        "opened_ns",
        "paid_for",
        "quantity_raw",
        "realized_raw",
        "tag",
    )

    def __init__(self, strategy: str, instrument: Instrument, product: Product, *, paid_for: bool = True) -> None:
        self.paid_for = paid_for
        self.key: BookKey = (strategy, instrument.symbol, product)
        self.instrument = instrument
        self.quantity_raw = 0  # negative when short
        self.cost_raw = 0  # signed like the quantity
        self.margin_raw = 0  # own money that backs the position; its full cost unless a margin rule says less
        self.realized_raw = 0
        self.fees_raw = 0
        self.opened_ns = 0
        self.tag = ""
        self.low_raw = 0  # extremes of the mark (twice the price) since the last fill; 0 when none was seen
        self.high_raw = 0

    @property
    def strategy(self) -> str:
        return self.key[0]

    @property
    def symbol(self) -> str:
        return self.key[1]

    @property
    def product(self) -> Product:
        return self.key[2]

    @property
    def paid_raw(self) -> int:
        """Its cost, as far as that was taken from cash."""
        return self.cost_raw if self.paid_for else 0

    def closes(self, side: OrderSide) -> int:
        """How much an order on `side` can close of it."""
        return max(0, -self.quantity_raw * side.sign)

    def realizes(self, side: OrderSide, quantity_raw: int, price_raw: int) -> int:
        """Gross P&L that a fill would realize."""
        closing = min(quantity_raw, self.closes(side))
        if not closing:
            return 0
        held = abs(self.quantity_raw)
        released = self.cost_raw if closing == held else share(self.cost_raw, closing, held)
        return -side.sign * self.instrument.value_raw(price_raw, closing) - released

    def market_value_raw(self, mark_raw: int) -> int:
        """What it adds to the portfolio at a mark (twice the price)."""
        return value_at(mark_raw, self.instrument, self.quantity_raw, self.cost_raw, self.paid_raw)

    def saw(self, low_raw: int, high_raw: int) -> tuple[int, int]:
        """(lowest, highest) mark since its last fill, after a time between these two; zeros where none was seen."""
        if not (self.quantity_raw and high_raw):
            return self.low_raw, self.high_raw
        return min(self.low_raw or low_raw, low_raw), max(self.high_raw, high_raw)


def share(total_raw: int, part: int, whole: int) -> int:
    """part/whole of an amount, in whole 10⁻¹² of the currency, ties to even."""
    return divide(total_raw * part, whole * SHARE_QUANTUM) * SHARE_QUANTUM


class Ledger:
    """All the money of one account. Only `apply_fill` and `move_cash` change it."""

    def __init__(self) -> None:
        self.pays_for_futures = False  # as accounts did that were opened before this was
        self.cash_raw = 0
        self.put_in_raw = 0
        self.realized_raw = 0
        self.fees_raw = 0
        self.cost_raw = 0
        self.margin_raw = 0
        self.books: dict[BookKey, Book] = {}
        self.at_risk: dict[BookKey, Book] = {}  # those that may lose more than was paid: held futures, and shorts

    def book(self, strategy: str, instrument: Instrument, product: Product) -> Book:
        """The book, made empty when there is none yet."""
        key = (strategy, instrument.symbol, product)
        book = self.books.get(key)
        if book is None:
            paid_for = self.pays_for_futures or instrument.kind is not InstrumentKind.FUTURE
            book = self.books[key] = Book(strategy, instrument, product, paid_for=paid_for)
        return book

    def held(self) -> Iterator[Book]:
        """The books that are not flat."""
        return (book for book in self.books.values() if book.quantity_raw)

    @property
    def free_raw(self) -> int:
        """Cash that backs no position: for positions paid in full this is cash, less what the shorts brought in and as
        much again that backs them."""
        return self.cash_raw + self.cost_raw - self.margin_raw

    def move_cash(self, amount_raw: int) -> None:
        self.cash_raw += amount_raw
        self.put_in_raw += amount_raw

    def apply_fill(self, fill: Fill, margin_raw: int, margin_value_raw: int) -> Book:
        """Folds one fill. Its opening part is backed by margin: margin_raw / margin_value_raw of its cost."""
        book = self.book(fill.strategy, fill.instrument, fill.product)
        sign = fill.side.sign
        before = book.quantity_raw
        closing = min(fill.quantity_raw, book.closes(fill.side))
        opening = fill.quantity_raw - closing
        signed_value = sign * fill.value_raw

        book.quantity_raw += sign * fill.quantity_raw
        book.cost_raw += signed_value + fill.realized_raw
        book.realized_raw += fill.realized_raw
        book.fees_raw += fill.fees_raw
        paid = signed_value + fill.realized_raw if book.paid_for else 0
        self.cash_raw += fill.realized_raw - fill.fees_raw - paid
        self.cost_raw += paid
        self.realized_raw += fill.realized_raw
        self.fees_raw += fill.fees_raw

        backed = book.margin_raw
        if closing:
            backed -= backed if closing == abs(before) else share(backed, closing, abs(before))
        if opening:
            value = fill.instrument.value_raw(fill.price_raw, opening)
            backed += divide(value * margin_raw, margin_value_raw) if margin_value_raw else value
        self.margin_raw += backed - book.margin_raw
        book.margin_raw = backed

        if book.quantity_raw < 0 or (book.quantity_raw and not book.paid_for):
            self.at_risk[book.key] = book
        else:
            self.at_risk.pop(book.key, None)
        if before == 0 or (closing and opening):
            book.opened_ns, book.tag = fill.time_ns, fill.tag
        book.low_raw = book.high_raw = 0
        self.check(book)
        return book

    def check(self, book: Book) -> None:
        """Raises `LedgerError` unless the identity holds to the last digit and nothing is left behind at flat."""
        if not book.quantity_raw and (book.cost_raw or book.margin_raw):
            raise LedgerError(f"{book.symbol} is flat, and its cost {money(book.cost_raw)} is left behind")
        if self.cash_raw + self.cost_raw != self.put_in_raw + self.realized_raw - self.fees_raw:
            raise LedgerError(
                f"the books do not add up: cash {money(self.cash_raw)} + cost {money(self.cost_raw)} is not "
                f"put in {money(self.put_in_raw)} + realized {money(self.realized_raw)} - fees {money(self.fees_raw)}"
            )
