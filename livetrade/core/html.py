"""What a notebook shows of a value: titles, texts and tables as static HTML.

Every text is escaped. There is neither a script nor a colour, so that it reads in light and dark themes alike, where
styles are stripped, and in an exported notebook.
"""

from collections.abc import Iterable, Sequence

MOST = 20
"""Rows of a table that are shown; how many more there are stands below it."""

_LEFT = ' style="text-align: left"'
_RIGHT = ' style="text-align: right"'


def card(title: str, *parts: str) -> str:
    """A title in bold, and what stands below it, which is HTML already."""
    return f"<div><p><b>{_escaped(title)}</b></p>{''.join(parts)}</div>"


def text(words: str) -> str:
    return f"<p>{_escaped(words)}</p>"


def facts(rows: Iterable[Sequence[object]]) -> str:
    """A table without a head: in each row a name, and what is told of it."""
    lines = (f"<tr><th{_LEFT}>{_escaped(name)}</th>{_cells('td', told, _LEFT)}</tr>" for name, *told in rows)
    return f"<table>{''.join(lines)}</table>"


def table(head: Sequence[str], rows: Sequence[Sequence[object]], more: str = "") -> str:
    """A table with a head; the first column is on the left, figures follow. more: where all rows are to be found, if
    there are too many of them."""
    lines = "".join(_row("td", row) for row in rows[:MOST])
    left_out = text(f"and {len(rows) - MOST:,} more: {more}") if len(rows) > MOST else ""
    return f"<table><thead>{_row('th', head)}</thead><tbody>{lines}</tbody></table>{left_out}"


def _row(tag: str, values: Sequence[object]) -> str:
    return f"<tr>{_cells(tag, values[:1], _LEFT)}{_cells(tag, values[1:], _RIGHT)}</tr>"


def _cells(tag: str, values: Iterable[object], style: str) -> str:
    return "".join(f"<{tag}{style}>{_escaped(value)}</{tag}>" for value in values)


def _escaped(value: object) -> str:
    from html import escape  # two thousand entities come with it

    return "" if value is None else escape(str(value))
