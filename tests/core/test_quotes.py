"""One rule for good and bad prices: what is absent stays, what is bad changes nothing."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livetrade.core.kinds import OrderSide, PriceSource
from livetrade.core.quotes import merge, touch
from livetrade.core.ticks import Tick
from tests.core.kit import SBIN

FIGURES = ("bid_raw", "ask_raw", "last_raw", "volume_raw", "bid_size_raw", "ask_size_raw")


def update(*, at: int = 1, **figures: Any) -> Tick:
    return Tick(SBIN, at, **figures)


def figures(quote: Tick | str | None) -> tuple[Any, ...]:
    return tuple(getattr(quote, name) for name in FIGURES)


def merged(*updates: Tick) -> Tick:
    quote: Tick | None = None
    for one in updates:
        after = merge(quote, one)
        assert isinstance(after, Tick), after
        quote = after
    assert quote is not None
    return quote


def complete(**more: Any) -> Tick:
    return update(bid_raw=100, ask_raw=102, last_raw=101, volume_raw=9, bid_size_raw=3, ask_size_raw=4, **more)


def test_the_first_update_is_the_quote() -> None:
    first = update(bid_raw=100)
    assert merge(None, first) is first


def test_what_is_absent_stays_as_it_was() -> None:
    assert figures(merged(complete(), update(last_raw=102))) == (100, 102, 102, 9, 3, 4)
    assert figures(merged(complete(), update(bid_raw=101))) == (101, 102, 101, 9, 3, 4)
    assert figures(merged(complete(), update(ask_raw=103, ask_size_raw=8))) == (100, 103, 101, 9, 3, 8)
    assert figures(merged(complete(), update(volume_raw=10))) == (100, 102, 101, 10, 3, 4)
    assert figures(merged(complete(), update())) == figures(complete())


def test_a_complete_update_is_the_new_quote_as_it_stands() -> None:
    newer = complete(at=2)
    assert merge(complete(), newer) is newer


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"bid_raw": -1}, "negative"),
        ({"ask_raw": -1}, "negative"),
        ({"last_raw": -5, "bid_raw": 5}, "negative"),
        ({"bid_size_raw": -1, "bid_raw": 100}, "negative"),
        ({"ask_size_raw": -1}, "negative"),
        ({"volume_raw": -1}, "negative"),
        ({"bid_raw": 103, "ask_raw": 102}, "crossed"),
    ],
)
@pytest.mark.parametrize("quote", [None, complete()], ids=["first", "later"])
def test_a_bad_update_is_refused_whole(bad: dict[str, int], reason: str, quote: Tick | None) -> None:
    before = figures(quote) if quote else None
    assert merge(quote, update(**bad)) == reason
    assert quote is None or figures(quote) == before


def test_a_locked_quote_is_a_quote() -> None:
    assert figures(merged(update(bid_raw=100, ask_raw=100)))[:2] == (100, 100)


def test_an_empty_first_update_is_none() -> None:
    assert merge(None, update(volume_raw=5)) == "empty"


def test_a_new_side_that_passes_the_old_other_side_makes_it_unknown() -> None:
    risen = merged(complete(), update(bid_raw=103))
    assert figures(risen) == (103, 0, 101, 9, 3, None)
    assert figures(merged(risen, update(ask_raw=104))) == (103, 104, 101, 9, 3, None)
    fallen = merged(complete(), update(ask_raw=99))
    assert figures(fallen) == (0, 99, 101, 9, None, 4)
    assert figures(merged(fallen, update(ask_raw=98))) == (0, 98, 101, 9, None, 4)


# ── times ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_backward_time_is_refused() -> None:
    quote = merged(complete(time_ns=10))
    assert merge(quote, update(last_raw=99, time_ns=9)) == "backward"


def test_equal_times_are_ordinary_and_exact_copies_are_not() -> None:
    quote = merged(complete(time_ns=10))
    assert merge(quote, complete(time_ns=10)) == "duplicate"
    assert merge(quote, update(bid_raw=100, time_ns=10)) == "duplicate"
    assert isinstance(merge(quote, update(bid_raw=101, time_ns=10)), Tick)


def test_without_a_time_a_copy_is_an_ordinary_update() -> None:
    assert isinstance(merge(merged(complete()), complete()), Tick)
    assert isinstance(merge(merged(complete(time_ns=10)), complete()), Tick)


def test_times_are_compared_per_source() -> None:
    quote = merged(
        complete(time_ns=100, source="a"),
        update(last_raw=99, time_ns=50, source="b"),
        update(last_raw=98, time_ns=101, source="a"),
        update(last_raw=97, source="b"),
    )
    assert merge(quote, update(last_raw=1, time_ns=100, source="a")) == "backward"
    assert merge(quote, update(last_raw=1, time_ns=49, source="b")) == "backward"
    assert isinstance(merge(quote, update(last_raw=1, time_ns=1, source="c")), Tick)
    assert isinstance(merge(quote, update(last_raw=1, time_ns=50, source="b")), Tick)


def test_a_source_that_gave_no_time_once_is_still_remembered() -> None:
    quote = merged(complete(time_ns=100, source="a"), complete(source="a"), complete(source="a"))
    assert merge(quote, update(last_raw=1, time_ns=99, source="a")) == "backward"


sources = st.sampled_from(["", "a", "b"])
stamps = st.integers(0, 6)
levels = st.integers(-1, 6)
sizes = st.none() | st.integers(0, 3)
updates = st.lists(st.tuples(levels, levels, levels, stamps, sources, sizes, sizes, sizes), max_size=30)


@given(updates)
def test_a_quote_is_never_crossed_and_no_time_goes_back(given_updates: list[tuple[Any, ...]]) -> None:
    quote: Tick | None = None
    latest: dict[str, int] = {}
    for bid, ask, last, stamp, source, volume, bid_size, ask_size in given_updates:
        one = Tick(SBIN, 1, bid, ask, last, stamp, volume, bid_size, ask_size, source)
        before = figures(quote) if quote else None
        after = merge(quote, one)
        if stamp and stamp < latest.get(source, 0) and min(bid, ask, last) >= 0 and not bid > ask > 0:
            assert after == "backward"
        if isinstance(after, str):
            assert quote is None or figures(quote) == before
            continue
        assert after.bid_raw or after.ask_raw or after.last_raw
        assert not (after.bid_raw > after.ask_raw > 0)
        for given_value, kept in zip(figures(one), figures(after), strict=True):
            assert given_value in (0, None, kept)
        latest[source] = max(stamp, latest.get(source, 0))
        quote = after


# ── what an order meets ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("known", "buy", "sell"),
    [
        ({"bid_raw": 100, "ask_raw": 102, "last_raw": 101}, (102, PriceSource.ASK), (100, PriceSource.BID)),
        ({"bid_raw": 100, "last_raw": 101}, None, (100, PriceSource.BID)),
        ({"ask_raw": 102}, (102, PriceSource.ASK), None),
        ({"last_raw": 101}, (101, PriceSource.LAST), (101, PriceSource.LAST)),
    ],
)
def test_a_buy_meets_the_ask_and_a_sell_the_bid(known: dict[str, int], buy: Any, sell: Any) -> None:
    assert (touch(update(**known), OrderSide.BUY), touch(update(**known), OrderSide.SELL)) == (buy, sell)


def test_without_a_quote_nothing_is_met() -> None:
    assert touch(None, OrderSide.BUY) is None


def test_what_a_whole_update_leaves_out_is_gone() -> None:
    after = merge(complete(), update(ask_raw=99, whole=True))
    assert figures(after) == (0, 99, 0, None, None, None)
    assert merge(complete(), update(whole=True)) == "empty"
    assert merge(complete(), update(bid_raw=3, ask_raw=2, whole=True)) == "crossed"


def test_a_whole_update_of_the_same_moment_is_a_copy_only_where_nothing_is_gone() -> None:
    quote = complete(time_ns=5)
    assert merge(quote, complete(time_ns=5, whole=True)) == "duplicate"
    assert figures(merge(quote, update(bid_raw=100, last_raw=101, time_ns=5, whole=True)))[:3] == (100, 0, 101)
