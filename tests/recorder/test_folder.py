"""Files of recordings: rotated, torn, and small."""

import io
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import livetrade as lt
from livetrade.core.instruments import Instrument, default_instrument
from livetrade.core.quotes import merge
from livetrade.core.ticks import Tick
from livetrade.recorder import parquet
from livetrade.recorder.folder import Folder, batches_in
from livetrade.recorder.part import Part, read
from tests.support import INFY, SBIN

INDIA = ZoneInfo("Asia/Kolkata")
MONDAY = pd.Timestamp("2026-03-02 23:59", tz=INDIA).value
ITEMS = [default_instrument(SBIN), default_instrument(INFY), Instrument("BTCUSDT", scale=8, quantity_scale=8)]

raw = st.integers(1, 2**63 - 2)
quotes = st.lists(
    st.tuples(
        st.sampled_from(ITEMS),
        st.integers(0, 20 * 10**9),
        st.tuples(*[st.just(0) | raw] * 3),
        st.none() | st.integers(-(10**12), 10**12),
        st.tuples(*[st.none() | st.just(0) | raw] * 3),
        st.sampled_from(["", "FYERS", "ü"]),
    ),
    min_size=1,
    max_size=40,
)


def made(
    parts: list[tuple[Instrument, int, tuple[int, int, int], int | None, tuple[int | None, ...], str]],
) -> list[Tick]:
    now, ticks = MONDAY, []
    for item, gap, prices, lag, sizes, source in parts:
        now += gap
        ticks.append(Tick(item, now, *prices, 0 if lag is None else now + lag, *sizes, source))
    return ticks


def told(tick: Tick) -> tuple[object, ...]:
    figures = (tick.bid_raw, tick.ask_raw, tick.last_raw, tick.volume_raw, tick.bid_size_raw, tick.ask_size_raw)
    return (tick.symbol, tick.source, tick.received_ns, tick.time_ns, *(-1 if raw is None else raw for raw in figures))


def rows(folder: Path) -> list[tuple[object, ...]]:
    instruments: dict[str, Instrument] = {}
    batch = parquet.joined(batches_in(folder, instruments))
    assert {symbol: instruments[symbol] for symbol in batch.symbols} == {
        item.symbol: item for item in ITEMS if item.symbol in batch.symbols
    }
    names = ("received_ns", "time_ns", *parquet.PRICES, *parquet.SIZES)
    columns = [list(map(int, batch.figures[name])) for name in names]
    texts = ([batch.symbols[code] for code in batch.codes], [batch.sources[code] for code in batch.origins])
    return list(zip(*texts, *columns, strict=True))


anew = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@anew
@given(quotes, st.integers(1, 30), st.integers(1, 10), st.booleans())
def test_every_figure_comes_back(
    tmp_path_factory: pytest.TempPathFactory, parts: list[Any], ticks_a_file: int, batch: int, closed: bool
) -> None:
    path = tmp_path_factory.mktemp("ticks")
    folder, ticks = Folder(path, INDIA, ticks_a_file), made(parts)
    for first in range(0, len(ticks), batch):
        folder.write(ticks[first : first + batch])
    if closed:
        folder.close_file()
    folder.let_go()
    assert rows(path) == [told(tick) for tick in ticks]
    about = [parquet.about(file) for file in sorted(path.glob("*.parquet"))]
    assert all(each is not None and each.ticks <= ticks_a_file for each in about)
    days = {f"{pd.Timestamp(tick.received_ns, tz='UTC').tz_convert(INDIA):%Y-%m-%d}" for tick in ticks}
    assert {file.name.lstrip(".")[:10] for file in path.iterdir() if file.name != ".lock"} == days


@anew
@given(quotes, st.integers(1, 5), st.data())
def test_a_torn_part_is_read_up_to_its_last_whole_frame(
    tmp_path_factory: pytest.TempPathFactory, parts: list[Any], batch: int, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("ticks") / ".x.part"
    part, ticks, ends = Part(path), made(parts), [(0, 0)]
    for first in range(0, len(ticks), batch):
        part.append(ticks[first : first + batch])
        ends.append((path.stat().st_size, min(first + batch, len(ticks))))
    part.close()
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut] + data.draw(st.binary(max_size=20)))
    left = sum(len(each.codes) for each in read(path, {}))
    assert left == max(count for end, count in ends if end <= cut)


def test_a_bit_that_flipped_ends_the_reading(tmp_path: Path) -> None:
    part = Part(tmp_path / ".x.part")
    ticks = [Tick(ITEMS[0], MONDAY + second, 54900 + second) for second in range(5)]
    sizes = []
    for tick in ticks:
        part.append([tick])
        sizes.append(part.path.stat().st_size)
    part.close()
    whole = bytearray(part.path.read_bytes())
    for byte in range(sizes[1], sizes[2]):
        whole[byte] ^= 4
        part.path.write_bytes(whole)
        whole[byte] ^= 4
        assert sum(len(each.codes) for each in read(part.path, {})) == 2


def test_a_process_that_was_killed_between_two_steps(tmp_path: Path) -> None:
    """After the Parquet file has its name and before the part is gone, and amid writing the Parquet file."""
    folder, ticks = Folder(tmp_path, INDIA), [Tick(ITEMS[0], MONDAY + second, 54900) for second in range(5)]
    folder.write(list(ticks))
    (part,) = tmp_path.glob(".*.part")
    left = part.read_bytes()
    folder.close_file()
    folder.let_go()
    part.write_bytes(left)
    (tmp_path / ".2026-03-02_1.draft").write_bytes(b"PAR1...")
    assert len(rows(tmp_path)) == 5
    again = Folder(tmp_path, INDIA)
    again.adopt()
    again.let_go()
    assert sorted(file.name for file in tmp_path.iterdir()) == [".lock", "2026-03-02_235900_000000000.parquet"]
    assert len(rows(tmp_path)) == 5


def test_a_part_that_holds_nothing_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / ".2026-03-02_091500_0.part").write_bytes(b"T\x01")
    folder = Folder(tmp_path, INDIA)
    folder.adopt()
    folder.let_go()
    assert [file.name for file in tmp_path.iterdir()] == [".lock"]


def test_the_same_start_twice_is_another_file(tmp_path: Path) -> None:
    for _ in range(3):
        folder = Folder(tmp_path, INDIA)
        folder.write([Tick(ITEMS[0], MONDAY, 54900)])
        folder.close_file()
        folder.let_go()
    assert len(list(tmp_path.glob("*.parquet"))) == len(rows(tmp_path)) == 3


@pytest.mark.parametrize("count", [1, 20])
def test_it_takes_less_than_half_of_what_pandas_writes(tmp_path: Path, count: int) -> None:
    feed = lt.SimulatedFeed([f"NSE:S{number}-EQ" for number in range(count)], seed=1, ticks_per_second=10)
    known: dict[str, Tick] = {}
    ticks = []
    for update in feed.path(lambda item: item, 20_000):
        quote = merge(known.get(update.symbol), update)
        assert isinstance(quote, Tick)
        known[quote.symbol] = quote
        ticks.append(quote)
    folder = Folder(tmp_path, INDIA)
    folder.write(ticks)
    folder.close_file()
    folder.let_go()
    (file,) = tmp_path.glob("*.parquet")
    plain = io.BytesIO()
    lt.read_ticks(tmp_path).to_parquet(plain)
    assert 2 * file.stat().st_size < len(plain.getvalue())
