"""The wire of Fyers' data socket: each message to and from the server, byte by byte."""

import pytest

from livetrade.adapters.fyers.codec import (
    CHANNEL,
    MOST_TOPICS,
    PING,
    Answer,
    AuthReply,
    MessageType,
    Notice,
    ack_frame,
    auth_frame,
    mode_frame,
    pause_frame,
    read,
    resume_frame,
    subscribe_frame,
    unsubscribe_frame,
)
from tests.adapters.fyers.codec_kit import SCRIP_TOPIC
from tests.adapters.fyers.frames import answer, auth_reply, big, control, data, notice

# ── what the client sends ────────────────────────────────────────────────────────────────────────────────────────────


def test_the_ping_is_three_bytes() -> None:
    assert PING.hex() == "00010b"


def test_auth() -> None:
    frame = auth_frame("a1b2c3", "livetrade")
    assert frame == (
        bytes.fromhex("001f 01 04")
        + bytes.fromhex("01 0006")
        + b"a1b2c3"
        + bytes.fromhex("02 0001 50 03 0001 01")
        + bytes.fromhex("04 0009")
        + b"livetrade"
    )
    assert len(frame) == 18 + 6 + 9
    assert int.from_bytes(frame[:2], "big") == len(frame) - 2
    assert auth_frame("a1b2c3") == frame


@pytest.mark.parametrize(("full", "letter"), [(True, "46"), (False, "4c")])
def test_mode(full: bool, letter: str) -> None:
    assert mode_frame(full) == bytes.fromhex("0000 0c 02 01 0008 0000000000000800 02 0001" + letter)


def test_mode_of_another_channel() -> None:
    assert mode_frame(True, 63)[7:15] == bytes.fromhex("8000000000000000")


def test_subscribe_as_it_was_observed_but_with_the_true_length() -> None:
    frame = subscribe_frame(["sf|nse_cm|3045", "sf|nse_cm|2885", "if|nse_cm|Nifty 50"])
    observed = (
        bytes.fromhex("016f 04 02 01 0033 0003 0e")
        + b"sf|nse_cm|3045"
        + b"\x0e"
        + b"sf|nse_cm|2885"
        + b"\x12"
        + b"if|nse_cm|Nifty 50"
        + bytes.fromhex("02 0001 0b")
    )
    assert len(frame) == 62
    assert frame[2:] == observed[2:]
    assert int.from_bytes(frame[:2], "big") == 60 == 9 + 0x33


def test_unsubscribe_is_the_same_with_another_type() -> None:
    frame = unsubscribe_frame([SCRIP_TOPIC], channel=12)
    assert frame == bytes.fromhex("001a 05 02 01 0011 0001 0e") + b"sf|nse_cm|3045" + bytes.fromhex("02 0001 0c")
    assert frame[3:] == subscribe_frame([SCRIP_TOPIC], 12)[3:]


def test_ack() -> None:
    assert ack_frame(0xFEDCBA98) == bytes.fromhex("0009 03 01 01 0004 fedcba98")


def test_pause_and_resume() -> None:
    assert pause_frame(CHANNEL) == bytes.fromhex("0000 07 01 01 0008 0000000000000800")
    assert resume_frame(1) == bytes.fromhex("0000 08 01 01 0008 0000000000000002")


def test_most_topics_fit_and_one_more_does_not() -> None:
    topics = [f"sf|nse_fo|{number}" for number in range(100_000, 100_000 + MOST_TOPICS)]
    assert subscribe_frame(topics)[7:9] == big(1500, 2)
    for frame in (subscribe_frame, unsubscribe_frame):
        with pytest.raises(ValueError, match="at most 1500 topics"):
            frame([*topics, SCRIP_TOPIC])


@pytest.mark.parametrize("topics", [[""], ["x" * 256], ["if|nse_cm|Nifty\xa050"], ["if|nse_cm|" + "x" * 200] * 400])
def test_topics_that_cannot_be_written(topics: list[str]) -> None:
    with pytest.raises(ValueError, match=r"letters|ascii|holds"):
        subscribe_frame(topics)


@pytest.mark.parametrize("channel", [-1, 0, 64, 256])
def test_channels_are_1_to_63(channel: int) -> None:
    for frame in (
        lambda: mode_frame(True, channel),
        lambda: pause_frame(channel),
        lambda: subscribe_frame([], channel),
    ):
        with pytest.raises(ValueError, match="1 to 63"):
            frame()


# ── what the server answers ──────────────────────────────────────────────────────────────────────────────────────────


def test_auth_reply() -> None:
    assert read(bytes.fromhex("000d 01 02 01 0001 4b 02 0004 00000064")) == AuthReply(True, "", 100)
    assert read(auth_reply(b"K", 0, (3, b'{"scrip": ["s100"]}'))) == AuthReply(True, "", 0)
    assert read(auth_reply(b"Invalid token")) == AuthReply(False, "Invalid token", 0)
    assert read(auth_reply(b"KO", 3)) == AuthReply(False, "KO", 3)
    assert read(control(1, (1, b"no"))) == AuthReply(False, "no", 0)
    assert read(auth_reply(b"K", 5) + b"what else comes, in any shape") == AuthReply(True, "", 5)


@pytest.mark.parametrize("kind", [4, 5, 7, 8, 12])
def test_answers(kind: int) -> None:
    assert read(answer(kind)) == Answer(MessageType(kind), True, "")
    assert read(answer(kind, "größer".encode())) == Answer(MessageType(kind), False, "größer")
    assert read(answer(kind, b"\xff")) == Answer(MessageType(kind), False, "\ufffd")
    assert read(control(kind, (1, b"KO"))) == Answer(MessageType(kind), False, "KO")


def test_the_length_of_an_answer_is_not_believed() -> None:
    assert read(control(4, (1, b"K"), length=0)) == read(control(4, (1, b"K"), length=9999)) == read(answer(4))


@pytest.mark.parametrize(
    ("ref_type", "about"),
    [
        (1, MessageType.AUTH),
        (4, MessageType.SUBSCRIBE),
        (5, MessageType.UNSUBSCRIBE),
        (7, MessageType.PAUSE),
        (8, MessageType.RESUME),
        (0, None),
        (12, None),
        (200, None),
    ],
)
def test_notices(ref_type: int, about: MessageType | None) -> None:
    assert read(notice(51001, "Symbol limit reached", ref_type)) == Notice(51001, "Symbol limit reached", about)


def test_a_notice_without_all_its_fields() -> None:
    assert read(control(51, (1, big(-300, 4)))) == Notice(-300, "", None)
    assert read(control(51, (2, b"what?"))) is None
    assert read(control(51, (1, b"\1"))) is None


def test_a_notice_that_claims_to_be_longer_than_it_is() -> None:
    assert read(control(51, (1, big(1, 4)), length=9)) == Notice(1, "", None)
    assert read(control(51, (1, big(1, 4)), length=10)) is None


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\0",
        b"\0\2",
        b"\0\2\1",
        b"\0\2\1\0",
        b"\0\2\4\1",
        PING,
        ack_frame(1),
        control(13, (1, b"K")),
        control(99, (1, b"K")),
        data(1),
        control(4, (2, b"K")),
        control(1, (1, b"K"), (2, b"\1")),
    ],
    ids=lambda frame: frame.hex(),
)
def test_what_is_no_answer_is_none(frame: bytes) -> None:
    assert read(frame) is None


def test_an_answer_that_is_cut_is_none() -> None:
    for whole, needed in ((auth_reply(b"K", 7), 15), (answer(4), 8), (notice(51001, "limit", 4), 23)):
        assert [read(whole[:end]) is None for end in range(len(whole) + 1)] == [
            end < needed for end in range(len(whole) + 1)
        ]
