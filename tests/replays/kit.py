"""What is compared of two runs, and strategies and ticks at random."""

import random
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import pandas as pd
from hypothesis import strategies as st

import livetrade as lt
from livetrade.core import events as ev
from livetrade.encoding import encoded, plain
from tests.support import INFY, SBIN

Strategy = Callable[..., Coroutine[Any, Any, Any]]
WAITING = "waiting for play()"


class Run:
    """What is compared of a run."""

    def __init__(self, account: Any, events: list[ev.Event], symbols: list[str]) -> None:
        kept = [event for event in events if not (isinstance(event, ev.FeedChanged) and event.reason == WAITING)]
        self.events = [encoded(plain(event)) for event in kept]
        self.frames = {
            "orders": account.orders(exact=True),
            "fills": account.fills(exact=True),
            "equity": account.equity(exact=True),
            "risk_orders": account.risk_orders(exact=True),
            "positions": account.positions(closed=True, exact=True),
            "round_trips": account.round_trips(exact=True),
            "explain": account.explain(exact=True),
            **{symbol: account.ticks(symbol, exact=True) for symbol in symbols},
        }
        facts = account.health()
        self.facts = facts["ticks"], facts["quarantined"], facts["alarms"]


def replayed(*strategies: Strategy, frame: pd.DataFrame, **terms: Any) -> Run:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* were quarantined", RuntimeWarning)  # rows at random may all be bad
        result = lt.replay(strategies, frame, progress=False, **terms)
    return Run(result, result.journal.events, list(lt.RecordedFeed(frame).symbols))


def assert_same(one: Run, other: Run) -> None:
    for number, (left, right) in enumerate(zip(one.events, other.events, strict=False)):
        assert left == right, f"event {number} of {len(one.events)} and {len(other.events)}"
    assert len(one.events) == len(other.events)
    for name, frame in one.frames.items():
        pd.testing.assert_frame_equal(frame, other.frames[name], obj=name)
        assert frame.attrs["as_of"] == other.frames[name].attrs["as_of"]
    assert one.facts == other.facts


ODD = st.sampled_from([None, 0.0, -1.0, 100.001, float("inf")])
PRICES = st.one_of(ODD, st.integers(9900, 10100).map(lambda paise: paise / 100))
ROWS = st.lists(
    st.tuples(
        st.sampled_from([SBIN, INFY, "BTCUSDT"]),
        st.sampled_from([0, 0, 1, 400, 1000, 5000, 90_000_000, -700]),  # ms since the row before
        PRICES,
        st.integers(-1, 12).map(lambda ticks: ticks / 100),
        st.one_of(st.none(), PRICES),
        st.sampled_from([None, 0.0, 10.0, 25.0]),
    ),
    min_size=1,
    max_size=60,
)


def ticks_of(rows: list[Any], columns: int) -> pd.DataFrame:
    time, made = pd.Timestamp("2026-03-02 09:15", tz="Asia/Kolkata"), []
    for symbol, wait, bid, spread, last, size in rows:
        time += pd.Timedelta(milliseconds=wait)
        ask = None if bid is None else round(bid + spread, 3)
        made.append((time, symbol, bid, ask, last, size, size))
    names = ["time", "symbol", "bid", "ask", "last", "volume", "bid_size"]
    frame = pd.DataFrame(made, columns=names).astype(dict.fromkeys(names[2:], "float64"))
    return frame[names[:2] + [name for bit, name in enumerate(names[2:]) if columns >> bit & 1]]


def at_random(seed: int, read: str, name: str = "random_trader") -> Strategy:  # noqa: C901
    async def random_trader(engine: Any) -> None:  # noqa: C901
        dice = random.Random(seed)
        handles: list[Any] = []
        symbol = dice.choice([None, read])
        async for tick in engine.stream.ticks(symbol):
            name, price = tick.symbol, tick.ask or tick.bid or tick.last
            exits = dice.choice([{}, {"stop_loss_pct": 1}, {"trailing_stop": "0.04"}, {"take_profit_pct": "0.01"}])
            match dice.randrange(9):
                case 0:
                    await engine.market_buy(name, dice.randint(1, 20), **exits)
                case 1:
                    engine.market_sell(name, dice.randint(1, 20))
                case 2:
                    handles.append(engine.limit_buy(name, 5, price, **exits))
                case 3:
                    handles.append(engine.stop_buy(name, 5, price, time_in_force=dice.choice(["DAY", "GTC"])))
                case 4 if handles:
                    await dice.choice(handles).wait_for("FILLED", dice.choice([0, 0.5, 3]))
                case 5 if handles:
                    handle = dice.choice(handles)
                    if handle.client_order_id:
                        await engine.modify(handle.client_order_id, quantity=dice.randint(1, 9))
                case 6 if handles:
                    handle = dice.choice(handles)
                    await handle
                    await engine.cancel(handle.client_order_id)
                case 7 if engine.position(name):
                    set_exit = dice.choice([engine.set_stop_loss, engine.set_take_profit])
                    await set_exit(name, pct=dice.choice([1, "0.02"]))
                case 8 if engine.position(name):
                    await engine.close_position(name)

    random_trader.__name__ = name
    return random_trader


def restless(seed: int, read: str, name: str = "restless_trader") -> Strategy:  # noqa: C901
    """Trades in callbacks too, does not wait for all it asks, and reads its ticks in several goes."""

    async def restless_trader(engine: Any) -> None:
        dice = random.Random(seed)
        reader = engine.stream.ticks(dice.choice([None, read]))

        def order(symbol: str) -> Any:
            exits = dice.choice([{}, {"stop_loss_pct": "0.01"}, {"take_profit_pct": "0.01"}])
            return dice.choice([engine.market_buy, engine.market_sell])(symbol, dice.randint(1, 9), **exits)

        @engine.on_fill
        def trades_on(fill: lt.Fill) -> None:
            if fill.strategy == name and dice.random() < 0.4:
                order(fill.symbol)

        over = False
        while not over:
            over = True
            async for tick in reader:
                what = dice.randrange(8)
                if what == 0:
                    await order(tick.symbol)
                elif what == 1:
                    order(tick.symbol)
                elif what == 2:
                    await engine.sleep(dice.choice([0.1, 0.5, 3]))
                elif what == 3:
                    over = False
                    break

    restless_trader.__name__ = name
    return restless_trader
