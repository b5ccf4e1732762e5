"""The two doors to the outside world. A feed brings prices, a broker takes requests; the engine knows no more of them.

Both live on the engine's own asyncio loop and thread. Third parties ship theirs under the entry points
`livetrade.feeds` and `livetrade.brokers`.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from decimal import Decimal
from typing import Protocol, runtime_checkable

from livetrade.core.events import News, Report, Request
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import FeedState, OrderSide, OrderStatus, OrderType, Product
from livetrade.core.records import record
from livetrade.core.ticks import Tick
from livetrade.core.values import Order
from livetrade.core.venue import Venue


class Sink(Protocol):
    """Where a feed puts what it receives. Every method is called on the engine's loop."""

    zone: tzinfo
    """The engine's time zone: how naive times are meant."""

    def now(self) -> int:
        """The engine's clock: integer nanoseconds UTC, never decreasing."""

    def instrument(self, symbol: str) -> Instrument:
        """The instrument of a symbol; one nobody registered gets the default scales."""

    def register(self, instrument: Instrument) -> Instrument:
        """Makes an instrument known before its first tick; gives back the one to build ticks with."""

    def tick(self, tick: Tick) -> None:
        """One update, handled before this returns."""

    def quarantine(self, reason: str) -> None:
        """Counts an update that could not become a tick."""

    def state(self, state: FeedState, reason: str = "") -> None:
        """How the feed is. Anything but LIVE denies opening orders."""

    def lost(self, symbol: str, reason: str) -> None:
        """No prices of this symbol come for now: its quote is stale until its next tick."""

    def alarm(self, message: str) -> None:
        """Something that a person should look at; it goes into `health()["alarms"]` and the journal."""

    async def idle(self) -> None:
        """Returns when everything posted was handled, and all user code waits for the next tick. A feed that awaits
        this says so by a `lock_step` that is True: answers and callbacks then come in turns (`livetrade.userloop`)."""


@runtime_checkable
class Feed(Protocol):
    """A source of ticks."""

    def start_ns(self, zone: tzinfo) -> int | None:
        """None for live prices. For a recording its first time (naive times are in `zone`): the engine's clock is then
        the recording's, that is the `received_ns` of its ticks, and not the machine's."""

    async def run(self, sink: Sink) -> None:
        """Delivers ticks until there are no more, or until it is cancelled (then it closes what it opened)."""


@record
class BrokerOrder:
    """One order as it stands in a broker's book, whoever placed it. client_order_id: what the broker keeps of ours, ""
    where it keeps nothing. product: None for one that livetrade does not know. message: the broker's words.
    placed_ns: nanoseconds UTC, 0 where it does not say."""

    venue_order_id: str
    client_order_id: str
    symbol: str
    side: OrderSide
    order_type: OrderType
    product: Product | None
    quantity: Decimal
    filled_qty: Decimal
    avg_price: Decimal | None
    limit_price: Decimal | None
    trigger_price: Decimal | None
    status: OrderStatus
    message: str = ""
    placed_ns: int = 0


@record
class Statement:
    """What a broker knows of orders of ours, and what its books hold.

    reports: by client order id, all that was said of an order so far, in any order and as often as it likes; empty
    where the broker surely never got it; no entry where it cannot tell. filled: the net raw quantity of all that was
    ever filled under ids of ours, by symbol and product; None where it cannot tell. orders: the day's book, orders of
    others included; None where it has none. positions: what it holds itself, by symbol and product, whoever bought it;
    what is not named is flat; None where it cannot tell.
    """

    reports: Mapping[str, Sequence[Report]]
    filled: Mapping[tuple[str, Product], int] | None = None
    orders: Sequence[BrokerOrder] | None = None
    positions: Mapping[tuple[str, Product], Decimal] | None = None


class Requests(Protocol):
    """What is asked of a broker."""

    def __call__(self) -> Sequence[Request]:
        """Hands over all that is new, in its order."""

    async def arrived(self) -> None:
        """Returns when there may be something new."""


@runtime_checkable
class Funded(Protocol):
    """A broker that tells what may be spent: the opening cash of an account that begins with it."""

    def opening_cash(self) -> Decimal:
        """Asked once, on the thread that makes the engine."""


@runtime_checkable
class Broker(Protocol):
    """What executes orders.

    real: True where real money is moved. venue: a simulated venue that the account steps itself, or None, and then
    `statement` and `run` take its place.
    """

    real: bool
    venue: Venue | None

    async def statement(self, orders: Sequence[Order]) -> Statement:
        """What became of these orders, which an earlier engine may have sent, and what its books hold. Asked before
        `run` where a journal goes on, and whenever somebody wants to know; raises whatever it likes while it cannot
        say, and before `run` is asked again."""

    async def run(self, requests: Requests, report: Callable[[News], None]) -> None:
        """Sends requests and reports what the venue says, until it is cancelled."""
