"""What the server of the Fyers API v3 data socket sends, byte by byte, from the protocol's description.

Written apart from `livetrade.adapters.fyers.codec`, so that neither can hide a mistake of the other.
"""

from collections.abc import Sequence

NONE = -(2**31)
"""In a snapshot: no value. In an update: unchanged."""

SCRIP = (
    "ltp",
    "vol_traded_today",
    "last_traded_time",
    "exch_feed_time",
    "bid_size",
    "ask_size",
    "bid_price",
    "ask_price",
    "last_traded_qty",
    "tot_buy_qty",
    "tot_sell_qty",
    "avg_trade_price",
    "OI",
    "low_price",
    "high_price",
    "Yhigh",
    "Ylow",
    "lower_ckt",
    "upper_ckt",
    "open_price",
    "prev_close_price",
)
INDEX = ("ltp", "prev_close_price", "exch_feed_time", "high_price", "low_price", "open_price")
DEPTH = tuple(
    f"{side}_{what}{level}" for what in ("price", "size", "order") for side in ("bid", "ask") for level in range(1, 6)
)


def big(value: int, size: int) -> bytes:
    return (value % 256**size).to_bytes(size, "big")


def figures(table: Sequence[str], **named: int) -> list[int]:
    """A whole table of figures, with no value where none is named."""
    assert set(named) <= set(table), set(named) - set(table)
    return [named.get(name, NONE) for name in table]


def short(text: bytes | str) -> bytes:
    """A text behind its length in one byte."""
    written = text if isinstance(text, bytes) else text.encode("ascii")
    return big(len(written), 1) + written


def snapshot(
    topic_id: int,
    name: bytes | str,
    values: Sequence[int],
    *,
    multiplier: int = 1,
    precision: int = 2,
    tail: Sequence[bytes | str] = ("NSE", "3045", "SBIN"),
) -> bytes:
    fields = big(len(values), 1) + b"".join(big(value, 4) for value in values)
    scale = bytes(2) + big(multiplier, 2) + big(precision, 1)
    return b"S" + big(topic_id, 2) + short(name) + fields + scale + b"".join(short(text) for text in tail)


def update(topic_id: int, values: Sequence[int]) -> bytes:
    return b"U" + big(topic_id, 2) + big(len(values), 1) + b"".join(big(value, 4) for value in values)


def lite(topic_id: int, ltp: int) -> bytes:
    return b"L" + big(topic_id, 2) + big(ltp, 4)


def data(number: int, *items: bytes, count: int | None = None) -> bytes:
    """A data frame; `count` for one that lies about its items."""
    body = big(6, 1) + big(number, 4) + big(len(items) if count is None else count, 2) + b"".join(items)
    return big(len(body), 2) + body


def control(kind: int, *fields: tuple[int, bytes], length: int | None = None) -> bytes:
    body = big(kind, 1) + big(len(fields), 1)
    body += b"".join(big(number, 1) + big(len(value), 2) + value for number, value in fields)
    return big(len(body) if length is None else length, 2) + body


def auth_reply(status: bytes = b"K", ack_count: int = 0, *more: tuple[int, bytes]) -> bytes:
    return control(1, (1, status), (2, big(ack_count, 4)), *more)


def answer(kind: int, status: bytes = b"K") -> bytes:
    return control(kind, (1, status), (2, b"\xff\xff"))


def notice(code: int, text: str, ref_type: int) -> bytes:
    return control(51, (1, big(code, 4)), (2, text.encode()), (3, big(ref_type, 1)))
