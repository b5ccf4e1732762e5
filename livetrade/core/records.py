"""`@record`: a frozen class with slots, equality, a hash and a repr, as `@dataclass(frozen=True, slots=True)` makes it.

Making such a dataclass costs 0.6 ms, and the sixty of them were half of `import livetrade`; a record costs a tenth.
"""

from collections.abc import Callable, Container, Iterable
from functools import cache
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")

_put = object.__setattr__


def for_users(names: Iterable[str], inner: Container[str] = ()) -> list[str]:
    """The names that completion shows: none that is private, raw, or for other parts of livetrade (`inner`)."""
    return sorted(name for name in names if not name.startswith("_") and not name.endswith(_RAW) and name not in inner)


_RAW = ("_raw", "_ns")


class Record:
    """What all records share."""

    __slots__ = ()
    __match_args__: tuple[str, ...] = ()

    def __dir__(self) -> list[str]:
        return for_users(object.__dir__(self))

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__match_args__)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in self.__match_args__))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__name__}({fields})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, name) for name in self.__match_args__)


def _never_set(record: Record, name: str, value: object) -> None:
    raise AttributeError(f"{type(record).__name__} never changes; {name} cannot be set")


def _never_deleted(record: Record, name: str) -> None:
    raise AttributeError(f"{type(record).__name__} never changes; {name} cannot be deleted")


@dataclass_transform(frozen_default=True)
def record(kind: type[T]) -> type[T]:
    """Makes a record of a class whose body annotates its fields, those with a default last."""
    body = dict(kind.__dict__)
    names = tuple(body["__annotations__"])
    defaults = {name: body.pop(name) for name in names if name in body}
    arguments = ", ".join(f"{name}=_defaults[{name!r}]" if name in defaults else name for name in names)
    scope: dict[str, Any] = {"_put": _put, "_defaults": defaults}
    if len(names) < MANY:
        lines = "".join(f"\n    _put(self, {name!r}, {name})" for name in names)
    else:
        scope["_open"] = _open_kind(names)
        stored = "".join(f"\n    self.{name} = {name}" for name in names)
        lines = f"\n    _put(self, '__class__', _open){stored}\n    self.__class__ = _closed"
    exec(f"def __init__(self, {arguments}):{lines}", scope, body)
    for name in ("__dict__", "__weakref__"):
        body.pop(name, None)
    body["__slots__"] = body["__match_args__"] = names
    body["__setattr__"], body["__delattr__"] = _never_set, _never_deleted
    made: type[T] = type(kind.__name__, (Record,), body)
    scope["_closed"] = made
    return made


MANY = 4
"""A record of so many fields is written to faster as a twin of it that may be."""


def _open_kind(names: tuple[str, ...]) -> type:
    """A twin of a record that is written to by plain stores, a fifth of what passing by `__setattr__` takes; once it is
    filled it becomes the record, which has the same slots."""
    return type("Open", (Record,), {"__slots__": names})


@cache
def _replacer(kind: type, changed: tuple[str, ...]) -> Callable[..., Any]:
    """What copies a record with these fields changed."""
    names: tuple[str, ...] = kind.__slots__  # type: ignore[attr-defined]
    unknown = set(changed) - set(names)
    if unknown:
        raise AttributeError(f"{kind.__name__} has no {', '.join(sorted(unknown))}")
    lines = "".join(f"\n    copy.{name} = {name if name in changed else f'_value.{name}'}" for name in names)
    made: dict[str, Any] = {"_new": object.__new__, "_kind": kind, "_open": _open_kind(names)}
    arguments = ", ".join(("_value", *changed))
    body = f"copy = _new(_open){lines}\n    copy.__class__ = _kind\n    return copy"
    exec(f"def replaced({arguments}):\n    {body}", made)
    replacer: Callable[..., Any] = made["replaced"]
    return replacer


def replaced(value: T, **changes: Any) -> T:
    """The same record with some fields changed."""
    kind: Any = type(value)
    copy: T = _replacer(kind, tuple(changes))(value, *changes.values())
    return copy
