"""From symbols to topics, against the loopback server."""

import asyncio
from datetime import date

import pytest

from livetrade.adapters.fyers.credentials import AccessToken
from livetrade.adapters.fyers.symbols import (
    INDEX_NAMES,
    SEGMENTS,
    Directory,
    Found,
    HttpError,
    Mode,
    Topic,
    check_number,
    checked,
    instrument_for,
    refusal,
    topic_of,
    wait_after,
)
from livetrade.core.instruments import Instrument
from livetrade.errors import FeedError, OrderError
from livetrade.testing import FyersServer, http
from tests.adapters.fyers.market import CRUDE, FUTURE, INFY, NIFTY, OPTION, RUPEE, SBIN, SENSEX, Market


def look_up(server: FyersServer, *symbols: str, mode: Mode = Mode.FULL) -> Found:
    directory = Directory(mode, server.data_url, server.static_url)
    return asyncio.run(directory.look_up(symbols, AccessToken(server.token)))


# ── topics ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_market_has_its_topic() -> None:
    with FyersServer() as server:
        found = look_up(server, SBIN, NIFTY, SENSEX, FUTURE, OPTION, RUPEE, CRUDE)
        assert {symbol: topic.name for symbol, topic in found.topics.items()} == {
            SBIN: "sf|nse_cm|3045",
            NIFTY: "if|nse_cm|Nifty 50",
            SENSEX: "if|bse_cm|SENSEX",
            FUTURE: "sf|nse_fo|35001",
            OPTION: "sf|nse_fo|45001",
            RUPEE: "sf|cde_fo|1234",
            CRUDE: "sf|mcx_fo|18001",
        }
        assert found.refused == {}
        assert server.authorizations == [server.token.partition(":")[2]]


@pytest.mark.parametrize(("digits", "name"), [(key, segment.name) for key, segment in SEGMENTS.items()])
def test_the_segment_is_the_first_four_digits(digits: str, name: str) -> None:
    topic = topic_of("NSE:X-EQ", f"{digits}0000003045", Mode.FULL, {})
    assert topic == Topic("NSE:X-EQ", f"sf|{name}|3045", SEGMENTS[digits])


def test_depth_has_topics_of_its_own() -> None:
    topic = topic_of(SBIN, "10100000003045", Mode.DEPTH, {})
    assert topic is not None
    assert topic.name == "dp|nse_cm|3045"


@pytest.mark.parametrize("fytoken", ["", "1010", "10990000003045", "1010000000", "1010000000|x", "101000000030é5", "9"])
def test_a_token_that_makes_no_topic(fytoken: str) -> None:
    assert topic_of(SBIN, fytoken, Mode.FULL, {}) is None


@pytest.mark.parametrize(
    ("symbol", "names", "name"),
    [
        (NIFTY, {NIFTY: "Nifty 50"}, "Nifty 50"),
        ("NSE:NIFTYSOMETHING-INDEX", {}, "NIFTYSOMETHING"),
        (NIFTY, {NIFTY: "with|bar"}, "NIFTY50"),
        (NIFTY, {NIFTY: "निफ्टी"}, "NIFTY50"),
    ],
)
def test_an_index_goes_by_its_name(symbol: str, names: dict[str, str], name: str) -> None:
    topic = topic_of(symbol, "101000000026000", Mode.FULL, names)
    assert topic is not None
    assert topic.name == f"if|nse_cm|{name}"


def test_without_the_mapping_well_known_names_are_known() -> None:
    with FyersServer({"NSE:NIFTYIT-INDEX": "101000000026008", SBIN: "10100000003045"}) as server:
        directory = Directory(Mode.FULL, server.data_url, server.data_url)  # where there is no such file
        found = asyncio.run(directory.look_up(["NSE:NIFTYIT-INDEX"], AccessToken(server.token)))
        assert found.topics["NSE:NIFTYIT-INDEX"].name == "if|nse_cm|Nifty IT"
    assert INDEX_NAMES["BSE:500-INDEX"] == "BSE500"


def test_unknown_symbols_are_named_and_the_others_found() -> None:
    with FyersServer() as server:
        server.fail("invalid", symbols=[INFY])
        found = look_up(server, SBIN, INFY, "NSE:NOSUCH-EQ")
        assert list(found.topics) == [SBIN]
        assert found.refused == dict.fromkeys((INFY, "NSE:NOSUCH-EQ"), "Fyers does not know it")


def test_five_hundred_at_a_time() -> None:
    symbols = {f"NSE:S{number}-EQ": f"1010000000{number}" for number in range(1, 1202)}
    with FyersServer(symbols) as server:
        found = look_up(server, *symbols)
        assert [len(asked) for asked in server.asked] == [500, 500, 201]
        assert {symbol: topic.name for symbol, topic in found.topics.items()} == {
            symbol: f"sf|nse_cm|{fytoken[10:]}" for symbol, fytoken in symbols.items()
        }


def test_an_expiry_is_in_the_token() -> None:
    topic = topic_of(FUTURE, "101126122935001", Mode.FULL, {})
    assert topic is not None
    assert topic.expiry == date(2026, 12, 29)


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "words", "wait"),
    [
        (401, "refused the token", 0),
        (403, "livetrade login fyers", 0),
        (404, "is the address right", 0),
        (429, "asked too often", 60),
        (502, "does not work at the moment", 0),
        (418, "refused", 0),
    ],
)
def test_a_status_is_told(status: int, words: str, wait: float) -> None:
    with FyersServer() as server:
        server.fail("rest", status=status)
        with pytest.raises(HttpError, match=words) as caught:
            look_up(server, SBIN)
        assert caught.value.wait == wait
        assert f"HTTP {status}" in str(caught.value)


def test_an_expired_token_is_told() -> None:
    with FyersServer() as server:
        server.fail("expired")
        with pytest.raises(FeedError, match=r"Your token has expired.*livetrade login fyers"):
            look_up(server, SBIN)


def test_nobody_there_is_told() -> None:
    with FyersServer() as server:
        token = server.token
        directory = Directory(Mode.FULL, server.data_url, server.static_url)
    with pytest.raises(FeedError, match=r"cannot reach http://127.0.0.1") as caught:
        asyncio.run(directory.look_up([SBIN], AccessToken(token)))
    assert caught.value.__context__ is None  # an httpx error would carry the request, and that the token


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>maintenance</html>", "answered something that is not JSON"),
        (b"[1]", "answered something that is not JSON"),
        (b'{"s": "error", "code": -16, "message": "Could not authenticate"}', "authenticate; run `livetrade login"),
        (b'{"s": "error", "code": -300}', "Fyers answered -300"),
    ],
)
def test_an_odd_answer_is_told(body: bytes, words: str) -> None:
    async def story() -> None:
        async with await http.serve(lambda _: http.Response(200, body)) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            await Directory(Mode.FULL, url, url).look_up([SBIN], AccessToken("A:e30.e30.e30"))

    with pytest.raises(FeedError, match=words):
        asyncio.run(story())


@pytest.mark.parametrize("body", [b"{}", b'{"validSymbol": []}', b'{"validSymbol": {}, "invalidSymbol": null}'])
def test_an_answer_without_the_symbol_means_that_it_is_unknown(body: bytes) -> None:
    async def story() -> Found:
        async with await http.serve(lambda _: http.Response(200, body)) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            return await Directory(Mode.FULL, url, url).look_up([SBIN], AccessToken("A:e30.e30.e30"))

    assert asyncio.run(story()).refused == {SBIN: "Fyers does not know it"}


@pytest.mark.parametrize(("given", "wait"), [("0", 60), ("90", 90), ("99999", 300), ("Thu, 26 Nov 2026", 60), ("", 60)])
def test_how_long_to_leave_it_alone(given: str, wait: float) -> None:
    assert wait_after(429, {"Retry-After": given}) == wait
    assert wait_after(503, {"Retry-After": given}) == 0
    assert refusal(429, "x")


# ── what a user may ask for ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("symbol", "words"),
    [("nse:sbin-eq", "did you mean"), ("BTCUSDT", "write its exchange"), ("", "malformed"), (None, "a symbol is text")],
)
def test_a_malformed_symbol(symbol: str, words: str) -> None:
    with pytest.raises(OrderError, match=words):
        checked([SBIN, symbol], Mode.FULL)


def test_an_index_has_no_depth() -> None:
    with pytest.raises(OrderError, match="NSE:NIFTY50-INDEX: an index has no market depth"):
        checked([NIFTY], Mode.DEPTH)


def test_five_thousand_and_no_more() -> None:
    check_number(5000)
    with pytest.raises(OrderError, match="at most 5,000 symbols"):
        check_number(5001)


# ── instruments ──────────────────────────────────────────────────────────────────────────────────────────────────────


def topics() -> dict[str, Topic]:
    with FyersServer() as server:
        return look_up(server, SBIN, NIFTY, FUTURE, OPTION, RUPEE, CRUDE).topics


def test_instruments_are_what_the_market_tells() -> None:
    market = Market()
    made = {symbol: instrument_for(topic, market) for symbol, topic in topics().items()}
    assert {symbol: (item.kind, item.scale) for symbol, item in made.items()} == {
        SBIN: ("EQUITY", 2),
        NIFTY: ("INDEX", 2),
        FUTURE: ("FUTURE", 2),
        OPTION: ("OPTION", 2),
        RUPEE: ("CURRENCY", 4),
        CRUDE: ("FUTURE", 2),
    }
    assert (made[OPTION].option_type, made[OPTION].expiry) == ("CE", date(2026, 12, 29))
    assert market.instruments[RUPEE] is made[RUPEE]


def test_what_a_user_registered_stands() -> None:
    mine = Instrument(FUTURE, kind="FUTURE", lot_size=75, tick_size="0.05")
    assert instrument_for(topics()[FUTURE], Market(lambda: 0, mine)) is mine


def test_what_has_prices_already_stays_as_it_is() -> None:
    class Refusing(Market):
        def register(self, instrument: Instrument) -> Instrument:
            raise OrderError("it has prices")

    assert instrument_for(topics()[RUPEE], Refusing()).scale == 2
