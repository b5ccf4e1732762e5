"""The table of all that a journal's records are made of, as it is committed in `data/records.json`.

`uv run python -m tests.journal.records_table` writes it anew.
"""

import json
from enum import StrEnum
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from livetrade import encoding
from livetrade.core.records import Record

PATH = Path(__file__).with_name("data") / "records.json"
HOW = "uv run python -m tests.journal.records_table"


def present() -> dict[str, Any]:
    kinds = _reached(list(encoding.KINDS.values()))
    return {
        "version": encoding.VERSION,
        "events": sorted(encoding.KINDS),
        "instrument": list(encoding._INSTRUMENT),
        "records": {kind.__name__: _fields(kind) for kind in kinds if issubclass(kind, Record)},
        "enums": {kind.__name__: [member.value for member in kind] for kind in kinds if issubclass(kind, StrEnum)},
    }


def _reached(todo: list[Any]) -> list[type]:
    """Every record and enum that stands in a field of these, by name."""
    seen: set[type] = set()
    while todo:
        hint = todo.pop()
        inner = get_args(hint)
        if inner:
            todo += inner
        elif isinstance(hint, type) and hint not in seen and issubclass(hint, Record | StrEnum):
            seen.add(hint)
            todo += get_type_hints(hint).values() if issubclass(hint, Record) else ()
    return sorted(seen, key=lambda kind: kind.__name__)


def _fields(kind: Any) -> dict[str, str]:
    """The type of each field, in order, and what stands for it where it is left out."""
    fields, hints = encoding._fields(kind), get_type_hints(kind)
    return {
        name: _name(hints[name]) + ("" if default is encoding._MISSING else f" = {_shown(default)}")
        for name, default in zip(fields.names, fields.defaults, strict=True)
    }


def _name(hint: Any) -> str:
    inner = [_name(each) for each in get_args(hint)]
    if isinstance(hint, UnionType):
        return " | ".join(inner)
    if inner:
        return f"{get_origin(hint).__name__}[{', '.join(inner)}]"
    return "..." if hint is ... else hint.__name__.replace("NoneType", "None")


def _shown(default: Any) -> str:
    return json.dumps(list(default) if isinstance(default, tuple | frozenset) else default)


def written() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(PATH.read_text())
    return table


if __name__ == "__main__":
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(json.dumps(present(), indent=1) + "\n")
