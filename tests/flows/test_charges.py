"""What trades cost, as a person sees it: itemised in fills and frames, the same after a restart."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import livetrade as lt
from livetrade import frames
from tests.support import SBIN, quoted, trading


def test_a_journal_keeps_the_schedule_and_what_it_charged(tmp_path: Path) -> None:
    path = tmp_path / "charged.journal"
    with trading(stream=quoted(), fees=lt.IndianEquityFees(brokerage=(20, "0.03")), journal=path) as engine:
        assert engine.market_buy(SBIN, 100, product="CNC").result().success
        before = engine.account.fill_history.fills[0]
    with lt.LiveTradingEngine(journal=path, stream=quoted()) as engine:
        assert engine.account.fees == lt.IndianEquityFees(brokerage=("20", "0.03"))
        assert engine.account.fill_history.fills == [before]
        assert engine.market_sell(SBIN, 100, product="CNC").result().success
        bought, sold = engine.account.fill_history.fills
        assert dict(sold.charges).keys() == dict(bought.charges).keys()  # type: ignore[union-attr]
        assert sold.fees_raw == sum(raw for _, raw in sold.charges)  # type: ignore[union-attr]


def exact_sums(frame: pd.DataFrame) -> list[Decimal]:
    """Of the columns of charges, row by row, as decimals whatever they are made of."""
    return [sum(map(Decimal, row), Decimal(0)) for row in zip(*(frame[name] for name in frames.CHARGES), strict=True)]


def half(fill: lt.Fill) -> dict[str, Decimal]:
    """A schedule of a user's own, with a charge that no column is named after."""
    return {"stt": fill.value / 1000, "library": Decimal("0.125"), "stamp_duty": Decimal(1)}


@pytest.mark.parametrize("fees", [lt.IndianEquityFees(), lt.DEFAULT_FEES, lt.NoFees(), half])
@pytest.mark.parametrize("exact", [True, "arrow"])
def test_charges_sum_to_the_fees(fees: Any, exact: Any) -> None:
    with trading(stream=quoted(), fees=fees) as engine:
        assert engine.market_buy(SBIN, 100, product="CNC", tag="a").result().success
        assert engine.market_sell(SBIN, 60, product="CNC", tag="b").result().success
        plain, shown = engine.fills(exact=exact), engine.fills(charges=True, exact=exact)
        assert list(shown.columns) == [*plain.columns, *frames.CHARGES]
        pd.testing.assert_frame_equal(shown[plain.columns], plain)
        assert exact_sums(shown) == list(map(Decimal, shown["fees"]))
        floats = engine.fills(charges=True)
        assert floats[list(frames.CHARGES)].sum(axis=1).to_numpy() == pytest.approx(floats["fees"].to_numpy())
        only = engine.fills(charges=True, tag="b", exact=exact)
        pd.testing.assert_frame_equal(only, shown[shown["tag"] == "b"])


def test_what_has_no_column_of_its_own_is_other() -> None:
    with trading(stream=quoted(), fees=half) as engine:
        assert engine.market_buy(SBIN, 100).result().success
        (row,) = engine.fills(charges=True, exact=True).to_dict("records")
        assert (row["stt"], row["stamp_duty"], row["other_charges"]) == (Decimal("54.9"), 1, Decimal("0.125"))
    with trading(stream=quoted(), fees=lt.DEFAULT_FEES) as engine:
        assert engine.market_buy(SBIN, 100).result().success
        (row,) = engine.fills(charges=True, exact=True).to_dict("records")
        assert (row["brokerage"], row["other_charges"], row["fees"]) == (0, Decimal("16.47"), Decimal("16.47"))


@pytest.mark.parametrize("exact", [False, True, "arrow"])
def test_the_columns_are_the_same_when_empty(exact: Any) -> None:
    with trading(stream=quoted(), fees=lt.IndianEquityFees()) as engine:
        empty = engine.fills(charges=True, exact=exact)
        assert engine.market_buy(SBIN, 100).result().success
        full = engine.fills(charges=True, exact=exact)
        assert (len(empty), len(full)) == (0, 1)
        assert full.dtypes.to_dict() == empty.dtypes.to_dict()
        assert type(full.index) is type(empty.index)
