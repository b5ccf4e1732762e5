"""Secrets that no text shows; tokens, taken apart, and where they are found."""

import base64
import copy
import json
import logging
import pickle
import subprocess
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import NoKeyringError

from livetrade.adapters.fyers.credentials import AccessToken, Secret, find_token, from_keyring, to_keyring
from livetrade.errors import FeedError
from tests.adapters.fyers.rest_server import APP_ID, LATE, TOKEN, jwt

PLANTED = "plantedAndNeverShown"


class Memory(KeyringBackend):
    """A keyring of one process. `broken`: what it raises in place of answering; `deaf`: it forgets what it is told."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}
        self.broken: Exception | None = None
        self.deaf = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.broken:
            raise self.broken
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.broken:
            raise self.broken
        if not self.deaf:
            self.kept[service, username] = password


@pytest.fixture
def memory() -> Iterator[Memory]:
    before, mine = keyring.get_keyring(), Memory()
    keyring.set_keyring(mine)
    yield mine
    keyring.set_keyring(before)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FYERS_AUTH_TOKEN", "FYERS_APP_ID", "FYERS_USER_ID"):
        monkeypatch.delenv(name, raising=False)


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_secret_is_shown_by_nothing_but_reveal(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(PLANTED)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("any").debug("it is %s and %r", secret, secret)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", repr([secret]), caplog.text]
    assert not any(PLANTED in text for text in shown)
    assert secret.reveal() == PLANTED


@pytest.mark.parametrize("way", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_secret_does_not_leave_the_process(way: Any) -> None:
    with pytest.raises(TypeError, match="not pickled") as raised:
        way(Secret(PLANTED))
    assert PLANTED not in str(raised.value)


def test_secrets_compare_by_their_text() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert not Secret("")


# ── tokens ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_token_is_taken_apart() -> None:
    token = AccessToken(f"  {APP_ID}:{jwt(exp=1_800_000_000, hsm_key='abc')}\n")
    assert token.app_id == APP_ID
    assert token.hsm_key == Secret("abc")
    assert token.expires == datetime(2027, 1, 15, 8, 0, tzinfo=UTC)
    assert token.authorization.reveal() == f"{APP_ID}:{jwt(exp=1_800_000_000, hsm_key='abc')}"


def test_the_app_id_may_stand_beside_the_jwt() -> None:
    assert AccessToken(jwt(), APP_ID) == AccessToken(TOKEN) == AccessToken(Secret(TOKEN), "other")
    assert len({AccessToken(jwt(), APP_ID), AccessToken(TOKEN), AccessToken(jwt(), "OTHER-100")}) == 2
    with pytest.raises(FeedError, match="lacks its app id"):
        AccessToken(jwt())


def test_a_token_says_when_it_ends() -> None:
    token = AccessToken(TOKEN)
    end = datetime.fromtimestamp(LATE, UTC)
    token.check(end - timedelta(seconds=1))
    assert token.seconds_left(end - timedelta(seconds=5)) == 5
    with pytest.raises(FeedError, match=r"expired at 2096-10-02 07:06 UTC; run `livetrade login fyers`"):
        token.check(end)


@pytest.mark.parametrize("exp", [None, "soon", True, 1e300, -1e300, float("nan")])
def test_an_odd_expiry_is_no_expiry(exp: object) -> None:
    token = AccessToken(f"{APP_ID}:{jwt(exp=exp)}")
    assert token.expires is None
    assert token.seconds_left(datetime.now(UTC)) == float("inf")


def test_a_token_is_never_shown() -> None:
    token = AccessToken(f"{APP_ID}:{jwt(hsm_key=PLANTED)}")
    for text in (repr(token), str(token), f"{token}", repr(vars(token))):
        assert PLANTED not in text
        assert jwt(hsm_key=PLANTED) not in text
    with pytest.raises(TypeError):
        pickle.dumps(token)


def middle(payload: bytes) -> str:
    return base64.urlsafe_b64encode(payload).decode().rstrip("=")


@pytest.mark.parametrize(
    "text",
    [
        f"{APP_ID}:{PLANTED}",
        f"{APP_ID}:{PLANTED}.{PLANTED}",
        f"{APP_ID}:a.{PLANTED}.c",
        f"{APP_ID}:a.{middle(PLANTED.encode())}.c",
        f"{APP_ID}:a.{middle(json.dumps([PLANTED]).encode())}.c",
        f"{APP_ID}:a.{middle(PLANTED.encode() + bytes([255]))}.c",
        f"{APP_ID}:{jwt()}\n{PLANTED}",
        f"{APP_ID}:{jwt(signature='ü')}",
        f"{APP_ID} {PLANTED}:{jwt()}",
        f"{PLANTED}.a.b:{APP_ID}",
        f"a.{middle(b'[' * 100_000)}.c",
    ],
)
def test_what_is_no_token_says_so_and_is_not_shown(text: str) -> None:
    with pytest.raises(FeedError, match="malformed") as raised:
        AccessToken(text, APP_ID)
    printed = "".join(traceback.format_exception(raised.value))
    assert (raised.value.__cause__, raised.value.__context__) == (
        None,
        None,
    )  # a JSON error holds the document, a Unicode error the bytes
    assert PLANTED not in printed


# ── where it is found ────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_argument_goes_before_the_environment_before_the_keyring(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert to_keyring(AccessToken(f"KEPT-100:{jwt()}"))
    assert find_token().app_id == "KEPT-100"
    monkeypatch.setenv("FYERS_AUTH_TOKEN", jwt())
    monkeypatch.setenv("FYERS_APP_ID", "ENV-100")
    assert find_token().app_id == "ENV-100"
    assert find_token(TOKEN).app_id == APP_ID
    assert find_token(Secret(TOKEN)).app_id == APP_ID


def test_users_have_a_token_each(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    to_keyring(AccessToken(f"ONE-100:{jwt()}"))
    monkeypatch.setenv("FYERS_USER_ID", "XY1234")
    assert from_keyring() is None
    to_keyring(AccessToken(f"TWO-100:{jwt()}"))
    assert find_token().app_id == "TWO-100"
    assert {user for _, user in memory.kept} == {"default", "XY1234"}


@pytest.mark.parametrize("broken", [NoKeyringError("none"), OSError("locked"), ValueError(1783, "CredWrite")], ids=repr)
def test_without_a_keyring_the_error_names_the_three_ways(memory: Memory, broken: Exception) -> None:
    memory.broken = broken
    assert not to_keyring(AccessToken(TOKEN))
    with pytest.raises(FeedError) as raised:
        find_token()
    for way in ("livetrade login fyers", "FYERS_AUTH_TOKEN", "access_token="):
        assert way in str(raised.value)


def test_a_keyring_that_forgets_does_not_count(memory: Memory) -> None:
    memory.deaf = True
    assert not to_keyring(AccessToken(TOKEN))


def test_keyring_need_not_be_installed() -> None:
    code = """
import sys
sys.modules["keyring"] = None
from livetrade.adapters.fyers.credentials import AccessToken, from_keyring, to_keyring
print(from_keyring(), to_keyring(AccessToken(sys.argv[1])))
"""
    done = subprocess.run([sys.executable, "-c", code, TOKEN], capture_output=True, text=True, check=True)
    assert done.stdout == "None False\n"
