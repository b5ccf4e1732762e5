"""Commands as a desk takes them: the words that a user would have written, with every number as its exact text."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from livetrade.core import events as ev
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import ExitKind
from livetrade.core.numbers import money
from livetrade.core.ticks import Tick
from livetrade.core.values import ExitTerm

Words = tuple[str, dict[str, Any]]

_SETTERS = {
    ExitKind.STOP_LOSS: "set_stop_loss",
    ExitKind.TAKE_PROFIT: "set_take_profit",
    ExitKind.TRAILING_STOP: "set_trailing_stop",
}
_FIRST_WORD = {
    ExitKind.STOP_LOSS: "stop_loss_",
    ExitKind.TAKE_PROFIT: "take_profit_",
    ExitKind.TRAILING_STOP: "trailing_stop",
}


def words_of(command: ev.Command, instrument: Instrument | None) -> Words:
    """A command's name and body (`desk.bodies.ATTACHED`); `instrument` is the one that its numbers are on."""
    if isinstance(command, ev.SetExit):
        return _SETTERS[command.term.kind], _setting(command, instrument)
    name, body = _WORDS[type(command)]
    return name, body(command, instrument)


def _modify(command: ev.ModifyOrder, item: Instrument) -> dict[str, Any]:
    return {
        "client_order_id": command.client_order_id,
        "quantity": _size(item, command.quantity_raw),
        "limit_price": _price(item, command.limit_raw),
        "trigger_price": _price(item, command.trigger_raw),
    }


def _setting(command: ev.SetExit, item: Instrument | None) -> dict[str, Any]:
    how = {} if command.disarms or item is None else _exit(item, command.term)
    return {"symbol": command.symbol, "strategy": command.strategy, **how}


def _order(command: ev.SubmitOrder, _: object) -> dict[str, Any]:
    item = command.instrument
    exits: dict[str, Any] = {}
    for term in command.exits:
        first = _FIRST_WORD[term.kind]
        for how, value in _exit(item, term).items():
            name = {"amount": first, "pct": f"{first.rstrip('_')}_pct"}.get(how, f"{first}{how}")
            exits[name] = value
    return {
        "symbol": item.symbol,
        "side": command.side.value,
        "quantity": _size(item, command.quantity_raw),
        "order_type": command.order_type.value,
        "limit_price": _price(item, command.limit_raw),
        "trigger_price": _price(item, command.trigger_raw),
        "time_in_force": command.time_in_force.value,
        "product": command.product.value,
        "tag": command.tag,
        "client_order_id": command.client_order_id,
        "strategy": command.strategy,
        **({"slice": True} if command.sliced else {}),
        **exits,
    }


def _exit(item: Instrument, term: ExitTerm) -> dict[str, Any]:
    if term.price_raw is not None:
        return {"price": _price(item, term.price_raw)}
    if term.amount_raw is not None:
        return {"amount": _price(item, term.amount_raw)}
    return {"pct": _text(term.pct)}


def price_words(tick: Tick) -> dict[str, Any]:
    """An update of prices, without what it leaves out."""
    item = tick.instrument
    words = {
        "symbol": item.symbol,
        "bid": _price(item, tick.bid_raw or None),
        "ask": _price(item, tick.ask_raw or None),
        "last": _price(item, tick.last_raw or None),
        "volume": _size(item, tick.volume_raw),
        "bid_size": _size(item, tick.bid_size_raw),
        "ask_size": _size(item, tick.ask_size_raw),
        "time": tick.time_ns or None,
    }
    return {name: value for name, value in words.items() if value is not None}


def _price(item: Instrument, raw: int | None) -> str | None:
    return None if raw is None else _text(item.price(raw))


def _size(item: Instrument, raw: int | None) -> str | None:
    return None if raw is None else _text(item.quantity(raw))


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"


_WORDS: dict[type, tuple[str, Callable[[Any, Any], dict[str, Any]]]] = {
    ev.SubmitOrder: ("submit", _order),
    ev.ModifyOrder: ("modify", _modify),
    ev.CancelOrder: ("cancel", lambda c, _: {"client_order_id": c.client_order_id}),
    ev.CancelAll: ("cancel_all", lambda c, _: {"symbol": c.symbol, "strategy": c.strategy}),
    ev.ClosePosition: ("close_position", lambda c, i: {"symbol": c.symbol, "quantity": _size(i, c.quantity_raw)}),
    ev.Settle: ("settle", lambda c, i: {"symbol": c.symbol, "price": _price(i, c.price_raw)}),
    ev.Flatten: ("flatten", lambda c, _: {"symbol": c.symbol}),
    ev.Halt: ("halt", lambda c, _: {"reason": c.reason}),
    ev.Resume: ("resume", lambda _, __: {}),
    ev.Transfer: ("transfer", lambda c, _: {"amount": _text(money(c.amount_raw))}),
}
