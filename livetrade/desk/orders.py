"""What a desk does when it is asked: the engine's own methods, each with a line in the audit log and each done once.

A command that carries a key is done once, however often it comes: the first answer is given again. For orders that
holds beyond this process, because the key becomes their `client_order_id`, which the journal knows for ever.
"""

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from livetrade.context import MANUAL, acting_as
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import Source
from livetrade.core.numbers import counted
from livetrade.core.ordering import base36
from livetrade.core.quotes import merge
from livetrade.core.records import record
from livetrade.desk.auth import Refused
from livetrade.encoding import instrument_of
from livetrade.engine import LiveTradingEngine
from livetrade.errors import EngineClosedError, LiveTradeError, OrderError, PriceError
from livetrade.handle import Handle
from livetrade.preview import Preview
from livetrade.surface import NOT_CONFIRMED, OrderResult

REMEMBERED = 10_000
PATIENCE = 6.0
"""An answer that takes longer is `Not confirmed`; the engine gives its own after 5 s of its time."""

audit = logging.getLogger("livetrade.audit")


@record
class Origin:
    """Who asks. source: where what it orders comes from, for the account; way: REST, PAGE or ATTACHED; address: of the
    other end."""

    way: str
    address: str
    source: Source | None = None


class Orders:
    """The commands of one engine, for everybody who may give them."""

    def __init__(self, engine: LiveTradingEngine) -> None:
        self._engine = engine
        self._done: OrderedDict[str, tuple[str, asyncio.Task[OrderResult]]] = OrderedDict()

    def known(self, key: str) -> "asyncio.Task[OrderResult] | None":
        """The answer to a command that came before, given or not yet."""
        found = self._done.get(key)
        return found[1] if found is not None else None

    def take(self, name: str, body: Mapping[str, Any], origin: Origin, key: str = "") -> "asyncio.Task[OrderResult]":
        """Sends a command; the task gives its answer. Raises `LiveTradeError` for wrong use, `Refused` for a key that
        stood for something else."""
        print_ = sha256(json.dumps([name, body], sort_keys=True, default=str).encode()).hexdigest()
        before = self._done.get(key) if key else None
        if before is not None:
            if before[0] != print_:
                raise Refused(422, "this Idempotency-Key was used for another request")
            return before[1]
        handle = self._send(name, body, origin)
        task = asyncio.create_task(self._answer(handle, name, body, origin))
        if key:
            self._done[key] = (print_, task)
            while len(self._done) > REMEMBERED:
                self._done.popitem(last=False)
        return task

    def _send(self, name: str, body: Mapping[str, Any], origin: Origin) -> Handle[OrderResult]:
        terms = dict(body)
        strategy = terms.pop("strategy", MANUAL)
        try:
            with acting_as(strategy, origin.source if strategy == MANUAL else None):
                if name == "submit":
                    return self._engine.submit(terms)
                return getattr(self._engine, name)(**terms)  # type: ignore[no-any-return]
        except LiveTradeError as error:
            _note(name, body, origin, OrderResult(False, str(error), None))
            raise

    async def _answer(
        self, handle: Handle[OrderResult], name: str, body: Mapping[str, Any], origin: Origin
    ) -> OrderResult:
        try:
            async with asyncio.timeout(PATIENCE):
                result = await handle
        except TimeoutError:
            result = OrderResult(False, f"{NOT_CONFIRMED}: no answer yet; do not send it again", None)
        _note(name, body, origin, result)
        return result

    def preview(self, body: Mapping[str, Any]) -> Preview:
        """What an order would do. Raises `LiveTradeError` for wrong use."""
        terms = dict(body)
        with acting_as(terms.pop("strategy", MANUAL), None):
            return self._engine.preview(**terms)

    # ── prices ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def post_price(self, body: Mapping[str, Any]) -> None:
        """Posts prices by hand. Raises `Refused` where the desk has a feed (409) or it is no price (422)."""
        if self._engine.feed is not None:
            raise Refused(409, "this desk has a feed of its own; prices are not posted by hand")
        if not self._engine.is_open:
            raise EngineClosedError(f"the engine {self._engine.name!r} is closed")
        stream = self._engine.stream
        try:
            tick = stream.tick(**body)
        except PriceError as error:
            stream.count(error.reason)
            raise
        if not (tick.bid_raw or tick.ask_raw or tick.last_raw):
            raise Refused(422, "a price needs a bid, an ask or a last")
        merged = merge(stream.last(tick.symbol), tick)
        if isinstance(merged, str):
            stream.count(merged)
            raise Refused(422, f"the price is not taken: {merged}")
        stream.post(tick)

    def register(self, terms: str) -> Instrument:
        """Makes an instrument known that an attached engine was told of."""
        try:
            item = instrument_of(json.loads(terms), self._engine.stream.zone)
        except (ValueError, TypeError) as error:
            raise OrderError(f"no instrument: {error}") from None
        return self._engine.stream.adopt(item)

    def why_not_stop(self) -> str:
        """What would not be watched any more if the desk stopped now; empty where nothing."""
        held, exits, working = self._engine._read(
            lambda account: (
                [f"{book.instrument.quantity(book.quantity_raw)} {book.symbol}" for book in account.ledger.held()],
                sum(len(bracket) for bracket in account.brackets.values()),
                len(account.open_orders),
            )
        )
        others = [counted(count, what) for count, what in ((exits, "exit"), (working, "working order")) if count]
        return ", ".join([*held, *others])


def id_of(key: str) -> str:
    """The `client_order_id` that an Idempotency-Key stands for, the same in every process."""
    return "k" + base36(int.from_bytes(sha256(key.encode()).digest()[:14], "big"), 22)


def _note(name: str, body: Mapping[str, Any], origin: Origin, result: OrderResult) -> None:
    order_id = result.order.client_order_id if result.order is not None else body.get("client_order_id")
    audit.info(
        "%s: %s",
        name,
        result.message,
        extra={
            "command": name,
            "way": origin.way,
            "client": origin.address,
            "body": {key: str(value) for key, value in body.items()},
            "success": result.success,
            "client_order_id": order_id,
        },
    )
