"""How a docstring of livetrade is shown: its arguments as a list, the public names in it as links."""

import re
from typing import Any

import griffe

import livetrade

ITEM = re.compile(r"(?:^|(?<=[.;)] ))((?:[a-z_]+, )*[a-z_]+): ")
NAME = re.compile(rf"`(?:lt\.)?({'|'.join(livetrade.__all__)})(?:\(\))?`")


def shown(text: str) -> str:
    """The Markdown of a docstring."""
    return "\n\n".join(paragraph(part) for part in re.split(r"\n\s*\n", text))


def paragraph(text: str) -> str:
    if text.startswith("    "):  # code
        return text
    line = NAME.sub(lambda found: f"[{found[0]}][livetrade.{found[1]}]", " ".join(text.split("\n")))
    if not ITEM.match(line):
        return line
    _, *parts = ITEM.split(line)
    names, meanings = parts[::2], parts[1::2]
    return "\n".join(
        f"- {', '.join(f'`{name}`' for name in each.split(', '))}: {meaning.strip()}"
        for each, meaning in zip(names, meanings, strict=True)
    )


class Docstrings(griffe.Extension):
    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = shown(obj.docstring.value)
