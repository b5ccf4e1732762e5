"""Recorded ticks: what is read, what is refused, and when it is played."""

import asyncio
import gzip
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from pathlib import Path
from threading import Thread
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livetrade.adapters.recorded import CHUNK, RecordedFeed, read_ticks
from livetrade.core.instruments import Instrument, default_instrument
from livetrade.core.kinds import FeedState
from livetrade.core.quotes import merge
from livetrade.core.ticks import Tick
from livetrade.errors import FeedError, OrderError, PriceError
from livetrade.ports import Feed
from tests.jumping import JumpingLoop

SBIN, TCS = "NSE:SBIN-EQ", "NSE:TCS-EQ"
INDIA = ZoneInfo("Asia/Kolkata")
OPENING = pd.Timestamp("2025-02-17 09:15:00", tz=INDIA)


class Engine:
    """The sink: it writes down what it gets, and merges as the account does."""

    def __init__(self, zone: tzinfo = INDIA, on_tick: Callable[[Tick], None] = lambda tick: None) -> None:
        self.zone = zone
        self.ticks: list[Tick] = []
        self.quarantined: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.states: list[tuple[FeedState, str]] = []
        self.instruments: dict[str, Instrument] = {}
        self.changed = asyncio.Event()
        self._on_tick = on_tick
        self._quotes: dict[str, Tick] = {}

    def now(self) -> int:
        return self.ticks[-1].received_ns if self.ticks else 0

    def instrument(self, symbol: str) -> Instrument:
        return self.instruments.get(symbol) or default_instrument(symbol, self.zone)

    def register(self, instrument: Instrument) -> Instrument:
        return self.instruments.setdefault(instrument.symbol, instrument.in_zone(self.zone))

    def tick(self, tick: Tick) -> None:
        assert self.states[-1] == (FeedState.LIVE, "")
        assert tick.received_ns >= self.now()
        self.ticks.append(tick)
        merged = merge(self._quotes.get(tick.symbol), tick)
        if isinstance(merged, str):
            self.refused[merged] += 1
        else:
            self._quotes[tick.symbol] = merged
        self._on_tick(tick)
        self.changed.set()

    def quarantine(self, reason: str) -> None:
        self.quarantined[reason] += 1

    def state(self, state: FeedState, reason: str = "") -> None:
        self.states.append((state, reason))
        self.changed.set()

    async def idle(self) -> None:
        return

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()


def ticks(**columns: object) -> pd.DataFrame:
    """Ticks a second apart, of SBIN unless said otherwise."""
    rows = max(len(values) for values in columns.values() if isinstance(values, list))
    times = pd.date_range(OPENING, periods=rows, freq="s")
    return pd.DataFrame({"time": times, "symbol": SBIN, **columns})


def played(source: object, engine: Engine | None = None, **arguments: Any) -> Engine:
    engine = engine or Engine()
    feed = RecordedFeed(source, **{"speed": None, **arguments})  # type: ignore[arg-type]
    asyncio.run(feed.run(engine))
    assert feed.play().result(0) == len(engine.ticks)
    return engine


def jump(story: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(story)


def loop_time() -> float:
    return asyncio.get_running_loop().time()


async def stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# ── what becomes a tick ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_row_becomes_a_tick() -> None:
    (tick,) = played(
        ticks(bid=[548.95], ask=[549.0], last=[548.95], volume=[120_500], bid_size=[75], ask_size=[150])
    ).ticks
    assert (tick.symbol, tick.bid, tick.ask, tick.last) == (SBIN, Decimal("548.95"), Decimal(549), Decimal("548.95"))
    assert (tick.volume, tick.bid_size, tick.ask_size) == (120_500, 75, 150)
    assert tick.time == tick.received == OPENING


def test_what_a_row_leaves_out_is_unknown() -> None:
    nan = float("nan")
    first, second, third = played(
        ticks(bid=[548.95, nan, nan], ask=[nan, 549.0, nan], last=[nan, nan, 550.0], volume=[nan, 0.0, 7.0])
    ).ticks
    assert (first.bid, first.ask, first.last, first.volume) == (Decimal("548.95"), None, None, None)
    assert (second.bid, second.ask, second.last, second.volume) == (None, Decimal(549), None, 0)
    assert (third.bid, third.ask, third.last, third.volume) == (None, None, Decimal(550), 7)


@pytest.mark.parametrize("kind", [float, "float32", "Float64", str, object, Decimal, "double[pyarrow]"])
def test_every_kind_of_column_gives_the_same_prices(kind: Any) -> None:
    texts = ["548.95", "549.00", "25974.90", "0.05"]
    values = [Decimal(text) for text in texts] if kind is Decimal else pd.Series(texts)
    if kind not in (Decimal, str, object):
        values = pd.Series(texts).astype(float).astype(kind)
    frame = ticks(last=texts).assign(last=values)
    assert [tick.last for tick in played(frame).ticks] == [Decimal(text) for text in texts]


def test_whole_numbers_are_prices_too() -> None:
    frame = ticks(last=[548, 549], bid=pd.array([547, None], dtype="Int64"))
    assert [(t.last, t.bid) for t in played(frame).ticks] == [(548, 547), (549, None)]


def test_text_and_decimals_are_exact() -> None:
    item = Instrument("BTCUSDT", scale=12, quantity_scale=8)
    text = "4210987.123456789012"  # finer than a float can tell
    frame = ticks(symbol="BTCUSDT", last=[text, Decimal(text)], volume=["0.00000001", Decimal("12345678901.5")])
    engine = played(frame, instruments=[item])
    assert [tick.last for tick in engine.ticks] == [Decimal(text)] * 2
    assert [tick.volume for tick in engine.ticks] == [Decimal("0.00000001"), Decimal("12345678901.5")]


def test_missing_text_is_unknown() -> None:
    frame = ticks(bid=["548.95", "", None], last=["549", "549", "550"])
    assert [tick.bid for tick in played(frame).ticks] == [Decimal("548.95"), None, None]


def price_or_reason(item: Instrument, value: float) -> int | str:
    try:
        return item.price_raw(value)
    except PriceError as error:
        return error.reason


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.floats(allow_nan=False)
        | st.floats(0.001, 1e6)
        | st.floats(0.25, 1e6, width=32)
        | st.decimals("0.01", "1e9", places=2).map(float)
        | st.integers(1, 10**12).map(lambda raw: raw / 100 * (1 + 2**-24)),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from([0, 2, 6, 8]),
)
def test_floats_are_read_by_the_rule_of_the_instrument(values: list[float], scale: int) -> None:
    item = Instrument(SBIN, scale=scale)
    feed = RecordedFeed(ticks(last=values), instruments=[item])
    found = [row if isinstance(row, str) else row.last_raw for row in feed.rows(lambda symbol: item, UTC)]
    assert found == [price_or_reason(item, value) for value in values]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.decimals(0, "1e7", places=8) | st.integers(0, 10**7), min_size=1, max_size=20), st.sampled_from([0, 8])
)
def test_sizes_are_exact_or_unknown(sizes: list[Decimal | int], scale: int) -> None:
    item = Instrument(SBIN, quantity_scale=scale)
    frame = ticks(last=[549.0] * len(sizes)).assign(volume=[float(size) for size in sizes])
    for row, size in zip(RecordedFeed(frame).rows(lambda symbol: item, UTC), sizes, strict=True):
        assert isinstance(row, Tick)
        assert row.volume == (size if scale or size % 1 == 0 else None)


def test_the_last_bits_of_a_sum_change_no_size() -> None:
    item = Instrument(SBIN, quantity_scale=8)
    (tick,) = played(ticks(last=[549.0], volume=[0.1 + 0.2]), instruments=[item]).ticks
    assert tick.volume == Decimal("0.3")


# ── what does not ────────────────────────────────────────────────────────────────────────────────────────────────────

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"bid": 0.0}, "zero"),
        ({"ask": -1.0}, "negative"),
        ({"last": INF}, "infinite"),
        ({"last": -INF}, "infinite"),
        ({"bid": 548.957}, "off_scale"),
        ({"bid": 0.004}, "off_scale"),
        ({"last": 1e17}, "out_of_range"),
        ({"bid": NAN, "ask": NAN, "last": NAN}, "empty"),
        ({"volume": -1.0}, "negative"),
        ({"volume": INF}, "infinite"),
        ({"bid_size": -5.0}, "negative"),
        ({"ask_size": 1e30}, "out_of_range"),
        ({"bid": 0.0, "ask": -1.0}, "zero"),
    ],
)
def test_a_bad_row_is_counted_and_the_rest_goes_on(bad: dict[str, float], reason: str) -> None:
    good = {"bid": 548.95, "ask": 549.0, "last": 549.0, "volume": 10.0, "bid_size": 1.0, "ask_size": 1.0}
    rows = [good, {**good, **bad}, {**good, "last": 548.95}]
    engine = played(ticks(**{name: [row[name] for row in rows] for name in good}))
    assert engine.quarantined == {reason: 1}
    assert [tick.last for tick in engine.ticks] == [Decimal(549), Decimal("548.95")]
    assert not engine.refused


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("abc", "not_a_number"),
        ("1,234.50", "not_a_number"),
        ("inf", "infinite"),
        ("0", "zero"),
        ("-3", "negative"),
        ("548.957", "off_scale"),
        (Decimal("548.957"), "off_scale"),
        (True, "not_a_number"),
        (np.True_, "not_a_number"),
        ([548.95], "not_a_number"),
        (1 + 2j, "not_a_number"),
    ],
)
def test_a_bad_object_is_counted_too(bad: object, reason: str) -> None:
    frame = ticks(last=["549", "549", "550"])
    frame["last"] = pd.Series(["549", bad, "550"], dtype=object)
    engine = played(frame)
    assert engine.quarantined == {reason: 1}
    assert [tick.last for tick in engine.ticks] == [549, 550]


def test_a_crossed_pair_and_a_copy_are_left_to_the_account() -> None:
    frame = ticks(bid=[548.95, 25501.1, 549.0, 549.0], ask=[549.0, 23841.2, 549.05, 549.05])
    frame.loc[3, "time"] = frame.loc[2, "time"]
    engine = played(frame)
    assert len(engine.ticks) == 4
    assert not engine.quarantined
    assert engine.refused == {"crossed": 1, "duplicate": 1}


def test_a_time_that_runs_backward_is_counted() -> None:
    frame = ticks(last=[1.0, 2.0, 3.0, 4.0, 5.0])
    frame["time"] = [OPENING + timedelta(seconds=second) for second in (0, 5, 3, 5, 6)]
    engine = played(frame)
    assert engine.quarantined == {"backward": 1}
    assert [tick.last for tick in engine.ticks] == [1, 2, 4, 5]


def test_symbols_one_after_the_other_are_played_by_time() -> None:
    """Two recordings that were put together are one market; each symbol has a time line of its own."""
    one, other = ticks(last=[1.0, 2.0, 3.0]), ticks(last=[10.0, 20.0, 30.0], symbol=TCS)
    other.loc[2, "time"] = OPENING
    engine = played(pd.concat([one, other], ignore_index=True))
    assert [tick.last for tick in engine.ticks] == [1, 10, 2, 20, 3]
    assert engine.quarantined == {"backward": 1}


def test_a_recording_of_many_chunks_stays_whole() -> None:
    rows = 3 * CHUNK + 17
    prices = [100 + row / 100 for row in range(rows)]
    for bad in (0, CHUNK - 1, CHUNK, rows - 1):
        prices[bad] = 0.0
    engine = played(ticks(last=prices))
    assert engine.quarantined == {"zero": 4}
    assert [tick.last for tick in engine.ticks] == [Decimal(row + 10_000) / 100 for row in range(rows) if prices[row]]


def test_instruments_come_from_the_user_or_from_the_engine() -> None:
    frame = pd.concat([ticks(last=[1.12345]), ticks(last=[0.12345678], symbol="EURUSD")])
    engine = played(frame, instruments=[Instrument(SBIN, scale=5)])
    assert [(tick.symbol, tick.last) for tick in engine.ticks] == [
        (SBIN, Decimal("1.12345")),
        ("EURUSD", Decimal("0.12345678")),
    ]


# ── times ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("times", "zone"),
    [
        (["2025-02-17 09:15:00", "2025-02-17 09:15:00.5"], INDIA),
        (["2025-02-16T22:45:00", "2025-02-16T22:45:00.500000"], ZoneInfo("America/New_York")),
        (["2025-02-17T03:45:00Z", "2025-02-17T09:15:00.5+05:30"], ZoneInfo("America/New_York")),
        (pd.to_datetime(["2025-02-17 09:15", "2025-02-17 09:15:00.5"], format="ISO8601"), INDIA),
        (pd.to_datetime(["2025-02-17 03:45Z", "2025-02-17 03:45:00.5Z"], format="ISO8601"), INDIA),
        ([datetime(2025, 2, 17, 9, 15), datetime(2025, 2, 17, 9, 15, 0, 500_000)], INDIA),  # noqa: DTZ001
    ],
)
def test_naive_times_are_the_engines_and_aware_ones_their_own(times: Any, zone: ZoneInfo) -> None:
    column = pd.DataFrame({"time": times, "symbol": SBIN, "last": 549.0})
    index = column.set_index("time") if isinstance(times, pd.DatetimeIndex) else column
    for frame in (column, index):
        engine = played(frame, Engine(zone))
        assert [tick.time_ns - OPENING.value for tick in engine.ticks] == [0, 500_000_000]
        assert [tick.received_ns for tick in engine.ticks] == [tick.time_ns for tick in engine.ticks]


def test_nanoseconds_are_kept() -> None:
    frame = ticks(last=[549.0])
    frame["time"] = [OPENING + pd.Timedelta(7, unit="ns")]
    assert played(frame).ticks[0].time_ns == OPENING.value + 7


def test_it_says_where_its_clock_begins() -> None:
    aware, naive = ticks(last=[1.0, 2.0]), ticks(last=[1.0, 2.0])
    naive["time"] = naive["time"].dt.tz_localize(None)
    kolkata = ZoneInfo("Asia/Kolkata")
    assert RecordedFeed(aware).start_ns(UTC) == RecordedFeed(naive).start_ns(kolkata) == OPENING.value
    assert RecordedFeed(naive).start_ns(UTC) == pd.Timestamp("2025-02-17 09:15", tz="UTC").value


def test_an_hour_that_comes_twice_must_be_told_apart() -> None:
    frame = ticks(last=[549.0]).assign(time=pd.to_datetime(["2025-11-02 01:30"]))
    feed = RecordedFeed(frame, None)
    engine = Engine(ZoneInfo("America/New_York"))
    with pytest.raises(FeedError, match="naive time that America/New_York does not have just once"):
        asyncio.run(feed.run(engine))
    assert engine.states[-1][0] is FeedState.FAILED
    with pytest.raises(FeedError, match="failed"):
        feed.play().result(0)


# ── sources ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def recording() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "time": [OPENING + timedelta(milliseconds=250 * row) for row in range(6)],
            "symbol": [SBIN, TCS, SBIN, SBIN, TCS, SBIN],
            "bid": [548.95, 3000.1, NAN, 549.0, 3000.2, 0.0],
            "ask": [549.0, 3000.4, NAN, 549.05, 3000.5, 549.1],
            "last": [549.0, 3000.1, NAN, 549.05, 3000.2, 549.1],
            "volume": [10, 7, 10, 12, 8, 15],
        }
    )


@pytest.mark.parametrize("write", ["parquet", "parquet-index", "csv", "csv.gz", "csv-index"])
def test_every_kind_of_source_gives_the_same(recording: pd.DataFrame, tmp_path: Path, write: str) -> None:
    suffix, _, index = write.partition("-")
    path = tmp_path / f"ticks.{suffix}"
    frame = recording.set_index("time") if index else recording
    if suffix == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=bool(index))
    pd.testing.assert_frame_equal(read_ticks(path), read_ticks(recording))
    for source in (path, str(path), recording, recording.set_index("time"), read_ticks(path)):
        engine = played(source)
        assert engine.quarantined == {"empty": 1, "zero": 1}
        assert [(t.symbol, t.bid, t.volume) for t in engine.ticks] == [
            (SBIN, Decimal("548.95"), 10),
            (TCS, Decimal("3000.10"), 7),
            (SBIN, Decimal("549.00"), 12),
            (TCS, Decimal("3000.20"), 8),
        ]


def test_reading_ticks_gives_fixed_columns(recording: pd.DataFrame) -> None:
    frame = read_ticks(recording)
    assert list(frame.columns) == ["symbol", "bid", "ask", "last", "volume"]
    assert [str(dtype) for dtype in frame.dtypes] == ["str", "float64", "float64", "float64", "float64"]
    assert frame.index.name == "time"
    assert str(frame.index.dtype) == "datetime64[ns, Asia/Kolkata]"
    assert frame.index[0] == OPENING
    assert list(read_ticks(recording[["time", "symbol", "last"]])) == list(frame)
    assert list(read_ticks(recording.assign(ask_size=1, other=2))) == [*frame.columns, "ask_size"]


def test_reading_ticks_is_stable(recording: pd.DataFrame) -> None:
    frame = read_ticks(recording, timezone=UTC)
    pd.testing.assert_frame_equal(read_ticks(frame, timezone=UTC), frame)
    before = recording.copy()
    read_ticks(recording, SBIN)
    played(recording)
    pd.testing.assert_frame_equal(recording, before)


def test_only_one_symbol_is_read_when_asked(recording: pd.DataFrame) -> None:
    assert set(read_ticks(recording, TCS)["symbol"]) == {TCS}
    assert {tick.symbol for tick in played(recording, symbol=TCS).ticks} == {TCS}
    assert RecordedFeed(recording).symbols == (SBIN, TCS)


def test_a_source_without_symbols_is_told_one(recording: pd.DataFrame) -> None:
    nameless = recording.drop(columns="symbol")
    assert {tick.symbol for tick in played(nameless, symbol=SBIN).ticks} == {SBIN}
    assert set(read_ticks(nameless, symbol=TCS)["symbol"]) == {TCS}


@pytest.mark.parametrize(
    ("start", "end", "kept"),
    [
        (None, None, [0, 1, 2, 3]),
        ("2025-02-18", None, [2, 3]),
        (None, "2025-02-17", [0, 1]),
        (date(2025, 2, 17), date(2025, 2, 17), [0, 1]),
        ("2025-02-17 15:30", "2025-02-18 09:15", [1, 2]),
        (datetime(2025, 2, 17, 10, 0, tzinfo=UTC), pd.Timestamp("2025-02-18 03:45", tz="UTC"), [1, 2]),
        ("2025-02-17 15:30:00.001", "2025-02-18 09:14:59", []),
    ],
)
def test_a_period_includes_both_ends(start: Any, end: Any, kept: list[int]) -> None:
    times = ["2025-02-17 09:15", "2025-02-17 15:30", "2025-02-18 09:15", "2025-02-18 15:30"]
    frame = pd.DataFrame({"time": times, "symbol": SBIN, "last": [0, 1, 2, 3]})
    found = read_ticks(frame, start=start, end=end)
    assert found["last"].tolist() == kept
    assert list(found.columns) == ["symbol", "bid", "ask", "last", "volume"]


def test_indexes_of_several_levels_and_categories_are_understood(recording: pd.DataFrame) -> None:
    plain = played(recording)
    levels = recording.set_index(["symbol", "time"])
    categories = recording.astype({"symbol": "category"})
    for source in (levels, categories):
        assert [t.bid for t in played(source).ticks] == [t.bid for t in plain.ticks]


def test_csv_text_that_is_no_number_spoils_only_its_row(tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    path.write_text(
        "time,symbol,bid,ask,last,volume,bid_size\n"
        "2025-02-17 09:15:00,NA,548.95,549.00,,,\n"
        "2025-02-17 09:15:01,NA,oops,549.00,NaN,null,\n"
        "2025-02-17 09:15:02,NA,25974.900390625,25975.00,NA,5,\n"
    )
    engine = played(path, instruments=[Instrument("NA")])
    assert engine.quarantined == {"not_a_number": 1}
    assert [(t.bid, t.volume, t.bid_size) for t in engine.ticks] == [
        (Decimal("548.95"), None, None),
        (Decimal("25974.90"), 5, None),
    ]


# ── wrong use ────────────────────────────────────────────────────────────────────────────────────────────────────────

GOOD = "time,symbol,last\n2025-02-17 09:15:00,NSE:SBIN-EQ,549\n"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("ticks.csv", "", "cannot be read"),
        ("ticks.csv", "time,symbol,last\n", "has no ticks"),
        ("ticks.csv", 'time,symbol,last\n"2025', "cannot be read"),
        ("ticks.csv", b"\xff\xfe\x00garbage\x80", "cannot be read|no price"),
        ("ticks.csv.gz", "not gzip", "cannot be read"),
        ("ticks.csv.gz", gzip.compress(GOOD.encode(), mtime=0)[:-12], "cannot be read"),
        ("ticks.parquet", "not parquet", "cannot be read"),
        ("ticks.xlsx", GOOD, "unknown suffix"),
        ("ticks", GOOD, "unknown suffix"),
        ("ticks.csv", "symbol,last\nNSE:SBIN-EQ,549\n", "has no times"),
        ("ticks.csv", "time,symbol,price\n2025-02-17 09:15:00,NSE:SBIN-EQ,549\n", "no price.*has time, symbol, price"),
        ("ticks.csv", "time,last\n2025-02-17 09:15:00,549\n", "give symbol=..."),
        ("ticks.csv", "time,symbol,last\nyesterday,NSE:SBIN-EQ,549\n", "neither datetimes nor ISO 8601"),
        ("ticks.csv", "time,symbol,last\n17/02/2025 09:15,NSE:SBIN-EQ,549\n", "neither datetimes nor ISO 8601"),
        ("ticks.csv", "time,symbol,last\n1739764800,NSE:SBIN-EQ,549\n", "numbers for times"),
        ("ticks.csv", GOOD + ",NSE:SBIN-EQ,549\n", "no time in row 1"),
        ("ticks.csv", GOOD + "2025-02-17T09:15:00Z,NSE:SBIN-EQ,549\n", "neither datetimes nor ISO 8601"),
        ("ticks.csv", GOOD + "9999-02-17T09:15:00,NSE:SBIN-EQ,549\n", "neither datetimes nor ISO 8601"),
        ("ticks.csv", GOOD + "2025-02-17 09:15:00,,549\n", "malformed symbol ''"),
        ("ticks.csv", GOOD + "2025-02-17 09:15:00,nse:sbin-eq,549\n", "did you mean"),
    ],
)
def test_a_file_that_cannot_be_used_raises_at_once(tmp_path: Path, name: str, content: str | bytes, told: str) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(FeedError, match=told):
        RecordedFeed(path)
    with pytest.raises(FeedError, match=told):
        read_ticks(path)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("nowhere/ticks.csv", "no such file"),
        (Path("nowhere.parquet"), "no such file"),
        (b"ticks.csv", "not from bytes"),
        ({"last": [1]}, "not from dict"),
        (None, "not from NoneType"),
        (ticks(last=[1.0]).head(0), "has no ticks"),
        (ticks(last=[1.0]).rename(columns={"symbol": "last"}), "a column twice: last"),
        (ticks(last=[1.0]).assign(symbol=None), "no symbol in row 0"),
        (ticks(last=[1.0]).assign(symbol=500_112), "a symbol is text"),
        (ticks(last=[1.0, 2.0]).assign(time=[OPENING, pd.NaT]), "no time in row 1"),
        (ticks(last=[1.0]).drop(columns="time"), "has no times"),
    ],
)
def test_a_source_that_cannot_be_used_raises_at_once(source: Any, told: str) -> None:
    with pytest.raises(FeedError, match=told):
        RecordedFeed(source)


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ({"speed": 0}, OrderError, "speed must be above zero"),
        ({"speed": -1.0}, OrderError, "speed must be above zero"),
        ({"speed": NAN}, OrderError, "speed is not a number"),
        ({"speed": "fast"}, OrderError, "speed is not a number"),
        ({"symbol": "sbin eq"}, OrderError, "malformed symbol"),
        ({"symbol": TCS}, FeedError, "no ticks of 'NSE:TCS-EQ', but of NSE:SBIN-EQ"),
    ],
)
def test_wrong_arguments_raise_at_once(arguments: dict[str, Any], error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        RecordedFeed(ticks(last=[1.0]), **arguments)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"timezone": "Asia/Atlantis"}, "a name such as 'Asia/Kolkata', not 'Asia/Atlantis'"),
        ({"timezone": ""}, "timezone must be a name such as"),
        ({"start": "soon"}, "start is not a time: 'soon'"),
        ({"end": "2025-13-01"}, "end is not a time"),
    ],
)
def test_a_wrong_selection_raises(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(OrderError, match=told):
        read_ticks(ticks(last=[1.0]), **arguments)


# ── playing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_is_a_recorded_feed() -> None:
    feed = RecordedFeed(ticks(last=[1.0, 2.0]))
    assert isinstance(feed, Feed)
    assert feed.start_ns(UTC) == OPENING.value
    assert len(feed) == 2
    assert repr(feed) == "<RecordedFeed the DataFrame 2 rows speed=1>"
    assert repr(RecordedFeed(ticks(last=[1.0]), None)) == "<RecordedFeed the DataFrame 1 rows as fast as it is read>"


def test_its_end_is_a_state() -> None:
    assert played(ticks(last=[1.0])).states == [
        (FeedState.LIVE, ""),
        (FeedState.CLOSED, "the recording has ended"),
    ]


@pytest.mark.parametrize("speed", [1.0, 60, 0.5, "2.5"])
def test_it_keeps_the_pace_of_the_recording(speed: Any) -> None:
    """Through bursts, a night, and an engine that is late: every tick has its moment, and none drifts."""
    offsets = [0.0, 0.006, 0.012, 0.012, 1.0, 63_000.0, 63_000.5]

    async def story() -> None:
        frame = ticks(last=[549.0] * len(offsets))
        frame["time"] = [OPENING + timedelta(seconds=offset) for offset in offsets]
        began, moments = loop_time(), []

        def late(tick: Tick) -> None:
            moments.append(loop_time() - began)
            loop = asyncio.get_running_loop()
            assert isinstance(loop, JumpingLoop)
            loop.clock += 0.0005

        await RecordedFeed(frame, speed).run(Engine(on_tick=late))
        expected = [offset / float(speed) for offset in offsets]
        assert [moment - due for moment, due in zip(moments, expected, strict=True)] == pytest.approx(
            [0.0] * len(offsets), abs=0.01
        )

    jump(story())


def test_without_a_pace_each_tick_waits_for_its_readers() -> None:
    """The first is posted once everybody asks for it, the next only after a reader that works on one asks for it."""

    class LockStep(Engine):
        async def idle(self) -> None:
            last = self.ticks[-1].last_raw if self.ticks else 0
            self.log.append(("read", last))
            for _ in range(3):
                await asyncio.sleep(0)
            self.log.append(("asks", last))

        log: list[tuple[str, int]]

    engine = LockStep()
    engine.log = []
    played(ticks(last=[1.0, 0.0, 2.0, 3.0]), engine)
    assert engine.log == [(what, raw) for raw in (0, 100, 200, 300) for what in ("read", "asks")]


@pytest.mark.parametrize("speed", [None, 1e9])
def test_the_loop_gets_its_turn(speed: float | None) -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, JumpingLoop)

        def slow(tick: Tick) -> None:
            loop.clock += 0.0005

        task = asyncio.create_task(RecordedFeed(ticks(last=[549.0] * 2_000), speed).run(Engine(on_tick=slow)))
        gaps, before = [], loop.clock
        while not task.done():
            await asyncio.sleep(0)
            gaps.append(loop.clock - before)
            before = loop.clock
        assert max(gaps) < 0.004
        await task

    jump(story())


def test_it_waits_for_play_from_any_thread() -> None:
    async def story() -> None:
        feed, engine = RecordedFeed(ticks(last=[1.0, 2.0]), None, autoplay=False), Engine()
        task = asyncio.create_task(feed.run(engine))
        await engine.until(lambda: bool(engine.states))
        assert engine.states == [(FeedState.CONNECTING, "waiting for play()")]
        handles = []
        thread = Thread(target=lambda: handles.append(feed.play()))
        thread.start()
        await task
        thread.join()
        assert handles[0].result(0) == await feed.play() == 2
        assert feed.play() is handles[0]
        assert [tick.last for tick in engine.ticks] == [1, 2]

    asyncio.run(story())


def test_play_before_the_engine_runs_it_counts() -> None:
    feed = RecordedFeed(ticks(last=[1.0, 2.0]), None, autoplay=False)
    handle = feed.play()
    assert not handle.done()
    assert repr(handle) == "<playing the DataFrame: sent, no answer yet>"
    asyncio.run(feed.run(Engine()))
    assert handle.result(0) == 2


def test_with_autoplay_play_only_answers() -> None:
    feed = RecordedFeed(ticks(last=[1.0, 2.0]), None)
    handle = feed.play()
    asyncio.run(feed.run(Engine()))
    assert feed.play() is handle
    assert handle.result(0) == 2


def test_a_cancelled_recording_says_how_far_it_came() -> None:
    async def story() -> None:
        feed, engine = RecordedFeed(ticks(last=[1.0, 2.0]), speed=0.0001), Engine()
        handle = feed.play()
        task = asyncio.create_task(feed.run(engine))
        await engine.until(lambda: bool(engine.ticks))
        await stopped(task)
        assert engine.states[-1] == (FeedState.CLOSED, "the recording was stopped")
        with pytest.raises(FeedError, match="the recording was stopped; ticks posted: 1"):
            handle.result(0)

    asyncio.run(story())


def test_cancelled_before_play_it_fails_its_handle_too() -> None:
    async def story() -> None:
        feed, engine = RecordedFeed(ticks(last=[1.0, 2.0]), autoplay=False), Engine()
        task = asyncio.create_task(feed.run(engine))
        await engine.until(lambda: bool(engine.states))
        await stopped(task)
        with pytest.raises(FeedError, match="stopped; ticks posted: 0"):
            await feed.play()

    asyncio.run(story())


def test_another_engine_plays_it_from_its_beginning() -> None:
    feed = RecordedFeed(ticks(last=[1.0, 2.0]), None)
    first, second = Engine(), Engine()
    asyncio.run(feed.run(first))
    before = feed.play()
    asyncio.run(feed.run(second))
    assert [t.last for t in first.ticks] == [t.last for t in second.ticks]
    assert feed.play() is not before
    assert feed.play().result(0) == 2


def test_two_engines_at_once_are_one_too_many() -> None:
    async def story() -> None:
        feed, engine = RecordedFeed(ticks(last=[1.0]), autoplay=False), Engine()
        task = asyncio.create_task(feed.run(engine))
        await engine.until(lambda: bool(engine.states))
        with pytest.raises(FeedError, match="already being played"):
            await feed.run(Engine())
        feed.play()
        await task

    asyncio.run(story())


def test_a_failing_engine_fails_the_handle() -> None:
    def failing(tick: Tick) -> None:
        raise LookupError("no such thing")

    feed, engine = RecordedFeed(ticks(last=[1.0]), None), Engine(on_tick=failing)
    with pytest.raises(LookupError):
        asyncio.run(feed.run(engine))
    assert engine.states[-1] == (FeedState.FAILED, "the recording failed: no such thing")
    with pytest.raises(FeedError, match="no such thing"):
        feed.play().result(0)
