"""The books reckoned once more: they agree, and a figure that does not is found."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import livetrade as lt
from livetrade.audit import COLUMNS
from livetrade.core.account import Account
from livetrade.core.records import replaced
from tests.support import SBIN, quoted, trading

FUT = lt.Instrument("NSE:NIFTY26DECFUT", kind="FUTURE", lot_size=75)


def busy(engine: Any) -> None:
    """Shares and a future, in parts and through zero, and money moved."""
    engine.stream.register(FUT)
    engine.stream.update(FUT.symbol, bid="24999.95", ask="25000")
    engine.market_buy(SBIN, 7, product="CNC").result()
    engine.stream.update(SBIN, bid="550.01", ask="550.03")
    engine.market_buy(SBIN, 13, product="CNC", tag="x").result()
    engine.market_sell(SBIN, 9, product="CNC").result()
    engine.market_sell(FUT.symbol, 75).result()
    engine.stream.update(FUT.symbol, bid="24000.05", ask="24001")
    engine.market_buy(FUT.symbol, 150).result()
    engine.transfer("-1234.56").result()


def many(**terms: Any) -> Any:
    rules = {
        "fees": lt.IndianEquityFees(),
        "limits": lt.Limits(allow_short=True),
        "margin": lt.RateMargin({"FUTURE": "0.1"}),
    }
    return trading(10**7, stream=quoted(), **{**rules, **terms})


def test_all_is_well_and_it_says_so() -> None:
    with many() as engine:
        busy(engine)
        found = engine.audit()
        assert found.empty
        assert list(found.columns) == list(COLUMNS)
        assert repr(found) == "All is well: cash, P&L and 2 books are what 5 fills and 2 cash movements come to"
        assert found._repr_html_().startswith("<p>All is well: cash, P&amp;L and 2 books")  # type: ignore[operator]
        assert found.attrs["verdict"] == repr(found)
        assert found.attrs["seq"] == engine.orders().attrs["seq"]


def test_before_anything_happened_too() -> None:
    with trading() as engine:
        assert engine.audit().empty


def test_of_a_journal_and_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "audit.journal"
    with many(journal=path) as engine:
        busy(engine)
    past = lt.open_journal(path).audit()
    assert past.empty
    with lt.LiveTradingEngine(journal=path, stream=quoted(), fees=lt.NoFees()) as engine:
        assert engine.audit().empty
        engine.flatten().result()


def forget_a_fill(account: Account) -> None:
    account.fill_history.fills.pop()


def change_a_fill(account: Account) -> None:
    column: list[Any] = account.fill_history.fills
    column[0] = replaced(column[0], quantity_raw=column[0].quantity_raw + 1)


def book_of(account: Account) -> Any:
    return next(iter(account.ledger.books.values()))


TAMPERED: dict[str, tuple[Callable[[Account], Any], set[str]]] = {
    "cash": (lambda a: setattr(a.ledger, "cash_raw", a.ledger.cash_raw + 1), {"cash", "portfolio_value", "total_pnl"}),
    "put in": (lambda a: setattr(a.ledger, "put_in_raw", 0), {"money put in", "total_pnl"}),
    "realized": (lambda a: setattr(a.ledger, "realized_raw", a.ledger.realized_raw - 1), {"realized_pnl"}),
    "fees": (lambda a: setattr(a.ledger, "fees_raw", 0), {"fees"}),
    "a book's cost": (lambda a: setattr(book_of(a), "cost_raw", 1), {"cost"}),
    "a book's quantity": (lambda a: setattr(book_of(a), "quantity_raw", 1), {"quantity"}),
    "a book's fees": (lambda a: setattr(book_of(a), "fees_raw", 1), {"fees"}),
    "a book": (lambda a: a.ledger.books.pop(book_of(a).key), {"quantity", "cost", "realized_pnl", "fees"}),
    "market value": (
        lambda a: setattr(a, "valued_raw", a.valued_raw + 1),
        {"unrealized_pnl", "portfolio_value", "total_pnl"},
    ),
    "a fill is forgotten": (forget_a_fill, {"cash", "fees", "quantity"}),
    "a fill is changed": (change_a_fill, {"cash", "quantity", "cost"}),
    "a cash movement is forgotten": (lambda a: a.cash_moves.pop(), {"cash", "money put in"}),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_a_figure_that_does_not_fit_is_found(what: str) -> None:
    tamper, figures = TAMPERED[what]
    with many() as engine:
        busy(engine)
        engine._read(tamper)
        found = engine.audit()
        assert set(found["figure"]) >= figures
        assert f"figure{' differs' if len(found) == 1 else 's differ'} from what" in repr(found)
        assert "E+" not in repr(found)
        for _, row in found.iterrows():
            assert row["kept"] + row["difference"] == row["reckoned"]
            assert isinstance(row["difference"], Decimal)
        assert "<table" in found._repr_html_()  # type: ignore[operator]
        engine._read(lambda account: account.ledger.books.clear())
