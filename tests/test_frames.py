"""Frames: one schema for no row, one row or many; exact where asked; never the history's own memory."""

import math
import subprocess
import sys
from array import array
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livetrade import files, frames
from livetrade.columns import Exact, View
from livetrade.core.events import EquityPoint
from livetrade.core.history import FillTable, OrderTable
from livetrade.core.instruments import Instrument, default_instrument
from livetrade.core.kinds import (
    ExitKind,
    ExitStatus,
    OrderSide,
    OrderStatus,
    OrderType,
    PriceSource,
    Product,
    Source,
    TimeInForce,
)
from livetrade.core.ledger import Book
from livetrade.core.numbers import MONEY_ONE, SHARE_QUANTUM, money_raw
from livetrade.core.records import replaced
from livetrade.core.ticks import Tick
from livetrade.core.values import Fill, Order, Position, RiskOrder
from livetrade.errors import OrderError
from livetrade.frames import Where

IST = ZoneInfo("Asia/Kolkata")
SECOND = 10**9
NINE_FIFTEEN = int(datetime(2025, 1, 3, 9, 15, tzinfo=IST).timestamp()) * SECOND
VIEW = View(IST, seq=7, as_of=NINE_FIFTEEN + 3600 * SECOND)
SBIN = Instrument("NSE:SBIN-EQ")
BITCOIN = Instrument("BTCUSDT", kind="CRYPTO", scale=8, quantity_scale=8)
EXACTS: tuple[Exact, ...] = (False, True, "arrow")


# ── a history by hand ────────────────────────────────────────────────────────────────────────────────────────────────


def make_order(number: int = 0, **changes: Any) -> Order:
    order = Order(
        client_order_id=f"C{number}",
        instrument=SBIN if number % 3 else BITCOIN,
        side=OrderSide.BUY if number % 2 else OrderSide.SELL,
        order_type=OrderType.LIMIT,
        quantity_raw=100 + number,
        limit_raw=54_895 + number,
        trigger_raw=None,
        time_in_force=TimeInForce.DAY,
        product=Product.INTRADAY,
        strategy=("manual", "ema")[number % 2],
        tag=("", "=open", "später")[number % 3],
        source=Source.STRATEGY,
        created_ns=NINE_FIFTEEN + number * 60 * SECOND,
        updated_ns=NINE_FIFTEEN + number * 60 * SECOND + 1000,
        status=OrderStatus.ACCEPTED,
        venue_order_id=f"V{number}",
    )
    return replaced(order, **changes)


def filled(order: Order, price_raw: int = 54_890, fees_raw: int = 53 * MONEY_ONE // 100) -> Order:
    value = order.instrument.value_raw(price_raw, order.quantity_raw)
    return replaced(
        order,
        status=OrderStatus.FILLED,
        reference_raw=price_raw + 3,
        filled_raw=order.quantity_raw,
        filled_value_raw=value,
        fees_raw=fees_raw,
    )


def make_fill(number: int = 0, **changes: Any) -> Fill:
    fill = Fill(
        client_order_id=f"C{number}",
        execution_id=f"E{number}",
        instrument=SBIN if number % 3 else BITCOIN,
        side=OrderSide.BUY if number % 2 else OrderSide.SELL,
        product=Product.CNC,
        strategy=("manual", "ema")[number % 2],
        tag="",
        source=Source.USER,
        time_ns=NINE_FIFTEEN + number * 60 * SECOND,
        quantity_raw=10 + number,
        price_raw=54_890 + number,
        price_source=PriceSource.ASK,
        fees_raw=333_333_333_333 * SHARE_QUANTUM,
        realized_raw=-number * 142_857_142_857 * SHARE_QUANTUM,
    )
    return replaced(fill, **changes)


def order_columns(count: int) -> frames.Columns:
    table = OrderTable()
    for number in range(count):
        order = make_order(number)
        table.put(order)
        if number % 2:
            table.put(filled(order))
    return table.copy()


def fill_columns(count: int) -> frames.Columns:
    table = FillTable()
    for number in range(count):
        table.add(make_fill(number))
    return table.copy()


def equity_points(count: int, step: int = 1) -> list[EquityPoint]:
    points = []
    for number in range(count):
        cash = 500_000 * MONEY_ONE - number * 333_333_333_333 * SHARE_QUANTUM
        points.append(EquityPoint(NINE_FIFTEEN + number * step * SECOND, cash, number * MONEY_ONE, 0, 0, 0))
    return points


def tick_columns(*rows: tuple[int, int, int, int, int]) -> dict[str, "array[int]"]:
    names = ("time", "bid", "ask", "last", "volume")
    return {name: array("q", [row[at] for row in rows]) for at, name in enumerate(names)}


def some_ticks(count: int) -> dict[str, "array[int]"]:
    return tick_columns(
        *((NINE_FIFTEEN + n * 7 * SECOND, 100 + n % 3, 103, (102, 0)[n % 2], 10 * n - 1) for n in range(count))
    )


def make_risk(**changes: Any) -> RiskOrder:
    risk = RiskOrder(
        "R1", ExitKind.STOP_LOSS, SBIN, "manual", Product.INTRADAY, "", True, 54_500, NINE_FIFTEEN, quantity_raw=100
    )
    return replaced(risk, **changes)


def make_position(symbol: str = "NSE:SBIN-EQ", **changes: Any) -> Position:
    item = default_instrument(symbol, IST)
    value = item.value_raw(item.price_raw("1.50"), item.quantity_raw("2"))
    figures = {"quantity_raw": item.quantity_raw("2"), "cost_raw": value, "paid_raw": value}
    position = Position(item, **figures, mark_raw=2 * item.price_raw("1.50"), opened_ns=NINE_FIFTEEN + 1000)
    return replaced(position, **changes)


def round_trip(number: int) -> list[Fill]:
    enter = make_fill(1, side=OrderSide.BUY, realized_raw=0, quantity_raw=10, time_ns=NINE_FIFTEEN + number)
    return [enter, replaced(enter, side=OrderSide.SELL, realized_raw=MONEY_ONE, time_ns=enter.time_ns + 1)]


Make = Callable[[int, Exact], pd.DataFrame]
MAKE: dict[str, Make] = {
    "positions": lambda count, exact: frames.positions(
        [("manual", Product.CNC, make_position(f"S{n}")) for n in range(count)], VIEW, exact=exact
    ),
    "orders": lambda count, exact: frames.orders(order_columns(count), VIEW, exact=exact),
    "fills": lambda count, exact: frames.fills(fill_columns(count), VIEW, exact=exact),
    "risk_orders": lambda count, exact: frames.risk_orders(
        [(make_risk(risk_id=f"R{n}"), 54_600) for n in range(count)], VIEW, exact=exact
    ),
    "equity": lambda count, exact: frames.equity(equity_points(count), VIEW, exact=exact),
    "equity by minute": lambda count, exact: frames.equity(equity_points(count), VIEW, freq="1min", exact=exact),
    "round_trips": lambda count, exact: frames.round_trips(
        [fill for number in range(count) for fill in round_trip(number)], VIEW, exact=exact
    ),
    "ticks": lambda count, exact: frames.ticks(some_ticks(count), SBIN, VIEW, exact=exact),
    "bars": lambda count, exact: frames.bars(some_ticks(count), SBIN, VIEW, Where(), "1min", exact=exact),
    "bars by month": lambda count, exact: frames.bars(some_ticks(count), SBIN, VIEW, Where(), "MS", exact=exact),
}
COLUMNS = {
    "positions": "quantity avg_price last_price market_value cost_basis unrealized_pnl realized_pnl fees total_pnl "
    "unrealized_pnl_pct stop_loss_price take_profit_price opened_at",
    "orders": "symbol side order_type product time_in_force quantity filled_qty avg_price limit_price trigger_price "
    "status reason source strategy tag fees slippage venue_order_id created_at updated_at",
    "fills": "symbol side product quantity price price_source fees realized_pnl source strategy tag client_order_id "
    "execution_id",
    "risk_orders": "symbol strategy kind trigger_price quantity status distance distance_pct client_order_id armed_at "
    "fired_at",
    "equity": "cash market_value portfolio_value realized_pnl unrealized_pnl fees",
    "round_trips": "symbol strategy tag side quantity entry_time entry_price exit_time exit_price gross_pnl fees "
    "net_pnl return_pct mae mfe exit_source",
    "ticks": "symbol bid ask last volume",
    "bars": "open high low close volume",
}
INDEX = {"positions": "symbol", "orders": "client_order_id", "risk_orders": "risk_id", "round_trips": None}
KINDS = {
    "side": OrderSide,
    "order_type": OrderType,
    "product": Product,
    "time_in_force": TimeInForce,
    "source": Source,
    "exit_source": Source,
    "price_source": PriceSource,
    "kind": ExitKind,
}
TEXTS = {"symbol", "strategy", "tag", "reason", "venue_order_id", "client_order_id", "execution_id"}
TIMES = {"opened_at", "created_at", "updated_at", "armed_at", "fired_at", "entry_time", "exit_time"}
NUMBER = {False: np.dtype("float64"), True: np.dtype("object"), "arrow": pd.ArrowDtype(pa.decimal128(38, 18))}
TIME = pd.DatetimeTZDtype("ns", IST)


def dtype_of(name: str, frame: str, exact: Exact) -> Any:
    if name == "status":
        return pd.CategoricalDtype(list(OrderStatus if frame == "orders" else ExitStatus))
    if name in KINDS:
        return pd.CategoricalDtype(list(KINDS[name]))
    if name in TEXTS:
        return pd.StringDtype(na_value=np.nan)
    return TIME if name in TIMES else NUMBER[exact]


# ── schemas ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("count", [0, 1, 5, 100])
@pytest.mark.parametrize("exact", EXACTS)
@pytest.mark.parametrize("which", MAKE)
def test_a_frame_has_one_schema(which: str, exact: Exact, count: int) -> None:
    frame, name = MAKE[which](count, exact), which.split(maxsplit=1)[0]
    assert dict(frame.dtypes) == {column: dtype_of(column, name, exact) for column in COLUMNS[name].split()}
    assert list(frame.columns) == COLUMNS[name].split()
    assert frame.index.name == INDEX.get(name, "time")
    assert frame.index.dtype == {"time": TIME, None: np.dtype("int64")}.get(frame.index.name, "str")
    assert frame.attrs == {"seq": 7, "as_of": "2025-01-03T10:15:00+05:30"}
    assert bool(len(frame)) == bool(count)


@pytest.mark.parametrize("which", MAKE)
def test_exact_numbers_are_the_floats(which: str) -> None:
    make = MAKE[which]
    plain, exact, arrow = make(7, False), make(7, True), make(7, "arrow")
    for name in plain.select_dtypes("float64"):
        for number, decimal, scalar in zip(plain[name], exact[name], arrow[name], strict=True):
            if math.isnan(number):
                assert decimal is None
                assert scalar is pd.NA
            else:
                assert isinstance(decimal, Decimal)
                assert isinstance(scalar, Decimal)
                assert (float(decimal), scalar) == (number, decimal)


@pytest.mark.parametrize("which", MAKE)
def test_without_arrow_texts_are_the_same(which: str) -> None:
    frame = MAKE[which](5, False)
    with pd.option_context("mode.string_storage", "python"):
        plain = MAKE[which](5, False)
    assert all(dtype == "str" for dtype in plain.select_dtypes("str").dtypes)
    assert plain.to_csv() == frame.to_csv()


def test_no_frame_is_the_history_itself() -> None:
    table = OrderTable()
    for number in range(3):
        table.put(make_order(number))
    columns = table.copy()
    whole = frames.orders(columns, VIEW)
    torn = frames.orders(columns, VIEW)
    torn.loc[:, "quantity"] = 0.0
    torn.loc[:, "status"] = "REJECTED"
    torn.loc[:, "created_at"] = pd.NaT
    torn.loc[:, "symbol"] = "gone"
    torn.iloc[0, torn.columns.get_loc("side")] = "BUY"
    pd.testing.assert_frame_equal(frames.orders(columns, VIEW), whole)

    table.put(filled(make_order(1)))
    table.put(make_order(3, tag="new", reason="another text"))
    pd.testing.assert_frame_equal(frames.orders(columns, VIEW), whole)
    assert len(frames.orders(table.copy(), VIEW)) == 4


def test_importing_frames_loads_no_pandas() -> None:
    code = "import sys, livetrade.frames; print({'numpy', 'pandas', 'pyarrow'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("exact", ["Arrow", None, "decimal", 2])
def test_an_unknown_exact_is_refused(exact: Any) -> None:
    with pytest.raises(OrderError, match=r'exact must be False, True or "arrow"'):
        frames.equity(equity_points(1), VIEW, exact=exact)


def test_a_missing_pyarrow_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r'exact="arrow" needs pyarrow: pip install "livetrade\[arrow\]"'):
        frames.equity({}, VIEW, exact="arrow")


# ── values ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_order_reads_as_itself() -> None:
    made = [make_order(0), filled(make_order(1)), make_order(2, status=OrderStatus.REJECTED, reason="no margin")]
    table = OrderTable()
    for order in made:
        table.put(make_order(int(order.client_order_id[1:])))
        table.put(order)
    frame = frames.orders(table.copy(), VIEW, exact=True)
    assert list(frame.index) == ["C0", "C1", "C2"]
    for order, row in zip(made, frame.to_dict("records"), strict=True):
        for name in frame.columns:
            expected = getattr(order, name)
            assert row[name] == expected, name
            assert str(row[name]) == str(expected) or isinstance(expected, datetime), name
        assert row["created_at"].value == order.created_ns


def test_unknown_numbers_and_times_are_missing() -> None:
    order = frames.orders(order_columns(1), VIEW).iloc[0]
    assert order[["avg_price", "trigger_price", "slippage"]].isna().all()
    assert order["filled_qty"] == 0
    risk = frames.risk_orders([(make_risk(), 0)], VIEW).iloc[0]
    assert risk["fired_at"] is pd.NaT
    assert risk[["distance", "distance_pct"]].isna().all()


def test_text_that_is_no_text_breaks_nothing() -> None:
    table = OrderTable()
    for number, tag in enumerate(("torn \ud800", "whole")):
        table.put(make_order(number, tag=tag))
    assert frames.orders(table.copy(), VIEW)["tag"].tolist() == ["torn ?", "whole"]


def test_money_that_18_decimals_cannot_hold_stays_exact() -> None:
    table = FillTable()
    table.add(make_fill(fees_raw=1, realized_raw=10**25 * MONEY_ONE))
    frame = frames.fills(table.copy(), VIEW, exact="arrow")
    assert frame["fees"].iloc[0] == Decimal("1e-30")
    assert frame["realized_pnl"].iloc[0] == Decimal(10) ** 25
    assert frame["price"].dtype == NUMBER["arrow"]


def test_open_orders_are_those_that_may_still_fill() -> None:
    table = OrderTable()
    for number, status in enumerate(OrderStatus):
        table.put(make_order(number, status=status))
    frame = frames.orders(table.copy(), VIEW, Where(strategy="ema"), open=True)
    assert set(frame["status"]) == {"PENDING_CANCEL", "UNKNOWN", "ACCEPTED"}
    assert all(frame["status"].map(lambda status: make_order(status=OrderStatus(status)).is_open))
    assert set(frame["strategy"]) == {"ema"}


@pytest.mark.parametrize(("by", "first"), [("strategy", "ema"), ("product", "CNC")])
def test_positions_by_something_name_it_first(by: str, first: str) -> None:
    frame = frames.positions([("ema", Product.CNC, make_position(quantity_raw=0))], VIEW, by=by)
    assert list(frame.columns) == [by, *COLUMNS["positions"].split()]
    assert frame[by].tolist() == [first]
    assert frame["opened_at"].iloc[0] == pd.Timestamp("2025-01-03 09:15:00.000001", tz=IST)
    assert frame["avg_price"].isna().all()
    with pytest.raises(OrderError, match="by 'symbol', 'strategy' or 'product'"):
        frames.positions([], VIEW, by="tag")


@pytest.mark.parametrize(
    ("kind", "long", "trigger", "price", "distance"),
    [
        (ExitKind.STOP_LOSS, True, 54_500, 55_000, "5.00"),
        (ExitKind.TRAILING_STOP, True, 54_500, 54_400, "-1.00"),
        (ExitKind.TAKE_PROFIT, True, 56_000, 55_000, "10.00"),
        (ExitKind.STOP_LOSS, False, 56_000, 55_000, "10.00"),
        (ExitKind.TAKE_PROFIT, False, 54_000, 55_000, "10.00"),
    ],
)
def test_distance_is_positive_until_the_trigger_is_reached(
    kind: ExitKind, long: bool, trigger: int, price: int, distance: str
) -> None:
    risk = make_risk(kind=kind, long=long, trigger_raw=trigger, order_id="C1")
    row = frames.risk_orders([(risk, price)], VIEW, exact=True).iloc[0]
    assert str(row["distance"]) == distance
    assert abs(row["distance_pct"] - Decimal(distance) / (Decimal(price) / 100) * 100) < Decimal("1e-12")
    assert row["client_order_id"] == "C1"
    fired = replaced(risk, status=ExitStatus.TRIGGERED, fired_ns=NINE_FIFTEEN)
    assert frames.risk_orders([(fired, price)], VIEW).iloc[0][["distance", "distance_pct"]].isna().all()


# ── filters ──────────────────────────────────────────────────────────────────────────────────────────────────────────

TEN_PAST = NINE_FIFTEEN + 5 * 60 * SECOND


@pytest.mark.parametrize(
    "given",
    [
        "2025-01-03 09:20",
        "2025-01-03T03:50Z",
        datetime(2025, 1, 3, 9, 20),  # noqa: DTZ001  naive times are in the view's zone
        datetime(2025, 1, 3, 3, 50, tzinfo=UTC),
        pd.Timestamp("2025-01-03 09:20"),
        np.datetime64("2025-01-03T09:20"),
    ],
)
def test_since_and_until_split_the_rows(given: Any) -> None:
    columns = order_columns(12)
    assert frames.orders(columns, VIEW, Where(until=given)).index.tolist() == [f"C{n}" for n in range(5)]
    assert frames.orders(columns, VIEW, Where(since=given)).index.tolist() == [f"C{n}" for n in range(5, 12)]
    assert frames.orders(columns, VIEW, Where(since=given, until=given)).empty


def test_days_begin_at_midnight_in_the_zone() -> None:
    midnight = int(datetime(2025, 1, 3, tzinfo=IST).timestamp()) * SECOND
    points = [EquityPoint(when, when, 0, 0, 0, 0) for when in (midnight - 1, midnight, midnight + 1)]
    for day in ("today", date(2025, 1, 3), "2025-01-03"):
        assert len(frames.equity(points, VIEW, Where(since=day))) == 2
        assert len(frames.equity(points, VIEW, Where(until=day))) == 1
    assert len(frames.equity(points, VIEW, Where(until="now"))) == 3


@given(st.integers(-20, 40), st.integers(-20, 40))
def test_since_and_until_keep_what_lies_between(since: int, until: int) -> None:
    start = datetime(2025, 1, 3, 9, 15, tzinfo=IST)
    where = Where(since=start + timedelta(seconds=since), until=start + timedelta(seconds=until))
    frame = frames.equity(equity_points(20), VIEW, where)
    assert len(frame) == len(range(max(since, 0), max(0, since, min(until, 20))))


@pytest.mark.parametrize("wrong", ["yesterday-ish", "", "NaT", object(), [1], "2025-13-01", "9999-01-01"])
def test_a_wrong_time_is_one_clear_error(wrong: Any) -> None:
    with pytest.raises(OrderError, match=r"^until must be 'today', a date, a datetime or text"):
        frames.fills(fill_columns(1), VIEW, Where(until=wrong))


def test_texts_choose_rows() -> None:
    columns = order_columns(6)
    assert set(frames.orders(columns, VIEW, Where(symbol="BTCUSDT")).index) == {"C0", "C3"}
    assert len(frames.orders(columns, VIEW, Where(symbol=["BTCUSDT", "NSE:SBIN-EQ"]))) == 6
    assert set(frames.orders(columns, VIEW, Where(tag="später", strategy="ema")).index) == {"C5"}
    assert frames.orders(columns, VIEW, Where(tag="nobody")).empty
    assert len(frames.orders(columns, VIEW, Where(tag=""))) == 2
    risks = [(make_risk(risk_id="R1", tag="a"), 0), (make_risk(risk_id="R2", tag="b"), 0)]
    assert frames.risk_orders(risks, VIEW, Where(tag="b")).index.tolist() == ["R2"]
    with pytest.raises(OrderError, match="tag must be one text or several, not 3"):
        frames.orders(columns, VIEW, Where(tag=3))  # type: ignore[arg-type]


def test_a_frame_without_the_column_says_so() -> None:
    with pytest.raises(OrderError, match="equity have no strategy to choose by"):
        frames.equity(equity_points(1), VIEW, Where(strategy="ema"))
    with pytest.raises(OrderError, match="bars have no symbol to choose by"):
        frames.bars(some_ticks(1), SBIN, VIEW, Where(symbol="x"), "1min")


# ── equity and bars ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("exact", EXACTS)
def test_equity_by_bucket_is_its_last_value(exact: Exact) -> None:
    columns = equity_points(10, step=50)  # 0, 50, ... 450 s: nothing between 9:16:40 and 9:17:30
    frame = frames.equity(columns, VIEW, freq="10s", exact=exact)
    whole = frames.equity(columns, VIEW, exact=exact)
    assert len(frame) == 46
    assert frame.index[1] == pd.Timestamp("2025-01-03 09:15:10", tz=IST)
    assert (frame["cash"].iloc[1], frame["cash"].iloc[5]) == (whole["cash"].iloc[0], whole["cash"].iloc[1])
    assert frames.equity(columns, VIEW, freq="1D").index.tolist() == [pd.Timestamp("2025-01-03", tz=IST)]
    pd.testing.assert_frame_equal(frame, frames.equity(columns, VIEW, freq=10, exact=exact))


@pytest.mark.parametrize("freq", ["soon", "", "-1min", "0s", True, None, object()])
def test_a_wrong_frequency_is_one_clear_error(freq: Any) -> None:
    with pytest.raises(OrderError, match="freq must be a pandas frequency such as"):
        frames.bars(some_ticks(3), SBIN, VIEW, Where(), freq)


def test_a_bar_holds_its_ticks() -> None:
    minute = 60 * SECOND
    columns = tick_columns(
        (NINE_FIFTEEN + 1, 0, 0, 0, 50),  # no price
        (NINE_FIFTEEN + 2, 100, 103, 0, 60),  # a mid of 101.5
        (NINE_FIFTEEN + 3, 0, 0, 99, 65),
        (NINE_FIFTEEN + 4, 100, 0, 0, 70),  # no mid
        (NINE_FIFTEEN + minute - 1, 0, 0, 107, -1),
        (NINE_FIFTEEN + 3 * minute, 0, 0, 105, 80),
        (NINE_FIFTEEN + 3 * minute + 1, 0, 0, 104, 30),  # another session
        (NINE_FIFTEEN + 4 * minute, 0, 0, 104, -1),
    )
    frame = frames.bars(columns, SBIN, VIEW, Where(), "1min", exact=True)
    assert frame.index.strftime("%H:%M").tolist() == ["09:15", "09:18", "09:19"]
    rows = [tuple(None if value is None else str(value.normalize()) for value in row) for row in frame.to_numpy()]
    assert rows == [
        ("1.015", "1.07", "0.99", "1.07", "5"),
        ("1.05", "1.05", "1.04", "1.04", "45"),
        ("1.04", "1.04", "1.04", "1.04", None),
    ]
    later = frames.bars(columns, SBIN, VIEW, Where(since="2025-01-03 09:18"), "1min")
    assert later["volume"].tolist()[0] == 45


def test_a_bar_of_huge_prices_is_exact() -> None:
    huge = 2**63 - 1
    columns = tick_columns((NINE_FIFTEEN, huge - 1, huge, 0, -1))
    frame = frames.bars(columns, SBIN, VIEW, Where(), "1min", exact=True)
    assert frame["open"].iloc[0] == Decimal(2 * huge - 1) / 200


ticks_in_time = st.lists(
    st.tuples(st.integers(0, 3 * 86_400), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(-1, 50)),
    max_size=40,
).map(lambda rows: [(NINE_FIFTEEN + at * SECOND, *rest) for at, *rest in sorted(rows, key=lambda row: row[0])])


@given(ticks_in_time, st.sampled_from(["1s", "5min", "1h", "4h", "1D", "2D", "W", "MS"]))
def test_bars_are_those_of_pandas(rows: list[tuple[int, int, int, int, int]], freq: str) -> None:
    frame = frames.bars(tick_columns(*rows), SBIN, VIEW, Where(), freq)
    ticks = frames.ticks(tick_columns(*rows), SBIN, VIEW)
    price = ticks["last"].fillna((ticks["bid"] + ticks["ask"]) / 2).dropna()
    expected = price.resample(freq, closed="left", label="left").ohlc().dropna()
    pd.testing.assert_frame_equal(frame[["open", "high", "low", "close"]], expected, check_freq=False)
    assert (frame["low"] <= frame["high"]).all()


def test_ticks_are_filtered_like_all_else() -> None:
    columns = some_ticks(4)
    assert frames.ticks(columns, SBIN, VIEW, Where(symbol="BTCUSDT")).empty
    frame = frames.ticks(columns, SBIN, VIEW, Where(since="2025-01-03 09:15:07"), exact=True)
    assert frame["last"].tolist() == [None, Decimal("1.02"), None]
    assert frame["volume"].tolist() == [Decimal(9), Decimal(19), Decimal(29)]
    assert math.isnan(frames.ticks(columns, SBIN, VIEW)["volume"].iloc[0])


def test_quotes_are_a_row_a_symbol() -> None:
    known = Tick(SBIN, NINE_FIFTEEN, bid_raw=54_895, ask_raw=54_900, volume_raw=12, time_ns=NINE_FIFTEEN - SECOND)
    frame = frames.quotes([known, Tick(BITCOIN, NINE_FIFTEEN, last_raw=1)], VIEW, exact=True)
    assert frame.index.tolist() == ["NSE:SBIN-EQ", "BTCUSDT"]
    assert frame[["bid", "last", "volume"]].to_numpy().tolist() == [
        [Decimal("548.95"), None, Decimal(12)],
        [None, Decimal("1E-8"), None],
    ]
    assert (frame["received"] - frame["time"]).dt.total_seconds().tolist() == [1, 0]
    assert dict(frames.quotes([], VIEW).dtypes) == dict(frames.quotes([known], VIEW).dtypes)


def test_a_series_holds_figures_by_name() -> None:
    figures = {"cash": Decimal("1.10"), "fees": Decimal(0)}
    assert frames.series(figures, "pnl", exact=True).to_dict() == figures
    by_tag = frames.series(figures, "total_pnl", index="tag")
    assert (by_tag.dtype, by_tag.index.dtype, by_tag.index.name, by_tag.name) == ("float64", "str", "tag", "total_pnl")
    assert frames.series({}, "pnl").dtype == "float64"


# ── round trips ──────────────────────────────────────────────────────────────────────────────────────────────────────


def booked(steps: list[tuple[int, int, int, int, int]]) -> list[Fill]:
    """Fills of two books, with what each realized, from (book, signed quantity, price, fee, mark)."""
    books = [Book("ema", SBIN, Product.INTRADAY), Book("orb", BITCOIN, Product.CNC)]
    made = []
    for number, (which, quantity, price, fee, mark) in enumerate(steps):
        book, side = books[which], OrderSide.BUY if quantity > 0 else OrderSide.SELL
        marks = sorted((2 * price, 2 * mark)) if book.quantity_raw else (0, 0)
        realized = book.realizes(side, abs(quantity), price)
        fill = make_fill(
            number,
            instrument=book.instrument,
            strategy=book.strategy,
            product=book.product,
            side=side,
            quantity_raw=abs(quantity),
            price_raw=price,
            fees_raw=fee,
            realized_raw=realized,
            low_raw=marks[0],
            high_raw=marks[1],
            tag=f"t{number}",
        )
        book.quantity_raw += quantity
        book.cost_raw += side.sign * fill.value_raw + realized
        made.append(fill)
    return made


def test_a_round_trip_by_hand() -> None:
    fills = booked(
        [
            (0, 100, 50_000, money_raw("10", ""), 0),
            (0, 100, 51_000, money_raw("10", ""), 49_000),
            (0, -50, 52_000, money_raw("5", ""), 52_500),
            (0, -250, 50_400, money_raw("1", ""), 50_400),
            (0, 100, 50_000, money_raw("2", ""), 50_500),
        ]
    )
    fills[3] = replaced(fills[3], source=Source.FLATTEN)
    frame = frames.round_trips(fills, VIEW, exact=True)
    first, second = frame.to_dict("records")
    assert (first["symbol"], first["strategy"], first["tag"], first["side"]) == ("NSE:SBIN-EQ", "ema", "t0", "BUY")
    assert (first["quantity"], first["entry_price"], first["exit_price"]) == (200, 505, 508)
    assert (first["gross_pnl"], first["fees"], first["net_pnl"]) == (600, Decimal("25.6"), Decimal("574.4"))
    assert first["return_pct"] == Decimal("0.568712871287")
    assert (first["mae"], first["mfe"], first["exit_source"]) == (-1000, 4000, "FLATTEN")
    assert (first["entry_time"].value, first["exit_time"].value) == (fills[0].time_ns, fills[3].time_ns)
    assert (second["side"], second["quantity"], second["tag"]) == ("SELL", 100, "t3")
    assert (second["gross_pnl"], second["fees"]) == (400, Decimal("2.4"))
    assert (second["mae"], second["mfe"]) == (-100, 400)
    assert len(frames.round_trips(fills, VIEW, Where(tag="t3"))) == 1
    assert frames.round_trips(fills, VIEW, Where(since="2025-01-03 09:19"))["tag"].tolist() == ["t3"]


steps = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.integers(-30, 30).filter(bool),
        st.integers(1, 10_000),
        st.integers(0, 10**32),
        st.integers(1, 10_000),
    ),
    max_size=30,
)


@given(steps)
def test_round_trips_account_for_every_fill(given: list[tuple[int, int, int, int, int]]) -> None:
    fills = booked(given)
    closing: list[tuple[int, int, int, int, int]] = []
    for which, price in ((0, 777), (1, 888)):
        held = sum(step[1] for step in given if step[0] == which)
        if held:
            closing.append((which, -held, price, 10**30 // 7, price))
    fills = booked([*given, *closing])
    frame = frames.round_trips(fills, VIEW, exact=True)

    assert sum(map(Fraction, frame["gross_pnl"])) == Fraction(sum(fill.realized_raw for fill in fills), MONEY_ONE)
    assert sum(map(Fraction, frame["fees"])) == Fraction(sum(fill.fees_raw for fill in fills), MONEY_ONE)
    for gross, fees, net in zip(frame["gross_pnl"], frame["fees"], frame["net_pnl"], strict=True):
        assert Fraction(gross) - Fraction(fees) == Fraction(net)
    assert all(frame["mae"] <= frame["gross_pnl"]) and all(frame["gross_pnl"] <= frame["mfe"])  # noqa: PT018
    assert all(frame["mae"] <= 0) and all(frame["mfe"] >= 0)  # noqa: PT018
    assert frame["exit_time"].is_monotonic_increasing
    for which, symbol in enumerate(("NSE:SBIN-EQ", "BTCUSDT")):
        held = list(accumulate(step[1] for step in [*given, *closing] if step[0] == which))
        ends = sum(1 for before, after in zip([0, *held], held, strict=False) if before and before * after <= 0)
        assert (frame["symbol"] == symbol).sum() == ends


def test_an_open_trip_is_no_row_yet() -> None:
    assert frames.round_trips([make_fill(1)], VIEW).empty


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def two_frames() -> dict[str, pd.DataFrame]:
    return {"orders": frames.orders(order_columns(4), VIEW), "round_trips": frames.round_trips(round_trip(0), VIEW)}


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_parquet_comes_back_as_it_was(tmp_path: Path) -> None:
    made = two_frames()
    written = files.export(tmp_path / "out.parquet", made)
    assert written == [tmp_path / "out_orders.parquet", tmp_path / "out_round_trips.parquet"]
    assert left_in(tmp_path) == {path.name for path in written}
    for path, frame in zip(written, made.values(), strict=True):
        back = pd.read_parquet(path)
        pd.testing.assert_frame_equal(back, frame, check_categorical=False)
        assert back.attrs == frame.attrs


@pytest.mark.parametrize("exact", EXACTS)
def test_exact_frames_are_written_too(tmp_path: Path, exact: Exact) -> None:
    frame = frames.orders(order_columns(4), VIEW, exact=exact)
    for suffix in ("csv", "parquet", "xlsx"):
        assert files.export(tmp_path / f"one.{suffix}", {"orders": frame}) == [tmp_path / f"one.{suffix}"]
    assert pd.read_parquet(tmp_path / "one.parquet")["quantity"].astype(float).tolist() == [1e-6, 101, 102, 1.03e-6]
    sheet = openpyxl.load_workbook(tmp_path / "one.xlsx")["orders"]
    assert [cell.value for cell in sheet["G"]] == ["quantity", 1e-6, 101, 102, 1.03e-6]


def test_csv_keeps_the_offset_of_its_times(tmp_path: Path) -> None:
    made = two_frames()
    orders, trips = files.export(str(tmp_path / "out.CSV"), made)
    back = pd.read_csv(orders, index_col="client_order_id", keep_default_na=False)
    assert back["created_at"].iloc[0].startswith("2025-01-03 09:15:00")
    assert back["created_at"].iloc[0].endswith("+05:30")
    assert back["tag"].tolist() == made["orders"]["tag"].tolist()
    assert pd.read_csv(trips).columns.tolist() == COLUMNS["round_trips"].split()


def test_excel_gets_a_sheet_a_frame_and_times_without_zone(tmp_path: Path) -> None:
    made = two_frames()
    [path] = files.export(tmp_path / "out.xlsx", made)
    book = openpyxl.load_workbook(path)
    assert book.sheetnames == ["orders", "round_trips"]
    header, *rows = book["orders"].iter_rows(values_only=True)
    assert header[0] == "client_order_id"
    assert header[-2:] == ("created_at (Asia/Kolkata)", "updated_at (Asia/Kolkata)")
    assert rows[1][header.index("created_at (Asia/Kolkata)")] == datetime(2025, 1, 3, 9, 16)  # noqa: DTZ001
    assert rows[0][header.index("avg_price")] is None
    assert rows[1][header.index("quantity")] == 101
    assert next(book["round_trips"].iter_rows(values_only=True))[0] == "symbol"


def test_text_is_never_a_formula_in_excel(tmp_path: Path) -> None:
    texts = ["=1+1", "+1", "-1", "@SUM(A1)", "#N/A", "\tx", "plain", "bell\a", '=HYPERLINK("http://x")']
    table = OrderTable()
    for number, text in enumerate(texts):
        table.put(make_order(number, tag=text))
    frame = frames.orders(table.copy(), VIEW)
    [path] = files.export(tmp_path / "out.xlsx", {"orders": frame})
    cells = [row[frame.columns.get_loc("tag") + 1] for row in openpyxl.load_workbook(path)["orders"].iter_rows(2)]
    assert [cell.value for cell in cells] == [text.replace("\a", "\N{REPLACEMENT CHARACTER}") for text in texts]
    assert {cell.data_type for cell in cells} == {"s"}
    assert [bool(cell.quotePrefix) for cell in cells] == [text[0] in "=+-@#\t" for text in texts]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "out.xlsx"
    files.export(target, {"orders": two_frames()["orders"]})
    before = target.read_bytes()
    with pytest.raises(ValueError):  # noqa: PT011  openpyxl does not say more
        files.export(target, {"orders": pd.DataFrame({"bad": [1j]})})
    with pytest.raises(OrderError, match="do not fit in a sheet"):
        files.export(target, {"orders": pd.DataFrame({"n": np.zeros(1_048_576)})})
    assert target.read_bytes() == before
    with pytest.raises(pa.ArrowInvalid):
        files.export(tmp_path / "out.parquet", {"a": two_frames()["orders"], "b": pd.DataFrame({"bad": [1, "x"]})})
    assert left_in(tmp_path) == {"out.xlsx"}


def test_what_cannot_be_written_is_said_clearly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = two_frames()
    with pytest.raises(OrderError, match=r"export writes \.xlsx, \.parquet or \.csv, not 'out\.json'"):
        files.export(tmp_path / "out.json", made)
    with pytest.raises(OrderError, match="nothing to export"):
        files.export(tmp_path / "out.csv", {})
    with pytest.raises(OrderError, match="there is no folder"):
        files.export(tmp_path / "missing" / "out.csv", made)
    for package, suffix, extra in (("pyarrow", "parquet", "arrow"), ("openpyxl", "xlsx", "excel")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(ImportError, match=rf'needs {package}: pip install "livetrade\[{extra}\]"'):
            files.export(tmp_path / f"out.{suffix}", made)
    assert left_in(tmp_path) == set()
