"""What the loopback Fyers lists: a few symbols, their figures, their rows in the symbol master, their candles."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from livetrade.testing import wire

KOLKATA = ZoneInfo("Asia/Kolkata")
OPENS, CLOSES = time(9, 15), time(15, 30)

SEGMENTS = {
    "1010": ("nse_cm", "NSE_CM"),
    "1011": ("nse_fo", "NSE_FO"),
    "1012": ("cde_fo", "NSE_CD"),
    "1020": ("nse_com", "NSE_COM"),
    "1120": ("mcx_fo", "MCX_COM"),
    "1210": ("bse_cm", "BSE_CM"),
    "1211": ("bse_fo", "BSE_FO"),
    "1212": ("bcs_fo", "BSE_CD"),
}
"""By exchange and segment in a Fyers token: the name on the socket, and the file of the symbol master."""
INDEX_NAMES = {
    "NSE:NIFTY50-INDEX": "Nifty 50",
    "NSE:NIFTYBANK-INDEX": "Nifty Bank",
    "BSE:SENSEX-INDEX": "SENSEX",
}
STANDARD: dict[str, tuple[str, dict[str, Any]]] = {
    "NSE:SBIN-EQ": ("10100000003045", {"last": "549.00", "bid": "548.95", "ask": "549.00", "volume": 1_000_000}),
    "NSE:INFY-EQ": ("10100000001594", {"last": "1600.00", "bid": "1599.90", "ask": "1600.00", "volume": 500_000}),
    "NSE:RELIANCE-EQ": ("10100000002885", {"last": "1402.10", "bid": "1402.00", "ask": "1402.10", "volume": 800_000}),
    "NSE:NIFTY50-INDEX": ("101000000026000", {"last": "25974.90", "close": "25900.00"}),
    "NSE:NIFTYBANK-INDEX": ("101000000026009", {"last": "58000.05", "close": "57900.00"}),
    "BSE:SENSEX-INDEX": ("121000000000001", {"last": "84600.10", "close": "84500.00"}),
    "NSE:NIFTY26DECFUT": ("101126122935001", {"last": "26010.00", "bid": "26009.50", "ask": "26010.50"}),
    "NSE:NIFTY26DEC26000CE": ("101126122945001", {"last": "150.25", "bid": "150.10", "ask": "150.40"}),
    "NSE:USDINR26DECFUT": ("10122612291234", {"last": "90.1250", "bid": "90.1225", "ask": "90.1275"}),
    "MCX:CRUDEOIL26DECFUT": ("112026121818001", {"last": "5310.00", "bid": "5309.00", "ask": "5311.00"}),
}


class Listing:
    """One symbol. `raw`: its figures as they travel, by the names in `wire.FIELDS`."""

    def __init__(self, symbol: str, fytoken: str) -> None:
        self.symbol, self.fytoken = symbol, fytoken
        if fytoken[:4] not in SEGMENTS or not fytoken[4:].isdigit() or len(fytoken) < 11 or not self._has_a_day():
            raise ValueError(f"{symbol}: a Fyers token looks like '10100000003045', not {fytoken!r}")
        self.segment, self.file = SEGMENTS[fytoken[:4]]
        self.precision = 2  # prices are in hundredths everywhere, of a hundredth in a currency
        self.multiplier = 100 if fytoken[2:4] == "12" else 1
        self.raw: dict[str, int] = {}

    def topic(self, kind: str) -> str:
        if self.symbol.endswith("-INDEX"):
            name = INDEX_NAMES.get(self.symbol) or self.symbol.partition(":")[2].partition("-")[0]
            return f"if|{self.segment}|{name}"
        return f"{kind}|{self.segment}|{self.fytoken[10:]}"

    @property
    def topics(self) -> tuple[str, ...]:
        return tuple({self.topic(kind): None for kind in ("sf", "dp")})

    def put(self, figures: Mapping[str, Any]) -> dict[str, int]:
        """Takes new figures; gives back the raw ones. Raises `ValueError` for one that has no field."""
        unknown = set(figures) - {name for names in wire.FIELDS.values() for name in names}
        if unknown:
            raise ValueError(f"no such figure: {', '.join(sorted(unknown))}")
        raw = {name: self._raw(name, value) for name, value in figures.items()}
        for side in ("bid", "ask"):  # the quote is the first level of the depth
            for name, level in ((side, f"{side}_price1"), (f"{side}_size", f"{side}_size1")):
                if name in raw:
                    raw.setdefault(level, raw[name])
        self.raw.update(raw)
        return raw

    def _raw(self, name: str, value: Any) -> int:
        if name not in wire.PRICES:
            return int(value)
        try:
            exact = Decimal(str(value)).scaleb(self.precision) * self.multiplier
        except InvalidOperation:
            raise ValueError(f"{self.symbol}: {name} {value!r} is no number") from None
        if not exact.is_finite() or exact != int(exact):
            raise ValueError(f"{self.symbol}: {name} {value} is finer than the wire's 1/{100 * self.multiplier}")
        return int(exact)

    def price(self, name: str) -> float:
        return self.raw.get(name, 0) / (100 * self.multiplier)

    def exact(self, name: str) -> Decimal:
        """A price, 0 where there is none."""
        return Decimal(self.raw.get(name, 0)) / (100 * self.multiplier)

    @property
    def last(self) -> Decimal:
        return self.exact("last")

    @property
    def tick(self) -> Decimal:
        return Decimal("0.0025" if self.multiplier > 1 else "0.05")

    def touch(self, side: int) -> Decimal:
        """What an order on this side (1 to buy, -1 to sell) meets; 0 for nothing."""
        return self.exact("ask" if side > 0 else "bid")

    # ── what the REST calls tell ─────────────────────────────────────────────────────────────────────────────────────

    def quote(self) -> dict[str, Any]:
        """Its entry in `/data/quotes`."""
        last, close = self.price("last"), self.price("close")
        exchange, _, name = self.symbol.partition(":")
        return {
            "n": self.symbol,
            "s": "ok",
            "v": {
                "lp": last,
                "bid": self.price("bid"),
                "ask": self.price("ask"),
                "spread": round(self.price("ask") - self.price("bid"), 4),
                "open_price": self.price("open"),
                "high_price": self.price("high"),
                "low_price": self.price("low"),
                "prev_close_price": close,
                "ch": round(last - close, 4) if close else 0,
                "chp": round((last - close) / close * 100, 2) if close else 0,
                "atp": self.price("average"),
                "volume": self.raw.get("volume", 0),
                "short_name": name,
                "exchange": exchange,
                "description": self.symbol,
                "original_name": self.symbol,
                "symbol": self.symbol,
                "fyToken": self.fytoken,
                "tt": str(self.raw.get("time", 0)),
            },
        }

    def row(self) -> str:
        """Its line in the symbol master: 21 columns without a header."""
        name = self.symbol.partition(":")[2]
        option = name[-2:] if self.expiry and name.endswith(("CE", "PE")) else "XX"
        return ",".join(
            (
                self.fytoken,
                f"{name} OF THE LOOPBACK",
                self._kind(option),
                "75" if self.expiry and self.segment == "nse_fo" else "1",
                str(self.tick),
                "" if self.expiry else "INE062A01020",
                "0915-1530|1815-1915:",
                "2026-09-09",
                str(int(datetime.combine(self.expiry, CLOSES, KOLKATA).timestamp())) if self.expiry else "",
                self.symbol,
                self.fytoken[:2],
                self.fytoken[2:4],
                self.fytoken[10:],
                name.partition("-")[0].rstrip("0123456789") or name,
                self.fytoken[10:],
                "26000.0" if option != "XX" else "-1.0",
                option,
                self.fytoken,
                "None",
                "1",
                "3.7",
            )
        )

    @property
    def expiry(self) -> date | None:
        digits = self.fytoken[4:10]
        return datetime.strptime(digits, "%y%m%d").replace(tzinfo=UTC).date() if digits != "000000" else None

    def _has_a_day(self) -> bool:
        try:
            _ = self.expiry
        except ValueError:
            return False
        return True

    def _kind(self, option: str) -> str:
        if self.symbol.endswith("-INDEX"):
            return "10"
        if not self.expiry:
            return "0"
        if self.multiplier > 1:
            return "16"
        return "30" if self.segment.endswith(("com", "mcx_fo")) else "14" if option != "XX" else "11"

    def candles(self, first: date, last: date, seconds: int) -> list[list[float]]:
        """Made-up candles around its last price, the same at every call: `[epoch, open, high, low, close, volume]`."""
        found: list[list[float]] = []
        middle, tick = self.price("last"), 0.05
        for moment in _moments(first, last, seconds):
            step = (moment // seconds) % 40 - 20
            opens = round(middle + step * tick, 4)
            closes = round(opens + tick * (1 if step % 2 else -1), 4)
            high, low = round(max(opens, closes) + tick, 4), round(min(opens, closes) - tick, 4)
            found.append([moment, opens, high, low, closes, 1000 + step])
        return found


def _moments(first: date, last: date, seconds: int) -> Iterator[int]:
    """The beginnings of candles; those of whole days are at midnight UTC."""
    day = first
    while day <= last:
        if day.weekday() < 5:
            if seconds >= 86_400:
                yield int(datetime.combine(day, time(), UTC).timestamp())
            else:
                opens = int(datetime.combine(day, OPENS, KOLKATA).timestamp())
                yield from range(opens, int(datetime.combine(day, CLOSES, KOLKATA).timestamp()), seconds)
        day += timedelta(days=1)
