"""The paper broker is the simulated venue and nothing else."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

import pytest

from livetrade.adapters.paper import PaperBroker
from livetrade.core.events import Request
from livetrade.core.venue import Venue
from livetrade.errors import OrderError
from livetrade.ports import Broker


def test_it_is_a_broker_that_moves_no_money() -> None:
    broker = PaperBroker()
    assert isinstance(broker, Broker)
    assert broker.real is False
    assert isinstance(broker.venue, Venue)


def test_its_venue_has_its_terms() -> None:
    venue = PaperBroker(slippage="0.05", latency=timedelta(milliseconds=20), size="quoted").venue
    assert venue is not None
    assert (venue.slippage, venue.latency_ns, venue.quoted) == (Decimal("0.05"), 20_000_000, True)


@pytest.mark.parametrize("terms", [{"slippage": -1}, {"slippage": "much"}, {"latency": -0.1}, {"size": "all"}])
def test_wrong_terms_raise(terms: dict[str, object]) -> None:
    with pytest.raises(OrderError):
        PaperBroker(**terms)  # type: ignore[arg-type]


def test_it_says_what_it_is() -> None:
    assert repr(PaperBroker(slippage=1)) == "<PaperBroker PAPER slippage=1, latency=0, size='unlimited'>"


def test_it_waits_and_asks_for_nothing() -> None:
    def requests() -> Sequence[Request]:
        raise AssertionError("the account steps the venue itself")

    async def story() -> None:
        task = asyncio.create_task(PaperBroker().run(requests, lambda report: None))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())
