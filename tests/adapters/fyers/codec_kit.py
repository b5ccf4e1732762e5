"""What the tests of the decoder share: topics, figures, and a decoder that has begun."""

from decimal import Decimal
from typing import Any

from livetrade.adapters.fyers.codec import Decoder
from livetrade.core.instruments import Instrument
from livetrade.core.ticks import Tick
from tests.adapters.fyers.frames import DEPTH, INDEX, SCRIP, data, figures, snapshot

SBIN = Instrument("NSE:SBIN-EQ", tick_size="0.05")
RELIANCE = Instrument("NSE:RELIANCE-EQ", tick_size="0.05")
NIFTY = Instrument("NSE:NIFTY50-INDEX", kind="INDEX")
RUPEE = Instrument("NSE:USDINR26JANFUT", kind="CURRENCY", scale=4, tick_size="0.0025")
SCRIP_TOPIC, OTHER_TOPIC, INDEX_TOPIC, DEPTH_TOPIC = (
    "sf|nse_cm|3045",
    "sf|nse_cm|2885",
    "if|nse_cm|Nifty 50",
    "dp|nse_cm|3045",
)
TOPICS = {SCRIP_TOPIC: SBIN, OTHER_TOPIC: RELIANCE, INDEX_TOPIC: NIFTY, DEPTH_TOPIC: SBIN, "sf|cde_fo|1": RUPEE}
NOON = 1_767_940_200
FIRST: dict[str, int] = {
    "ltp": 106_845,
    "vol_traded_today": 5_000_000,
    "last_traded_time": NOON - 1,
    "exch_feed_time": NOON,
    "bid_size": 300,
    "ask_size": 400,
    "bid_price": 106_840,
    "ask_price": 106_850,
    "OI": 0,
    "prev_close_price": 106_000,
}
FIELDS = ("bid", "ask", "last", "volume", "bid_size", "ask_size", "time_ns", "whole")
SHOWN = dict(
    zip(
        FIELDS,
        (Decimal("1068.40"), Decimal("1068.50"), Decimal("1068.45"), 5_000_000, 300, 400, NOON * 10**9, True),
        strict=True,
    )
)


def scrip(**named: int) -> list[int]:
    return figures(SCRIP, **named)


def index(**named: int) -> list[int]:
    return figures(INDEX, **named)


def depth(**named: int) -> list[int]:
    return figures(DEPTH, **named)


def shown(tick: Tick) -> dict[str, Any]:
    return {name: getattr(tick, name) for name in FIELDS}


def begun(**changes: int) -> Decoder:
    """A decoder that has read one snapshot, of id 7."""
    decoder = Decoder(TOPICS)
    assert len(decoder.decode(data(1, snapshot(7, SCRIP_TOPIC, scrip(**{**FIRST, **changes}))))) == 1
    return decoder


def only(decoder: Decoder, *items: bytes) -> Tick:
    (tick,) = decoder.decode(data(2, *items))
    return tick
