"""Events as bytes and back: what a journal keeps and a replica is sent.

An event is a JSON array: its name, then its fields in the order of its record. Those at the end that hold their default
are left out, so a field that a later version adds (last, with a default) reads as that where it was not written. An
instrument is written whole once, in `InstrumentAdded`, and by its symbol after that. The same events give the same
bytes, whatever the machine; a text keeps every character, half a surrogate pair too.

What cannot be told that way is a new `VERSION`, with an entry in `UPCASTS` that turns an array of the version before
into one of the next; what was written is never written again.
"""

import inspect
import json
import types
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, tzinfo
from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from livetrade.core import events as ev
from livetrade.core.instruments import Instrument
from livetrade.core.records import Record
from livetrade.errors import JournalError

R = TypeVar("R")

VERSION = 1
Plain = list[Any]
Upcasts = Mapping[int, Callable[[Plain], Plain]]
UPCASTS: Upcasts = {}
"""From the number of a version: what turns one of its arrays into one of the next version."""

KINDS: dict[str, type[Record]] = {kind.__name__: kind for kind in get_args(ev.Event)}


class LaterVersionError(JournalError):
    """What a later livetrade wrote is no damage."""


def encoded(value: object) -> bytes:
    """Plain values as JSON, without a needless character, in UTF-8 (`json.loads` takes it back as it is)."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def plain(event: ev.Event) -> Plain:
    """The array that stands for an event."""
    if isinstance(event, ev.InstrumentAdded):
        return ["InstrumentAdded", event.ts, instrument_terms(event.instrument)]
    kind: Any = type(event)
    return [kind.__name__, *_fields(kind).dump(event)]


def plain_record(record: object) -> Plain:
    """The array of one record's fields, such as an order's."""
    kind: Any = type(record)
    return _fields(kind).dump(record)


def record_from(kind: type[R], data: Plain, instruments: Mapping[str, Instrument]) -> R:
    """The record that such an array stands for. Raises what is wrong with it."""
    any_kind: Any = kind
    loaded: R = _fields(any_kind).load(data, instruments)
    return loaded


class Decoder:
    """Reads events in the order in which they were written; it needs the `AccountOpened` and `InstrumentAdded` among
    them, for what later ones leave out.

    Raises `JournalError` for what no version up to this one wrote, `LaterVersionError` for what a later one did.
    """

    def __init__(self, upcasts: Upcasts = UPCASTS) -> None:
        self.zone: tzinfo = UTC
        self.instruments: dict[str, Instrument] = {}
        self._upcasts = upcasts

    def event(self, data: Plain, version: int = VERSION) -> ev.Event:
        """The event that an array of a version stands for."""
        try:
            return self._event(*(data if version == VERSION else self._brought_up(data, version)))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise JournalError(f"{data!r} is no event of this version of livetrade: {error!r}") from error

    def _brought_up(self, data: Plain, version: int) -> Plain:
        check_version(version)
        for older in range(version, VERSION):
            data = self._upcasts[older](data)
        return data

    def _event(self, name: str, *values: Any) -> ev.Event:
        if name == "InstrumentAdded":
            ts, terms = values
            item = instrument_of(terms, self.zone)
            self.instruments[item.symbol] = item
            return ev.InstrumentAdded(ts, item)
        event: ev.Event = _fields_of(name).load(values, self.instruments)
        if isinstance(event, ev.AccountOpened):
            from zoneinfo import ZoneInfo

            self.zone = ZoneInfo(event.timezone)
        return event


def check_version(version: int) -> None:
    """Raises `LaterVersionError` for a format that this livetrade does not know yet."""
    if version > VERSION:
        raise LaterVersionError(
            f"it was written by a later livetrade (format {version}, this one knows {VERSION}); update livetrade"
        )


# ── fields ───────────────────────────────────────────────────────────────────────────────────────────────────────────

Dump = Callable[[Any], Any]
Load = Callable[[Any, Mapping[str, Instrument]], Any]
_MISSING = object()


class _Fields:
    """How the fields of one record are written and read; None where a value stands for itself."""

    def __init__(self, kind: type[Record]) -> None:
        hints = get_type_hints(kind)
        parameters = inspect.signature(kind).parameters
        self.kind = kind
        self.names: tuple[str, ...] = kind.__match_args__
        self.defaults = [
            _MISSING if parameters[name].default is inspect.Parameter.empty else parameters[name].default
            for name in self.names
        ]
        codecs = [_codec(hints[name]) for name in self.names]
        self.dumps = [(number, dump) for number, (dump, _) in enumerate(codecs) if dump is not None]
        self.loads = [(number, load) for number, (_, load) in enumerate(codecs) if load is not None]

    def dump(self, record: object) -> Plain:
        values = [getattr(record, name) for name in self.names]
        length = len(values)
        while length and values[length - 1] == self.defaults[length - 1]:
            length -= 1
        del values[length:]
        for number, dump in self.dumps:
            if number < length and values[number] is not None:
                values[number] = dump(values[number])
        return values

    def load(self, written: Sequence[Any], instruments: Mapping[str, Instrument]) -> Any:
        values = list(written)
        length = len(values)
        for number, load in self.loads:
            if number >= length:
                break
            value = values[number]
            if value is not None:
                values[number] = load(value, instruments)
        return self.kind(*values)


@cache
def _fields(kind: Any) -> _Fields:
    return _Fields(kind)


def _fields_of(name: str) -> _Fields:
    kind: Any = KINDS[name]
    return _fields(kind)


def _codec(hint: Any) -> tuple[Dump | None, Load | None]:
    """How values of an annotation are written and read. None stands for itself everywhere."""
    inner = get_args(hint)
    if get_origin(hint) in (Union, types.UnionType):
        (optional,) = (each for each in inner if each is not type(None))
        return _codec(optional)
    if get_origin(hint) is tuple:
        return _tuple_codec(inner)
    plain_ones: dict[Any, tuple[Dump | None, Load | None]] = {
        int: (None, None),
        str: (None, None),
        bool: (None, None),
        Decimal: (str, lambda text, _: Decimal(text)),
        Instrument: (lambda item: item.symbol, lambda symbol, instruments: instruments[symbol]),
        frozenset[str]: (sorted, lambda texts, _: frozenset(texts)),
    }
    return plain_ones[hint] if hint in plain_ones else _class_codec(hint)


def _class_codec(kind: type) -> tuple[Dump, Load]:
    if issubclass(kind, StrEnum):
        members = {member.value: member for member in kind}
        return (lambda member: member.value), lambda text, _: members[text]
    record: Any = kind
    return (lambda value: _fields(record).dump(value)), lambda data, items: _fields(record).load(data, items)


def _tuple_codec(inner: tuple[Any, ...]) -> tuple[Dump, Load]:
    """One of equal values of any length (`tuple[X, ...]`), or one of plain values."""
    dump, load = _codec(inner[0]) if inner[-1] is ... else (None, None)
    return (
        list if dump is None else (lambda values: [dump(value) for value in values]),
        (lambda values, _: tuple(values))
        if load is None
        else (lambda values, items: tuple(load(value, items) for value in values)),
    )


_INSTRUMENT = (
    "symbol",
    "kind",
    "scale",
    "tick_size",
    "lot_size",
    "quantity_scale",
    "multiplier",
    "freeze_quantity",
    "expiry",
    "strike",
    "option_type",
    "currency",
)


def instrument_terms(item: Instrument) -> Plain:
    terms = [_term(getattr(item, name)) for name in _INSTRUMENT]
    instrument_of(terms, item.zone)  # a user wrote these: what could not be read again is not written
    return terms


def _term(value: object) -> int | str | None:
    return value if value is None or isinstance(value, int) else str(value)


def instrument_of(terms: Plain, zone: tzinfo) -> Instrument:
    return Instrument(**dict(zip(_INSTRUMENT[: len(terms)], terms, strict=True)), zone=zone)
