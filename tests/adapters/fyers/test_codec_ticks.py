"""Data frames to ticks: the story of a session, what each kind of topic shows, and which prices fit."""

from decimal import Decimal

import pytest

from livetrade.adapters.fyers.codec import Decoder, Level
from livetrade.core.instruments import Instrument
from livetrade.core.quotes import merge
from livetrade.core.ticks import Tick
from tests.adapters.fyers.codec_kit import (
    DEPTH_TOPIC,
    FIELDS,
    FIRST,
    INDEX_TOPIC,
    NIFTY,
    NOON,
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
from tests.adapters.fyers.frames import NONE, SCRIP, data, lite, snapshot, update

# ── the story of a session ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_session() -> None:
    decoder = Decoder(TOPICS)
    first = data(
        1,
        snapshot(7, SCRIP_TOPIC, scrip(**FIRST)),
        snapshot(8, INDEX_TOPIC, index(ltp=2_500_010, exch_feed_time=NOON)),
        snapshot(
            9, DEPTH_TOPIC, depth(bid_price1=106_840, bid_size1=30, bid_order1=2, ask_price1=106_850, ask_size1=40)
        ),
    )
    opening, nifty, best = decoder.decode(first, received_ns=55)
    assert (opening.instrument, opening.received_ns, opening.source, opening.seen) == (SBIN, 55, "fyers", None)
    assert shown(opening) == SHOWN
    assert (nifty.instrument, nifty.last, nifty.bid, nifty.volume, nifty.time_ns) == (
        NIFTY,
        Decimal("25000.10"),
        None,
        None,
        NOON * 10**9,
    )
    assert (best.symbol, best.bid, best.ask_size, best.last, best.whole) == (
        "NSE:SBIN-EQ",
        Decimal("1068.40"),
        40,
        None,
        True,
    )

    traded, up = decoder.decode(
        data(
            2,
            update(7, scrip(ltp=106_850, vol_traded_today=5_000_100, exch_feed_time=NOON + 1)),
            update(8, [2_500_500, 2_480_000, NOON + 1]),
        )
    )
    assert shown(traded) == {**SHOWN, "last": Decimal("1068.50"), "volume": 5_000_100, "time_ns": (NOON + 1) * 10**9}
    assert up.last == Decimal("25005.00")
    assert (decoder.number, decoder.frames, dict(decoder.counts)) == (2, 2, {})

    decoder.forget()
    assert (decoder.number, decoder.frames, decoder.depths) == (0, 0, {})
    assert decoder.decode(data(1, update(7, scrip(ltp=1)))) == []
    assert dict(decoder.counts) == {"unknown topic id": 1}


def test_what_the_quote_is_after_a_session() -> None:
    """Together with the one rule for prices: a side that the exchange has no more is not remembered."""
    decoder = begun()
    quote: Tick | str | None = None
    for items in (
        snapshot(7, SCRIP_TOPIC, scrip(**FIRST)),
        update(7, scrip(bid_price=0, bid_size=0)),
        update(7, scrip(ltp=106_900, exch_feed_time=NOON + 1)),
    ):
        for tick in decoder.decode(data(2, items)):
            assert not isinstance(quote, str)
            quote = merge(quote, tick)
    assert isinstance(quote, Tick)
    assert (quote.bid, quote.bid_size, quote.ask, quote.last) == (None, None, Decimal("1068.50"), Decimal("1069.00"))


def test_each_field_alone() -> None:
    changes = {
        "ltp": ("last", 107_000, Decimal("1070.00")),
        "vol_traded_today": ("volume", 6_000_000, 6_000_000),
        "exch_feed_time": ("time_ns", NOON + 9, (NOON + 9) * 10**9),
        "bid_size": ("bid_size", 0, 0),
        "ask_size": ("ask_size", 1, 1),
        "bid_price": ("bid", 106_835, Decimal("1068.35")),
        "ask_price": ("ask", 106_855, Decimal("1068.55")),
    }
    for field, (name, raw, value) in changes.items():
        assert shown(only(begun(), update(7, scrip(**{field: raw})))) == {**SHOWN, name: value}


def test_the_constructor_of_a_tick_knows_no_more_than_the_decoder() -> None:
    told, made = only(begun(), update(7, scrip(ltp=1))), Tick(SBIN, 0)
    assert all(hasattr(told, name) for name in Tick.__slots__)
    assert {name for name in Tick.__slots__ if hasattr(made, name)} == set(Tick.__slots__)


@pytest.mark.parametrize("field", [name for name in SCRIP if name not in {*SCRIP[:2], *SCRIP[3:8]}])
def test_what_no_tick_shows_makes_none(field: str) -> None:
    decoder = begun()
    assert decoder.decode(data(2, update(7, scrip(**{field: 5})))) == []
    assert not decoder.counts


def test_what_is_told_again_makes_no_tick() -> None:
    decoder = begun()
    same = [
        update(7, scrip(**FIRST)),
        update(7, scrip(ltp=FIRST["ltp"])),
        update(7, []),
        lite(7, FIRST["ltp"]),
        lite(7, NONE),
    ]
    assert decoder.decode(data(2, *same)) == []
    assert shown(only(decoder, snapshot(7, SCRIP_TOPIC, scrip(**FIRST)))) == SHOWN


@pytest.mark.parametrize("fields", range(22))
def test_an_update_may_end_early(fields: int) -> None:
    told = [106_900, 5_000_001, 0, NOON + 1, 301, 401, 106_835, 106_855, *[1] * 13][:fields]
    ticks = begun().decode(data(2, update(7, told)))
    names = ["last", "volume", "", "time_ns", "bid_size", "ask_size", "bid", "ask"][:fields]
    assert [{name for name in FIELDS if shown(tick)[name] != SHOWN[name]} for tick in ticks] == [
        {name for name in names if name}
    ][: len(ticks)]
    assert bool(ticks) == bool(fields)


NOTHING = dict(zip(FIELDS, (None,) * 6 + (0, True), strict=True))


def test_a_snapshot_tells_all_anew() -> None:
    assert shown(only(begun(), snapshot(7, SCRIP_TOPIC, scrip(ltp=100)))) == {**NOTHING, "last": Decimal("1.00")}
    decoder = Decoder(TOPICS)
    only(decoder, snapshot(1, INDEX_TOPIC, index(ltp=5, exch_feed_time=NOON)))
    assert only(decoder, snapshot(1, INDEX_TOPIC, index(ltp=5))).time_ns == 0
    only(decoder, snapshot(2, DEPTH_TOPIC, depth(bid_price1=5, bid_price2=4, ask_price1=6)))
    assert shown(only(decoder, snapshot(2, DEPTH_TOPIC, depth(ask_price1=7)))) == {**NOTHING, "ask": Decimal("0.07")}
    assert decoder.depths["NSE:SBIN-EQ"].bids == (Level(0, 0, 0),) * 5
    quick = Decoder(TOPICS, lite=True)
    only(quick, snapshot(1, SCRIP_TOPIC, scrip(ltp=5)))
    assert shown(only(quick, snapshot(1, SCRIP_TOPIC, scrip()))) == {**NOTHING, "whole": False}
    assert only(quick, lite(1, 5)).last == Decimal("0.05")


@pytest.mark.parametrize(
    ("name", "values"), [(SCRIP_TOPIC, scrip()), (INDEX_TOPIC, index()), (DEPTH_TOPIC, depth()), (SCRIP_TOPIC, [])]
)
def test_a_snapshot_that_tells_nothing_is_a_tick_that_shows_nothing(name: str, values: list[int]) -> None:
    assert shown(only(Decoder(TOPICS), snapshot(1, name, values))) == NOTHING


# ── indices, lite, depth ─────────────────────────────────────────────────────────────────────────────────────────────


def test_an_index_of_eight_fields_and_of_six() -> None:
    decoder = Decoder(TOPICS)
    eight = [2_500_010, 2_480_000, NOON, 1, 1, 1, 2_600_000, 2_000_000]
    assert only(decoder, snapshot(1, INDEX_TOPIC, eight)).last == Decimal("25000.10")
    assert only(decoder, update(1, [2_500_020, NONE, NONE, NONE, NONE, NONE, 5, 6])).last == Decimal("25000.20")
    assert only(decoder, update(1, [2_500_030, NONE, NONE, NONE, NONE, NONE])).last == Decimal("25000.30")
    moved = only(decoder, update(1, [NONE, NONE, NOON + 1]))
    assert (moved.last, moved.time_ns, moved.whole) == (Decimal("25000.30"), (NOON + 1) * 10**9, True)
    assert not decoder.counts


def test_a_last_price_alone_says_nothing_of_the_rest() -> None:
    decoder = begun()
    tick = only(decoder, lite(7, 106_900))
    assert shown(tick) == dict(zip(FIELDS, (None, None, Decimal("1069.00"), None, None, None, 0, False), strict=True))
    assert shown(only(decoder, update(7, scrip(bid_size=1)))) == {**SHOWN, "last": Decimal("1069.00"), "bid_size": 1}


def test_in_lite_mode_only_the_last_price_is_shown() -> None:
    decoder = Decoder(TOPICS, lite=True)
    alone = dict(zip(FIELDS, (None, None, Decimal("1068.45"), None, None, None, 0, False), strict=True))
    assert shown(only(decoder, snapshot(7, SCRIP_TOPIC, scrip(**FIRST)))) == alone
    assert decoder.decode(data(2, update(7, scrip(bid_price=1)))) == []
    assert only(decoder, update(7, scrip(ltp=2))).last == Decimal("0.02")
    assert only(decoder, lite(7, 3)).last == Decimal("0.03")
    assert decoder.decode(data(2, lite(7, 0), lite(7, -5), lite(7, NONE))) == []
    assert only(decoder, lite(7, 3)).last == Decimal("0.03")


def test_depth() -> None:
    decoder = Decoder(TOPICS)
    bids = {f"bid_price{level}": 106_845 - 5 * level for level in range(1, 6)}
    sizes = {f"bid_size{level}": 10 * level for level in range(1, 6)}
    orders = {f"bid_order{level}": level for level in range(1, 6)}
    asks = {"ask_price1": 106_850, "ask_size1": 7, "ask_order1": 1, "ask_price2": 106_860, "ask_size2": 8}
    first = only(decoder, snapshot(3, DEPTH_TOPIC, depth(**bids, **sizes, **orders, **asks)))
    assert shown(first) == dict(
        zip(FIELDS, (Decimal("1068.40"), Decimal("1068.50"), None, None, 10, 7, 0, True), strict=True)
    )
    book = decoder.depths["NSE:SBIN-EQ"]
    assert book.instrument is SBIN
    assert book.bids == tuple(Level(106_845 - 5 * level, 10 * level, level) for level in range(1, 6))
    assert book.asks == (Level(106_850, 7, 1), Level(106_860, 8, 0), *[Level(0, 0, 0)] * 3)
    assert book.bid_prices[:2] == (Decimal("1068.40"), Decimal("1068.35"))
    assert book.ask_prices == (Decimal("1068.50"), Decimal("1068.60"), None, None, None)

    assert decoder.decode(data(2, update(3, depth(bid_size2=99))), 66) == []
    deeper = decoder.depths["NSE:SBIN-EQ"]
    assert (deeper.bids[1], deeper.received_ns) == (Level(106_835, 99, 2), 66)
    assert book.bids[1] == Level(106_835, 20, 2), "what was given stays as it was"
    gone = only(decoder, update(3, depth(ask_price1=0, ask_size1=0)))
    assert (gone.ask, gone.ask_size, gone.bid_size) == (None, None, 10)
    assert decoder.decode(data(2, lite(3, 5))) == []
    assert dict(decoder.counts) == {"lite depth": 1}


def test_negatives_in_a_book_are_no_figures() -> None:
    decoder = Decoder(TOPICS)
    decoder.decode(data(1, snapshot(3, DEPTH_TOPIC, depth(bid_price1=5, bid_size1=6, bid_order1=7, ask_price1=9))))
    tick = only(decoder, update(3, depth(bid_price1=-1, bid_size2=-2, ask_size1=-3, ask_price1=8)))
    assert (tick.bid, tick.bid_size, tick.ask, tick.ask_size) == (None, None, Decimal("0.08"), None)
    assert dict(decoder.counts) == {"negative": 1, "out_of_range": 2}


# ── prices that fit, and those that do not ───────────────────────────────────────────────────────────────────────────


def test_a_currency_has_a_multiplier() -> None:
    rupee = scrip(ltp=965_300, bid_price=965_275, ask_price=965_325, bid_size=3)
    tick = only(Decoder(TOPICS), snapshot(1, "sf|cde_fo|1", rupee, multiplier=100))
    assert (tick.last, tick.bid, tick.ask, tick.bid_size) == (
        Decimal("96.5300"),
        Decimal("96.5275"),
        Decimal("96.5325"),
        3,
    )


@pytest.mark.parametrize(
    ("scale", "multiplier", "precision", "raw", "price"),
    [
        (2, 1, 2, 106_845, "1068.45"),
        (2, 1, 0, 1068, "1068.00"),
        (2, 1, 4, 10_684_500, "1068.45"),
        (2, 1, 4, 10_684_501, None),
        (2, 3, 0, 300, "100.00"),
        (2, 3, 0, 1, None),
        (0, 1, 2, 100, "1"),
        (0, 1, 2, 101, None),
        (2, 1, 11, 2_000_000_000, "0.02"),
        (12, 1, 0, 9_223_372, "9223372.000000000000"),
        (12, 1, 0, 9_223_373, None),
        (2, 1, 2, 0, None),
        (2, 1, 2, -5, None),
        (2, 1, 2, NONE, None),
        (2, 1, 2, 2**31 - 1, "21474836.47"),
    ],
)
def test_only_a_price_that_fits_exactly_is_told(
    scale: int, multiplier: int, precision: int, raw: int, price: str | None
) -> None:
    decoder = Decoder({SCRIP_TOPIC: Instrument("NSE:SBIN-EQ", scale=scale)})
    item = snapshot(
        1, SCRIP_TOPIC, scrip(ltp=raw, bid_price=raw, ask_price=raw), multiplier=multiplier, precision=precision
    )
    tick = only(decoder, item)
    assert [None if told is None else str(told) for told in (tick.bid, tick.ask, tick.last)] == [price] * 3
    reason = "negative" if raw < 0 else "off_scale"
    assert dict(decoder.counts) == ({} if price or raw in {0, NONE} else {reason: 3})


@pytest.mark.parametrize(("multiplier", "precision"), [(0, 2), (1, 255), (65_535, 255), (1, 12)])
def test_a_scale_on_which_no_price_can_be_told(multiplier: int, precision: int) -> None:
    decoder = begun()
    item = snapshot(7, SCRIP_TOPIC, scrip(**FIRST), multiplier=multiplier, precision=precision)
    assert only(decoder, item, snapshot(8, OTHER_TOPIC, scrip(**FIRST))).instrument is RELIANCE
    assert decoder.decode(data(2, update(7, scrip(ltp=1)))) == [], "the id has no old meaning either"
    assert dict(decoder.counts) == {"no scale": 1, "unknown topic id": 1}


def test_a_price_that_went_off_the_scale_is_not_remembered() -> None:
    rupee = Decoder({"sf|cde_fo|1": Instrument("NSE:USDINR26JANFUT", scale=2)})
    assert only(rupee, snapshot(1, "sf|cde_fo|1", scrip(ltp=965_300), multiplier=100)).last == Decimal("96.53")
    assert only(rupee, update(1, scrip(ltp=965_325, exch_feed_time=NOON))).last is None
    assert dict(rupee.counts) == {"off_scale": 1}


def test_a_volume_that_has_outgrown_the_wire_is_not_given() -> None:
    decoder = begun()
    tick = only(decoder, update(7, scrip(vol_traded_today=-2_000_000_000, bid_size=-1)))
    assert shown(tick) == {**SHOWN, "volume": None, "bid_size": None}
    assert dict(decoder.counts) == {"out_of_range": 2}


def test_sizes_are_on_the_instruments_scale() -> None:
    fine = Instrument("NSE:FINE-EQ", quantity_scale=3)
    tick = only(Decoder({SCRIP_TOPIC: fine}), snapshot(1, SCRIP_TOPIC, scrip(**FIRST)))
    assert (tick.volume_raw, tick.bid_size_raw, tick.ask_size) == (5_000_000_000, 300_000, Decimal("400.000"))
    huge = Decoder({SCRIP_TOPIC: Instrument("NSE:FINE-EQ", quantity_scale=12)})
    assert only(huge, snapshot(1, SCRIP_TOPIC, scrip(vol_traded_today=9_223_373, ltp=1))).volume is None
    assert dict(huge.counts) == {"out_of_range": 1}


@pytest.mark.parametrize(("side", "other"), [("bid", "ask"), ("ask", "bid")])
def test_a_side_that_is_gone_has_no_size_and_comes_back_with_it(side: str, other: str) -> None:
    decoder = begun()
    price = FIRST[f"{side}_price"]
    gone = only(decoder, update(7, scrip(**{f"{side}_price": 0})))
    assert shown(gone) == {**SHOWN, side: None, f"{side}_size": None}
    assert decoder.decode(data(2, update(7, scrip(**{f"{side}_size": 5})))) == [], "nothing that is shown has changed"
    assert shown(only(decoder, update(7, scrip(**{f"{side}_price": price})))) == {**SHOWN, f"{side}_size": 5}


def test_a_last_price_of_zero_is_none_yet() -> None:
    tick = only(begun(), update(7, scrip(ltp=0)))
    assert shown(tick) == {**SHOWN, "last": None}


def test_times() -> None:
    decoder = begun()
    assert only(decoder, update(7, scrip(exch_feed_time=0))).time_ns == 0
    assert only(decoder, update(7, scrip(exch_feed_time=2**31 - 1))).time_ns == (2**31 - 1) * 10**9
    assert only(decoder, update(7, scrip(exch_feed_time=-7))).time_ns == 0
    assert dict(decoder.counts) == {"negative": 1}
