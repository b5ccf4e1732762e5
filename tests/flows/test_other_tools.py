"""DataFrames where people take them: Parquet, CSV, Excel, DuckDB, polars. Exact decimals stay exact on the way."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import livetrade as lt
from livetrade import files
from tests.support import INFY, SBIN, quietly_close, quoted

TABLES = ("positions", "orders", "fills", "risk_orders", "equity", "round_trips", "explain")


@pytest.fixture(scope="module")
def engine() -> Iterator[lt.LiveTradingEngine]:
    """With an average price that no float holds, and a share of a cost with twelve decimals."""
    stream = quoted()
    engine = lt.LiveTradingEngine(500_000, stream, fees=lt.IndianEquityFees(), name="tools")
    engine.market_buy(SBIN, 7, stop_loss_price="540.00").result()
    stream.update(SBIN, bid="548.90", ask="549.05", last="549.00")
    engine.market_buy(SBIN, 6, tag="more").result()
    engine.market_sell(SBIN, 5).result()
    engine.limit_buy(SBIN, 1, "500.00").result()
    stream.update(INFY, bid="1500.00", ask="1500.10")
    engine.market_buy(INFY, 3).result()
    engine.market_sell(INFY, 3).result()
    yield engine
    quietly_close(engine)


def exactly(values: Any) -> list[Decimal | None]:
    return [None if pd.isna(value) else Decimal(value) for value in values]


def numbers(frame: pd.DataFrame) -> dict[str, list[Decimal | None]]:
    """The columns of numbers of an exact frame."""
    named = [str(name) for name, column in frame.items() if "decimal" in str(column.dtype)]
    return {name: exactly(frame[name]) for name in named}


@pytest.mark.parametrize("table", TABLES)
def test_parquet(engine: lt.LiveTradingEngine, table: str, tmp_path: Path) -> None:
    frame = getattr(engine, table)(exact="arrow")
    frame.to_parquet(tmp_path / "table.parquet")
    again = pd.read_parquet(tmp_path / "table.parquet", dtype_backend="pyarrow")
    assert list(again.columns) == list(frame.columns)
    assert numbers(again) == numbers(frame)
    floats = getattr(engine, table)()
    floats.to_parquet(tmp_path / "floats.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "floats.parquet"), floats)


@pytest.mark.parametrize("table", TABLES)
def test_csv(engine: lt.LiveTradingEngine, table: str, tmp_path: Path) -> None:
    frame = getattr(engine, table)(exact=True)
    frame.to_csv(tmp_path / "table.csv")
    again = pd.read_csv(tmp_path / "table.csv", dtype=str)
    wanted = numbers(getattr(engine, table)(exact="arrow"))
    assert {name: exactly(again[name]) for name in wanted} == wanted


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("exact", [True, "arrow"])
def test_polars(engine: lt.LiveTradingEngine, table: str, exact: Any) -> None:
    frame = getattr(engine, table)(exact=exact)
    taken = pl.from_pandas(frame.reset_index())
    assert len(taken) == len(frame)
    if exact == "arrow":
        wanted = numbers(frame)
        assert all(isinstance(taken.schema[name], pl.Decimal) for name in wanted)
        assert {name: exactly(taken[name].to_list()) for name in wanted} == wanted


@pytest.mark.parametrize("table", TABLES)
def test_duckdb(engine: lt.LiveTradingEngine, table: str) -> None:
    frame = getattr(engine, table)(exact="arrow")
    wanted = numbers(frame)
    taken = duckdb.sql("SELECT * FROM frame")
    types = dict(zip(taken.columns, map(str, taken.types), strict=True))
    assert {types[name] for name in wanted} == {"DECIMAL(38,18)"}
    columns = dict(zip(taken.columns, zip(*taken.fetchall(), strict=True), strict=True))
    assert {name: exactly(columns[name]) for name in wanted} == wanted


def test_duckdb_adds_up_exactly(engine: lt.LiveTradingEngine) -> None:
    parts = engine.explain(exact="arrow")  # noqa: F841  DuckDB finds it by its name
    assert duckdb.sql("SELECT sum(total_pnl) FROM parts").fetchall() == [(engine.pnl(exact=True)["total_pnl"],)]
    fills = pa.Table.from_pandas(engine.fills(exact="arrow"))  # noqa: F841
    fees = duckdb.sql("SELECT side, sum(fees) FROM fills GROUP BY side").fetchall()
    assert dict(fees) == engine.fills(exact=True).groupby("side", observed=True)["fees"].sum().to_dict()


def test_excel(engine: lt.LiveTradingEngine, tmp_path: Path) -> None:
    """Excel knows no time zones: pandas refuses a table with such times, and `export` says the zone in the header."""
    engine.positions().drop(columns="opened_at").to_excel(tmp_path / "positions.xlsx")
    assert pd.read_excel(tmp_path / "positions.xlsx")["quantity"].tolist() == [8]
    orders = engine.orders()
    with pytest.raises(ValueError, match="timezone"):
        orders.to_excel(tmp_path / "orders.xlsx")
    times = orders.select_dtypes("datetimetz").apply(lambda column: column.dt.tz_localize(None))
    orders.assign(**times).to_excel(tmp_path / "orders.xlsx")
    assert pd.read_excel(tmp_path / "orders.xlsx", index_col=0)["filled_qty"].tolist() == [7, 6, 5, 0, 3, 3]
    engine.export(tmp_path / "day.xlsx")
    files.export(tmp_path / "own.xlsx", {"bought": orders[orders["side"] == "BUY"]})
    for name, sheet, rows in (("day.xlsx", "orders", 6), ("own.xlsx", "bought", 4)):
        again = pd.read_excel(tmp_path / name, sheet_name=sheet)
        assert (len(again), "created_at (Asia/Kolkata)" in again.columns) == (rows, True)
