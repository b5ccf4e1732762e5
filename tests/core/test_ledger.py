"""The ledger against `Fraction`s: exact to the last digit after every fill, and nothing left behind at flat."""

import random
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livetrade.core.instruments import Instrument
from livetrade.core.kinds import OrderSide, Product
from livetrade.core.ledger import Book, Ledger, share
from livetrade.core.numbers import MONEY_ONE
from livetrade.core.records import replaced
from livetrade.core.values import Fill
from livetrade.errors import LedgerError
from tests.core.kit import COIN, GOLD, NIFTY, SBIN, Oracle, a_fill

PENNY = Instrument("PENNY", scale=12, quantity_scale=6, multiplier="0.0125")
ITEMS = (SBIN, NIFTY, COIN, GOLD, PENNY)
BUY, SELL = OrderSide.BUY, OrderSide.SELL


def book_fill(ledger: Ledger, fill: Fill) -> Book:
    """Books a fill as the account does: what it realizes is reckoned first and carried by the fill."""
    book = ledger.book(fill.strategy, fill.instrument, fill.product)
    realized = book.realizes(fill.side, fill.quantity_raw, fill.price_raw)
    return ledger.apply_fill(replaced(fill, realized_raw=realized), 0, 0)


def random_fills(seed: int, count: int) -> Iterator[Fill]:
    """Fills of several symbols and books: small and large, odd lots, rebates, many that close or cross zero."""
    dice = random.Random(seed)
    held: dict[tuple[str, str, Product], int] = {}
    for _ in range(count):
        item = dice.choice(ITEMS)
        key = (dice.choice(("manual", "ema")), item.symbol, dice.choice((Product.CNC, Product.MARGIN)))
        position = held.get(key, 0)
        side = dice.choice((BUY, SELL))
        quantity = dice.choice((1, dice.randint(1, 9), dice.randint(1, 10**6), dice.randint(1, 10**12)))
        if position and dice.random() < 0.6:
            side = SELL if position > 0 else BUY
            quantity = dice.choice((abs(position), max(1, abs(position) // 3), abs(position) + 7))
        held[key] = position + side.sign * quantity
        yield a_fill(
            side,
            quantity,
            dice.choice((1, dice.randint(1, 10**6), dice.randint(1, 10**11))),
            instrument=item,
            strategy=key[0],
            product=key[2],
            fees_raw=dice.choice((0, dice.randint(-(10**28), 10**31))),
        )


def run(seed: int, count: int) -> None:
    ledger, oracle = Ledger(), Oracle()
    ledger.move_cash(10**36)
    oracle.move(Fraction(10**6))
    for number, fill in enumerate(random_fills(seed, count)):
        if number % 97 == 0:
            ledger.move_cash(-(10**30))
            oracle.move(Fraction(-1))
        realized_before = ledger.realized_raw
        book = book_fill(ledger, fill)
        assert Fraction(ledger.realized_raw - realized_before, MONEY_ONE) == oracle.fill(fill)
        assert Fraction(book.cost_raw, MONEY_ONE) == oracle.cost[book.key]
        assert Fraction(ledger.cash_raw, MONEY_ONE) == oracle.cash
        assert Fraction(ledger.fees_raw, MONEY_ONE) == oracle.fees
        mark = 2 * fill.price_raw + 1
        unrealized = book.market_value_raw(mark) - book.paid_raw
        identity = ledger.put_in_raw + ledger.realized_raw + unrealized - ledger.fees_raw
        rest = ledger.cost_raw - book.paid_raw
        assert ledger.cash_raw + book.market_value_raw(mark) + rest == identity
        if not book.quantity_raw:
            assert (book.cost_raw, book.margin_raw) == (0, 0)
    assert ledger.cost_raw == sum(book.paid_raw for book in ledger.books.values())
    assert ledger.margin_raw == sum(book.margin_raw for book in ledger.books.values())
    flatten(ledger)


def flatten(ledger: Ledger) -> None:
    for book in list(ledger.held()):
        side = SELL if book.quantity_raw > 0 else BUY
        fill = a_fill(side, abs(book.quantity_raw), 12345, instrument=book.instrument)
        book_fill(ledger, replaced(fill, strategy=book.strategy, product=book.product))
    assert (ledger.cost_raw, ledger.margin_raw) == (0, 0)
    assert ledger.cash_raw == ledger.put_in_raw + ledger.realized_raw - ledger.fees_raw


def test_the_books_are_exact() -> None:
    run(seed=20260302, count=20_000)


@pytest.mark.campaign
@pytest.mark.timeout(0)
def test_the_books_are_exact_after_a_million_fills(capsys: pytest.CaptureFixture[str]) -> None:
    seed = random.SystemRandom().randrange(2**32)
    with capsys.disabled():
        print(f"\n1,000,000 fills, seed {seed}", flush=True)  # noqa: T201
    run(seed, 1_000_000)


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_short_random_runs_are_exact(seed: int, count: int) -> None:
    run(seed, count)


@given(st.integers(-(10**45), 10**45), st.integers(1, 10**12), st.integers(1, 10**12))
def test_a_share_is_rounded_half_even_at_twelve_decimals(total: int, part: int, more: int) -> None:
    whole = part + more
    exact = Fraction(total, MONEY_ONE) * part / whole
    assert Fraction(share(total, part, whole), MONEY_ONE) == Fraction(round(exact * 10**12), 10**12)


def test_a_partial_close_of_an_uneven_cost() -> None:
    ledger = Ledger()
    for price in (10000, 10001, 10001):
        book_fill(ledger, a_fill(BUY, 1, price))
    book = book_fill(ledger, a_fill(SELL, 1, 10000))
    assert Decimal(book.cost_raw) / MONEY_ONE == Decimal("200.013333333333")
    book_fill(ledger, a_fill(SELL, 2, 10000))
    assert book.cost_raw == 0
    assert Decimal(ledger.realized_raw) / MONEY_ONE == Decimal("-0.02")


def test_a_flip_closes_and_then_opens() -> None:
    ledger = Ledger()
    book_fill(ledger, a_fill(BUY, 100, 10000, time_ns=1, tag="long"))
    book = book_fill(ledger, a_fill(SELL, 150, 11000, time_ns=2, tag="short"))
    assert (book.quantity_raw, book.cost_raw) == (-50, -SBIN.value_raw(11000, 50))
    assert book.realized_raw == SBIN.value_raw(1000, 100)
    assert (book.opened_ns, book.tag) == (2, "short")
    assert book.margin_raw == SBIN.value_raw(11000, 50)


def test_adding_to_a_position_keeps_when_it_was_opened() -> None:
    ledger = Ledger()
    book_fill(ledger, a_fill(BUY, 100, 10000, time_ns=1, tag="first"))
    book = book_fill(ledger, a_fill(BUY, 100, 10000, time_ns=2, tag="second"))
    assert (book.opened_ns, book.tag) == (1, "first")


def test_margin_backs_a_position_in_proportion() -> None:
    ledger = Ledger()
    book = ledger.apply_fill(a_fill(BUY, 100, 10000), 1, 5)
    assert book.margin_raw == SBIN.value_raw(10000, 100) // 5
    assert ledger.free_raw == ledger.cash_raw + book.cost_raw - book.margin_raw
    ledger.apply_fill(replaced(a_fill(SELL, 50, 10000), realized_raw=0), 0, 0)
    assert book.margin_raw == SBIN.value_raw(10000, 10)


def test_a_book_knows_the_extremes_since_its_last_fill() -> None:
    book = Book("manual", SBIN, Product.CNC)
    assert book.saw(5, 9) == (0, 0)
    book.quantity_raw = 1
    assert book.saw(5, 9) == (5, 9)
    book.low_raw, book.high_raw = 4, 8
    assert book.saw(5, 9) == (4, 9)
    assert book.saw(1 << 64, 0) == (4, 8)
    assert (book.strategy, book.symbol, book.product) == ("manual", SBIN.symbol, Product.CNC)


def test_without_a_mark_a_book_is_worth_its_cost() -> None:
    book = Ledger().apply_fill(a_fill(BUY, 100, 10000), 0, 0)
    assert book.market_value_raw(0) == book.cost_raw
    assert book.market_value_raw(20001) == SBIN.value_raw(20001, 100) // 2


def test_what_a_fill_would_realize() -> None:
    book = Ledger().apply_fill(a_fill(SELL, 100, 10000), 0, 0)
    assert book.closes(BUY) == 100
    assert book.closes(SELL) == 0
    assert book.realizes(BUY, 150, 9000) == SBIN.value_raw(1000, 100)
    assert book.realizes(SELL, 10, 9000) == 0


def test_books_that_do_not_add_up_are_a_defect() -> None:
    ledger = Ledger()
    book = book_fill(ledger, a_fill(BUY, 1, 100))
    ledger.cash_raw += 1
    with pytest.raises(LedgerError, match="do not add up"):
        ledger.check(book)
    with pytest.raises(LedgerError, match="is left behind"):
        ledger.apply_fill(replaced(a_fill(SELL, 1, 200), realized_raw=0), 0, 0)
