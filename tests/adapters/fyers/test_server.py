"""The loopback Fyers itself: what the feed's tests do not ask of it."""

import asyncio
import base64
import csv
import hashlib
import json
import threading
import time
from datetime import timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from livetrade.adapters.fyers.codec import (
    PING,
    Answer,
    AuthReply,
    MessageType,
    Notice,
    auth_frame,
    pause_frame,
    read,
    resume_frame,
    subscribe_frame,
    unsubscribe_frame,
)
from livetrade.adapters.fyers.credentials import AccessToken
from livetrade.testing import Fault, FyersServer
from tests.adapters.fyers.market import INFY, NIFTY, SBIN, act


def called(server: FyersServer, url: str, method: str = "GET", **terms: Any) -> httpx.Response:
    headers = {"Authorization": server.token}
    return httpx.request(method, url, headers=headers, **terms)


# ── REST ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_token_looks_like_a_real_one() -> None:
    with FyersServer() as server:
        token = AccessToken(server.token)
        assert token.app_id == server.app_id
        assert len(token.hsm_key.reveal()) == 56
        assert token.expires is not None
        payload = server.token.split(".")[1]
        assert json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"] == "access_token"
        assert server.new_token(timedelta(hours=1)) == server.token != token.authorization.reveal()


def test_quotes() -> None:
    with FyersServer() as server:
        server.quote(SBIN, last="549.05", close="540.00", time=1_800_000_000)
        told = called(server, f"{server.data_url}/quotes", params={"symbols": f"{SBIN},NSE:NOSUCH-EQ"}).json()
        good, bad = told["d"]
        assert (good["n"], good["s"], good["v"]["lp"], good["v"]["bid"]) == (SBIN, "ok", 549.05, 548.95)
        assert (good["v"]["ch"], good["v"]["chp"], good["v"]["tt"]) == (9.05, 1.68, "1800000000")
        assert bad["s"] == "error"


def history(server: FyersServer, **changes: str) -> httpx.Response:
    query = {
        "symbol": SBIN,
        "resolution": "5",
        "date_format": "1",
        "range_from": "2026-11-20",
        "range_to": "2026-11-24",
    }
    return called(server, f"{server.data_url}/history", params=query | changes)


def test_history() -> None:
    with FyersServer() as server:
        candles = history(server).json()["candles"]
        assert len(candles) == 3 * 75  # Friday, Monday, Tuesday
        assert candles[0][0] == 1_795_146_300  # 2026-11-20 09:15 in Asia/Kolkata
        assert {later[0] - sooner[0] for sooner, later in pairwise(candles[:75])} == {300}
        assert all(
            low <= min(opens, closes) <= max(opens, closes) <= high for _, opens, high, low, closes, _ in candles
        )
        assert history(server).json()["candles"] == candles
        assert len(history(server, resolution="D").json()["candles"]) == 3
        epochs = history(server, date_format="0", range_from="1795132800", range_to="1795478400")
        assert epochs.json()["candles"] == candles
        assert history(server, range_from="2026-11-21", range_to="2026-11-22").json()["s"] == "no_data"


@pytest.mark.parametrize(
    "changes",
    [
        {"symbol": "NSE:NOSUCH-EQ"},
        {"resolution": "7"},
        {"range_from": "yesterday"},
        {"range_from": "2026-11-25"},
        {"range_from": "2026-01-01"},
    ],
)
def test_history_refuses(changes: dict[str, str]) -> None:
    with FyersServer() as server:
        refused = history(server, **changes)
        assert (refused.status_code, refused.json()["s"]) == (400, "error")


def test_the_symbol_master() -> None:
    with FyersServer() as server:
        text = httpx.get(f"{server.static_url}/NSE_CM.csv").text
        rows = list(csv.reader(text.splitlines()))
        assert {len(row) for row in rows} == {21}
        assert {row[9]: row[0] for row in rows}[SBIN] == "10100000003045"
        futures = list(csv.reader(httpx.get(f"{server.static_url}/NSE_FO.csv").text.splitlines()))
        assert [(row[3], row[15], row[16]) for row in futures] == [("75", "-1.0", "XX"), ("75", "26000.0", "CE")]
        assert httpx.get(f"{server.static_url}/index_hsm_mapping.json").json()[NIFTY] == "Nifty 50"
        assert httpx.get(f"{server.static_url}/nothing.csv").status_code == 404


def test_a_log_in() -> None:
    with FyersServer() as server:
        url = f"{server.api_url}/validate-authcode"
        right = hashlib.sha256(f"{server.app_id}:{server.app_secret}".encode()).hexdigest()
        body = {"grant_type": "authorization_code", "appIdHash": right, "code": server.auth_code}
        assert f"{server.app_id}:{httpx.post(url, json=body).json()['access_token']}" == server.token
        assert httpx.post(url, json=body | {"code": "wrong"}).json()["code"] == -437
        assert httpx.post(url, json=body | {"appIdHash": "wrong"}).json()["code"] == -371
        assert httpx.post(url, content=b"no json").json()["s"] == "error"


def test_nobody_gets_in_without_the_token() -> None:
    with FyersServer() as server:
        for headers in ({}, {"Authorization": "A:b"}):
            refused = httpx.get(f"{server.data_url}/quotes", headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (401, -15)
        server.fail("expired")
        assert called(server, f"{server.data_url}/quotes").json()["code"] == -8
        server.new_token()
        assert called(server, f"{server.data_url}/quotes").status_code == 200
        assert called(server, f"{server.data_url}/nothing").status_code == 404


# ── the socket ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def let_in(server: FyersServer) -> ClientConnection:
    socket = await connect(server.socket_url, proxy=None)
    await socket.send(PING)  # a ping may come before anything else
    await socket.send(auth_frame(server._keys.hsm_key))
    assert read(await socket.recv(decode=False)) == AuthReply(True, "", 50)
    return socket


def test_channels_pause_and_resume() -> None:
    async def story(server: FyersServer) -> None:
        socket = await let_in(server)
        await socket.send(subscribe_frame(["sf|nse_cm|3045", "sf|nse_cm|0"]))
        assert read(await socket.recv(decode=False)) == Answer(MessageType.SUBSCRIBE, True, "")
        assert (await socket.recv(decode=False))[2] == MessageType.DATA
        await socket.send(pause_frame(11))
        assert read(await socket.recv(decode=False)) == Answer(MessageType.PAUSE, True, "")
        await act(server.quote, SBIN, last=550)
        await socket.send(resume_frame(11))
        assert read(await socket.recv(decode=False)) == Answer(MessageType.RESUME, True, "")
        await act(server.quote, SBIN, last=551)
        assert (await socket.recv(decode=False))[2] == MessageType.DATA
        await socket.send(unsubscribe_frame(["sf|nse_cm|3045"]))
        assert read(await socket.recv(decode=False)) == Answer(MessageType.UNSUBSCRIBE, True, "")
        assert (server.pauses, server.resumes, server.pings, server.subscribed) == (
            [1 << 11],
            [1 << 11],
            1,
            frozenset(),
        )
        await act(server.fail, "message", code=51001, message="too many")
        assert read(await socket.recv(decode=False)) == Notice(51001, "too many", MessageType.SUBSCRIBE)
        await socket.close()

    with FyersServer() as server:
        asyncio.run(story(server))


def test_a_wrong_key_is_denied_and_gets_nothing() -> None:
    async def story(server: FyersServer) -> None:
        async with connect(server.socket_url, proxy=None) as socket:
            await socket.send(auth_frame("wrong"))
            assert read(await socket.recv(decode=False)) == AuthReply(False, "N", 0)
            await socket.send(subscribe_frame(["sf|nse_cm|3045"]))
            await socket.send(auth_frame(server._keys.hsm_key))
            assert read(await socket.recv(decode=False)) == AuthReply(True, "", 50)
            assert server.subscriptions == []

    with FyersServer() as server:
        asyncio.run(story(server))


# ── what it is made of ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"last": "549.005"}, "finer than the wire"),
        ({"price": 1}, "no such figure: price"),
        ({"last": "x"}, "is no number"),
        ({"bid": "NaN"}, "finer"),
    ],
)
def test_a_wrong_quote_is_refused(figures: dict[str, Any], words: str) -> None:
    with FyersServer() as server, pytest.raises(ValueError, match=words):
        server.quote(SBIN, **figures)


def test_what_it_cannot_list_or_do_is_refused() -> None:
    for token in ("3045", "10100000011536"):  # a digit is missing: its expiry is no day
        with pytest.raises(ValueError, match="a Fyers token looks like"):
            FyersServer({SBIN: token})
    with FyersServer() as server:
        with pytest.raises(KeyError):
            server.quote("NSE:NOSUCH-EQ", last=1)
        with pytest.raises(ValueError, match="is not a valid Fault"):
            server.fail("explode")
        assert "10 symbols, 0 connections" in repr(server)
    server.close()
    assert "closed" in repr(server)
    with pytest.raises(RuntimeError, match="is closed"):
        server.quote(SBIN, last=1)


def test_every_fault_may_strike_when_nobody_is_there() -> None:
    with FyersServer() as server:
        for fault in Fault:
            server.fail(fault, symbols=[INFY])
        server.heal()
        assert called(server, f"{server.data_url}/quotes").status_code == 200


def test_it_leaves_no_thread_behind() -> None:
    before = set(threading.enumerate())
    for _ in range(3):
        with FyersServer():
            pass
    deadline = time.monotonic() + 10
    while set(threading.enumerate()) - before:
        assert time.monotonic() < deadline
