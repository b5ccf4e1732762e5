"""Short words for tests of the desk: an engine behind a real server on loopback, and whoever attaches to it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import livetrade as lt
from livetrade.desk.desk import Desk
from tests.support import trading

HOST = "127.0.0.1"


@contextmanager
def serving(engine: lt.LiveTradingEngine, **terms: Any) -> Iterator[Desk]:
    """A desk on a free port."""
    desk = Desk(engine, **{"port": 0, **terms})
    try:
        desk.start()
        yield desk
    finally:
        desk.stop()


@contextmanager
def attached_to(desk: Desk) -> Iterator[lt.AttachedEngine]:
    engine = lt.attach(url=desk.url, token=desk.token)
    try:
        yield engine
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            engine.close()


@contextmanager
def attached_trading(
    cash: Any = 500_000, stream: lt.LivePriceStream | None = None, **terms: Any
) -> Iterator[lt.AttachedEngine]:
    """As `trading`, but what it gives is attached to the engine over a socket."""
    with trading(cash, stream, **terms) as engine, serving(engine) as desk, attached_to(desk) as attached:
        attached.journal = engine.journal  # type: ignore[attr-defined]  what tests look into
        yield attached
