"""A session recorded, read back and played again: the same quotes, to the digit and the nanosecond."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from datetime import UTC
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

import livetrade as lt
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import FeedState
from livetrade.core.ticks import Tick
from livetrade.ports import Sink
from livetrade.recorder import Recording
from tests.support import INFY, SBIN, ScriptedFeed, recording, soon, trading

BTC = Instrument("BTCUSDT", scale=12, quantity_scale=8)
FIGURES = ("bid_raw", "ask_raw", "last_raw", "volume_raw", "bid_size_raw", "ask_size_raw", "time_ns", "received_ns")


def told(tick: Tick) -> tuple[Any, ...]:
    return (tick.symbol, tick.source, *(getattr(tick, name) for name in FIGURES))


def watched(engine: lt.LiveTradingEngine) -> list[tuple[Any, ...]]:
    seen: list[tuple[Any, ...]] = []

    def see(tick: Tick) -> None:
        seen.append(told(tick))

    engine.stream.on_tick(see)
    return seen


def market(ticks: int, go: threading.Event, seed: int = 1) -> Callable[[Sink], Any]:
    """Updates of every kind: partial and whole, timed or not, from two sources, crossed, repeated, absent."""

    async def script(sink: Sink) -> None:
        await asyncio.to_thread(go.wait)
        rng = random.Random(seed)
        sink.state(FeedState.LIVE)
        items = [sink.register(BTC), sink.instrument(SBIN), sink.instrument(INFY), sink.instrument("NSE:NIFTY50-INDEX")]
        clock = {"": 1_772_422_500_000_000_000, "FYERS": 1_772_422_400_000_000_000}
        for _ in range(ticks):
            item, source = rng.choice(items), rng.choice(["", "FYERS"])
            clock[source] += rng.choice([0, 1, 999, 10**6, 10**9])
            price = rng.randint(1, 10**17) if item is BTC else rng.randint(50_000, 50_010)

            def maybe(value: int, absent: Any) -> Any:
                return value if rng.random() < 0.6 else absent

            sink.tick(
                Tick(
                    item,
                    sink.now(),
                    maybe(price - rng.randint(0, 3), 0),
                    maybe(price + rng.randint(0, 3), 0),
                    maybe(price, 0),
                    maybe(clock[source], 0),
                    maybe(rng.randint(0, 10**6), None),
                    maybe(rng.randint(0, 500), None),
                    maybe(rng.randint(0, 500), None),
                    source,
                    rng.random() < 0.3,
                )
            )
            if rng.random() < 0.2:
                await sink.idle()

    return script


def test_a_session_is_played_again_tick_by_tick(tmp_path: Path) -> None:
    first, second, journal = tmp_path / "first", tmp_path / "second", tmp_path / "a.journal"
    go = threading.Event()
    with trading(feed=ScriptedFeed(market(3_000, go)), journal=journal) as engine:
        handle = engine.record(first)
        live = watched(engine)
        go.set()
        soon(lambda: engine.health()["feed"] == "CLOSED")
        soon(lambda: not engine.stream.hub.pending)
    assert len(live) > 1_000
    assert handle.ticks == len(live)
    assert len({source for _, source, *_ in live}) == 2
    for source in (first, journal, lt.FileJournal(journal)):
        feed = lt.RecordedFeed(source, speed=None, autoplay=False)
        assert BTC in feed.instruments
        with trading(feed=feed) as engine:
            played = watched(engine)
            again = engine.record(second) if source is first else None
            assert feed.play().result(60) == len(live)
            quarantined = engine.health()["quarantined"]
        assert not quarantined
        assert played == live
        assert again is None or again.ticks == len(live)
    pd.testing.assert_frame_equal(lt.read_ticks(second), lt.read_ticks(first))
    pd.testing.assert_frame_equal(lt.read_ticks(journal), lt.read_ticks(first))


def test_a_dataframe_of_them_is_played_alike(tmp_path: Path) -> None:
    """Its columns `received` and `source` say that rows are whole quotes; floats hold what has up to 15 digits."""
    with trading(feed=lt.SimulatedFeed([SBIN, "NSE:NIFTY50-INDEX"], seed=3, ticks_per_second=2_000)) as engine:
        handle = engine.record(tmp_path / "ticks")
        soon(lambda: handle.ticks > 500)
    frame = lt.read_ticks(tmp_path / "ticks")
    quotes = [
        list(feed.rows(lt.LivePriceStream().instrument, UTC))
        for feed in map(lt.RecordedFeed, (tmp_path / "ticks", frame))
    ]
    public = [
        [(t.symbol, t.bid, t.ask, t.last, t.volume, t.bid_size, t.ask_size, t.time, t.received, t.whole) for t in each]
        for each in quotes
    ]
    assert public[0] == public[1]
    assert len(public[0]) == len(frame) > 500
    pd.testing.assert_frame_equal(lt.read_ticks(frame), frame)


def test_reading_what_was_recorded(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "ticks"
    with trading(stream=lt.LivePriceStream()) as engine:
        with engine.record(folder) as handle:
            engine.stream.update(
                SBIN, bid="548.95", ask=549, last=549, volume=100, bid_size=75, time="2026-03-02 09:15:00.5"
            )
            engine.stream.update(INFY, last=1500)
            engine.stream.update(SBIN, ask="549.05")
        engine.stream.update(SBIN, ask="549.10")  # nobody records any more
        assert handle.stop() == handle.ticks == 3
        assert repr(handle) == f"<Recording {folder}: 3 ticks, stopped>"
    frame = lt.read_ticks(folder)
    assert list(frame.columns) == ["symbol", "bid", "ask", "last", "volume", "bid_size", "ask_size", "received"]
    assert frame["symbol"].tolist() == [SBIN, INFY, SBIN]
    assert frame["ask"].tolist()[::2] == [549.0, 549.05]
    assert frame["bid_size"].tolist()[::2] == [75, 75]
    assert frame["ask_size"].isna().all()
    assert frame.index[0] == pd.Timestamp("2026-03-02 09:15:00.5", tz="Asia/Kolkata") != frame["received"].iloc[0]
    assert (frame.index == frame["received"]).tolist() == [False, True, True]
    assert str(frame.index.dtype) == str(frame["received"].dtype) == "datetime64[ns, Asia/Kolkata]"
    assert str(lt.read_ticks(folder, timezone="UTC")["received"].dtype) == "datetime64[ns, UTC]"
    assert lt.read_ticks(folder, INFY)["last"].tolist() == [1500]
    (file,) = folder.glob("*.parquet")
    pd.testing.assert_frame_equal(lt.read_ticks(file), frame)
    plain = pd.read_parquet(folder)  # as anybody else reads it
    assert plain.sort_values("row")["ask_raw"].tolist()[::2] == [54900, 54905]
    with pytest.raises(lt.FeedError, match="no ticks of 'NSE:TCS-EQ', but of"):
        lt.read_ticks(folder, "NSE:TCS-EQ")
    with pytest.raises(lt.FeedError, match=r"bars=... is for"):
        lt.read_ticks(folder, bars="1min")


def test_it_is_read_while_it_is_written(tmp_path: Path) -> None:
    with trading() as engine:
        handle = engine.record(tmp_path)
        engine.stream.update(SBIN, bid=550, ask=551)
        soon(lambda: handle.ticks == 1)
        assert lt.read_ticks(tmp_path)["bid"].tolist() == [550]
        engine.stream.update(SBIN, bid=549)
        soon(lambda: handle.ticks == 2)
        assert lt.read_ticks(tmp_path)["bid"].tolist() == [550, 549]
    assert not list(tmp_path.glob(".*.part"))
    assert lt.read_ticks(tmp_path)["bid"].tolist() == [550, 549]


def test_other_scales_are_asked_for(tmp_path: Path) -> None:
    with trading(stream=lt.LivePriceStream()) as engine:
        engine.record(tmp_path)
        engine.stream.update(SBIN, last="549.05", volume=7)
        engine.stream.update(SBIN, last="549.10")
    finer = Instrument(SBIN, scale=6, quantity_scale=2)
    ticks = list(lt.RecordedFeed(tmp_path, instruments=[finer]).rows(lambda _: finer, UTC))
    assert [(t.last, t.volume) for t in ticks] == [(Decimal("549.05"), 7), (Decimal("549.10"), 7)]
    coarser = Instrument(SBIN, scale=1)
    rows = list(lt.RecordedFeed(tmp_path).rows(lambda _: coarser, UTC))
    assert rows[0] == "off_scale"
    assert rows[1].last == Decimal("549.1")


def test_a_recording_of_a_recording_is_by_day(tmp_path: Path) -> None:
    """The engine's time is the recording's: files are of its days, and a period opens only what it needs."""
    ticks = pd.concat(
        [
            recording([549.0 + day] * 3).assign(time=lambda f, d=day: f["time"] + pd.Timedelta(d, "D"))
            for day in range(3)
        ]
    )
    feed = lt.RecordedFeed(ticks, speed=None, autoplay=False)
    with trading(feed=feed) as engine:
        engine.record(tmp_path)
        feed.play().result(30)
    files = sorted(path.name for path in tmp_path.glob("*.parquet"))
    assert files == [f"2026-03-0{day}_091500_000000000.parquet" for day in (2, 3, 4)]
    assert lt.read_ticks(tmp_path, SBIN, start="2027-01-01").empty
    (tmp_path / files[0]).write_bytes(
        (tmp_path / files[0]).read_bytes()[:4] + bytes(40) + (tmp_path / files[0]).read_bytes()[44:]
    )
    assert lt.read_ticks(tmp_path, start="2026-03-03")["bid"].tolist() == [550] * 3 + [551] * 3
    assert lt.read_ticks(tmp_path, start="2026-03-03", end="2026-03-03")["bid"].tolist() == [550] * 3


def test_rows_in_columns(tmp_path: Path) -> None:
    """The same as one by one, for whoever wants many at once."""
    go = threading.Event()
    with trading(feed=ScriptedFeed(market(300, go))) as engine:
        engine.record(tmp_path)
        go.set()
        soon(lambda: engine.health()["feed"] == "CLOSED")
    feed = lt.RecordedFeed(tmp_path)
    instruments = {item.symbol: item for item in feed.instruments}
    ticks = [told(tick) for tick in feed.rows(instruments.__getitem__, UTC) if isinstance(tick, Tick)]
    parts = list(feed.parts(instruments.__getitem__, UTC, 100))
    assert [len(part.codes) for part in parts][:-1] == [100] * (len(parts) - 1)
    assert sum(len(part.codes) for part in parts) == len(feed) == len(ticks)
    columns = [
        (
            feed.symbols[part.codes[row]],
            part.whole.sources[row],
            *(part.raw[name][row] for name in ("bid", "ask", "last")),
            *(None if part.raw[name][row] < 0 else part.raw[name][row] for name in ("volume", "bid_size", "ask_size")),
            part.whole.times[row],
            part.times[row],
        )
        for part in parts
        if part.whole is not None
        for row in range(len(part.codes))
    ]
    assert columns == ticks


def test_times_of_both_kinds_are_of_one_kind() -> None:
    frame = recording([549.0, 550.0]).assign(received=lambda frame: frame["time"] + pd.Timedelta("20ms"))
    first, _ = lt.RecordedFeed(frame).rows(lt.LivePriceStream().instrument, ZoneInfo("Asia/Kolkata"))
    assert isinstance(first, Tick)
    assert first.received_ns - first.time_ns == 20_000_000
    assert first.whole
    aware = frame.assign(received=frame["received"].dt.tz_localize("UTC"))
    with pytest.raises(lt.FeedError, match="times with a zone and times without one in its columns time and received"):
        lt.read_ticks(aware)
    with pytest.raises(lt.FeedError, match="its column received has numbers for times"):
        lt.read_ticks(frame.assign(received=1))


# ── how it is used ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_recording_a_folder(tmp_path: Path) -> None:
    with trading() as engine:
        handle = engine.record(tmp_path / "a")
        with pytest.raises(lt.OrderError, match=f"each recording needs a folder of its own.*pid {os.getpid()}"):
            engine.record(tmp_path / "a")
        other = engine.record(tmp_path / "b")
        engine.stream.update(SBIN, bid=550, ask=551)
        assert handle.stop() == handle.stop() == 1
        engine.record(tmp_path / "a").stop()
        engine.stream.update(SBIN, bid=550, ask=552)
    assert (handle.ticks, other.ticks) == (1, 2)
    assert len(lt.read_ticks(tmp_path / "a")) == 1


def test_where_nothing_can_be_recorded(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with trading() as engine:
        with pytest.raises(lt.OrderError, match="file cannot be recorded into"):
            engine.record(tmp_path / "file")
        engine.record(tmp_path / "empty").stop()
    with pytest.raises(lt.EngineClosedError, match="closed"):
        engine.record(tmp_path / "late")
    assert not (tmp_path / "late").exists()
    for empty in (tmp_path / "empty", tmp_path):
        with pytest.raises(lt.FeedError, match="has no ticks"):
            lt.read_ticks(empty)
    with pytest.raises(lt.FeedError, match="keeps no ticks"):
        lt.read_ticks(lt.MemoryJournal())
    recording([1.0]).to_parquet(tmp_path / "empty" / "mine.parquet")
    with pytest.raises(lt.FeedError, match=r"mine.parquet was not recorded by an engine; give its own path"):
        lt.read_ticks(tmp_path / "empty")


def test_a_journal_without_ticks_and_a_damaged_one(tmp_path: Path) -> None:
    import sqlite3
    from contextlib import closing

    with trading(journal=lt.FileJournal(tmp_path / "none.journal", ticks=False)):
        pass
    with pytest.raises(lt.FeedError, match=r"none.journal has no ticks"):
        lt.read_ticks(tmp_path / "none.journal")
    with trading(journal=tmp_path / "bad.journal") as engine:
        engine.market_buy(SBIN, 1).result(5)
    with closing(sqlite3.connect(tmp_path / "bad.journal", isolation_level=None)) as connection:
        connection.execute("UPDATE ticks SET data = zeroblob(9) WHERE number = 1")
    with pytest.raises(lt.FeedError, match=r"bad.journal is damaged: row 1 was changed.*journal salvage"):
        lt.RecordedFeed(tmp_path / "bad.journal")


def test_without_pyarrow_it_says_so(tmp_path: Path) -> None:
    code = f"""
        import sys
        sys.modules["pyarrow"] = None
        import livetrade as lt
        engine = lt.LiveTradingEngine(1000)
        try:
            engine.record({str(tmp_path / "ticks")!r})
        except ImportError as error:
            print(error)
        try:
            lt.read_ticks({str(tmp_path)!r})
        except lt.FeedError as error:
            print(error)
        engine.close()
    """
    (tmp_path / "2026-03-02_091500_0.parquet").write_bytes(b"PAR1")
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    recording_told, reading_told = done.stdout.splitlines()
    assert recording_told == 'recording ticks needs pyarrow: pip install "livetrade[arrow]"', done.stderr
    assert reading_told.endswith("reading Parquet needs pyarrow: pip install 'livetrade[arrow]'")
    assert not (tmp_path / "ticks").exists()


def test_what_does_not_fit_is_counted_and_told(tmp_path: Path) -> None:
    handle = Recording(tmp_path, ZoneInfo("Asia/Kolkata"), waiting=10)
    tick = Tick(lt.LivePriceStream().instrument(SBIN), 1_772_422_500_000_000_000, 54900)
    handle.take([tick] * 10)
    handle.take([tick] * 11)
    with pytest.warns(RuntimeWarning, match=r"11 ticks were not recorded in .*: the disk did not keep up"):
        assert handle.stop() == 10
    assert handle.stop() == 10
    assert "11 dropped" in repr(handle)


def in_a_process(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A program that says `import livetrade as lt` first, and what it prints line by line."""
    program = "import sys, os, time\nimport livetrade as lt\n" + textwrap.dedent(code)
    return subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def test_a_full_disk_loses_nothing_once_there_is_room(tmp_path: Path) -> None:
    """A limit on the size of files stands for it: writes fail with an OSError, and later they do not."""
    child = in_a_process(
        """
        import logging, resource, signal
        logging.disable()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        engine = lt.LiveTradingEngine(1000)
        handle = engine.record(sys.argv[1])
        def post(n):
            for number in range(n):
                engine.stream.update("NSE:SBIN-EQ", bid=500 + number % 7, ask=600 + number % 11, last=550)
        post(2000)
        while handle.ticks < 2000: time.sleep(0.01)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        post(2000)
        while not handle.fault: time.sleep(0.01)
        print(handle.fault, flush=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        while handle.ticks < 4000: time.sleep(0.01)
        engine.close()
        print(handle.fault, handle.dropped, handle.ticks)
        """,
        tmp_path,
    )
    out, _ = child.communicate(timeout=120)
    fault, after = out.splitlines()
    assert "too large" in fault
    assert after == " 0 4000"
    frame = lt.read_ticks(tmp_path)
    assert frame["bid"].tolist() == [500 + number % 7 for number in range(2000)] * 2


def test_a_killed_process_loses_what_was_not_handed_over(tmp_path: Path) -> None:
    child = in_a_process(
        """
        feed = lt.SimulatedFeed(["NSE:SBIN-EQ", "NSE:INFY-EQ"], seed=5, ticks_per_second=500)
        engine = lt.LiveTradingEngine(1000, feed=feed)
        handle = engine.record(sys.argv[1])
        while True:
            before = engine.health()["ticks"]
            time.sleep(0.4)
            print(before, handle.ticks, flush=True)
        """,
        tmp_path,
    )
    assert child.stdout is not None
    lines = [child.stdout.readline() for _ in range(4)]
    child.send_signal(signal.SIGKILL)
    child.communicate()
    _, written = map(int, lines[-1].split())
    assert written > 100
    frame = lt.read_ticks(tmp_path)
    assert len(frame) >= written
    assert not list(tmp_path.glob("*.parquet"))
    with trading() as engine:  # the next recording makes Parquet of what was left
        engine.record(tmp_path).stop()
    assert len(list(tmp_path.glob("*.parquet"))) == 1
    assert not list(tmp_path.glob(".*.part"))
    pd.testing.assert_frame_equal(lt.read_ticks(tmp_path), frame)
    market = lt.SimulatedFeed([SBIN, INFY], seed=5).path(lambda item: item, len(frame) + 1_000)
    sent = [(tick.symbol, float(tick.bid or 0), float(tick.ask or 0)) for tick in market]
    found = list(frame[["symbol", "bid", "ask"]].itertuples(index=False, name=None))
    assert found in [sent[first : first + len(found)] for first in range(1_000)]  # without a gap


def test_a_forked_child_leaves_it_to_the_parent(tmp_path: Path) -> None:
    child = in_a_process(
        """
        import warnings
        warnings.simplefilter("ignore")
        engine = lt.LiveTradingEngine(1000)
        handle = engine.record(sys.argv[1])
        engine.stream.update("NSE:SBIN-EQ", bid=500)
        pid = os.fork()
        if pid == 0:
            time.sleep(60)  # it has no part in the folder, though it lives on
        engine.stream.update("NSE:SBIN-EQ", bid=501)
        engine.close()
        again = lt.LiveTradingEngine(1000)
        again.record(sys.argv[1]).stop()
        os.kill(pid, 9)
        print(handle.ticks)
        again.close()
        """,
        tmp_path,
    )
    out, _ = child.communicate(timeout=60)
    assert out.split() == ["2"]
    assert lt.read_ticks(tmp_path)["bid"].tolist() == [500, 501]
