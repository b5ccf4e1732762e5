"""The REST client: what it sends, the limits it holds, what each refusal says, and that it shows no secret."""

import itertools
import logging
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livetrade.adapters.fyers import rest as module
from livetrade.adapters.fyers.credentials import AccessToken, Secret
from livetrade.adapters.fyers.rest import (
    API_URL,
    DATA_URL,
    LIMITS,
    STATIC_URL,
    FyersRest,
    Pace,
    RestError,
    Use,
    shared_pace,
)
from livetrade.errors import FeedError, OrderError
from tests.adapters.fyers.rest_server import APP_ID, DROP, HANG, TOKEN, Reply, RestServer, error, jwt, serving


class Clock:
    """Time that passes only in sleep."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def pace(self) -> Pace:
        return Pace(clock=self, sleep=self.sleep)


@pytest.fixture
def server() -> Iterator[RestServer]:
    with serving() as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rest(server: RestServer, clock: Clock) -> Iterator[FyersRest]:
    with client(server, clock) as rest:
        yield rest


def client(server: RestServer, clock: Clock, token: str | None = TOKEN, timeout: float = 30) -> FyersRest:
    return FyersRest(
        None if token is None else AccessToken(token),
        api_url=server.api_url,
        data_url=server.data_url + "/",
        static_url=server.static_url,
        timeout=timeout,
        pace=clock.pace(),
    )


# ── what is sent ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_call_has_the_headers_of_fyers(server: RestServer, rest: FyersRest) -> None:
    assert rest.api("DELETE", "orders/sync", body={"id": "26010100000001"})["echo"] == {"id": "26010100000001"}
    [asked] = server.asked
    assert (asked.method, asked.path) == ("DELETE", "/api/v3/orders/sync")
    assert asked.headers["Authorization"] == TOKEN
    assert asked.headers["Content-Type"] == "application/json"
    assert asked.headers["Version"] == "3"


def test_parameters_are_encoded(server: RestServer, rest: FyersRest) -> None:
    server.quotes = {"NSE:M&M-EQ": {"lp": 1}, "NSE:SBIN-EQ": {"lp": 2}}
    rest.data("GET", "quotes", params={"symbols": "NSE:M&M-EQ,NSE:SBIN-EQ"})
    assert server.asked[0].query == {"symbols": "NSE:M&M-EQ,NSE:SBIN-EQ"}


def test_a_secret_in_a_body_is_sent(server: RestServer, clock: Clock) -> None:
    with client(server, clock, token=None) as rest, pytest.raises(RestError):
        rest.api("POST", "validate-authcode", body={"appIdHash": Secret("digest"), "code": Secret("code")})
    assert server.asked[0].body == {"appIdHash": "digest", "code": "code"}
    assert "Authorization" not in server.asked[0].headers


def test_a_public_file_goes_without_the_token_and_counts_for_no_limit(server: RestServer, rest: FyersRest) -> None:
    server.files["NSE_CM.csv"] = b"1,2,3"
    for _ in range(12):
        assert rest.static("NSE_CM.csv") == b"1,2,3"
    assert all("Authorization" not in asked.headers for asked in server.asked)
    with pytest.raises(RestError, match=r"does not serve other.csv \(HTTP 404"):
        rest.static("other.csv")


def test_the_defaults_are_those_of_fyers() -> None:
    assert API_URL == "https://api-t1.fyers.in/api/v3"
    assert DATA_URL == "https://api-t1.fyers.in/data"
    assert STATIC_URL == "https://public.fyers.in/sym_details"
    with FyersRest() as rest:
        assert API_URL in repr(rest)


@pytest.mark.parametrize(
    "url",
    [
        "http://api-t1.fyers.in/api/v3",
        "ftp://127.0.0.1",
        "api-t1.fyers.in",
        "http://[::1",
        "http://127.0.0.1:x",
        "",
        "https://",
        "https:///data",
    ],
)
def test_a_token_does_not_travel_in_the_clear(url: str) -> None:
    with pytest.raises(OrderError, match="data_url must be an https:// address"):
        module.base_url(url, "data_url")


@pytest.mark.parametrize(
    "url", ["https://example.com/x/", "http://localhost:1/x", "http://[::1]:9/x", "http://127.0.0.1:9/x"]
)
def test_loopback_may_be_plain(url: str) -> None:
    assert module.base_url(url, "data_url") == url.rstrip("/")


def test_a_proxy_is_not_asked_for_loopback(server: RestServer, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with client(server, clock) as rest:
        assert rest.api("GET", "profile")["s"] == "ok"


def test_without_httpx_it_says_what_to_install() -> None:
    code = """
import sys
sys.modules["httpx"] = None
from livetrade.adapters.fyers.rest import FyersRest
try:
    FyersRest()
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == 'the Fyers API needs httpx: pip install "livetrade[fyers]"\n'


# ── limits ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_ten_calls_a_second_and_two_hundred_a_minute(clock: Clock) -> None:
    pace = clock.pace()
    began = []
    for _ in range(401):
        with pace.call():
            began.append(clock.now - 1_000)
    assert began[9] == 0
    assert began[10] == 1
    assert began[199] == 19
    assert began[200] == 60
    assert began[400] == 120


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0, 3), st.floats(0, 1)), max_size=300))
def test_no_window_of_the_server_s_clock_holds_more(calls: list[tuple[float, float, float]]) -> None:
    clock = Clock()
    pace, seen = clock.pace(), []
    for idle, duration, share in calls:
        clock.now += idle
        with pace.call():
            seen.append(clock.now + duration * share)  # the server counts it somewhere in between
            clock.now += duration
    for count, seconds in LIMITS:
        late, early = seen[count:], seen[: max(0, len(seen) - count)]
        assert all(after - before >= seconds - 1e-6 for before, after in zip(early, late, strict=True))


def test_calls_under_way_count(clock: Clock) -> None:
    under_way = ExitStack()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        under_way.close()

    pace = Pace(((2, 1.0),), clock, sleep)
    for _ in range(2):
        under_way.enter_context(pace.call())
    with pace.call():
        assert clock.slept == [1.0, 1.0]  # until one ends, and a second after its end


def test_a_call_that_fails_counts_too(clock: Clock) -> None:
    pace = Pace(((1, 1.0),), clock, clock.sleep)
    with pytest.raises(ZeroDivisionError), pace.call():
        _ = 1 / 0
    with pace.call():
        assert clock.slept == [1.0]


def test_clients_of_one_user_share_their_pace(server: RestServer) -> None:
    assert shared_pace("127.0.0.1:1", "A-100") is shared_pace("127.0.0.1:1", "A-100")
    assert shared_pace("127.0.0.1:1", "A-100") is not shared_pace("127.0.0.1:1", "B-100")
    with FyersRest(AccessToken(TOKEN), api_url=server.api_url, data_url=server.data_url) as rest:
        rest.api("GET", "profile")
    host = server.url.removeprefix("http://")
    assert len(shared_pace(host, APP_ID)._all.ended) == 1


def let_in(pace: Pace, clock: Clock, use: Use, seconds: float) -> int:
    """How many calls of a use, one after the other, so many seconds let in."""
    count, until = 0, clock.now + seconds
    while clock.now < until:
        wait = pace.enter(use)
        if clock.now + wait >= until:
            break
        clock.now += wait
        if not wait:
            count += 1
            pace.leave(use)
            clock.now += 0.01
    return count


def test_while_somebody_sends_orders_all_else_gets_its_part_alone(clock: Clock) -> None:
    pace, sender = clock.pace(), object()
    pace.reserve(sender)
    assert let_in(pace, clock, Use.OTHER, 59) == 40
    assert let_in(pace, clock, Use.LOOK, 0.9) == 6  # a history does not make looks at the books wait
    assert pace.enter(Use.LOOK) > 0
    assert [pace.enter(Use.ORDER) for _ in range(2)] == [0.0] * 2  # with both of these in the same second
    assert pace.enter(Use.ORDER) > 0
    for _ in range(2):
        pace.leave(Use.ORDER)
    clock.now += 60
    assert let_in(pace, clock, Use.LOOK, 59) == 120
    pace.release(sender)
    clock.now += 60
    assert let_in(pace, clock, Use.OTHER, 59) == 200


def test_who_sends_many_orders_is_told_what_became_of_them(clock: Clock) -> None:
    pace = clock.pace()
    pace.reserve(None)
    looks, until = [], clock.now + 300
    while clock.now < until:
        if not pace.enter(Use.ORDER):  # two a second
            pace.leave(Use.ORDER)
        if not pace.enter(Use.LOOK):
            looks.append(clock.now)
            pace.leave(Use.LOOK)
        clock.now += 0.5
    assert len(looks) > 200
    assert max(later - first for first, later in itertools.pairwise(looks)) < 40


def test_retry_after_is_honored(server: RestServer, rest: FyersRest, clock: Clock) -> None:
    server.faults += [
        Reply({"s": "error", "code": -429, "message": "slow"}, 429, {"Retry-After": "2"}),
        Reply(b"", 429, {"X-Retry-After-Ms": "1500", "Retry-After": "2"}),
    ]
    assert rest.data("GET", "marketStatus")["s"] == "ok"
    assert clock.slept == [2.0, 1.5]


def test_a_third_refusal_for_the_rate_is_an_error(server: RestServer, rest: FyersRest, clock: Clock) -> None:
    server.faults += [
        Reply({"s": "error", "code": -429, "message": "request limit reached"}, 429, {"Retry-After": "2"})
    ] * 3
    with pytest.raises(RestError, match=r"rate of calls .*request limit reached.* wait 2 s") as raised:
        rest.data("GET", "marketStatus")
    assert (raised.value.status, raised.value.code) == (429, -429)
    assert len(server.asked) == 3


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "3600"}, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}])
def test_it_does_not_wait_for_what_is_not_said_or_too_long(
    server: RestServer, rest: FyersRest, clock: Clock, headers: dict[str, str]
) -> None:
    server.faults.append(Reply(b"", 429, headers))
    with pytest.raises(RestError, match="rate of calls"):
        rest.data("GET", "marketStatus")
    assert (len(server.asked), clock.slept) == (1, [])


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────────

EXPIRED = r"token has expired or is not valid .*: run `livetrade login fyers`, set FYERS_AUTH_TOKEN"
REFUSALS = [
    (error(-8, "Your token has expired", 400), EXPIRED, -8),
    (error(-15, "Please provide valid token", 401), EXPIRED, -15),
    (error(-16, "Could not authenticate the user", 200), EXPIRED, -16),
    (error(-17, "Token is invalid", 401), EXPIRED, -17),
    (Reply(b"", 401), EXPIRED, 0),
    (
        error(-373, "permission", 403),
        r"does not allow this call \(“permission”, code -373, HTTP 403\): the app lacks",
        -373,
    ),
    (Reply(b"<html>Cloudflare</html>", 403), "does not allow this call .* IP address", 0),
    (error(-353, "limit"), "rate of calls", -353),
    (Reply(b"oops", 500), r"has a fault \(HTTP 500\): try again later", 0),
    (Reply(b"<html>", 502), r"has a fault \(HTTP 502\)", 0),
    (error(-96, "unexpected", 503), r"has a fault \(“unexpected”, code -96, HTTP 503\)", -96),
    (Reply(b" <!doctype html>"), "answered with HTML in place of an answer", 0),
    (Reply(b""), "answered with an empty body", 0),
    (Reply(b"pong"), "answered with text", 0),
    (Reply([1, 2]), "answered with other JSON", 0),
    (Reply({"data": 1}), "answered with other JSON", 0),
    (Reply(b"[" * 100_000), "answered with other JSON", 0),
    (Reply(b"", 404), r"in place of an answer \(HTTP 404\): .*check the address", 0),
    (Reply(b"", 302, {"Location": "http://127.0.0.1:1/"}), r"in place of an answer \(HTTP 302\)", 0),
    (error(-50, "Invalid  input\n\x1b[31m"), r"refused the call: “Invalid input \[31m”, code -50, HTTP 400", -50),
    (error(-300, "Invalid symbol", 200), "refused the call: “Invalid symbol”, code -300", -300),
]


@pytest.mark.parametrize(("reply", "told", "code"), REFUSALS, ids=itertools.count())
def test_a_refusal_says_what_to_do(server: RestServer, rest: FyersRest, reply: Reply, told: str, code: int) -> None:
    server.faults.append(reply)
    with pytest.raises(RestError, match=told) as raised:
        rest.data("GET", "quotes", params={"symbols": "NSE:SBIN-EQ"})
    assert (raised.value.status, raised.value.code) == (reply.status, code)
    assert len(server.asked) == 1


def test_without_a_token_a_refusal_speaks_of_none(server: RestServer, clock: Clock) -> None:
    with client(server, clock, token=None) as rest, pytest.raises(RestError, match="refused the call: “Invalid app id"):
        rest.api("POST", "validate-authcode", body={"appIdHash": "x", "code": "y"})


def test_an_expired_token_is_not_sent(server: RestServer, clock: Clock) -> None:
    with (
        client(server, clock, f"{APP_ID}:{jwt(exp=1_700_000_000)}") as rest,
        pytest.raises(FeedError, match="expired at 2023"),
    ):
        rest.api("GET", "profile")
    assert server.asked == []


@pytest.mark.parametrize(
    ("reply", "told"), [(HANG, r"did not answer within 0\.5 s"), (DROP, r"broke \(RemoteProtocolError\)")]
)
def test_no_answer_is_said_and_nothing_is_sent_again(server: RestServer, clock: Clock, reply: Reply, told: str) -> None:
    server.faults.append(reply)
    with client(server, clock, timeout=0.5) as rest, pytest.raises(RestError, match=told) as raised:
        rest.api("POST", "orders/sync", body={"qty": 1})
    assert raised.value.status == 0
    assert len(server.asked) <= 1


def test_nobody_there(clock: Clock) -> None:
    with serving() as server:
        pass
    with client(server, clock) as rest, pytest.raises(RestError, match=r"cannot be reached .*: check the network"):
        rest.api("GET", "profile")


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────────────────────────

KEY, SIGNATURE, CODE = "plantedHsmKey", "plantedSignature", "plantedCode"
PLANTED = f"{APP_ID}:{jwt(hsm_key=KEY, signature=SIGNATURE)}"
ECHO = PLANTED.encode()


@pytest.mark.parametrize(
    "reply",
    [
        Reply({"s": "ok", "message": ""}),
        error(-16, f"bad {PLANTED}", 401),
        error(-16, f"bad {PLANTED.partition(':')[2]} {KEY} {CODE}", 400),
        error(-96, PLANTED, 500),
        Reply(b"<html>" + ECHO, 403),
        Reply(ECHO, 502),
        Reply(b'{"s": "ok", ' + ECHO),
        Reply({"s": "error", "code": PLANTED, "message": {"deep": PLANTED}}),
        Reply(ECHO, 429),
        Reply(ECHO, 302, {"Location": "http://127.0.0.1:1/"}),
        HANG,
        DROP,
    ],
    ids=itertools.count(),
)
def test_no_secret_is_shown(server: RestServer, clock: Clock, caplog: pytest.LogCaptureFixture, reply: Reply) -> None:
    server.faults.append(reply)
    texts: list[str] = []
    with caplog.at_level(logging.DEBUG), client(server, clock, PLANTED, timeout=0.5) as rest:
        try:
            rest.api("POST", "validate-authcode", body={"code": Secret(CODE)})
        except FeedError as failure:
            texts += [traceback.format_exc(), *everything_of(failure)]
        texts += [repr(rest), str(rest), repr(vars(rest)), repr(rest._client.headers)]
    assert "httpx" in caplog.text or "httpcore" in caplog.text
    for planted in (KEY, SIGNATURE, PLANTED.partition(":")[2], CODE):
        assert planted not in caplog.text
        assert not any(planted in text for text in texts)


def everything_of(failure: BaseException | None) -> Iterator[str]:
    """All that an exception and those behind it hold."""
    while failure is not None:
        yield from (str(failure), repr(failure), repr(failure.args), repr(vars(failure)))
        held: Any = failure.__dict__.get("request") or failure.__dict__.get("_request")
        assert held is None
        failure = failure.__cause__ or failure.__context__
