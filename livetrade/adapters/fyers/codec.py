"""The data socket of Fyers API v3 ("HSM"): commands to bytes, bytes to answers and ticks. No clock and no I/O.

Integers are big-endian; a topic id is only a key, so its byte order does not matter. Every message but data and ping is

    u16 length | u8 type | u8 fields | fields × (u8 id, u16 length, bytes)

The socket's own length is not enforced by the server and not believed here. What a frame does not spell out in full is
counted and left out: a price that is wrong or uncertain is never told.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import IntEnum
from struct import Struct, error

from livetrade.adapters.fyers.topics import SOURCE, Book, Depth, Index, Last, Level, Nobody, Scale, Scrip, Topic
from livetrade.core.instruments import Instrument
from livetrade.core.records import record
from livetrade.core.ticks import Tick

__all__ = [
    "CHANNEL",
    "MOST_TOPICS",
    "PING",
    "Answer",
    "AuthReply",
    "Decoder",
    "Depth",
    "Level",
    "MessageType",
    "Notice",
    "ack_frame",
    "auth_frame",
    "mode_frame",
    "pause_frame",
    "read",
    "resume_frame",
    "subscribe_frame",
    "unsubscribe_frame",
]


class MessageType(IntEnum):
    """The third byte of a frame (Fyers API v3 data socket). MASTER is sent at connect and not understood."""

    AUTH = 1
    ACK = 3
    SUBSCRIBE = 4
    UNSUBSCRIBE = 5
    DATA = 6
    PAUSE = 7
    RESUME = 8
    PING = 11
    MODE = 12
    MASTER = 13
    CUSTOM = 51


# ------------------------------------------------------------------------------------------------ client to server

PING = b"\x00\x01\x0b"
"""The whole keep-alive, due every 10 s; it has no fields and no answer."""

CHANNEL = 11
MOST_TOPICS = 1500
_MOST_BYTES = 0xFFFF


def auth_frame(hsm_key: str, source: str = "livetrade") -> bytes:
    """Type 1. Fields: 1 the `hsm_key` of the token, 2 the mode 'P', 3 the byte 1, 4 the program's name; all ASCII."""
    return _message(MessageType.AUTH, hsm_key.encode("ascii"), b"P", b"\x01", source.encode("ascii"))


def mode_frame(full: bool, channel: int = CHANNEL) -> bytes:
    """Type 12, its length 0. Fields: 1 the channel's bit in a u64, 2 'F' for full or 'L' for last prices only."""
    return _message(MessageType.MODE, _bitmap(channel), b"F" if full else b"L", sized=False)


def subscribe_frame(topics: Sequence[str], channel: int = CHANNEL) -> bytes:
    """Type 4. Fields: 1 a u16 count and each topic as u8 length and ASCII, 2 the channel as one byte.

    Raises `ValueError` for more than 1500 topics, for more than a frame holds, and for a topic that cannot be written.
    """
    return _message(MessageType.SUBSCRIBE, _list(topics), _number(channel))


def unsubscribe_frame(topics: Sequence[str], channel: int = CHANNEL) -> bytes:
    """Type 5; as `subscribe_frame`."""
    return _message(MessageType.UNSUBSCRIBE, _list(topics), _number(channel))


def ack_frame(number: int) -> bytes:
    """Type 3. Field 1: the u32 number of the data frame that is the latest of `AuthReply.ack_every`."""
    return _message(MessageType.ACK, number.to_bytes(4, "big"))


def pause_frame(channel: int) -> bytes:
    """Type 7, its length 0. Field 1: the channel's bit in a u64."""
    return _message(MessageType.PAUSE, _bitmap(channel), sized=False)


def resume_frame(channel: int) -> bytes:
    """Type 8; as `pause_frame`."""
    return _message(MessageType.RESUME, _bitmap(channel), sized=False)


def _message(kind: MessageType, *fields: bytes, sized: bool = True) -> bytes:
    length = 2 + sum(3 + len(field) for field in fields)
    if length > _MOST_BYTES:
        raise ValueError(f"a frame holds {_MOST_BYTES} bytes, not {length}")
    written = (bytes([number]) + len(field).to_bytes(2, "big") + field for number, field in enumerate(fields, 1))
    return (length if sized else 0).to_bytes(2, "big") + bytes([kind, len(fields)]) + b"".join(written)


def _list(topics: Sequence[str]) -> bytes:
    if len(topics) > MOST_TOPICS:
        raise ValueError(f"at most {MOST_TOPICS} topics at once, not {len(topics)}")
    written = [topic.encode("ascii") for topic in topics]
    if not all(0 < len(topic) < 256 for topic in written):
        raise ValueError("a topic has 1 to 255 letters")
    return len(written).to_bytes(2, "big") + b"".join(bytes([len(topic)]) + topic for topic in written)


def _number(channel: int) -> bytes:
    if not 0 < channel < 64:
        raise ValueError(f"a channel is 1 to 63, not {channel}")
    return bytes([channel])


def _bitmap(channel: int) -> bytes:
    return (1 << _number(channel)[0]).to_bytes(8, "big")


# ------------------------------------------------------------------------------------------------ server to client


@record
class AuthReply:
    """To `auth_frame`. ack_every: every so many data frames the server wants an `ack_frame`; 0 means never.

    message: what the server wrote when it refused.
    """

    ok: bool
    message: str
    ack_every: int


@record
class Answer:
    """To a subscribe, unsubscribe, mode, pause or resume; `message` is what the server wrote when it refused."""

    to: MessageType
    ok: bool
    message: str


@record
class Notice:
    """Something the server says of itself, such as code 51001: more symbols than the user's plan allows."""

    code: int
    message: str
    about: MessageType | None


_ANSWERED = (
    MessageType.SUBSCRIBE,
    MessageType.UNSUBSCRIBE,
    MessageType.MODE,
    MessageType.PAUSE,
    MessageType.RESUME,
)
_SUBJECTS = {bytes([kind]): kind for kind in (MessageType.AUTH, *_ANSWERED) if kind is not MessageType.MODE}


def read(frame: bytes) -> AuthReply | Answer | Notice | None:
    """What the server answers or says; None for data, and for what is unknown or unreadable. Never raises.

    Field 1 of an answer is its status: "K" is yes, anything else no (Fyers API v3 data socket). Fields that are not
    needed are not looked at: what the server adds behind them may have any shape.
    """
    kind = frame[2] if len(frame) > 3 else None
    if kind == MessageType.AUTH:
        return _auth_reply(_fields(frame, 2))
    if kind == MessageType.CUSTOM:
        return _notice(_fields(frame, 3)) if 2 + int.from_bytes(frame[:2], "big") <= len(frame) else None
    if kind in _ANSWERED:
        status = _fields(frame, 1).get(1)
        return None if status is None else Answer(MessageType(kind), status == b"K", _refusal(status))
    return None


def _fields(frame: bytes, most: int) -> dict[int, bytes]:
    """The first fields by their ids; none at all when one of them is cut off."""
    fields: dict[int, bytes] = {}
    at = 4
    for _ in range(min(frame[3], most)):
        start = at + 3
        end = start + int.from_bytes(frame[at + 1 : start], "big")
        if max(start, end) > len(frame):
            return {}
        fields.setdefault(frame[at], frame[start:end])
        at = end
    return fields


def _auth_reply(fields: dict[int, bytes]) -> AuthReply | None:
    """Fields: 1 the status, 2 the u32 count of frames to an ack."""
    status, every = fields.get(1), fields.get(2, bytes(4))
    if status is None or len(every) != 4:
        return None
    return AuthReply(status == b"K", _refusal(status), int.from_bytes(every, "big"))


def _notice(fields: dict[int, bytes]) -> Notice | None:
    """Fields: 1 an i32 code, 2 UTF-8 text, 3 the type of the message it is about as one byte."""
    code, text = fields.get(1, b""), fields.get(2, b"")
    if len(code) != 4:
        return None
    about = _SUBJECTS.get(fields.get(3, b""))
    return Notice(int.from_bytes(code, "big", signed=True), text.decode("utf-8", "replace"), about)


def _refusal(status: bytes) -> str:
    return "" if status == b"K" else status.decode("utf-8", "replace")


# ------------------------------------------------------------------------------------------------------------- data

_DATA = int(MessageType.DATA)
_SNAPSHOT, _UPDATE, _LITE = 83, 85, 76
_HEADER = Struct(">2xBIH").unpack_from  # type, message number, items
_ITEM = Struct(">BHB").unpack_from  # kind, topic id, and how many letters or fields follow
_SCALE = Struct(">HB").unpack_from  # multiplier, precision
_KINDS: dict[str, type[Topic]] = {"sf|": Scrip, "if|": Index, "dp|": Book}
_LITE_KINDS: dict[str, type[Topic]] = {"sf|": Last, "if|": Last, "dp|": Book}


class Decoder:
    """Data frames to ticks. Items (Fyers API v3 data socket), behind u16 length, u8 6, u32 number, u16 items:

    - snapshot: u8 83, u16 topic id, u8 length, name, u8 fields, fields × i32, 2 bytes, u16 multiplier, u8 precision,
      3 × (u8 length, text)
    - update:   u8 85, u16 topic id, u8 fields, fields × i32
    - lite:     u8 76, u16 topic id, i32 last price

    number: of the last data frame. frames: how many since the connection began (both for acks). depths: the latest, by
    symbol. counts: what was damaged or odd, by reason. lite: the mode of the connection; then only the last price is
    kept up to date, and ticks show nothing else of what a snapshot tells.
    """

    def __init__(self, topics: Mapping[str, Instrument], lite: bool = False) -> None:
        self.lite = lite
        self.number = self.frames = 0
        self.depths: dict[str, Depth] = {}
        self.counts: Counter[str] = Counter()
        self._known: dict[str, Topic] = {}
        self._by_id = _Ids(self.counts, self.depths)
        self.topics = topics

    @property
    def topics(self) -> Mapping[str, Instrument]:
        """What is wanted: "sf|nse_cm|3045" and its instrument. To change it, put another; what is not in it is over."""
        return self._topics

    @topics.setter
    def topics(self, topics: Mapping[str, Instrument]) -> None:
        self._topics = topics
        over = {name for name, topic in self._known.items() if not topic.goes_on_as(topics.get(name))}
        for name in over:
            self._known.pop(name).end()
        if over:
            for key in [key for key, topic in self._by_id.items() if topic.name in over]:
                del self._by_id[key]

    def forget(self) -> None:
        """A new connection: its ids, its snapshots and its message numbers are its own."""
        self.number = self.frames = 0
        self._known.clear()
        self._by_id.clear()
        self.depths.clear()

    def decode(self, frame: bytes, received_ns: int = 0) -> list[Tick]:
        """The ticks of one data frame. Never raises: of a damaged frame, what stands before the damage."""
        ticks: list[Tick] = []
        size, at = len(frame), 9
        kind, number, items = _HEADER(frame) if size >= at else (0, 0, 0)
        if kind != _DATA:
            self._odd("not data")
            return ticks
        self.number = number
        self.frames += 1
        by_id = self._by_id
        try:
            while items:
                items -= 1
                start = at + 4
                if start > size:
                    raise _DamageError("truncated")
                kind, key, length = _ITEM(frame, at)
                if kind == _UPDATE:
                    at = start + 4 * length
                    if at > size:
                        raise _DamageError("truncated")
                    tick = by_id[key].update(frame, start, length, received_ns)
                else:
                    at, tick = self._rarer(kind, key, frame, start, received_ns)
                if tick is not None:
                    ticks.append(tick)
        except _DamageError as damage:
            self._odd(str(damage))
        else:
            if at < size:
                self._odd("left over")
        return ticks

    def _rarer(self, kind: int, key: int, frame: bytes, start: int, received_ns: int) -> tuple[int, Tick | None]:
        """A snapshot or a lite item: where it ends, and its tick. Raises `_DamageError`."""
        if kind == _SNAPSHOT:
            self._by_id.pop(key, None)  # whatever comes of it, the id has a new meaning
            return self._snapshot(key, frame, start, received_ns)
        if kind != _LITE:
            raise _DamageError("unknown item")  # how long it is cannot be known
        end = start + 3
        if end > len(frame):
            raise _DamageError("truncated")
        return end, self._by_id[key].lite(frame, start - 1, received_ns)

    def _snapshot(self, key: int, frame: bytes, start: int, received_ns: int) -> tuple[int, Tick | None]:
        fields_at = start + frame[start - 1]
        try:
            fields = frame[fields_at]
            end = fields_at + 3 + 4 * fields
            multiplier, precision = _SCALE(frame, end)
            end += 3
            for _ in range(3):
                end += 1 + frame[end]
        except (IndexError, error):
            raise _DamageError("truncated") from None
        if end > len(frame):
            raise _DamageError("truncated")
        topic = self._begun(frame[start:fields_at], multiplier, precision)
        if topic is None:
            return end, None
        self._by_id[key] = topic
        tick = topic.update(frame, fields_at + 1, fields, received_ns)
        return end, tick or Tick(topic.instrument, received_ns, source=SOURCE, whole=topic.WHOLE)

    def _begun(self, name: bytes, multiplier: int, precision: int) -> Topic | None:
        """The topic of a snapshot, with nothing known of it; None for one that is not wanted or cannot be read."""
        topic_name = name.decode("latin-1")
        instrument = self._topics.get(topic_name)
        kind = (_LITE_KINDS if self.lite else _KINDS).get(topic_name[:3])
        if instrument is None or kind is None:
            self._odd("unknown topic")
            return None
        scale = Scale(instrument, multiplier, precision)
        if not scale.usable:
            self._odd("no scale")
            return None
        topic = self._known.get(topic_name)
        if topic is None:
            topic = self._known[topic_name] = kind(topic_name, self.counts, self.depths)
        topic.start(instrument, scale)
        return topic

    def _odd(self, reason: str) -> Tick | None:
        self.counts[reason] += 1
        return None


class _Ids(dict[int, Topic]):
    """Topics by the ids of this connection."""

    def __init__(self, counts: Counter[str], depths: dict[str, Depth]) -> None:
        self._nobody = Nobody("", counts, depths)

    def __missing__(self, key: int) -> Topic:
        return self._nobody


class _DamageError(Exception):
    """The rest of a frame cannot be read."""
