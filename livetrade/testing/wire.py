"""The server's half of Fyers' data socket, in bytes.

Written from the protocol's description and apart from `livetrade.adapters.fyers.codec`, so that each tests the other.
All integers are big-endian. A message is `u16 length, u8 type, u8 fields`, then for each field `u8 id, u16 length,
bytes`; a data frame has its own form.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

AUTH, ACK, SUBSCRIBE, UNSUBSCRIBE, DATA, PAUSE, RESUME, MODE, CUSTOM = 1, 3, 4, 5, 6, 7, 8, 12, 51
PING = b"\x00\x01\x0b"
NOTHING = -(2**31)
"""In a snapshot: no value. In an update: as it was."""

SCRIP = (
    "last",
    "volume",
    "last_time",
    "time",
    "bid_size",
    "ask_size",
    "bid",
    "ask",
    "last_size",
    "total_bid_size",
    "total_ask_size",
    "average",
    "open_interest",
    "low",
    "high",
    "year_high",
    "year_low",
    "lower_circuit",
    "upper_circuit",
    "open",
    "close",
)
INDEX = ("last", "close", "time", "high", "low", "open")
DEPTH = tuple(
    f"{side}_{what}{level}" for what in ("price", "size", "orders") for side in ("bid", "ask") for level in range(1, 6)
)
FIELDS = {"sf": SCRIP, "if": INDEX, "dp": DEPTH}
PRICES = frozenset(("last", "bid", "ask", "average", "low", "high", "year_high", "year_low", "lower_circuit"))
PRICES |= {"upper_circuit", "open", "close"}
PRICES |= {name for name in DEPTH if "price" in name}


class Message(NamedTuple):
    """What a client sent. `fields`: by their ids."""

    type: int
    fields: dict[int, bytes]


def read(frame: bytes) -> Message:
    """A client's message. The length at its beginning is not looked at: clients write what they like there."""
    fields = {}
    at = 4
    for _ in range(frame[3] if len(frame) > 3 else 0):
        number, length = struct.unpack_from(">BH", frame, at)
        fields[number] = frame[at + 3 : at + 3 + length]
        at += 3 + length
    return Message(frame[2], fields)


def topics(blob: bytes) -> list[str]:
    """The topics in a subscribe or unsubscribe message's first field."""
    found = []
    at = 2
    for _ in range(int.from_bytes(blob[:2], "big")):
        found.append(blob[at + 1 : at + 1 + blob[at]].decode("ascii"))
        at += 1 + blob[at]
    return found


def message(kind: int, *fields: bytes) -> bytes:
    body = b"".join(struct.pack(">BH", number, len(field)) + field for number, field in enumerate(fields, 1))
    return struct.pack(">HBB", 2 + len(body), kind, len(fields)) + body


def auth_reply(status: str, ack_every: int) -> bytes:
    return message(AUTH, status.encode(), struct.pack(">I", ack_every))


def answer(kind: int, status: str = "K") -> bytes:
    return message(kind, status.encode(), b"\xff\xff")


def custom(code: int, text: str, about: int = 4) -> bytes:
    return message(CUSTOM, struct.pack(">i", code), text.encode(), bytes([about]))


def data(number: int, items: Sequence[bytes]) -> bytes:
    body = b"".join(items)
    return struct.pack(">HBIH", (len(body) + 7) & 0xFFFF, DATA, number, len(items)) + body


def snapshot(topic_id: int, topic: str, values: Iterable[int], multiplier: int, precision: int, symbol: str) -> bytes:
    name = topic.encode("ascii")
    raw = list(values)
    tail = b"".join(bytes([len(text)]) + text for text in (b"", topic.rpartition("|")[2].encode(), symbol.encode()))
    return b"".join(
        (
            struct.pack(">BHB", 83, topic_id, len(name)),
            name,
            struct.pack(f">B{len(raw)}i", len(raw), *map(wrapped, raw)),
            struct.pack(">HHB", 0, multiplier, precision),
            tail,
        )
    )


def update(topic_id: int, values: Iterable[int]) -> bytes:
    raw = list(values)
    return struct.pack(f">BHB{len(raw)}i", 85, topic_id, len(raw), *map(wrapped, raw))


def lite(topic_id: int, last: int) -> bytes:
    return struct.pack(">BHi", 76, topic_id, wrapped(last))


def wrapped(value: int) -> int:
    """As 32 bits hold it: a volume above 2,147,483,647 comes out negative."""
    return (value + 2**31) % 2**32 - 2**31
