"""Wrong use raises where it is made, and says what would be right."""

from collections.abc import Callable
from typing import Any

import pytest

import livetrade as lt

SBIN = "NSE:SBIN-EQ"


ENGINES: dict[str, tuple[dict[str, Any], str]] = {
    "a feed where the stream goes": (
        {"stream": lt.SimulatedFeed(SBIN)},
        r"stream must be a LivePriceStream, not SimulatedFeed; a feed goes to feed=",
    ),
    "a name where a feed goes": (
        {"feed": "simulated"},
        r"must be a feed such as SimulatedFeed\(\.\.\.\), not str",
    ),
    "one instrument": ({"instruments": lt.Instrument(SBIN)}, r"must be a list of Instrument\(\.\.\.\) objects"),
    "a symbol for an instrument": (
        {"instruments": SBIN},
        r"must be a list of Instrument\(\.\.\.\) objects, not 'NSE",
    ),
    "a currency that is none": ({"currency": 5}, r"currency must be a text such as 'INR', not 5"),
    "a time zone that is none": ({"timezone": "IST"}, r"timezone must be a name such as 'Asia/Kolkata', not 'IST'"),
    "limits as a dict": ({"limits": {"allow_short": True}}, r"limits must be Limits\(\.\.\.\), not"),
}


@pytest.mark.parametrize("case", ENGINES)
def test_an_engine_is_made_of_what_it_takes(case: str) -> None:
    terms, told = ENGINES[case]
    with pytest.raises(lt.OrderError, match=told):
        lt.LiveTradingEngine(1000, **terms)


PARTS: dict[str, tuple[Callable[[], object], str]] = {
    "a scale as text": (lambda: lt.Instrument(SBIN, scale="2"), "must be 0 to 12, not '2' and 0"),
    "an expiry that is no day": (lambda: lt.Instrument(SBIN, expiry="26DEC"), r"expiry is a date, or a text such as"),
    "an option that is neither": (lambda: lt.Instrument(SBIN, option_type="CALL"), "must be 'CE' or 'PE', not 'CALL'"),
    "half an order a second": (lambda: lt.Limits(max_orders_per_second=1.5), "must be a whole number such as 10"),
    "one rate": (lambda: lt.RateMargin(0.15), r"takes rates by kind or symbol, such as \{'FUTURE'"),
    "a latency as a word": (lambda: lt.PaperBroker(latency="slow"), "latency is not a number: 'slow'"),
    "a stream in no zone": (lambda: lt.LivePriceStream(timezone="IST"), "must be a name such as 'Asia/Kolkata'"),
    "a symbol registered": (
        lambda: lt.LivePriceStream().register(SBIN),
        r"register takes Instrument\(\.\.\.\)",
    ),
    "a quote of no symbol": (lambda: lt.LivePriceStream().last("nse:sbin-eq"), "did you mean 'NSE:SBIN-EQ'"),
    "a callback that is none": (lambda: lt.LivePriceStream().on_tick(None), "a function of one argument, which None"),
}


@pytest.mark.parametrize("case", PARTS)
def test_a_part_is_made_of_what_it_takes(case: str) -> None:
    make, told = PARTS[case]
    with pytest.raises(lt.OrderError, match=told):
        make()


CALLS: dict[str, tuple[Callable[[lt.LiveTradingEngine], object], type[Exception], str]] = {
    "an argument of another library": (
        lambda engine: engine.market_buy(SBIN, 1, stop_loss=540),
        TypeError,
        r"unknown argument stop_loss \(did you mean stop_loss_pct or stop_loss_price\?\)",
    ),
    "a price for a limit": (
        lambda engine: engine.submit({"symbol": SBIN, "side": "BUY", "quantity": 1, "price": 540}),
        TypeError,
        r"unknown argument price \(did you mean limit_price",
    ),
    "an order as text": (lambda engine: engine.submit("buy"), lt.OrderError, "submit takes a mapping such as"),
    "a filter that is none": (
        lambda engine: engine.orders(status="FILLED"),
        TypeError,
        "unknown filter status; filters are symbol, strategy, tag, since, until",
    ),
    "a fill that calls nobody": (lambda engine: engine.on_fill(5), lt.OrderError, "a callback is a function"),
    "an order that calls nobody": (lambda engine: engine.on_order(5), lt.OrderError, "a callback is a function"),
}


@pytest.mark.parametrize("case", CALLS)
def test_a_call_says_what_it_takes(case: str) -> None:
    call, error, told = CALLS[case]
    with lt.LiveTradingEngine(1000) as engine, pytest.raises(error, match=told):
        call(engine)
