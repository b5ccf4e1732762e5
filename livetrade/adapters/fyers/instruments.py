"""The symbol master: what can be traded at Fyers, with ticks, lots and contract terms.

Facts: Fyers publishes each segment every day, without log-in, as `SEGMENT_sym_master.json` and as `SEGMENT.csv`. The
JSON is read first, for it alone has `qtyFreeze` and `qtyMultiplier`: at Fyers a quantity in currency and commodities is
in lots, the CSV says lot 1 for every one of them, and only the multiplier (1,000 for USDINR) makes a value of price and
quantity. Its fields have names too, while the CSV's columns go by their place, and have grown from 18 to 21. The CSV
serves where the JSON is not served.
"""

import json
import os
import warnings
from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

from livetrade.adapters.fyers.rest import STATIC_URL, FyersRest, RestError, base_url
from livetrade.columns import Maker, Schema, View
from livetrade.core.instruments import Instrument, check_symbol
from livetrade.core.kinds import InstrumentKind
from livetrade.errors import FeedError, OrderError

if TYPE_CHECKING:
    import pandas as pd

ZONE = "Asia/Kolkata"


class Segment(StrEnum):
    NSE_CM = "NSE_CM"
    NSE_FO = "NSE_FO"
    NSE_CD = "NSE_CD"
    NSE_COM = "NSE_COM"
    BSE_CM = "BSE_CM"
    BSE_FO = "BSE_FO"
    MCX_COM = "MCX_COM"


class OptionType(StrEnum):
    CE = "CE"
    PE = "PE"


class Listing(NamedTuple):
    """One row of the master, as text: exact numbers, an ISO date; "" where there is none or it is not known."""

    symbol: str
    kind: str
    name: str
    tick_size: str
    lot_size: str
    multiplier: str
    freeze_quantity: str
    expiry: str
    strike: str
    option_type: str
    underlying: str
    isin: str
    token: str


class Master(NamedTuple):
    """One segment as it was on a day (in India). skipped: how many rows made no sense."""

    segment: Segment
    day: date
    skipped: int
    listings: list[Listing]


# ── for users ────────────────────────────────────────────────────────────────────────────────────────────────────────

_COLUMNS: Schema = {
    "kind": InstrumentKind,
    "name": "text",
    "tick_size": "number",
    "lot_size": "number",
    "freeze_quantity": "number",
    "expiry": "time",
    "strike": "number",
    "option_type": OptionType,
    "underlying": "text",
    "isin": "text",
    "token": "text",
    "segment": Segment,
}


def instruments(segment: str, *, refresh: bool = False, static_url: str | None = None) -> "pd.DataFrame":
    """All instruments of a segment of Fyers: NSE_CM, NSE_FO, NSE_CD, NSE_COM, BSE_CM, BSE_FO or MCX_COM.

    Index: symbol. Columns: kind, name, tick_size, lot_size, freeze_quantity, expiry (its midnight in Asia/Kolkata),
    strike, option_type, underlying, isin, token (Fyers's own, text), segment; NaN, NaT or "" where there is none. No
    log-in is needed. `attrs`: segment, date, and how many rows were skipped since they made no sense.

    Kept for the day (in India) in the user's cache directory (`LIVETRADE_CACHE_DIR` overrides); `refresh=True` fetches
    it anew. Where it cannot be fetched an older one is served, with a `RuntimeWarning`.

    Raises `OrderError` for an unknown segment, `FeedError` where there is nothing to serve.
    """
    master = load_master(segment, refresh=refresh, static_url=static_url)
    rows = master.listings
    options = {"": -1, "CE": 0, "PE": 1}
    columns: dict[str, Any] = {name: [getattr(row, name) for row in rows] for name in Listing._fields}
    for name, kind in _COLUMNS.items():
        if kind == "number":
            columns[name] = [Decimal(text) if text else None for text in columns[name]]
    columns["kind"] = [InstrumentKind(kind) for kind in columns["kind"]]
    columns["expiry"] = [_midnight_ns(day) for day in columns["expiry"]]
    columns["option_type"] = array("b", [options[text] for text in columns["option_type"]])
    columns["segment"] = [master.segment] * len(rows)
    frame = Maker(View(ZoneInfo(ZONE), 0, 0), exact=False).frame(_COLUMNS, columns, index="symbol")
    frame.attrs = {"segment": str(master.segment), "date": master.day.isoformat(), "skipped": master.skipped}
    return frame


def load_instruments(
    segment: str, symbols: Iterable[str] | None = None, *, refresh: bool = False, static_url: str | None = None
) -> dict[str, Instrument]:
    """The instruments of a segment by symbol: all, or those of `symbols` that it holds; the rest is left out.

    One lot of a currency or commodity is a quantity of 1 with the contract's multiplier. Raises as `instruments`, and
    `FeedError` where such a multiplier is not known.
    """
    master = load_master(segment, refresh=refresh, static_url=static_url)
    if symbols is None:
        return {row.symbol: _instrument(master.segment, row) for row in master.listings}
    wanted = {symbols} if isinstance(symbols, str) else set(symbols)
    return {row.symbol: _instrument(master.segment, row) for row in master.listings if row.symbol in wanted}


def _instrument(segment: Segment, row: Listing) -> Instrument:
    if not row.multiplier and not segment.endswith(("_CM", "_FO")):
        raise FeedError(
            f"{row.symbol}: its multiplier is not known, for Fyers served {segment} without it: "
            f"try again later with refresh=True, or register Instrument({row.symbol!r}, multiplier=...)"
        )
    return Instrument(
        row.symbol,
        kind=row.kind,
        scale=max(4 if segment is Segment.NSE_CD else 2, _decimals(row.tick_size)),
        tick_size=row.tick_size or None,
        lot_size=row.lot_size,
        multiplier=row.multiplier or 1,
        freeze_quantity=row.freeze_quantity or None,
        expiry=date.fromisoformat(row.expiry) if row.expiry else None,
        strike=row.strike or None,
        option_type=row.option_type or None,
    )


def _decimals(text: str) -> int:
    return len(text.partition(".")[2])


@lru_cache(maxsize=4096)
def _midnight_ns(day: str) -> int:
    """Nanoseconds UTC at 00:00 in India of an ISO date; 0 for none."""
    return int(datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(ZONE)).timestamp()) * 10**9 if day else 0


# ── one master: kept, or fetched ─────────────────────────────────────────────────────────────────────────────────────


def load_master(
    segment: str, *, refresh: bool = False, static_url: str | None = None, today: date | None = None
) -> Master:
    """The day's master, as `instruments` says; `today` is the day in India."""
    if segment not in Segment.__members__:
        raise OrderError(f"segment must be one of {', '.join(Segment)}, not {segment!r}")
    name = Segment(segment)
    source = base_url(static_url or STATIC_URL, "static_url")
    day = today or datetime.now(ZoneInfo(ZONE)).date()
    place = _place(name, source)
    kept = _kept(place, name)
    if kept is not None and kept.day == day and not refresh:
        return kept
    try:
        fetched = _fetched(name, source, day)
    except FeedError as error:
        if kept is None:
            raise
        _warn(f"{name}: the instruments of {kept.day} are used, for newer ones could not be fetched: {error}")
        return kept
    _keep(place, fetched)
    return fetched


def _fetched(segment: Segment, source: str, day: date) -> Master:
    with FyersRest(static_url=source) as rest:
        try:
            return _read(segment, day, _json_rows(rest.static(f"{segment}_sym_master.json")))
        except FeedError as error:
            if isinstance(error, RestError) and not error.status:
                raise  # nobody answers: the other file would not come either
        return _read(segment, day, _csv_rows(rest.static(f"{segment}.csv")))


def _read(segment: Segment, day: date, rows: Iterable[Mapping[str, Any] | None]) -> Master:
    listings: dict[str, Listing] = {}
    skipped = 0
    for row in rows:
        listing = None if row is None else _listing(segment, row)
        if listing is None or listing.symbol in listings:
            skipped += 1
        else:
            listings[listing.symbol] = listing
    if skipped and not listings:
        raise FeedError(f"what Fyers serves as {segment} is no symbol master: none of {skipped} rows can be read")
    return Master(segment, day, skipped, list(listings.values()))


def _place(segment: Segment, source: str) -> Path:
    from platformdirs import user_cache_path

    folder = os.environ.get("LIVETRADE_CACHE_DIR")
    base = Path(folder) if folder else user_cache_path("livetrade")
    if source == STATIC_URL:
        return base / "fyers" / f"{segment}.json"
    from hashlib import sha256

    return base / f"fyers-{sha256(source.encode()).hexdigest()[:12]}" / f"{segment}.json"


_VERSION = 1


def _kept(place: Path, segment: Segment) -> Master | None:
    try:
        kept = json.loads(place.read_bytes())
        if kept["version"] != _VERSION or kept["segment"] != segment:
            return None
        rows = [Listing(*row) for row in kept["listings"]]
        return Master(segment, date.fromisoformat(kept["date"]), int(kept["skipped"]), rows)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _keep(place: Path, master: Master) -> None:
    from uuid import uuid4

    draft = place.with_name(f".{place.name}.{uuid4().hex}.tmp")
    kept = {
        "version": _VERSION,
        "segment": master.segment,
        "date": master.day.isoformat(),
        "skipped": master.skipped,
        "listings": master.listings,
    }
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(kept, separators=(",", ":")), encoding="utf-8")
        draft.replace(place)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        _warn(f"the instruments are not kept for the day ({error}): set LIVETRADE_CACHE_DIR to a folder of yours")


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=4)


# ── two forms of one row ─────────────────────────────────────────────────────────────────────────────────────────────

_FIELDS = {
    "fyToken": 0,
    "symDetails": 1,
    "exInstType": 2,
    "minLotSize": 3,
    "tickSize": 4,
    "isin": 5,
    "expiryDate": 8,
    "symTicker": 9,
    "underSym": 13,
    "strikePrice": 15,
    "optType": 16,
}
"""The JSON's names of what both have, and the CSV's columns."""
_NEEDED = (*_FIELDS, "symbolDetails", "exSymName", "qtyMultiplier", "qtyFreeze")
_OLDEST_COLUMNS = 18


def _json_rows(data: bytes) -> Iterator[Mapping[str, Any] | None]:
    rows: object = None
    with suppress(ValueError, RecursionError):
        rows = json.loads(data, parse_float=str, object_hook=_needed)  # 0.05 as it is written
    if not isinstance(rows, dict):
        raise FeedError("what Fyers serves as its symbol master is not JSON: try again later")
    for row in rows.values():
        yield row if isinstance(row, dict) else None


def _needed(row: dict[str, Any]) -> dict[str, Any]:
    """A third of a row's fields: a master of 100,000 rows then fits in a small machine."""
    return {name: row[name] for name in _NEEDED if name in row} if "symTicker" in row else row


def _csv_rows(data: bytes) -> Iterator[Mapping[str, Any] | None]:
    import csv

    if not data.strip():
        raise FeedError("Fyers serves an empty file as its symbol master: try again later")
    lines = data.decode("utf-8", errors="replace").replace("\0", "").splitlines()
    for row in csv.reader(lines, quoting=csv.QUOTE_NONE):
        if row:
            yield {name: row[at] for name, at in _FIELDS.items()} if len(row) >= _OLDEST_COLUMNS else None


_KINDS = {
    **dict.fromkeys((11, 12, 13, 16, 17, 18, 25, 30, 33, 34, 35), InstrumentKind.FUTURE),
    **dict.fromkeys((14, 15, 19, 31, 32, 36, 37), InstrumentKind.OPTION),
    **dict.fromkeys((20, 21, 22, 23), InstrumentKind.CURRENCY),
    **dict.fromkeys((10, 24), InstrumentKind.INDEX),
}
"""By Fyers's instrument code, outside the cash market; there everything is EQUITY but for the indices (10)."""


def _listing(segment: Segment, row: Mapping[str, Any]) -> Listing | None:
    """A row, checked; None where it makes no sense."""
    symbol, option = _text(row, "symTicker"), _text(row, "optType")
    option_type = option if option in OptionType.__members__ else ""
    expiry, tick = _expiry(_text(row, "expiryDate")), _positive(_text(row, "tickSize"))
    kind = _kind(segment, symbol, _text(row, "exInstType"), option_type, expiry)
    # an index is not traded, and its lot is 0
    lot = _positive(_text(row, "minLotSize")) or ("1" if kind is InstrumentKind.INDEX else "")
    if kind is None or expiry is None or not lot.isdecimal() or _decimals(tick) > 8 or not _is_symbol(symbol):
        return None
    return Listing(
        symbol=symbol,
        kind=kind,
        name=_text(row, "symbolDetails") or _text(row, "symDetails") or _text(row, "exSymName"),
        tick_size=tick,
        lot_size=lot,
        multiplier=_positive(_text(row, "qtyMultiplier")),
        freeze_quantity=_positive(_text(row, "qtyFreeze")),
        expiry=expiry,
        strike=_positive(_text(row, "strikePrice")) if option_type else "",
        option_type=option_type,
        underlying=_text(row, "underSym"),
        isin=_text(row, "isin"),
        token=_text(row, "fyToken"),
    )


def _kind(segment: Segment, symbol: str, code: str, option_type: str, expiry: str | None) -> InstrumentKind | None:
    known = _KINDS.get(int(code)) if code.isdecimal() else None
    if segment.endswith("_CM"):
        is_index = known is InstrumentKind.INDEX or symbol.endswith("-INDEX")
        return InstrumentKind.INDEX if is_index else InstrumentKind.EQUITY
    if option_type:
        return InstrumentKind.OPTION if expiry else None
    if known is InstrumentKind.OPTION:
        return None
    # the codes in the derivatives' files are not kept well: what expires and is no option is a future
    return InstrumentKind.FUTURE if expiry else known


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    text = "" if value is None else str(value).strip()
    return "" if text in ("None", "nan") else text


def _is_symbol(text: str) -> bool:
    try:
        return bool(check_symbol(text))
    except OrderError:
        return False


@lru_cache(maxsize=1 << 16)
def _positive(text: str) -> str:
    """A number above zero, in plain digits; "" for anything else: masters write 0, -1 and nothing for none."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return ""
    return f"{number.normalize():f}" if number.is_finite() and number > 0 and abs(number.adjusted()) < 20 else ""


@lru_cache(maxsize=4096)
def _expiry(text: str) -> str | None:
    """The ISO date in India of epoch seconds; "" for none, None for what is neither."""
    try:
        seconds = float(text or 0)
        return "" if seconds <= 0 else datetime.fromtimestamp(seconds, ZoneInfo(ZONE)).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return None
