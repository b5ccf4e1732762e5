"""Every command with good and bad input, on a real engine: answers, refusals, and an account that bad input leaves as
it was."""

import asyncio
import inspect
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import livetrade as lt
from livetrade.core import events as ev
from tests.support import (
    FREE,
    INFY,
    SBIN,
    ScriptedBroker,
    events_of,
    folded,
    picture,
    picture_of,
    quoted,
    recording,
    soon,
    trading,
)

NIFTY = lt.Instrument("NSE:NIFTY26MARFUT", kind="FUTURE", tick_size="0.05", lot_size=75)
Engine = lt.LiveTradingEngine


# ── the example that the documents begin with ────────────────────────────────────────────────────────────────────────


def test_the_example_in_a_coroutine() -> None:
    async def cell() -> None:
        stream = lt.LivePriceStream()
        stream.update("NSE:SBIN-EQ", bid="548.95", ask="549.00", last="549.00")
        engine = lt.LiveTradingEngine(Decimal(500000), stream)
        success, message, order = await engine.market_buy(
            "NSE:SBIN-EQ", 100, stop_loss_price=Decimal("545.00"), take_profit_price=Decimal("560.00")
        )
        assert (success, message) == (True, "Bought 100 NSE:SBIN-EQ at 549.00")
        assert order.status is lt.OrderStatus.FILLED
        assert order.filled_qty == 100
        assert order.avg_price == Decimal("549.00")
        pnl = await engine.get_portfolio_pnl()
        assert list(pnl) == [
            "portfolio_value",
            "cash",
            "realized_pnl",
            "unrealized_pnl",
            "total_pnl",
            "total_pnl_percent",
            "day_pnl",
            "fees",
        ]
        assert all(type(value) is Decimal for value in pnl.values())
        assert pnl["cash"] == Decimal("445083.53")
        assert pnl["fees"] == Decimal("16.47")
        assert pnl["total_pnl"] == pnl["day_pnl"] == -pnl["fees"]
        assert list(engine.positions().index) == ["NSE:SBIN-EQ"]
        assert list(engine.orders()["status"]) == ["FILLED"]
        assert list(engine.fills()["price"]) == [549.0]
        assert set(engine.risk_orders()["kind"]) == {"STOP_LOSS", "TAKE_PROFIT"}
        assert len(engine.equity())
        assert engine.panel() is not None
        with pytest.warns(RuntimeWarning, match=r"100 NSE:SBIN-EQ and 2 exits are no longer watched"):
            engine.close()

    asyncio.run(cell())


def test_the_example_without_a_loop() -> None:
    with trading(fees=lt.DEFAULT_FEES) as engine:
        handle = engine.market_buy(SBIN, 100, stop_loss_price="545", take_profit_price=560)
        success, message, order = handle.result(5)
        assert success, message
        assert handle.done()
        assert "FILLED" in repr(handle)
        assert engine.order(order.client_order_id) == order
        assert engine.get_portfolio_pnl().result()["fees"] == Decimal("16.47")
        engine.stream.update(SBIN, bid=545, ask="545.05", last=545)
        assert not engine.position(SBIN)
        assert list(engine.fills()["source"]) == ["USER", "STOP_LOSS"]
        assert list(engine.risk_orders()["status"]) == ["FILLED", "CANCELED"]


# ── wrong use raises in the caller, and changes nothing ──────────────────────────────────────────────────────────────

NO_FIGURE = [
    -1,
    0,
    math.nan,
    math.inf,
    -math.inf,
    "NaN",
    "many",
    "",
    b"1",
    [],
    {},
    True,
    False,
    Decimal("NaN"),
    Decimal("sNaN"),
    Decimal("-0"),
    10**40,
    2**63,
    "1e400",
    "1e-400",
    np.int64(0),
    np.int64(-5),
    np.float64("nan"),
    np.bool_(True),
    pd.NA,
    pd.NaT,
    1j,
    object,
]
NO_QUANTITY = [*NO_FIGURE, 0.5, Fraction(1, 2), "1.5", np.float64(0.5)]
NO_PRICE = [*NO_FIGURE, "548.991", 548.991, 1e-9]
NO_SYMBOL = [
    "",
    " ",
    "nse:sbin-eq",
    "NSE:sbin-eq",
    "NSE:",
    ":SBIN",
    "NSE:SBIN EQ",
    "NSE:SBIN;EQ",
    "ÑSE:X",
    None,
    7,
    b"X",
]

WRONG: dict[str, Callable[[Engine], Any]] = {
    **{f"quantity {q!s}": lambda e, q=q: e.market_buy(SBIN, q) for q in NO_QUANTITY},
    **{f"sold quantity {q!s}": lambda e, q=q: e.limit_sell(SBIN, q, 550) for q in NO_QUANTITY},
    **{f"lots {q!s}": lambda e, q=q: e.market_buy(SBIN, lots=q) for q in NO_QUANTITY},
    **{f"limit {p!s}": lambda e, p=p: e.limit_buy(SBIN, 1, p) for p in NO_PRICE},
    **{f"trigger {p!s}": lambda e, p=p: e.stop_buy(SBIN, 1, p) for p in NO_PRICE},
    **{f"stop {p!s}": lambda e, p=p: e.market_buy(SBIN, 1, stop_loss_price=p) for p in NO_PRICE},
    **{f"trail {p!s}": lambda e, p=p: e.market_buy(SBIN, 1, trailing_stop=p) for p in NO_PRICE},
    **{f"percent {p!s}": lambda e, p=p: e.market_buy(SBIN, 1, stop_loss_pct=p) for p in (0, -1, "x", math.nan, True)},
    **{f"moved stop {p!s}": lambda e, p=p: e.set_stop_loss(SBIN, p) for p in NO_PRICE},
    **{f"modified limit {p!s}": lambda e, p=p: e.modify("REST1", limit_price=p) for p in NO_PRICE},
    **{f"modified quantity {q!s}": lambda e, q=q: e.modify("REST1", quantity=q) for q in NO_QUANTITY},
    **{f"closed quantity {q!s}": lambda e, q=q: e.close_position(SBIN, q) for q in NO_QUANTITY},
    **{f"symbol {s!r}": lambda e, s=s: e.market_buy(s, 1) for s in NO_SYMBOL},
    **{f"protected symbol {s!r}": lambda e, s=s: e.set_take_profit(s, 560) for s in NO_SYMBOL},
    **{f"closed symbol {s!r}": lambda e, s=s: e.close_position(s) for s in NO_SYMBOL},
    **{f"flattened symbol {s!r}": lambda e, s=s: e.flatten(s) for s in NO_SYMBOL if s is not None},
    **{f"canceled symbol {s!r}": lambda e, s=s: e.cancel_all(s) for s in NO_SYMBOL if s is not None},
    **{f"id {i!r}": lambda e, i=i: e.market_buy(SBIN, 1, client_order_id=i) for i in ("", "a b", "x" * 31, "é", 7)},
    **{f"amount {a!r}": lambda e, a=a: e.transfer(a) for a in (0, math.nan, "x", None, True, 10**40)},
    "no quantity": lambda e: e.market_buy(SBIN),
    "quantity and lots": lambda e: e.market_buy(SBIN, 75, lots=1),
    "off the lot": lambda e: e.market_buy(NIFTY.symbol, 100),
    "half a lot": lambda e: e.market_buy(NIFTY.symbol, lots="0.5"),
    "off the tick": lambda e: e.limit_buy(NIFTY.symbol, 75, "22000.03"),
    "exit off the tick": lambda e: e.market_buy(NIFTY.symbol, 75, stop_loss_price="21000.01"),
    "stop above target": lambda e: e.market_buy(SBIN, 1, stop_loss_price=560, take_profit_price=545),
    "stop below target of a sale": lambda e: e.market_sell(SBIN, 1, stop_loss_price=545, take_profit_price=560),
    "stop twice": lambda e: e.market_buy(SBIN, 1, stop_loss_price=545, stop_loss_pct=1),
    "stop at zero": lambda e: e.market_buy(SBIN, 1, stop_loss_pct=100),
    "moved twice": lambda e: e.set_stop_loss(SBIN, 545, pct=1),
    "trail twice": lambda e: e.set_trailing_stop(SBIN, amount=1, pct=1),
    "product": lambda e: e.market_buy(SBIN, 1, product="DELIVERY"),
    "no product": lambda e: e.market_buy(SBIN, 1, product=None),
    "time in force": lambda e: e.limit_buy(SBIN, 1, 540, time_in_force="FOK"),
    "tag": lambda e: e.market_buy(SBIN, 1, tag=7),
    "long tag": lambda e: e.market_buy(SBIN, 1, tag="x" * 201),
    "index": lambda e: e.market_buy("NSE:NIFTY50-INDEX", 1),
    "index exit": lambda e: e.set_stop_loss("NSE:NIFTY50-INDEX", 1),
    "no limit": lambda e: e.limit_buy(SBIN, 1, None),
    "no trigger": lambda e: e.stop_sell(SBIN, 1, None),
    "limit of a market order": lambda e: e.submit({"symbol": SBIN, "side": "BUY", "quantity": 1, "limit_price": 540}),
    "no side": lambda e: e.submit({"symbol": SBIN, "quantity": 1}),
    "nothing": lambda e: e.submit({}),
    "side": lambda e: e.submit({"symbol": SBIN, "side": "HOLD", "quantity": 1}),
    "order type": lambda e: e.submit({"symbol": SBIN, "side": "BUY", "quantity": 1, "order_type": "ICEBERG"}),
    "nothing to modify": lambda e: e.modify("REST1"),
    "modified unknown": lambda e: e.modify("NOSUCH", quantity=1),
    "reason": lambda e: e.halt(None),
    "status": lambda e: e.limit_buy(SBIN, 100, 540, client_order_id="REST1").wait_for("DONE"),
    "patience": lambda e: e.limit_buy(SBIN, 100, 540, client_order_id="REST1").wait_for("FILLED", math.nan),
    "less than no patience": lambda e: e.limit_buy(SBIN, 100, 540, client_order_id="REST1").wait_for("FILLED", -1),
}


@pytest.fixture(scope="module")
def busy() -> Any:
    """One engine for all wrong uses: a position with both exits, a resting order, money moved."""
    with trading(instruments=[NIFTY], name="wrong use") as engine:
        engine.stream.update(NIFTY.symbol, bid=22000, ask="22000.05", last=22000)
        engine.market_buy(SBIN, 100, stop_loss_price=540, take_profit_price=560).result(5).raise_if_failed()
        engine.limit_buy(SBIN, 100, 540, client_order_id="REST1").result(5).raise_if_failed()
        yield engine


@pytest.fixture
def no_engine_is_left() -> None:
    """In this file an engine may serve many tests; each closes its own."""


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_raises_where_it_was_written_and_changes_nothing(busy: Engine, name: str) -> None:
    before, events = picture_of(busy), len(events_of(busy))
    with pytest.raises(lt.OrderError):
        WRONG[name](busy)
    assert picture_of(busy) == before
    assert len(events_of(busy)) == events


def test_an_argument_that_nobody_knows_is_a_type_error(busy: Engine) -> None:
    before = picture_of(busy)
    with pytest.raises(TypeError, match="stop_los_price"):
        busy.market_buy(SBIN, 1, stop_los_price=545)  # type: ignore[call-arg]
    assert picture_of(busy) == before


@given(st.one_of(st.floats(), st.integers(), st.text(max_size=8), st.decimals(), st.none(), st.binary(max_size=3)))
def test_whatever_is_given_for_a_quantity_is_bought_exactly_or_not_at_all(busy: Engine, value: Any) -> None:
    before = picture_of(busy, refusals=False)
    try:
        answer = busy.stop_buy(SBIN, value, 600).result(5)
    except lt.OrderError:
        assert picture_of(busy, refusals=False) == before
        return
    if answer.success:
        assert answer.order.quantity == Decimal(str(value)) > 0
        busy.cancel(answer.order.client_order_id).result(5).raise_if_failed()
    else:
        assert answer.message.startswith(("Insufficient balance", "Limit exceeded"))
        assert answer.order.status is lt.OrderStatus.DENIED


def test_numbers_from_numpy_and_pandas_are_numbers(busy: Engine) -> None:
    row = pd.DataFrame({"symbol": [SBIN], "side": ["buy"], "quantity": [3.0], "limit_price": [540.0], "lots": [np.nan]})
    for answer in (
        busy.limit_buy(SBIN, np.int64(3), np.float64(540)),
        busy.limit_buy(SBIN, np.uint8(3), "540.00"),
        busy.limit_buy(SBIN, np.float64(3), Decimal(540)),
        busy.limit_buy(SBIN, 3.0, 540.0),
        busy.limit_buy(SBIN, "3", 540),
        busy.limit_buy(SBIN, None, 540, lots=3),
        busy.submit({**row.iloc[0].to_dict(), "order_type": "limit"}),
    ):
        order = answer.result(5).raise_if_failed().order
        assert (order.quantity, order.limit_price) == (3, 540)
        busy.cancel(order.client_order_id).result(5).raise_if_failed()


@pytest.mark.parametrize("price", [25974.900390625, "25974.900390625", 25974.9, Decimal("25974.90")])
def test_a_price_that_leaked_from_a_float_is_the_price_it_means(busy: Engine, price: Any) -> None:
    order = busy.limit_buy("NSE:BANKNIFTY26MARFUT", 1, price).result(5).raise_if_failed().order
    assert order.limit_price == Decimal("25974.90")
    busy.cancel(order.client_order_id).result(5).raise_if_failed()


def test_lots_count_in_lots(busy: Engine) -> None:
    order = busy.limit_buy(NIFTY.symbol, None, "1.05", lots=2).result(5).raise_if_failed().order
    assert order.quantity == 150
    busy.cancel(order.client_order_id).result(5).raise_if_failed()


def test_help_shows_every_argument() -> None:
    shown = inspect.signature(lt.LiveTradingEngine.market_buy).parameters
    assert {"stop_loss_price", "trailing_stop_pct", "lots", "product", "tag", "client_order_id"} <= set(shown)


# ── refusals are answers ─────────────────────────────────────────────────────────────────────────────────────────────


def half_known() -> lt.LivePriceStream:
    stream = lt.LivePriceStream()
    stream.update(SBIN, bid="548.95")
    return stream


def margin_fails(*_: Any) -> Decimal:
    raise ZeroDivisionError("no margin today")


REFUSED: dict[str, tuple[str, dict[str, Any], Callable[[Engine], Any]]] = {
    "no quote": ("Price feed unavailable", {}, lambda e: e.market_buy(INFY, 1)),
    "no ask": ("Price feed unavailable", {"stream": half_known}, lambda e: e.market_buy(SBIN, 1)),
    "too dear": ("Insufficient balance", {}, lambda e: e.market_buy(SBIN, 1000)),
    "too dear at the limit": ("Insufficient balance", {}, lambda e: e.limit_buy(SBIN, 1000, 540)),
    "takes too much": ("Insufficient balance", {}, lambda e: e.transfer(-500_001)),
    "margin rule fails": ("Insufficient balance", {"margin": margin_fails}, lambda e: e.market_buy(SBIN, 1)),
    "margin rule is mad": (
        "Insufficient balance",
        {"margin": lambda *_: math.nan},
        lambda e: e.market_buy(SBIN, 1),
    ),
    "short": ("No position to sell", {}, lambda e: e.market_sell(SBIN, 1)),
    "short at a limit": ("No position to sell", {}, lambda e: e.limit_sell(SBIN, 1, 600)),
    "CNC short": (
        "No position to sell",
        {"limits": lt.Limits(allow_short=True)},
        lambda e: e.market_sell(SBIN, 1, product="CNC"),
    ),
    "flat": ("No position to sell", {}, lambda e: e.close_position(SBIN)),
    "quantity": (
        "Limit exceeded: max_order_quantity",
        {"limits": lt.Limits(max_order_quantity=5)},
        lambda e: e.market_buy(SBIN, 6),
    ),
    "value": (
        "Limit exceeded: max_order_value",
        {"limits": lt.Limits(max_order_value=500)},
        lambda e: e.market_buy(SBIN, 1),
    ),
    "position": (
        "Limit exceeded: max_position_value",
        {"limits": lt.Limits(max_position_value=500)},
        lambda e: e.market_buy(SBIN, 1),
    ),
    "band": (
        "Limit exceeded: price_band_pct",
        {"limits": lt.Limits(price_band_pct=5)},
        lambda e: e.limit_buy(SBIN, 1, 500),
    ),
    "stop through the market": ("STOP_LOSS", {}, lambda e: e.market_buy(SBIN, 1, stop_loss_price=549)),
    "unknown order": ("Unknown order", {}, lambda e: e.cancel("NOSUCH")),
    "nothing to protect": ("No position to protect", {}, lambda e: e.set_stop_loss(SBIN, 545)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_is_an_answer_and_changes_nothing(name: str) -> None:
    words, terms, ask = REFUSED[name]
    stream = terms["stream"]() if "stream" in terms else quoted()
    with trading(**{**terms, "stream": stream, "name": name}) as engine:
        before = picture_of(engine, refusals=False)
        answer = ask(engine).result(5)
        assert not answer.success
        assert answer.message.startswith(words)
        assert picture_of(engine, refusals=False) == before
        with pytest.raises(lt.OrderRefusedError, match=words):
            answer.raise_if_failed()
        if answer.order is not None:
            kept = engine.orders().loc[answer.order.client_order_id]
            assert (kept["status"], kept["reason"]) == ("DENIED", answer.message)


def test_while_halted_nothing_opens_and_everything_closes() -> None:
    with trading() as engine:
        engine.market_buy(SBIN, 10, stop_loss_price=540).result(5).raise_if_failed()
        resting = engine.limit_buy(SBIN, 5, 540).result(5).order
        assert engine.halt("lunch").result(5).success
        assert engine.order(resting.client_order_id).status == "CANCELED"
        assert engine.market_buy(SBIN, 1).result(5).message == "Trading halted: lunch"
        assert engine.limit_buy(SBIN, 1, 540).result(5).message.startswith("Trading halted")
        assert engine.market_sell(SBIN, 4).result(5).success
        engine.stream.update(SBIN, bid=540, ask="540.05", last=540)
        assert not engine.position(SBIN)
        assert engine.resume().result(5).success
        assert engine.market_buy(SBIN, 1).result(5).success
        assert engine.resume().result(5).success


# ── the same id ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_same_id_and_terms_answer_again_and_send_nothing() -> None:
    with trading() as engine:
        first = engine.market_buy(SBIN, 10, client_order_id="MINE1", tag="a", stop_loss_price=540).result(5)
        events = len(events_of(engine))
        engine.stream.update(SBIN, bid=550, ask="550.05", last=550)
        again = engine.market_buy(SBIN, "10", client_order_id="MINE1", tag="a", stop_loss_price="540.00").result(5)
        assert again == first
        assert engine.position(SBIN).quantity == 10
        assert not any(isinstance(event, ev.Submit) for event in events_of(engine)[events:])


@pytest.mark.parametrize(
    "other",
    [
        lambda e: e.market_buy(SBIN, 11, client_order_id="MINE1"),
        lambda e: e.market_sell(SBIN, 10, client_order_id="MINE1"),
        lambda e: e.limit_buy(SBIN, 10, 540, client_order_id="MINE1"),
        lambda e: e.market_buy(INFY, 10, client_order_id="MINE1"),
        lambda e: e.market_buy(SBIN, 10, client_order_id="MINE1", product="CNC"),
        lambda e: e.market_buy(SBIN, 10, client_order_id="MINE1", tag="b"),
        lambda e: e.market_buy(SBIN, 10, client_order_id="MINE1", stop_loss_price=540),
    ],
)
def test_the_same_id_for_something_else_is_refused(other: Callable[[Engine], Any]) -> None:
    with trading() as engine:
        engine.market_buy(SBIN, 10, client_order_id="MINE1").result(5).raise_if_failed()
        before = picture_of(engine)
        answer = other(engine).result(5)
        assert answer.message.startswith("Duplicate id: MINE1")
        assert picture_of(engine) == before
        with pytest.raises(lt.OrderRefusedError):
            answer.raise_if_failed()


def test_a_taken_id_is_a_refusal_also_while_its_order_works() -> None:
    with trading() as engine:
        engine.limit_buy(SBIN, 10, 540, client_order_id="MINE1").result(5).raise_if_failed()
        with pytest.raises(lt.OrderRefusedError, match="Duplicate id"):
            engine.limit_buy(SBIN, 11, 540, client_order_id="MINE1").result(5).raise_if_failed()
        with pytest.raises(lt.OrderRefusedError, match="no trigger price"):
            engine.modify("MINE1", trigger_price=541).result(5).raise_if_failed()


def test_many_threads_with_one_id_send_one_order() -> None:
    with trading() as engine:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: engine.market_buy(SBIN, 1, client_order_id="ONCE").result(5), range(64)))
        assert all(answer == answers[0] for answer in answers)
        assert len(engine.fills()) == 1


# ── the life of orders ───────────────────────────────────────────────────────────────────────────────────────────────


def test_resting_orders_rest_change_fill_and_go() -> None:
    with trading() as engine:
        rest = engine.limit_buy(SBIN, 10, 540)
        assert rest.result(5).message == "Accepted: BUY 10 NSE:SBIN-EQ LIMIT"
        name = rest.client_order_id
        assert list(engine.orders(open=True).index) == [name]
        assert engine.modify(name, quantity=20, limit_price=541).result(5).message == f"Modified {name}"
        assert engine.order(name).quantity == 20
        filled = rest.wait_for("FILLED")
        assert not filled.done()
        engine.stream.update(SBIN, bid="540.5", ask=541, last="540.5")
        assert filled.result(5).success
        assert filled.result().order.avg_price == 541
        late = engine.cancel(name).result(5)
        assert late.message == f"Nothing to cancel: {name} is FILLED"
        assert engine.position(SBIN).quantity == 20

        ids = [engine.limit_buy(symbol, 1, 540).result(5).order.client_order_id for symbol in (SBIN, SBIN, INFY)]
        assert engine.cancel_all(SBIN).result(5).success
        assert [engine.order(i).status.value for i in ids] == ["CANCELED", "CANCELED", "ACCEPTED"]
        assert engine.cancel_all().result(5).success
        assert engine.orders(open=True).empty


def test_stop_orders_wait_for_their_trigger() -> None:
    with trading() as engine:
        plain = engine.stop_buy(SBIN, 1, 551)
        limited = engine.stop_buy(SBIN, 1, 551, limit_price=551)
        assert plain.result(5).success
        assert limited.result(5).success
        engine.stream.update(SBIN, bid="551.90", ask=552, last=552)
        assert plain.wait_for("FILLED").result(5).order.avg_price == 552
        assert engine.order(limited.client_order_id).is_open
        engine.stream.update(SBIN, bid="550.90", ask=551, last=551)
        assert limited.wait_for("FILLED").result(5).order.avg_price == 551
        assert engine.stop_sell(SBIN, 2, 548, limit_price="547.5").result(5).success


def test_immediate_or_cancel_resolves_at_its_end() -> None:
    with trading() as engine:
        missed = engine.limit_buy(SBIN, 1, 540, time_in_force="IOC").result(5)
        assert not missed.success
        assert missed.order.status == "CANCELED"
        assert engine.limit_buy(SBIN, 1, 549, time_in_force="ioc").result(5).order.status == "FILLED"


WITHOUT_EXCHANGE: dict[str, Callable[[Any], Any]] = {
    "sell at a limit": lambda e: e.limit_sell("SBIN", 10, 600),
    "close": lambda e: e.close_position("SBIN"),
    "flatten": lambda e: e.flatten("SBIN"),
    "cancel all": lambda e: e.cancel_all("SBIN"),
    "protect": lambda e: e.set_stop_loss("SBIN", 540),
}


@pytest.mark.parametrize("what", WITHOUT_EXCHANGE)
def test_whoever_leaves_out_the_exchange_is_told(what: str) -> None:
    with trading() as engine:
        engine.market_buy(SBIN, 10).result(5)
        assert WITHOUT_EXCHANGE[what](engine).result(5).message.endswith("; did you mean NSE:SBIN-EQ?")
        assert engine.position(SBIN).quantity == 10
        assert "did you mean" not in engine.flatten(SBIN).result(5).message


def test_an_order_in_the_place_of_its_id_is_told() -> None:
    with trading() as engine:
        handle = engine.limit_buy(SBIN, 10, 500)
        for given in (handle, handle.result(5).order):
            with pytest.raises(lt.OrderError, match=r"; give its client_order_id$"):
                engine.cancel(given)  # type: ignore[arg-type]


def test_a_limit_order_in_a_symbol_that_was_hardly_meant_is_told() -> None:
    with trading() as engine:
        rests = engine.limit_buy("SBIN", 10, 500).result(5)
        assert rests.success
        assert rests.message == (
            "Accepted: BUY 10.00000000 SBIN LIMIT; no price of it is known; did you mean NSE:SBIN-EQ?"
        )
        engine.stream.update("SBIN", last=600)
        assert engine.modify(rests.order.client_order_id, quantity=5).result(5).message.startswith("Modified")
        assert engine.limit_buy("SBIN", 10, 500).result(5).message == "Accepted: BUY 10.00000000 SBIN LIMIT"
        assert engine.limit_buy("NSE:TCS-EQ", 1, 500).result(5).message == "Accepted: BUY 1 NSE:TCS-EQ LIMIT"


def test_an_exit_that_fires_as_it_is_set_says_so() -> None:
    with trading() as engine:
        engine.market_buy(SBIN, 10).result(5)
        through = engine.set_stop_loss(SBIN, 600).result(5)
        assert through.message == f"STOP_LOSS of {SBIN} armed: the market is through it, and it has fired"
        assert not engine.position(SBIN)


def test_exits_are_set_moved_and_disarmed() -> None:
    with trading() as engine:
        engine.market_buy(SBIN, 10).result(5)
        assert engine.set_stop_loss(SBIN, 540).result(5).success
        assert engine.set_take_profit(SBIN, pct=10).result(5).success
        held = engine.position(SBIN)
        assert (held.stop_loss_price, held.take_profit_price) == (Decimal(540), Decimal("603.90"))
        assert engine.set_stop_loss(SBIN, 541).result(5).success
        assert engine.position(SBIN).stop_loss_price == 541
        assert engine.set_stop_loss(SBIN).result(5).success
        assert engine.set_trailing_stop(SBIN, amount=5).result(5).success
        assert engine.position(SBIN).stop_loss_price == Decimal("543.95")
        engine.stream.update(SBIN, bid=600, ask="600.05")
        assert engine.position(SBIN).stop_loss_price == 595
        engine.stream.update(SBIN, bid=595, ask="595.05")
        assert not engine.position(SBIN)
        assert set(engine.fills()["source"]) == {"USER", "TRAILING_STOP"}


def test_positions_of_several_symbols() -> None:
    with trading() as engine:
        engine.stream.update(INFY, bid=1500, ask=1501, last=1500)
        for symbol in (SBIN, INFY):
            engine.market_buy(symbol, 1).result(5)
        for symbols in ([SBIN, INFY], [INFY], []):
            assert sorted(engine.positions(symbol=symbols).index) == sorted(symbols)
            assert set(engine.orders(symbol=symbols)["symbol"]) == set(symbols)
        assert engine.positions(symbol=INFY).index.tolist() == [INFY]


def test_closing_parts_and_everything() -> None:
    with trading() as engine:
        engine.stream.update(INFY, bid=1500, ask=1501, last=1500)
        engine.market_buy(SBIN, 10).result(5)
        engine.market_buy(SBIN, 10, product="CNC").result(5)
        engine.market_buy(INFY, 10).result(5)
        assert engine.close_position(SBIN, 5).result(5).success
        assert engine.position(SBIN).quantity == 15
        assert engine.close_position(SBIN, 100).result(5).success
        assert not engine.position(SBIN)
        engine.limit_sell(INFY, 10, 1600).result(5)
        engine.limit_buy(SBIN, 10, 500).result(5)
        assert engine.flatten().result(5).success
        assert engine.positions().empty
        assert engine.orders(open=True).empty
        assert engine.flatten().result(5).success


def test_closing_what_is_not_held_is_refused_and_cancels_what_might_open_it() -> None:
    with trading() as engine:
        resting = engine.limit_buy(SBIN, 10, 500).result(5).order
        in_part = engine.close_position(SBIN, 5).result(5)
        assert (in_part.success, in_part.message) == (False, f"No position to sell: {SBIN} is flat")
        assert engine.order(resting.client_order_id).is_open
        whole = engine.close_position(SBIN).result(5)
        told = f"No position to sell: {SBIN} is flat; its working orders were canceled"
        assert (whole.success, whole.message) == (False, told)
        assert engine.order(resting.client_order_id).status == "CANCELED"


def test_money_moves_in_and_out() -> None:
    with trading() as engine:
        assert engine.transfer("0.01").result(5).success
        assert engine.transfer(-100).result(5).success
        assert engine.cash == Decimal("499900.01")
        assert engine.get_portfolio_pnl().result()["total_pnl"] == 0
        assert engine.pnl()["portfolio_value"] == pytest.approx(499900.01)


def test_amounts_that_no_account_has_are_refused_or_exact() -> None:
    with trading() as engine:
        before = picture_of(engine)
        with pytest.raises(lt.OrderError):
            engine.transfer("1e31")
        assert picture_of(engine) == before
        assert engine.transfer("0.000000000000000000000000000001").result(5).success
        assert engine.cash == Decimal("500000.000000000000000000000000000001")


# ── answers that do not come ─────────────────────────────────────────────────────────────────────────────────────────


def played(broker: lt.PaperBroker, seconds: int = 12, **columns: Any) -> Engine:
    frame = recording([549.0] * seconds).assign(**columns)
    feed = lt.RecordedFeed(frame, speed=None, autoplay=False)
    return lt.LiveTradingEngine(500_000, feed=feed, broker=broker, fees=FREE)


def test_an_order_on_its_way_for_too_long_is_not_confirmed() -> None:
    engine = played(lt.PaperBroker(latency=7))
    answers: list[Any] = []

    @engine.stream.on_tick
    def trade(_: lt.Tick) -> None:
        if not answers:
            handle = engine.limit_buy(SBIN, 1, 549)
            answers.append((handle, handle.result(60)))

    assert engine._feed.play().result(30) == 12  # type: ignore[union-attr]
    (handle, answer) = answers[0]
    assert not answer.success
    assert answer.message.startswith(f"Not confirmed: {handle.client_order_id} is SUBMITTED")
    assert answer.order.is_open
    with pytest.raises(lt.OrderPendingError):
        answer.raise_if_failed()
    sent = engine.order(handle.client_order_id)
    assert sent.updated_at - sent.created_at == pd.Timedelta(seconds=7)
    engine.close()


def test_a_market_order_that_is_partly_filled_is_not_confirmed() -> None:
    engine = played(lt.PaperBroker(size="quoted"), bid_size=5, ask_size=[5] + [0] * 11)
    answers: list[Any] = []

    @engine.stream.on_tick
    def trade(_: lt.Tick) -> None:
        if not answers:
            answers.append(None)
            answers.append(engine.market_buy(SBIN, 8).result(60))

    engine._feed.play().result(30)  # type: ignore[union-attr]
    answer = answers[1]
    assert not answer.success
    assert answer.message.startswith("Not confirmed: ")
    assert "filled 5 of 8" in answer.message
    assert answer.order.status is lt.OrderStatus.PARTIALLY_FILLED
    with pytest.raises(lt.OrderPendingError):
        answer.raise_if_failed()
    with pytest.warns(RuntimeWarning, match="no longer watched"):
        engine.close()


def test_after_the_end_of_a_recording_no_answer_is_waited_for() -> None:
    engine = played(lt.PaperBroker(latency=1))
    bought: list[Any] = []
    engine.stream.on_tick(lambda _: bought or bought.append(engine.market_buy(SBIN, 5).result(60)))
    engine._feed.play().result(30)  # type: ignore[union-attr]
    assert bought[0].success
    soon(lambda: engine.health()["feed"] == "CLOSED")
    assert engine.market_buy(SBIN, 1).result(5).message.startswith("Connection lost")
    answer = engine.market_sell(SBIN, 5).result(10)
    assert answer.message.startswith("Not confirmed")
    with pytest.warns(RuntimeWarning, match="no longer watched"):
        engine.close()


def test_what_is_still_open_at_the_close_is_answered() -> None:
    with trading(broker=lt.PaperBroker(latency=60)) as engine:
        handle = engine.market_buy(SBIN, 1)
        following = handle.wait_for("FILLED")
        engine.close()
        assert handle.result(5).message.startswith("Not confirmed")
        assert following.result(5).message.startswith("Not confirmed")


# ── a broker that says no, and one that says nothing ─────────────────────────────────────────────────────────────────


def accepted(broker: ScriptedBroker, engine: Engine, **terms: Any) -> str:
    handle = engine.limit_buy(SBIN, 10, 540, **terms)
    name = broker.wait_for(ev.Submit).order.client_order_id
    broker.say(ev.Accepted(0, name, "V1"))
    assert handle.result(5).success
    return name


def test_a_change_that_the_venue_turns_down_did_not_happen() -> None:
    broker = ScriptedBroker()
    with trading(broker=broker) as engine:
        name = accepted(broker, engine)
        change = engine.modify(name, limit_price=541)
        broker.wait_for(ev.Modify)
        broker.say(ev.RequestRejected(0, name, "too late"))
        assert change.result(5)[:2] == (False, "too late")
        with pytest.raises(lt.OrderRefusedError):
            change.result().raise_if_failed()
        cancel = engine.cancel(name)
        broker.wait_for(ev.Cancel)
        broker.say(ev.RequestRejected(0, name, "locked"))
        assert cancel.result(4)[:2] == (False, "locked")
        assert engine.order(name).status == "ACCEPTED"


def test_closing_waits_for_what_stands_in_its_way() -> None:
    broker = ScriptedBroker()
    with trading(broker=broker) as engine:
        entry = engine.market_buy(SBIN, 10)
        name = broker.wait_for(ev.Submit).order.client_order_id
        broker.say(ev.Executed(0, name, "E1", 10, 54900, lt.core.kinds.PriceSource.VENUE))  # type: ignore[attr-defined]
        assert entry.result(5).success
        target = engine.limit_sell(SBIN, 10, 600)
        resting = broker.wait_for(ev.Submit, 2).order.client_order_id
        broker.say(ev.Accepted(0, resting, "V2"))
        target.result(5)
        flat = engine.close_position(SBIN)
        broker.wait_for(ev.Cancel)
        assert not flat.done()
        broker.say(ev.Canceled(0, resting))
        closing = broker.wait_for(ev.Submit, 3).order
        assert closing.side == "SELL"
        assert closing.quantity == 10
        assert not flat.done()
        broker.say(ev.Executed(0, closing.client_order_id, "E2", 10, 54895, lt.core.kinds.PriceSource.VENUE))  # type: ignore[attr-defined]
        assert flat.result(4).success
        assert not engine.position(SBIN)


def test_a_report_of_an_older_moment_never_turns_back_the_clock() -> None:
    broker = ScriptedBroker()
    with trading(broker=broker) as engine:
        before = engine.now()
        accepted(broker, engine)
        stamps = [event.ts for event in events_of(engine)]
        assert stamps == sorted(stamps)
        assert engine.now() >= before


def test_a_broker_that_fails_halts_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    broker = ScriptedBroker()
    with trading(broker=broker) as engine:
        broker.fail(ConnectionResetError("gone"))
        soon(lambda: engine.panel_snapshot(None)["halted"])
        assert engine.market_buy(SBIN, 1).result(5).message == "Trading halted: the broker connection failed: gone"
        assert "the broker of engine main failed" in caplog.text


# ── whatever happened folds again ────────────────────────────────────────────────────────────────────────────────────


def test_the_journal_of_a_session_folds_to_the_same_account() -> None:
    with trading(fees=lt.DEFAULT_FEES, limits=lt.Limits(allow_short=True)) as engine:
        for step in range(60):
            price = Decimal(549) + (step * 7 % 13) - 6
            engine.stream.update(SBIN, bid=price, ask=price + Decimal("0.05"), last=price)
            engine.market_buy(SBIN, 7 + step % 5, stop_loss_pct="0.9", take_profit_pct="0.8", trailing_stop=3)
            engine.limit_sell(SBIN, 3 + step % 7, price + 2)
            if step % 5 == 0:
                engine.market_sell(SBIN, 40)
            if step % 11 == 0:
                engine.halt("now and then")
                engine.resume()
            if step % 17 == 0:
                engine.transfer(100 - step)
        engine.market_buy(SBIN, 10**9).result(5)
        live = engine._read(lambda account: account)
        copy = folded(events_of(engine))
        assert picture(copy) == picture_of(engine)
        assert copy.seq == live.seq
        assert len(copy.orders) > 100
        assert len(copy.ledger.books) == 1


def test_what_has_filled_was_accepted() -> None:
    with trading(stream=quoted()) as engine:
        handle = engine.market_buy(SBIN, 10)
        assert handle.result().success
        assert handle.wait_for("ACCEPTED").result().success
        assert not handle.wait_for("CANCELED").result().success
