"""The decoder of data frames beside the slow one: random sessions, sound and damaged, and bytes at random.

Whatever the bytes are, nothing is raised, and ticks, depths and counts are those that the reference reads from them.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livetrade.adapters.fyers.codec import Decoder, Depth, read
from livetrade.core.instruments import Instrument
from tests.adapters.fyers import frames
from tests.adapters.fyers.frames import NONE
from tests.adapters.fyers.reference import Reference, Shown, Side

SESSIONS = 2_000
CAMPAIGN_FRAMES = 2_000_000

TOPICS = {
    "sf|nse_cm|3045": Instrument("NSE:SBIN-EQ", tick_size="0.05"),
    "sf|cde_fo|1": Instrument("NSE:USDINR26JANFUT", kind="CURRENCY", scale=4, tick_size="0.0025"),
    "sf|mcx_fo|2": Instrument("MCX:COARSE26JANFUT", kind="FUTURE", scale=1, quantity_scale=3),
    "sf|nse_cm|9": Instrument("NSE:FINE-EQ", scale=12, quantity_scale=12),
    "if|nse_cm|Nifty 50": Instrument("NSE:NIFTY50-INDEX", kind="INDEX"),
    "if|nse_cm|Whole": Instrument("NSE:WHOLE-INDEX", kind="INDEX", scale=0),
    "dp|nse_cm|3045": Instrument("NSE:SBIN-EQ", tick_size="0.05"),
    "dp|cde_fo|1": Instrument("NSE:USDINR26JANFUT", kind="CURRENCY", scale=4),
    "dp|nse_cm|9": Instrument("NSE:FINE-EQ", scale=12, quantity_scale=12),
    "xx|nse_cm|3045": Instrument("NSE:SBIN-EQ"),
}
NAMES = [*TOPICS, "sf|nse_cm|2885", "sf|nse_cm|\xe9", ""]
SCALES = [(1, 2)] * 6 + [(100, 2), (1, 0), (1, 4), (7, 1), (0, 2), (1, 9), (1, 10), (1, 255), (65535, 12)]
ODD = [NONE, NONE + 1, -1, 0, 0, 1, 5, 50, 2**31 - 1, 965_300]


def value(dice: Random) -> int:
    kind = dice.random()
    if kind < 0.4:
        return NONE
    return dice.choice(ODD) if kind < 0.55 else dice.randrange(106_800, 106_860) * dice.choice((1, 5, 100))


def values(dice: Random) -> list[int]:
    return [value(dice) for _ in range(dice.choice((0, 1, 3, 6, 7, 8, 8, 21, 21, 21, 22, 30, 30, 31)))]


def item(dice: Random, snapshots: float) -> bytes:
    topic_id = dice.randrange(6)
    if dice.random() < snapshots:
        multiplier, precision = dice.choice(SCALES)
        name = dice.choice(NAMES).encode("latin-1")
        return frames.snapshot(topic_id, name, values(dice), multiplier=multiplier, precision=precision)
    if dice.random() < 0.3:
        return frames.lite(topic_id, value(dice))
    return frames.update(topic_id, values(dice))


def session(dice: Random) -> Iterator[bytes]:
    for turn in range(dice.randrange(2, 8)):
        items = [item(dice, 0.9 if not turn else 0.1) for _ in range(dice.randrange(8 if not turn else 4))]
        yield frames.data(dice.randrange(2**32), *items)


def flipped(dice: Random, frame: bytes) -> bytes:
    at = dice.randrange(len(frame))
    return frame[:at] + bytes([frame[at] ^ 1 << dice.randrange(8)]) + frame[at + 1 :]


def cut(dice: Random, frame: bytes) -> bytes:
    return frame[: dice.randrange(len(frame))]


def inserted(dice: Random, frame: bytes) -> bytes:
    at = dice.randrange(len(frame))
    return frame[:at] + dice.randbytes(dice.randrange(1, 6)) + frame[at:]


def repeated(dice: Random, frame: bytes) -> bytes:
    at, end = sorted((dice.randrange(len(frame)), dice.randrange(len(frame) + 1)))
    return frame[:end] + frame[at:end] + frame[end:]


def swapped(dice: Random, frame: bytes) -> bytes:
    a, b, c = sorted(dice.randrange(len(frame) + 1) for _ in range(3))
    return frame[:a] + frame[b:c] + frame[a:b] + frame[c:]


def overwritten(dice: Random, frame: bytes) -> bytes:
    at = dice.randrange(len(frame))
    return frame[:at] + dice.choice((b"\0", b"\xff", b"\x80", b"S", b"U", b"L")) + frame[at + 1 :]


def any_bytes(dice: Random, frame: bytes) -> bytes:
    return dice.choice((b"", frame[:2] + b"\6", frame[:9])) + dice.randbytes(dice.randrange(len(frame)))


DAMAGES: list[Callable[[Random, bytes], bytes]] = [
    flipped,
    flipped,
    cut,
    inserted,
    repeated,
    swapped,
    overwritten,
    any_bytes,
]


def damaged(dice: Random, frame: bytes) -> bytes:
    for _ in range(dice.randrange(1, 3)):
        if frame:
            frame = dice.choice(DAMAGES)(dice, frame)
    return frame


def sides(depth: Depth) -> tuple[Side, Side]:
    def side(prices: object, levels: object) -> Side:
        return [
            (None if price is None else Fraction(price), level.size, level.orders)
            for price, level in zip(prices, levels, strict=True)
        ]

    return side(depth.bid_prices, depth.bids), side(depth.ask_prices, depth.asks)


class Pair:
    """Both decoders, of which everything that can be seen stays the same."""

    def __init__(self, lite: bool) -> None:
        self.decoder, self.reference = Decoder(TOPICS, lite), Reference(TOPICS, lite)
        self.time = 0

    def decode(self, frame: bytes) -> int:
        self.time += 1
        ticks = self.decoder.decode(frame, self.time)
        assert [Shown.of(tick) for tick in ticks] == self.reference.decode(frame), frame.hex()
        assert self.decoder.counts == self.reference.counts, frame.hex()
        assert self.decoder.number == self.reference.number
        assert self.decoder.frames == self.reference.frames
        assert all(tick.received_ns == self.time for tick in ticks)
        read(frame)
        return len(ticks)

    def check_depths(self) -> None:
        assert {symbol: sides(depth) for symbol, depth in self.decoder.depths.items()} == self.reference.depths()


def play(dice: Random, damage: float) -> tuple[int, int]:
    """One session, some frames of it damaged; how many frames and ticks that were."""
    pair = Pair(lite=dice.random() < 0.2)
    ticks = 0
    for frame in session(dice):
        ticks += pair.decode(damaged(dice, frame) if dice.random() < damage else frame)
    pair.check_depths()
    return pair.time, ticks


@given(st.randoms(use_true_random=False))
@settings(max_examples=200)
def test_a_session_is_read_as_the_reference_reads_it(dice: Random) -> None:
    play(dice, damage=0)


@given(st.randoms(use_true_random=False))
@settings(max_examples=200)
def test_a_damaged_session_is_read_as_the_reference_reads_it(dice: Random) -> None:
    play(dice, damage=0.5)


@given(st.binary(max_size=200), st.booleans())
@settings(max_examples=1000)
def test_any_bytes_are_read_as_the_reference_reads_them(frame: bytes, data: bool) -> None:
    Pair(lite=False).decode(b"\0\0\6" + frame if data else frame)


@pytest.mark.parametrize("damage", [0.0, 0.5], ids=["sound", "damaged"])
def test_sessions_by_the_thousand(damage: float) -> None:
    dice = Random(20260109)
    played = [play(dice, damage) for _ in range(SESSIONS)]
    assert sum(ticks for _, ticks in played) > SESSIONS, "hardly anything was read"


@pytest.mark.campaign
@pytest.mark.timeout(0)
@pytest.mark.parametrize("seed", range(4))
def test_frames_by_the_million(seed: int) -> None:
    dice = Random(seed)
    frames_read = ticks = 0
    while frames_read < CAMPAIGN_FRAMES // 4:
        more_frames, more_ticks = play(dice, damage=0.8)
        frames_read += more_frames
        ticks += more_ticks
    print(f"{frames_read} frames, {ticks} ticks")  # noqa: T201
