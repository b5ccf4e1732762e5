"""The documentation: it builds without a warning or a network, names everything public, and tells what frames hold."""

import inspect
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml

import livetrade as lt
from livetrade import frames, testing
from livetrade.cli import app
from livetrade.reads import Reads

ROOT = Path(__file__).parents[1]
CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
MKDOCSTRINGS = next(plugin["mkdocstrings"] for plugin in CONFIG["plugins"] if "mkdocstrings" in plugin)
INNER = [re.compile(each[1:]) for each in MKDOCSTRINGS["handlers"]["python"]["options"]["filters"]]
NOTHING_TO_CALL = {"AttachedEngine", "FileJournal", "MemoryJournal"}
"""Made and handed over, or described elsewhere: the page of the engine has what an attached one can do."""


class Page(HTMLParser):
    """The anchors of a page, and what it leads to or loads, each with the tag that says so."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[tuple[str, str]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}  # type: ignore[misc]
        self.links += [(tag, given[name]) for name in ("href", "src") if given.get(name)]  # type: ignore[misc]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation, built as `uv run mkdocs build` does."""
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", os.fspath(target)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    return target


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def is_elsewhere(link: str) -> bool:
    return bool(urlsplit(link).scheme or urlsplit(link).netloc)


def public_members(kind: type) -> set[str]:
    """What livetrade itself gives a class, without what the reference leaves out as livetrade's own."""
    own = {
        name
        for base in kind.__mro__
        if base.__module__.startswith("livetrade")
        for name in vars(base)
        if name[0] != "_"
    }
    return {name for name in own if not any(inner.search(name) for inner in INNER)}


def test_every_public_name_has_its_place(pages: dict[Path, Page]) -> None:
    anchors = set().union(*(page.anchors for page in pages.values()))
    wanted = {f"livetrade.{name}" for name in lt.__all__}
    wanted |= {f"livetrade.testing.{name}" for name in testing.__all__}
    for name in set(lt.__all__) - NOTHING_TO_CALL:
        kind = getattr(lt, name)
        if inspect.isclass(kind):
            wanted |= {f"livetrade.{name}.{member}" for member in public_members(kind)}
    assert wanted - anchors == set()


def leads_somewhere(path: Path, link: str, pages: dict[Path, Page]) -> bool:
    """Whether a link within the site has its file, and its anchor where it names one."""
    parts = urlsplit(link)
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    anchor = unquote(parts.fragment)
    return target.exists() and (not anchor or target not in pages or anchor in pages[target].anchors)


def test_no_link_is_broken(site: Path, pages: dict[Path, Page]) -> None:
    inside = [
        (path, link)
        for path, page in pages.items()
        for _, link in page.links
        if path.name != "404.html" and not is_elsewhere(link)  # 404.html stands wherever it is served
    ]
    assert [(path, link) for path, link in inside if not leads_somewhere(path, link, pages)] == []
    assert len(inside) > 100


def test_no_page_asks_another_host_for_anything(site: Path, pages: dict[Path, Page]) -> None:
    loaded = {
        link
        for page in pages.values()
        for tag, link in page.links
        if tag != "a" and is_elsewhere(link)  # a link asks for its page when somebody clicks, not before
    }
    assert loaded == set()
    for style in site.rglob("*.css"):
        found = re.findall(r"(?:@import|url\()\s*[\"']?((?:https?:)?//[^\"')]+)", style.read_text(encoding="utf-8"))
        assert found == [], style


@pytest.mark.parametrize(
    ("read", "schema"),
    [
        ("positions", frames.POSITIONS),
        ("orders", frames.ORDERS),
        ("fills", frames._FILLS),
        ("fills", frames.CHARGES),
        ("risk_orders", frames.RISK_ORDERS),
        ("equity", frames._EQUITY),
        ("round_trips", frames._ROUND_TRIPS),
        ("strategies", frames._STRATEGIES),
        ("ticks", frames._TICKS),
        ("bars", frames._BARS),
    ],
)
def test_the_help_of_a_read_names_every_column(read: str, schema: dict[str, Any]) -> None:
    told = inspect.getdoc(getattr(Reads, read)) or ""
    assert [column for column in schema if not re.search(rf"\b{column}\b", told)] == []


def test_every_command_is_on_the_page_of_the_command_line() -> None:
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    groups = [("", app), *((f"{group.name} ", group.typer_instance) for group in app.registered_groups)]
    names = {
        prefix + (command.name or command.callback.__name__)
        for prefix, typer in groups
        for command in typer.registered_commands
    }
    assert {"demo", "serve", "journal verify", "login fyers"} <= names
    assert [name for name in sorted(names) if f"`livetrade {name}" not in page] == []


def test_the_tests_that_the_pages_name_are_there() -> None:
    """A page that tells a story names the tests that play it."""
    told = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))
    files = set(re.findall(r"tests/[\w/]+\.py", told))
    assert [name for name in sorted(files) if not (ROOT / name).exists()] == []
    known = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", told))
    assert len(named) > 10
    assert [name for name in sorted(named) if f"def {name}(" not in known] == []
