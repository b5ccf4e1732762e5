"""The symbol master: both forms of a row, odd rows, the day's cache, and what users get."""

import json
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from platformdirs import user_cache_path

import livetrade as lt
from livetrade.adapters.fyers import instruments as module
from livetrade.adapters.fyers.instruments import Segment, load_instruments, load_master
from tests.adapters.fyers.rest_server import DROP, Reply, RestServer, epoch, serving

EXPIRY = epoch("2026-10-27 15:30")


def json_row(ticker: str, **fields: Any) -> dict[str, Any]:
    """A share, but for what is said; the shape of a row as it was served in 2026."""
    return {
        "fyToken": "10100000003045",
        "exToken": 3045,
        "exSymbol": "SBIN",
        "exSymName": "STATE BANK OF INDIA",
        "exchange": 10,
        "segment": 10,
        "exSeries": "EQ",
        "exInstType": 0,
        "tradeStatus": 1,
        "underSym": "SBIN",
        "underFyTok": "10100000003045",
        "expiryDate": "",
        "optType": "XX",
        "strikePrice": -1.0,
        "minLotSize": 1,
        "tickSize": 0.05,
        "isin": "INE062A01020",
        "symDetails": "STATE BANK OF INDIA",
        "qtyFreeze": "615855",
        "tradingSession": "0915-1530|1815-1915:",
        "currencyCode": "INR",
        "lastUpdate": "2026-09-29",
        "symTicker": ticker,
        "qtyMultiplier": 1.0,
        "originalExpDate": None,
        "symbolDetails": "",
        **fields,
    }


def contract(ticker: str, name: str, code: int, **fields: Any) -> dict[str, Any]:
    return json_row(
        ticker,
        **{"symDetails": name, "exInstType": code, "expiryDate": str(EXPIRY), "isin": "", "qtyFreeze": "", **fields},
    )


SBIN = json_row("NSE:SBIN-EQ")
NIFTY = json_row("NSE:NIFTY50-INDEX", exInstType=10, minLotSize=0, isin="", qtyFreeze="", fyToken="101000000026000")
FUTURE = contract(
    "NSE:NIFTY26OCTFUT", "NIFTY 27 Oct 26 FUT", 11, minLotSize=65, tickSize=0.1, qtyFreeze="1801", underSym="NIFTY"
)
OPTION = contract(
    "NSE:NIFTY26OCT25000CE",
    "27 Oct 26 25000 CE",
    14,
    minLotSize=65,
    optType="CE",
    strikePrice=25000.0,
    underSym="NIFTY",
    symbolDetails="NIFTY 27 Oct 26 25000 CE",
)
DOLLAR = contract(
    "NSE:USDINR26OCTFUT", "USDINR 27 Oct 26 FUT", 16, tickSize=0.0025, qtyMultiplier=1000.0, underSym="USDINR"
)
DOLLAR_PUT = contract(
    "NSE:USDINR26OCT83.25PE",
    "USDINR 27 Oct 26 83.25 PE",
    19,
    tickSize=0.0025,
    qtyMultiplier=1000,
    optType="PE",
    strikePrice=83.25,
)
CRUDE = contract(
    "MCX:CRUDEOIL26OCTFUT", "CRUDEOIL 19 Oct 26 FUT", 30, tickSize=1.0, qtyMultiplier=100.0, underSym="CRUDEOIL"
)


def master(*rows: dict[str, Any]) -> bytes:
    return json.dumps({row["symTicker"]: row for row in rows}).encode()


def csv_row(row: dict[str, Any], columns: int = 21) -> str:
    names = "minLotSize tickSize isin tradingSession lastUpdate expiryDate symTicker exchange segment exToken underSym"
    later = "exToken strikePrice optType underFyTok"
    cells = [row["fyToken"], row["symbolDetails"] or row["symDetails"], row["exInstType"]]
    cells += [row[name] for name in f"{names} {later}".split()]
    return ",".join(map(str, [*cells, "None", 1, 3.7][:columns])) + "\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIVETRADE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server() -> Iterator[RestServer]:
    with serving() as server:
        server.files["NSE_CM_sym_master.json"] = master(SBIN, NIFTY)
        server.files["NSE_FO_sym_master.json"] = master(FUTURE, OPTION)
        server.files["NSE_CD_sym_master.json"] = master(DOLLAR, DOLLAR_PUT)
        server.files["MCX_COM_sym_master.json"] = master(CRUDE)
        yield server


# ── what users get ───────────────────────────────────────────────────────────────────────────────────────────────────

DTYPES = {
    "kind": pd.CategoricalDtype(["EQUITY", "FUTURE", "OPTION", "INDEX", "CURRENCY", "CRYPTO"]),
    "name": "str",
    "tick_size": "float64",
    "lot_size": "float64",
    "freeze_quantity": "float64",
    "expiry": "datetime64[ns, Asia/Kolkata]",
    "strike": "float64",
    "option_type": pd.CategoricalDtype(["CE", "PE"]),
    "underlying": "str",
    "isin": "str",
    "token": "str",
    "segment": pd.CategoricalDtype(["NSE_CM", "NSE_FO", "NSE_CD", "NSE_COM", "BSE_CM", "BSE_FO", "MCX_COM"]),
}


def test_the_frame(server: RestServer) -> None:
    frame = lt.instruments("NSE_FO", static_url=server.static_url)
    assert frame.index.tolist() == ["NSE:NIFTY26OCTFUT", "NSE:NIFTY26OCT25000CE"]
    assert frame.index.name == "symbol"
    assert dict(frame.dtypes) == DTYPES
    option = frame.loc["NSE:NIFTY26OCT25000CE"]
    assert (option.kind, option["name"], option.option_type) == ("OPTION", "NIFTY 27 Oct 26 25000 CE", "CE")
    assert (option.tick_size, option.lot_size, option.strike, option.underlying) == (0.05, 65, 25000, "NIFTY")
    assert option.expiry == pd.Timestamp("2026-10-27", tz="Asia/Kolkata")
    future = frame.loc["NSE:NIFTY26OCTFUT"]
    assert (future.kind, future.tick_size, future.freeze_quantity, future.token) == (
        "FUTURE",
        0.1,
        1801,
        "10100000003045",
    )
    assert pd.isna(future.strike)
    assert pd.isna(future.option_type)
    assert pd.isna(option.freeze_quantity)
    assert frame.attrs == {"segment": "NSE_FO", "date": frame.attrs["date"], "skipped": 0}
    assert json.dumps(frame.attrs)


def test_an_empty_segment_has_the_same_frame(server: RestServer) -> None:
    server.files["NSE_COM_sym_master.json"] = b"{}"
    frame = lt.instruments("NSE_COM", static_url=server.static_url)
    assert (len(frame), frame.index.name, frame.index.dtype) == (0, "symbol", "str")
    assert dict(frame.dtypes) == DTYPES


def test_frames_of_segments_can_be_put_together(server: RestServer) -> None:
    frames = [lt.instruments(segment, static_url=server.static_url) for segment in ("NSE_CM", "NSE_FO", "MCX_COM")]
    assert dict(pd.concat(frames).dtypes) == DTYPES


def test_typed_instruments(server: RestServer) -> None:
    found = load_instruments("NSE_CM", static_url=server.static_url)
    assert found["NSE:SBIN-EQ"] == lt.Instrument("NSE:SBIN-EQ", tick_size="0.05", freeze_quantity=615855)
    assert found["NSE:NIFTY50-INDEX"] == lt.Instrument("NSE:NIFTY50-INDEX", kind="INDEX", tick_size="0.05")
    found = load_instruments("NSE_FO", static_url=server.static_url)
    assert found["NSE:NIFTY26OCT25000CE"] == lt.Instrument(
        "NSE:NIFTY26OCT25000CE",
        kind="OPTION",
        tick_size="0.05",
        lot_size=65,
        expiry=date(2026, 10, 27),
        strike=25000,
        option_type="CE",
    )


def test_a_lot_of_currency_or_a_commodity_is_worth_its_multiplier(server: RestServer) -> None:
    found = load_instruments("NSE_CD", static_url=server.static_url)
    dollar = found["NSE:USDINR26OCTFUT"]
    assert (dollar.kind, dollar.scale, dollar.tick_size) == ("FUTURE", 4, Decimal("0.0025"))
    assert (dollar.lot_size, dollar.multiplier) == (1, 1000)
    assert found["NSE:USDINR26OCT83.25PE"].strike == Decimal("83.25")
    [crude] = load_instruments("MCX_COM", static_url=server.static_url).values()
    assert (crude.scale, crude.tick_size, crude.multiplier) == (2, 1, 100)


def test_only_the_symbols_asked_for(server: RestServer) -> None:
    assert list(load_instruments("NSE_CM", ["NSE:SBIN-EQ", "NSE:GONE-EQ"], static_url=server.static_url)) == [
        "NSE:SBIN-EQ"
    ]
    assert list(load_instruments("NSE_CM", "NSE:SBIN-EQ", static_url=server.static_url)) == ["NSE:SBIN-EQ"]
    assert load_instruments("NSE_CM", [], static_url=server.static_url) == {}


@pytest.mark.parametrize("segment", ["nse_cm", "NSE", "", None, 7])
def test_an_unknown_segment(segment: Any) -> None:
    with pytest.raises(
        lt.OrderError, match="segment must be one of NSE_CM, NSE_FO, NSE_CD, NSE_COM, BSE_CM, BSE_FO, MCX_COM"
    ):
        lt.instruments(segment)


# ── the CSV where there is no JSON ───────────────────────────────────────────────────────────────────────────────────


def listings(server: RestServer, segment: str, data: bytes | str) -> module.Master:
    name = f"{segment}.csv" if isinstance(data, str) else f"{segment}_sym_master.json"
    server.files = {name: data.encode() if isinstance(data, str) else data}
    return load_master(segment, refresh=True, static_url=server.static_url)


@pytest.mark.parametrize("columns", [18, 19, 21])
def test_both_forms_say_the_same(server: RestServer, columns: int) -> None:
    rows = [FUTURE, OPTION]
    from_json = listings(server, "NSE_FO", master(*rows)).listings
    from_csv = listings(server, "NSE_FO", "".join(csv_row(row, columns) for row in rows)).listings
    assert from_csv == [row._replace(multiplier="", freeze_quantity="") for row in from_json]


def test_the_csv_serves_where_the_json_does_not(server: RestServer) -> None:
    server.files = {"NSE_CM_sym_master.json": b"<html>moved</html>", "NSE_CM.csv": csv_row(SBIN).encode()}
    [sbin] = load_instruments("NSE_CM", static_url=server.static_url).values()
    assert sbin == lt.Instrument("NSE:SBIN-EQ", tick_size="0.05")


def test_a_csv_of_commodities_has_a_frame_but_no_terms(server: RestServer) -> None:
    server.files = {"MCX_COM.csv": csv_row(CRUDE).encode()}
    assert lt.instruments("MCX_COM", static_url=server.static_url).index.tolist() == ["MCX:CRUDEOIL26OCTFUT"]
    with pytest.raises(lt.FeedError, match="its multiplier is not known"):
        load_instruments("MCX_COM", static_url=server.static_url)


def test_a_future_of_bse_has_no_option_type_in_the_csv(server: RestServer) -> None:
    row = csv_row(contract("BSE:SENSEX26OCTFUT", "SENSEX 29 Oct 26 FUT", 11, minLotSize=20)).replace(",XX,", ",,")
    assert listings(server, "BSE_FO", row).listings[0].kind == "FUTURE"


@pytest.mark.parametrize("data", ["", "\n\n", "<html>\n<body>", "1,2,3\n"])
def test_what_is_no_master(server: RestServer, data: str) -> None:
    server.files = {"NSE_CM.csv": data.encode()}
    with pytest.raises(lt.FeedError, match="symbol master"):
        lt.instruments("NSE_CM", static_url=server.static_url)


# ── odd rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────

ODD = [
    (Segment.NSE_CM, json_row("NSE:WITH SPACE-EQ")),
    (Segment.NSE_CM, json_row("")),
    (Segment.NSE_CM, json_row("NSE:A-EQ", minLotSize=0)),
    (Segment.NSE_CM, json_row("NSE:A-EQ", minLotSize="many")),
    (Segment.NSE_CM, json_row("NSE:A-EQ", minLotSize=0.5)),
    (Segment.NSE_CM, json_row("NSE:A-EQ", tickSize=1e-12)),
    (Segment.NSE_CM, json_row("NSE:A-EQ", expiryDate="soon")),
    (Segment.NSE_CM, json_row("NSE:A-EQ", expiryDate="1e300")),
    (Segment.NSE_FO, contract("NSE:A26OCT1CE", "an option without expiry", 14, optType="CE", expiryDate="")),
    (Segment.NSE_FO, contract("NSE:A26OCT1CE", "an option that is neither", 14)),
    (Segment.NSE_FO, contract("NSE:A26OCTFUT", "nothing that is known", 99, expiryDate="")),
]


@pytest.mark.parametrize(("segment", "row"), ODD, ids=range(len(ODD)))
def test_an_odd_row_is_skipped_and_counted(server: RestServer, segment: Segment, row: dict[str, Any]) -> None:
    good = FUTURE if segment == "NSE_FO" else SBIN
    read = listings(server, segment, master(row, good))
    assert ([listing.symbol for listing in read.listings], read.skipped) == ([good["symTicker"]], 1)
    read = listings(server, segment, csv_row(row) + csv_row(good) + csv_row(good) + "1,2\n\n")
    assert ([listing.symbol for listing in read.listings], read.skipped) == ([good["symTicker"]], 3)
    assert lt.instruments(segment, static_url=server.static_url).attrs["skipped"] == 3


def test_rows_that_are_no_rows(server: RestServer) -> None:
    server.files["NSE_CM_sym_master.json"] = json.dumps(
        {"a": 1, "b": None, "c": [], "d": {}, "NSE:SBIN-EQ": SBIN}
    ).encode()
    assert lt.instruments("NSE_CM", static_url=server.static_url).attrs["skipped"] == 4


@pytest.mark.parametrize(
    ("segment", "row", "kind"),
    [
        ("NSE_CM", json_row("NSE:A-EQ", exInstType=9), "EQUITY"),
        ("NSE_CM", json_row("NSE:A-GB", exInstType=2, expiryDate=str(EXPIRY)), "EQUITY"),
        ("BSE_CM", json_row("BSE:SENSEX-INDEX", exInstType=50), "INDEX"),
        ("NSE_FO", contract("NSE:A26OCTFUT", "", 13), "FUTURE"),
        ("NSE_FO", contract("NSE:A26OCTFUT", "", 0), "FUTURE"),
        ("NSE_FO", contract("NSE:A26OCT1PE", "", 0, optType="PE", strikePrice=1), "OPTION"),
        ("NSE_CD", contract("NSE:USDINR", "", 20, expiryDate=""), "CURRENCY"),
        ("NSE_CD", contract("NSE:A", "", 24, expiryDate="-1"), "INDEX"),
        ("MCX_COM", contract("MCX:A26OCT1CE", "", 31, optType="CE", strikePrice=1), "OPTION"),
        ("NSE_COM", contract("NSE:A26OCTFUT", "", 35, expiryDate=float(EXPIRY)), "FUTURE"),
    ],
)
def test_kinds(server: RestServer, segment: str, row: dict[str, Any], kind: str) -> None:
    [found] = listings(server, segment, master(row)).listings
    assert found.kind == kind
    assert module._instrument(Segment(segment), found).kind == kind


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.integers(), max_size=1)
)


@given(st.sampled_from(list(Segment)), st.dictionaries(st.sampled_from(sorted(SBIN)), VALUES))
def test_whatever_a_row_holds_it_is_an_instrument_or_skipped(segment: Segment, fields: dict[str, Any]) -> None:
    listing = module._listing(segment, {**contract("NSE:A26OCT1CE", "", 14, optType="CE"), **fields})
    if listing is not None:
        assert (
            module._instrument(segment, listing._replace(multiplier=listing.multiplier or "1")).symbol == listing.symbol
        )
        assert all(isinstance(text, str) for text in listing)


# ── the day's cache ──────────────────────────────────────────────────────────────────────────────────────────────────


def on(day: int, server: RestServer, **options: Any) -> module.Master:
    return load_master("NSE_CM", static_url=server.static_url, today=date(2026, 10, day), **options)


def test_a_day_fetches_once(server: RestServer) -> None:
    assert on(1, server) == on(1, server)
    assert server.paths() == ["/sym_details/NSE_CM_sym_master.json"]
    assert on(2, server).day == date(2026, 10, 2)
    assert len(server.asked) == 2
    on(2, server, refresh=True)
    assert len(server.asked) == 3


def test_the_frame_of_a_kept_master_is_the_same(server: RestServer) -> None:
    first = lt.instruments("NSE_FO", static_url=server.static_url)
    pd.testing.assert_frame_equal(lt.instruments("NSE_FO", static_url=server.static_url), first)
    assert len(server.asked) == 1


def test_two_sources_do_not_share_a_cache(server: RestServer) -> None:
    on(1, server)
    with serving() as other:
        other.files["NSE_CM_sym_master.json"] = master(NIFTY)
        assert [row.symbol for row in on(1, other).listings] == ["NSE:NIFTY50-INDEX"]


@pytest.mark.parametrize("faults", [[Reply(status=500)] * 2, [DROP], [Reply(b"<html>"), Reply(b"")]], ids=range(3))
def test_an_old_one_is_served_with_a_warning(server: RestServer, faults: list[Reply]) -> None:
    old = on(1, server)
    server.faults += faults
    with pytest.warns(RuntimeWarning, match="NSE_CM: the instruments of 2026-10-01 are used, for newer ones could not"):
        assert on(2, server) == old
    assert on(2, server).day == date(2026, 10, 2)


def test_without_an_old_one_it_is_an_error(server: RestServer) -> None:
    server.files = {}
    with pytest.raises(lt.FeedError, match=r"does not serve NSE_CM.csv \(HTTP 404"):
        on(1, server)
    server.faults.append(DROP)
    with pytest.raises(lt.FeedError, match="broke"):
        on(1, server)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"version": 0}', "null"])
def test_a_damaged_cache_is_fetched_anew(server: RestServer, cache: Path, damage: str) -> None:
    on(1, server)
    [kept] = cache.rglob("*.json")
    kept.write_text(damage)
    assert len(on(1, server).listings) == 2
    assert len(server.asked) == 2


def test_a_cache_of_another_shape_is_fetched_anew(server: RestServer, cache: Path) -> None:
    on(1, server)
    [kept] = cache.rglob("*.json")
    fields = json.loads(kept.read_text())
    kept.write_text(json.dumps({**fields, "listings": [["NSE:SBIN-EQ"]]}))
    assert len(on(1, server).listings) == 2


def test_a_cache_that_cannot_be_written_is_said(server: RestServer, cache: Path) -> None:
    cache.write_text("a file in its place")
    with pytest.warns(RuntimeWarning, match="not kept for the day .*: set LIVETRADE_CACHE_DIR"):
        assert len(on(1, server).listings) == 2


def test_nothing_half_written_is_left(server: RestServer, cache: Path) -> None:
    on(1, server)
    assert [path.suffix for path in cache.rglob("*") if path.is_file()] == [".json"]


def test_the_cache_is_the_user_s(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert module._place(Segment.NSE_CM, module.STATIC_URL) == cache / "fyers" / "NSE_CM.json"
    monkeypatch.delenv("LIVETRADE_CACHE_DIR")
    assert module._place(Segment.NSE_CM, module.STATIC_URL) == user_cache_path("livetrade") / "fyers" / "NSE_CM.json"
