"""Candles and quotes: how a span is cut into calls, what users get, and what cannot be asked."""

import itertools
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import livetrade as lt
from livetrade.adapters.fyers.candles import calls_for, resolution_of, span_of
from livetrade.adapters.fyers.credentials import Secret
from tests.adapters.fyers.rest_server import APP_ID, TOKEN, Reply, RestServer, epoch, error, jwt, serving, utc_midnight

SBIN = "NSE:SBIN-EQ"
IST = ZoneInfo("Asia/Kolkata")
NOW = datetime(2026, 3, 20, 6, 30, tzinfo=UTC)  # noon in India
COLUMNS = ["open", "high", "low", "close", "volume"]


@pytest.fixture
def server() -> Iterator[RestServer]:
    with serving() as server:
        yield server


def history(server: RestServer, *span: Any, symbol: str = SBIN, **options: Any) -> pd.DataFrame:
    return lt.history(symbol, *span, access_token=TOKEN, data_url=server.data_url, **options)


def bar(time: int, price: float = 100.0) -> list[float]:
    return [time, price, price + 1, price - 1, price + 0.5, 1_000]


def asked(server: RestServer) -> list[tuple[str, str]]:
    return [(call.query["range_from"], call.query["range_to"]) for call in server.asked]


# ── candles ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_bars_of_minutes(server: RestServer) -> None:
    server.bars = [bar(epoch("2026-03-02 09:15") + 60 * n, 100 + n) for n in range(375)]
    frame = history(server, "2026-03-02 09:20", "2026-03-02 09:22", resolution="1")
    assert frame.index.tolist() == [pd.Timestamp(f"2026-03-02 09:{m}", tz="Asia/Kolkata") for m in (20, 21, 22)]
    assert frame.iloc[0].to_dict() == {"open": 105, "high": 106, "low": 104, "close": 105.5, "volume": 1000}
    [call] = server.asked
    assert call.query == {
        "symbol": SBIN,
        "resolution": "1",
        "date_format": "0",
        "range_from": str(epoch("2026-03-02 09:20")),
        "range_to": str(epoch("2026-03-02 09:22")),
        "cont_flag": "0",
    }
    assert call.headers["Authorization"] == TOKEN


def test_the_frame_is_that_of_livetrade_s_own_bars(server: RestServer) -> None:
    with lt.LiveTradingEngine(1_000, lt.LivePriceStream()) as engine:
        engine.stream.update(SBIN, last="100.00", volume=1)
        own = engine.bars(SBIN, "1min")
    server.bars = [bar(epoch("2026-03-02 09:15"))]
    for frame in (
        history(server, "2026-03-02", "2026-03-02", resolution="1"),
        history(server, "2026-04-01", "2026-04-02"),
    ):
        assert list(frame.columns) == list(own.columns) == COLUMNS
        assert frame.dtypes.to_dict() == own.dtypes.to_dict()
        assert (frame.index.name, frame.index.dtype) == (own.index.name, own.index.dtype)


@pytest.mark.parametrize(
    "reply", [{"s": "no_data", "candles": []}, {"s": "no_data"}, {"s": "ok", "candles": []}, {"s": "ok"}]
)
def test_nothing_traded_is_an_empty_frame(server: RestServer, reply: dict[str, Any]) -> None:
    server.faults.append(Reply(reply))
    frame = history(server, "2026-03-01", "2026-03-01")
    assert (len(frame), list(frame.columns), set(map(str, frame.dtypes))) == (0, COLUMNS, {"float64"})
    assert str(frame.index.dtype) == "datetime64[ns, Asia/Kolkata]"


def test_a_date_means_its_whole_day(server: RestServer) -> None:
    server.bars = [bar(epoch("2026-03-02 09:15")), bar(epoch("2026-03-03 15:25"))]
    for first, last in (("2026-03-02", "2026-03-03"), (date(2026, 3, 2), date(2026, 3, 3))):
        assert len(history(server, first, last, resolution=5)) == 2
    assert len(history(server, pd.Timestamp("2026-03-02"), pd.Timestamp("2026-03-03"), resolution="5min")) == 1
    assert len(history(server, pd.Timestamp("2026-03-02 03:46", tz="UTC"), "2026-03-03", resolution="5")) == 1


@pytest.mark.parametrize("label", [utc_midnight, lambda day: epoch(f"{day} 00:00")])
def test_a_day_is_labelled_with_its_midnight(server: RestServer, label: Any) -> None:
    server.bars = [bar(label(date(2026, 3, day))) for day in (2, 3, 4)]
    frame = history(server, "2026-03-02 12:00", "2026-03-03 12:00")
    assert frame.index.tolist() == [pd.Timestamp(f"2026-03-0{day}", tz="Asia/Kolkata") for day in (2, 3)]
    assert asked(server) == [("2026-03-02", "2026-03-03")]


def test_bars_are_sorted_and_come_once(server: RestServer) -> None:
    times = [epoch("2026-03-02 09:15"), epoch("2026-03-02 09:16"), epoch("2026-03-02 09:15")]
    server.faults.append(Reply({"s": "ok", "candles": [[*bar(t, n), 7] for n, t in enumerate(times, 1)][::-1]}))
    frame = history(server, "2026-03-02", "2026-03-02", resolution="1")
    assert frame.open.tolist() == [1, 2]


def test_more_than_a_call_s_worth_takes_several_and_shows_it(
    server: RestServer, capsys: pytest.CaptureFixture[str]
) -> None:
    days = pd.date_range("2025-01-01", "2025-12-31", freq="7D")
    server.bars = [bar(epoch(f"{day:%Y-%m-%d} 10:00")) for day in days]
    frame = history(server, "2025-01-01", "2025-12-31", resolution="60")
    assert len(frame) == len(days)
    assert len(server.asked) == 4
    assert f"{SBIN}:" in capsys.readouterr().err
    history(server, "2025-01-01", "2025-12-31", resolution="60", progress=False)
    history(server, "2025-01-01", "2025-01-31", resolution="60")
    assert capsys.readouterr().err == ""


def test_a_symbol_with_an_ampersand(server: RestServer) -> None:
    server.bars = [bar(epoch("2026-03-02 09:15"))]
    assert len(history(server, "2026-03-02", "2026-03-02", symbol="NSE:M&M-EQ", resolution="1")) == 1


# ── how a span is cut ────────────────────────────────────────────────────────────────────────────────────────────────


def cut(start: str, end: str, resolution: str) -> list[tuple[str, str]]:
    calls = calls_for(span_of(start, end, resolution, NOW), resolution)
    return [(call["range_from"], call["range_to"]) for call in calls]


def test_days_go_366_a_call() -> None:
    assert cut("2024-01-01", "2025-01-01", "1D") == [("2024-01-01", "2024-12-31"), ("2025-01-01", "2025-01-01")]
    assert cut("2024-06-03", "2024-06-03", "1D") == [("2024-06-03", "2024-06-03")]


def test_weeks_and_months_are_not_cut_in_two() -> None:
    weeks = cut("2024-01-03", "2026-03-18", "1W")
    assert weeks == [("2024-01-01", "2024-12-29"), ("2024-12-30", "2025-12-28"), ("2025-12-29", "2026-03-18")]
    assert cut("2024-01-15", "2025-02-10", "1M") == [("2024-01-01", "2024-12-31"), ("2025-01-01", "2025-02-10")]


def test_minutes_go_99_days_a_call_from_the_first_there_are() -> None:
    calls = cut("2010-01-01", "2017-12-31 12:00", "1")
    assert calls == [
        (str(epoch("2017-07-03")), str(epoch("2017-10-10") - 1)),
        (str(epoch("2017-10-10")), str(epoch("2017-12-31 12:00"))),
    ]
    assert cut("2010-01-01", "2011-01-01", "240") == []


def test_seconds_go_29_days_a_call() -> None:
    assert [int(b) - int(a) for a, b in cut("2026-01-01", "2026-02-27", "5S")] == [29 * 86_400 - 1] * 2


def test_the_future_is_not_asked_for() -> None:
    assert cut("2026-03-20 09:15", "2026-12-31", "1") == [(str(epoch("2026-03-20 09:15")), str(int(NOW.timestamp())))]
    assert cut("2026-03-19", "2026-12-31", "1D") == [("2026-03-19", "2026-03-20")]
    assert cut("today", "now", "1") == [(str(epoch("2026-03-20")), str(int(NOW.timestamp())))]


@given(
    st.integers(epoch("2017-08-01"), epoch("2026-03-19")),
    st.timedeltas(timedelta(0), timedelta(days=900)),
    st.sampled_from(["5S", "1", "240", "1D", "1W", "1M"]),
)
def test_calls_cover_a_span_once_and_in_order(first: int, length: timedelta, resolution: str) -> None:
    start = datetime.fromtimestamp(first, UTC)
    span = span_of(start, start + length, resolution, NOW)
    calls = [(c["range_from"], c["range_to"]) for c in calls_for(span, resolution)]
    if resolution[-1] in "DWM":
        days = [(date.fromisoformat(a), date.fromisoformat(b)) for a, b in calls]
        assert all(b - a < timedelta(days=366) and a <= b for a, b in days)
        assert all(after[0] - before[1] == timedelta(days=1) for before, after in itertools.pairwise(days))
        ends = [datetime.fromtimestamp(at, IST).date() for at in (span.first, span.last)]
        assert [days[0][0], days[-1][1]] == ends
    else:
        seconds = [(int(a), int(b)) for a, b in calls]
        longest = 29 if resolution == "5S" else 99
        assert all(b - a < longest * 86_400 and a <= b for a, b in seconds)
        assert all(after[0] - before[1] == 1 for before, after in itertools.pairwise(seconds))
        assert (seconds[0][0], seconds[-1][1]) == (span.first, span.last)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("1D", "1D"),
        ("D", "1D"),
        ("1W", "1W"),
        ("1M", "1M"),
        ("5", "5"),
        (5, "5"),
        ("15min", "15"),
        ("1h", "60"),
        ("4h", "240"),
        ("5s", "5S"),
    ],
)
def test_resolutions(text: Any, name: str) -> None:
    assert resolution_of(text) == name


# ── what cannot be asked ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("symbol", "span", "resolution", "told"),
    [
        (
            SBIN,
            ("2026-03-01",),
            "7",
            r"resolution must be one of 5S, .* 1, 2, 3, .* 240 \(minutes\), 1D, 1W or 1M, not '7'",
        ),
        (SBIN, ("2026-03-01",), "1m", "not '1m'"),
        (SBIN, ("2026-03-01",), None, "not None"),
        ("SBIN", ("2026-03-01",), "1D", "begins with its exchange, such as 'NSE:SBIN-EQ'"),
        ("nse:sbin-eq", ("2026-03-01",), "1D", "did you mean 'NSE:SBIN-EQ'"),
        (7, ("2026-03-01",), "1D", "a symbol is text"),
        (
            SBIN,
            ("2026-03-02", "2026-03-01"),
            "1D",
            "start must not be after end: 2026-03-02 00:00:00 is after 2026-03-01 23:59:59",
        ),
        (SBIN, ("2096-01-01",), "1D", "start must not lie in the future"),
        (SBIN, ("2096-01-01", "2097-01-01"), "1D", "start must not lie in the future"),
        (SBIN, ("soon",), "1D", "start must be 'today', a date"),
        (SBIN, ("2026-03-02", "later"), "1D", "end must be 'today', a date"),
        (SBIN, (None,), "1D", "start must be"),
    ],
    ids=itertools.count(),
)
def test_what_cannot_be_asked(
    server: RestServer, symbol: Any, span: tuple[Any, ...], resolution: Any, told: str
) -> None:
    with pytest.raises(lt.OrderError, match=told):
        history(server, *span, symbol=symbol, resolution=resolution)
    assert server.asked == []


def test_a_symbol_that_fyers_does_not_know(server: RestServer) -> None:
    with pytest.raises(lt.OrderError, match=r"Fyers does not know 'NSE:GONE-EQ' \(.*Invalid symbol.*lt\.instruments"):
        history(server, "2026-03-01", symbol="NSE:GONE-EQ")


@pytest.mark.parametrize(
    "candles",
    [[[1, 2]], [["x"] * 6], [7], "text", {"a": 1}, [[None, 1, 2, 3, 4, 5]], [[1, 2, 3, 4, 5, 6], [1]]],
    ids=repr,
)
def test_candles_that_cannot_be_read(server: RestServer, candles: Any) -> None:
    server.faults.append(Reply({"s": "ok", "candles": candles}))
    with pytest.raises(lt.FeedError, match="candles of NSE:SBIN-EQ that cannot be read"):
        history(server, "2026-03-01")


def test_a_hole_in_a_bar_is_nan(server: RestServer) -> None:
    server.faults.append(Reply({"s": "ok", "candles": [[epoch("2026-03-02 09:15"), 1, 2, 3, 4, None]]}))
    assert np.isnan(history(server, "2026-03-02", "2026-03-02", resolution="1").volume.iloc[0])


@pytest.mark.parametrize("token", ["", None, Secret("")])
def test_a_missing_token_names_the_three_ways(server: RestServer, token: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FYERS_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("FYERS_USER_ID", "nobody-who-has-logged-in")
    for ask in (lambda **more: lt.history(SBIN, "2026-03-01", **more), lambda **more: lt.quotes(SBIN, **more)):
        with pytest.raises(lt.FeedError, match="there is no Fyers token") as raised:
            ask(access_token=token, data_url=server.data_url)
        for way in ("livetrade login fyers", "FYERS_AUTH_TOKEN", "access_token="):
            assert way in str(raised.value)


def test_the_token_may_be_in_the_environment(server: RestServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FYERS_AUTH_TOKEN", TOKEN.partition(":")[2])
    monkeypatch.setenv("FYERS_APP_ID", APP_ID)
    assert len(lt.history(SBIN, "2026-03-01", data_url=server.data_url)) == 0


def test_a_token_that_is_refused(server: RestServer) -> None:
    with pytest.raises(lt.FeedError, match=r"token has expired or is not valid .* run `livetrade login fyers`"):
        lt.history(SBIN, "2026-03-01", access_token=f"{APP_ID}:{jwt(signature='other')}", data_url=server.data_url)


# ── quotes ───────────────────────────────────────────────────────────────────────────────────────────────────────────

QUOTE = {
    "ch": -13.8, "chp": -2.22, "lp": 606.4, "spread": 0.05, "ask": 606.45, "bid": 606.4, "open_price": 609.85,
    "high_price": 610.5, "low_price": 605.85, "prev_close_price": 620.2, "atp": 608.2, "volume": 142964052,
    "short_name": "SBIN-EQ", "exchange": "NSE", "description": "", "original_name": SBIN, "symbol": SBIN,
    "fyToken": "10100000003045", "tt": "1772442000",
}  # fmt: skip
INDEX = {**QUOTE, "bid": 0, "ask": 0, "volume": 0, "lp": 25974.900390625, "tt": ""}
NIFTY = "NSE:NIFTY50-INDEX"


def quotes(server: RestServer, symbols: Any) -> pd.DataFrame:
    return lt.quotes(symbols, access_token=TOKEN, data_url=server.data_url)


def test_quotes_in_the_order_asked(server: RestServer) -> None:
    server.quotes = {SBIN: QUOTE, NIFTY: INDEX}
    frame = quotes(server, [NIFTY, SBIN, NIFTY])
    assert frame.index.tolist() == [NIFTY, SBIN]
    assert list(frame.columns) == ["bid", "ask", "last", "volume", "open", "high", "low", "prev_close", "time"]
    assert frame.loc[SBIN].drop("time").tolist() == [606.4, 606.45, 606.4, 142964052, 609.85, 610.5, 605.85, 620.2]
    assert frame.loc[SBIN, "time"] == pd.Timestamp("2026-03-02 14:30", tz="Asia/Kolkata")
    assert frame.loc[NIFTY, ["bid", "ask", "time"]].isna().all()
    assert (frame.loc[NIFTY, "last"], frame.loc[NIFTY, "volume"]) == (25974.900390625, 0)


def test_one_symbol_and_none(server: RestServer) -> None:
    server.quotes = {SBIN: QUOTE}
    one, none = quotes(server, SBIN), quotes(server, [])
    assert (len(one), len(none)) == (1, 0)
    assert one.dtypes.to_dict() == none.dtypes.to_dict()
    assert set(map(str, one.dtypes)) == {"float64", "datetime64[ns, Asia/Kolkata]"}
    assert (one.index.name, one.index.dtype) == (none.index.name, none.index.dtype) == ("symbol", "str")
    assert len(server.asked) == 1


def test_fifty_a_call(server: RestServer) -> None:
    server.quotes = {f"NSE:S{n}-EQ": {**QUOTE, "lp": n + 1} for n in range(120)}
    frame = quotes(server, iter(server.quotes))
    assert frame["last"].tolist() == list(range(1, 121))
    assert [len(call.query["symbols"].split(",")) for call in server.asked] == [50, 50, 20]


def test_an_unknown_symbol_is_left_out_with_a_warning(server: RestServer) -> None:
    server.quotes = {SBIN: QUOTE}
    with pytest.warns(RuntimeWarning, match="Fyers does not know NSE:GONE-EQ, NSE:LOST-EQ; lt.instruments") as warned:
        frame = quotes(server, ["NSE:GONE-EQ", SBIN, "NSE:LOST-EQ"])
    assert frame.index.tolist() == [SBIN]
    assert warned[0].filename.endswith("test_candles.py")


@pytest.mark.parametrize("reply", [None, error(-300, "Invalid symbol"), Reply({"s": "ok", "d": []})], ids=range(3))
def test_only_unknown_symbols_are_an_error(server: RestServer, reply: Reply | None) -> None:
    if reply:
        server.faults.append(reply)
    with pytest.raises(lt.FeedError, match="Fyers does not know NSE:GONE-EQ;"):
        quotes(server, ["NSE:GONE-EQ"])


def test_a_fault_is_not_an_unknown_symbol(server: RestServer) -> None:
    for ask in (lambda: quotes(server, SBIN), lambda: history(server, "2026-03-01")):
        server.faults.append(error(-96, "unexpected", 500))
        with pytest.raises(lt.FeedError, match="Fyers has a fault"):
            ask()


@pytest.mark.parametrize("body", [{"s": "ok"}, {"s": "ok", "d": {}}, {"s": "ok", "d": "x"}])
def test_quotes_that_cannot_be_read(server: RestServer, body: dict[str, Any]) -> None:
    server.faults.append(Reply(body))
    with pytest.raises(lt.FeedError, match="quotes that cannot be read"):
        quotes(server, SBIN)


def test_odd_items_and_numbers(server: RestServer) -> None:
    odd = {
        "lp": "606.40",
        "bid": None,
        "ask": "x",
        "volume": -1,
        "open_price": float("inf"),
        "high_price": [],
        "tt": "soon",
    }
    items = [7, {"n": SBIN, "s": "ok"}, {"n": [], "s": "ok", "v": odd}, {"n": SBIN, "s": "ok", "v": odd}]
    server.faults.append(Reply({"s": "ok", "d": items}))
    frame = quotes(server, SBIN)
    assert frame.loc[SBIN, "last"] == 606.4
    assert frame.loc[SBIN].drop("last").isna().all()


@pytest.mark.parametrize("symbols", [["SBIN"], [7], ["NSE:SBIN-EQ", "nse:x"], "what is this"])
def test_malformed_symbols(server: RestServer, symbols: Any) -> None:
    with pytest.raises(lt.OrderError, match=re.compile("symbol", re.IGNORECASE)):
        quotes(server, symbols)
    assert server.asked == []
