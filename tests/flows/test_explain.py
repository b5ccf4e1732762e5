"""Where the P&L came from: the parts are what they say, and sum to it to the last digit."""

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import livetrade as lt
from livetrade import frames
from tests.journal.kit import copied
from tests.journal.make_golden import GOLDEN
from tests.support import INFY, SBIN, quoted, trading

PARTS = [name for name in frames.EXPLAINED if name != "total_pnl"]
D = Decimal


def exact(value: Any) -> Fraction:
    return Fraction(Decimal(value))


def check_sums(account: Any) -> None:
    """Rows sum to their total, and the totals to that of the portfolio, whatever they are by."""
    for by in ("symbol", "strategy", "tag"):
        for kind in (True, "arrow"):
            table = account.explain(by, exact=kind)
            assert list(table.columns) == [*PARTS, "total_pnl"]
            assert table.index.name == by
            for _, row in table.iterrows():
                assert sum(map(exact, row[PARTS])) == exact(row["total_pnl"])
            assert sum(map(exact, table["total_pnl"])) == exact(account.pnl(exact=True)["total_pnl"])


def row_of(account: Any, symbol: str = SBIN) -> dict[str, Decimal]:
    shown: dict[str, Decimal] = account.explain(exact=True).loc[symbol].to_dict()
    return shown


def test_a_round_trip_at_the_market() -> None:
    with trading(stream=quoted(), fees=lt.FlatFee(20), broker=lt.PaperBroker(slippage="0.10")) as engine:
        engine.market_buy(SBIN, 100).result()  # at 549.10, the ask 549.00, the middle 548.975
        engine.stream.update(SBIN, bid="551", ask="551.10", last="551.05")
        engine.market_sell(SBIN, 100).result()  # at 550.90, the bid 551.00, the middle 551.05
        row = row_of(engine)
        assert row["price_move"] == 100 * (D("551.05") - D("548.975"))
        assert row["spread"] == -100 * (D("0.025") + D("0.05"))
        assert row["slippage"] == -100 * D("0.20")
        assert (row["other_charges"], row["brokerage"]) == (-40, 0)
        assert row["total_pnl"] == 100 * (D("550.90") - D("549.10")) - 40
        check_sums(engine)


def test_charges_stand_by_their_names() -> None:
    with trading(stream=quoted(), fees=lt.IndianEquityFees()) as engine:
        engine.market_buy(SBIN, 100, tag="a").result()
        engine.market_sell(SBIN, 60, tag="b").result()
        charged = engine.fills(charges=True, exact=True)
        row = row_of(engine)
        assert {name: -row[name] for name in frames.CHARGES} == {name: sum(charged[name]) for name in frames.CHARGES}
        check_sums(engine)


def test_an_order_that_waits_is_held_against_the_quote_of_its_fill() -> None:
    with trading(stream=quoted()) as engine:
        engine.limit_buy(SBIN, 10, "545.00").result()
        engine.stream.update(SBIN, bid="544.90", ask="545.00", last="544.95")
        row = row_of(engine)
        assert (row["slippage"], row["spread"], row["price_move"]) == (0, D("-0.5"), 0)


def test_what_travels_is_held_against_the_quote_it_was_sent_at() -> None:
    """Until it arrives the ask goes up by a whole rupee: that is slippage."""
    with trading(stream=quoted(), broker=lt.PaperBroker(latency=0.2)) as engine:
        handle = engine.market_buy(SBIN, 10)
        engine.stream.update(SBIN, bid="549.95", ask="550.00", last="549.95")
        assert handle.result().success
        row = row_of(engine)
        assert row["slippage"] == -10
        assert row["spread"] == D("-0.25")
        assert row["slippage"] == -10 * engine.orders(exact=True)["slippage"].iloc[0]


def test_what_is_not_known_stands_in_the_move_of_prices() -> None:
    with trading(stream=lt.LivePriceStream()) as engine:
        engine.stream.update(SBIN, last="549")
        engine.market_buy(SBIN, 10).result()
        engine.stream.update(SBIN, last="550")
        row = row_of(engine)
        assert (row["price_move"], row["spread"], row["slippage"]) == (10, 0, 0)


def test_a_settlement_is_no_fill_on_the_market() -> None:
    future = lt.Instrument("NSE:NIFTY20JANFUT", kind="FUTURE", lot_size=75)
    with trading(10**7, instruments=[future]) as engine:
        engine.stream.update(future.symbol, bid="24999", ask="25001")
        engine.market_buy(future.symbol, 75).result()
        assert engine.settle(future.symbol, 25100).result().success
        row = row_of(engine, future.symbol)
        assert (row["spread"], row["slippage"], row["price_move"]) == (-75, 0, 75 * 100)
        check_sums(engine)


MOVES = st.tuples(st.sampled_from(["tick", "buy", "sell", "limit", "flatten"]), st.integers(1, 400), st.integers(1, 40))


@given(slippage=st.sampled_from(["0", "0.05", "1.35"]), moves=st.lists(MOVES, min_size=1, max_size=25))
@settings(max_examples=60, deadline=None)
def test_random_sessions(slippage: str, moves: list[tuple[str, int, int]]) -> None:
    """Reckoned once more from the middles of the market, which explain() never sees."""
    stream = quoted()
    limits = lt.Limits(allow_short=True)
    middle, mids = D("548.975"), list[Fraction]()
    with trading(stream=stream, fees=lt.IndianEquityFees(), limits=limits, broker=lt.PaperBroker(slippage)) as engine:
        known = 0
        for what, price, size in moves:
            if what == "tick":
                bid, ask = D(500) + D(price) / 4, D(500) + D(price) / 4 + D(size) / 20
                stream.update(SBIN, bid=bid, ask=ask)
                middle = (bid + ask) / 2
            elif what == "flatten":
                engine.flatten().result()
            elif what == "limit":
                engine.limit_buy(SBIN, size, D(500) + D(price) / 4).result()
            else:
                (engine.market_buy if what == "buy" else engine.market_sell)(SBIN, size, tag=what).result()
            before, known = known, engine._read(lambda account: len(account.fill_history.copy()["fill"]))
            mids += [exact(middle)] * (known - before)
        check_sums(engine)
        if not known:
            return
        fills = engine.account.fill_history.copy()["fill"]
        mark = Fraction(engine.account.markets[SBIN].mark_raw, 200)
        moved = sum(f.side.sign * exact(f.quantity) * (mark - mid) for f, mid in zip(fills, mids, strict=True))
        assert exact(row_of(engine)["price_move"]) == moved


def test_everywhere_alike(tmp_path: Path) -> None:
    """A replay, its journal, an engine that goes on from one: and a journal of before has it all in the move."""
    path = tmp_path / "explained.journal"
    with trading(fees=lt.IndianEquityFees(), journal=path) as engine:
        engine.stream.update(INFY, bid=1500, ask="1500.10")
        engine.market_buy(SBIN, 100).result()
        engine.market_buy(INFY, 10).result()
        engine.market_sell(SBIN, 40).result()
        told = engine.explain(exact=True)
        assert list(told.index) == sorted([INFY, SBIN])
        pd.testing.assert_frame_equal(lt.open_journal(path).explain(exact=True), told)
    with lt.LiveTradingEngine(journal=path) as again:
        pd.testing.assert_frame_equal(again.explain(exact=True), told)

    golden = lt.open_journal(copied(GOLDEN, tmp_path / "golden"))
    check_sums(golden)
    assert not golden.explain()[["spread", "slippage"]].any(axis=None)


@pytest.mark.parametrize("kind", [False, True, "arrow"])
def test_empty_and_full_are_alike(kind: Any) -> None:
    with trading(stream=quoted()) as engine:
        empty = engine.explain(exact=kind)
        engine.market_buy(SBIN, 1).result()
        full = engine.explain(exact=kind)
        assert (len(empty), len(full)) == (0, 1)
        assert full.dtypes.to_dict() == empty.dtypes.to_dict()
        assert full.index.dtype == empty.index.dtype


def test_by_what_else() -> None:
    with trading() as engine, pytest.raises(lt.OrderError, match="'symbol', 'strategy', 'tag', not 'date'"):
        engine.explain("date")  # type: ignore[arg-type]
