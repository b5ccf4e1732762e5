"""Data frames that are damaged, odd or lie: what is sound in them is told, the rest is counted, nothing is raised."""

from zoneinfo import ZoneInfo

import pytest

from livetrade.adapters.fyers.codec import Decoder, auth_frame
from livetrade.core.instruments import Instrument
from livetrade.core.ticks import Tick
from tests.adapters.fyers.codec_kit import (
    DEPTH_TOPIC,
    FIRST,
    INDEX_TOPIC,
    OTHER_TOPIC,
    RELIANCE,
    SBIN,
    SCRIP_TOPIC,
    SHOWN,
    TOPICS,
    begun,
    depth,
    index,
    only,
    scrip,
    shown,
)
from tests.adapters.fyers.frames import NONE, answer, big, data, lite, snapshot, update

OTHER = snapshot(8, OTHER_TOPIC, scrip(**FIRST))


def last_prices(ticks: list[Tick]) -> list[tuple[str, int]]:
    return [(tick.symbol, tick.last_raw) for tick in ticks]


@pytest.mark.parametrize("frame", [b"", data(5)[:8], answer(4), auth_frame("key"), b"\0\1\x0b", b"\0\0\7" + bytes(20)])
def test_what_is_no_data_frame_changes_nothing(frame: bytes) -> None:
    decoder = begun()
    assert decoder.decode(frame) == []
    assert (decoder.number, decoder.frames, dict(decoder.counts)) == (1, 1, {"not data": 1})


def test_frames_are_counted_and_numbered_for_acks() -> None:
    decoder = Decoder(TOPICS)
    for number in (1, 2, 0xFFFFFFFF, 7):
        assert decoder.decode(data(number)) == []
        assert decoder.number == number
    decoder.decode(data(9, b"?"))
    assert (decoder.number, decoder.frames) == (9, 5)


@pytest.mark.parametrize("item", [snapshot(9, SCRIP_TOPIC, scrip(**FIRST)), update(7, scrip(ltp=3)), lite(7, 3)])
def test_a_frame_that_is_cut_keeps_what_stands_before(item: bytes) -> None:
    frame = data(2, update(7, scrip(ltp=5)), item)
    whole = len(frame) - len(item)
    for end in range(9, len(frame)):
        decoder = begun()
        told = [("NSE:SBIN-EQ", 5)] if end >= whole else []
        assert last_prices(decoder.decode(frame[:end])) == told
        assert dict(decoder.counts) == {"truncated": 1}
        assert decoder.decode(data(3, update(9, scrip(ltp=6)))) == [], "a damaged snapshot binds nothing"


def test_a_snapshot_that_is_cut_takes_its_id_away() -> None:
    """The old topic's updates would be merged with what the lost snapshot told."""
    decoder = begun()
    decoder.decode(data(2, snapshot(7, SCRIP_TOPIC, scrip(**FIRST))[:-1], count=1))
    assert decoder.decode(data(3, update(7, scrip(ltp=6)))) == []
    assert dict(decoder.counts) == {"truncated": 1, "unknown topic id": 1}


@pytest.mark.parametrize(
    "name", ["sf|nse_cm|1", "", "sf", "sf|nse_cm|3045 ", "SF|nse_cm|3045", b"sf|nse_cm|\xff\xfe", "x" * 255]
)
def test_a_snapshot_that_is_not_wanted_is_skipped(name: str | bytes) -> None:
    decoder = begun()
    ticks = decoder.decode(
        data(2, snapshot(7, name, scrip(**FIRST), tail=("", "x" * 255, b"\xff")), OTHER, update(7, [3]))
    )
    assert last_prices(ticks) == [("NSE:RELIANCE-EQ", FIRST["ltp"])], "and the id has no old meaning any more"
    assert dict(decoder.counts) == {"unknown topic": 1, "unknown topic id": 1}


def test_a_topic_of_an_unknown_kind_is_not_read() -> None:
    decoder = Decoder({**TOPICS, "xx|nse_cm|3045": SBIN, "sfnse_cm": SBIN})
    for name in ("xx|nse_cm|3045", "sfnse_cm"):
        assert decoder.decode(data(1, snapshot(1, name, scrip(**FIRST)), OTHER))[0].instrument is RELIANCE
    assert dict(decoder.counts) == {"unknown topic": 2}


@pytest.mark.parametrize("item", [update(99, []), update(99, [1]), update(99, [5] * 255), lite(99, 5)])
def test_an_item_of_an_unknown_id_is_skipped_by_its_length(item: bytes) -> None:
    decoder = begun()
    assert last_prices(decoder.decode(data(2, item, update(7, [3]), item))) == [("NSE:SBIN-EQ", 3)]
    assert dict(decoder.counts) == {"unknown topic id": 2}


@pytest.mark.parametrize("kind", [0, 1, 77, 84, 86, 255])
def test_an_item_of_an_unknown_kind_ends_the_frame(kind: int) -> None:
    decoder = begun()
    frame = data(2, update(7, [3]), bytes([kind]) + update(7, [4])[1:], update(7, [5]))
    assert last_prices(decoder.decode(frame)) == [("NSE:SBIN-EQ", 3)]
    assert dict(decoder.counts) == {"unknown item": 1}


def test_fields_beyond_the_table_are_skipped() -> None:
    decoder = Decoder(TOPICS)
    tick, *_ = decoder.decode(data(1, snapshot(7, SCRIP_TOPIC, [*scrip(**FIRST), 1, 2, 3]), OTHER))
    assert shown(tick) == SHOWN
    wide = [update(7, [5, *[NONE] * 254]), snapshot(9, INDEX_TOPIC, [*index(ltp=6), 1, 2, 3])]
    assert last_prices(decoder.decode(data(2, *wide, update(8, [7])))) == [
        ("NSE:SBIN-EQ", 5),
        ("NSE:NIFTY50-INDEX", 6),
        ("NSE:RELIANCE-EQ", 7),
    ]
    assert only(decoder, snapshot(9, DEPTH_TOPIC, [*depth(bid_price1=4), 1])).bid_raw == 4
    assert dict(decoder.counts) == {"no such field": 4}


def test_a_snapshot_may_give_an_id_another_topic() -> None:
    decoder = begun()
    ticks = decoder.decode(data(2, snapshot(7, OTHER_TOPIC, scrip(ltp=1)), update(7, scrip(ltp=2))))
    assert last_prices(ticks) == [("NSE:RELIANCE-EQ", 1), ("NSE:RELIANCE-EQ", 2)]
    assert ticks[1].bid is None


def test_a_topic_may_have_two_ids() -> None:
    decoder = begun()
    ticks = decoder.decode(
        data(2, snapshot(9, SCRIP_TOPIC, scrip(ltp=1)), update(7, scrip(bid_price=1)), update(9, [2]))
    )
    assert [(tick.last_raw, tick.bid_raw) for tick in ticks] == [(1, 0), (1, 1), (2, 1)]


def test_the_byte_order_of_an_id_does_not_matter() -> None:
    decoder = Decoder(TOPICS)
    decoder.decode(data(1, snapshot(0x0102, SCRIP_TOPIC, scrip(ltp=1)), snapshot(0x0201, OTHER_TOPIC, scrip(ltp=1))))
    ticks = decoder.decode(data(2, update(0x0201, [4]), update(0x0102, [3])))
    assert last_prices(ticks) == [("NSE:RELIANCE-EQ", 4), ("NSE:SBIN-EQ", 3)]


def test_a_count_of_items_that_lies() -> None:
    decoder = begun()
    assert last_prices(decoder.decode(data(2, update(7, [3]), update(7, [4]), count=1))) == [("NSE:SBIN-EQ", 3)]
    assert last_prices(decoder.decode(data(3, update(7, [5]), count=9))) == [("NSE:SBIN-EQ", 5)]
    assert decoder.decode(data(4, count=0xFFFF)) == []
    assert dict(decoder.counts) == {"left over": 1, "truncated": 2}


def test_the_length_of_a_frame_is_not_believed() -> None:
    for length in (0, 1, 0xFFFF):
        assert last_prices(begun().decode(big(length, 2) + data(2, update(7, [3]))[2:])) == [("NSE:SBIN-EQ", 3)]


# ── what is wanted changes ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_topic_that_is_wanted_no_more_is_over() -> None:
    decoder = begun()
    decoder.decode(data(2, OTHER, snapshot(9, DEPTH_TOPIC, depth(bid_price1=5))))
    decoder.topics = {OTHER_TOPIC: RELIANCE}
    assert decoder.depths == {}
    ticks = decoder.decode(data(3, update(7, [3]), update(8, [4]), snapshot(7, SCRIP_TOPIC, scrip(**FIRST))))
    assert last_prices(ticks) == [("NSE:RELIANCE-EQ", 4)]
    assert dict(decoder.counts) == {"unknown topic id": 1, "unknown topic": 1}


def test_a_topic_that_is_wanted_anew_needs_a_snapshot() -> None:
    decoder = begun()
    decoder.topics = {}
    decoder.topics = TOPICS
    assert decoder.topics is TOPICS
    assert decoder.decode(data(2, update(7, [3]))) == []
    assert shown(only(decoder, snapshot(7, SCRIP_TOPIC, scrip(**FIRST)))) == SHOWN


def test_others_go_on_when_one_is_added_or_dropped() -> None:
    decoder = begun()
    decoder.decode(data(2, snapshot(9, DEPTH_TOPIC, depth(bid_price1=5))))
    decoder.topics = {SCRIP_TOPIC: SBIN, DEPTH_TOPIC: SBIN, "sf|nse_cm|1": RELIANCE}
    assert only(decoder, update(7, scrip(bid_size=5))).last_raw == FIRST["ltp"]
    decoder.topics = {DEPTH_TOPIC: SBIN}
    assert list(decoder.depths) == ["NSE:SBIN-EQ"]


def test_the_same_instrument_in_another_zone_goes_on() -> None:
    decoder = begun()
    indian = SBIN.in_zone(ZoneInfo("Asia/Kolkata"))
    decoder.topics = {SCRIP_TOPIC: indian}
    tick = only(decoder, update(7, scrip(ltp=5)))
    assert tick.instrument is indian
    assert tick.bid_raw == FIRST["bid_price"]


def test_other_terms_need_a_snapshot() -> None:
    decoder = begun()
    decoder.topics = {SCRIP_TOPIC: Instrument("NSE:SBIN-EQ", scale=4)}
    assert decoder.decode(data(2, update(7, scrip(ltp=5)))) == []
    assert only(decoder, snapshot(7, SCRIP_TOPIC, scrip(ltp=5))).last_raw == 500
