"""The public names: complete, sorted, importable, light to import, and nothing beside them."""

import pkgutil
import subprocess
import sys
from types import ModuleType

import pytest

import livetrade
from livetrade.reads import INNER

HEAVY = {
    "anywidget",
    "exchange_calendars",
    "httpx",
    "ipywidgets",
    "keyring",
    "nest_asyncio",
    "nest_asyncio2",
    "numpy",
    "pandas",
    "pyarrow",
    "rich",
    "starlette",
    "typer",
    "uvicorn",
    "websockets",
}
SUBMODULES = {module.name for module in pkgutil.iter_modules(livetrade.__path__)}


def run_fresh(code: str) -> list[str]:
    """The lines that `code` prints in an interpreter of its own."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_all_is_sorted() -> None:
    assert list(livetrade.__all__) == sorted(set(livetrade.__all__))


@pytest.mark.parametrize("name", livetrade.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert not isinstance(getattr(livetrade, name), ModuleType)


def test_completion_shows_every_public_name_and_nothing_else() -> None:
    assert [name for name in dir(livetrade) if not name.startswith("_")] == livetrade.__all__


@pytest.mark.parametrize("name", sorted(INNER))
def test_completion_of_an_engine_leaves_out_what_livetrade_asks_of_it(name: str) -> None:
    with livetrade.LiveTradingEngine(1) as engine:
        shown = {name for name in dir(engine) if not name.startswith("_")}
    assert name not in shown
    assert {"market_buy", "orders", "stream", "name", "close"} <= shown


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = livetrade.no_such_name


def test_a_submodule_never_hides_a_public_name() -> None:
    """`lt.replay` is the function, also after somebody has imported the module `livetrade.replay`."""
    shared = sorted(SUBMODULES & set(livetrade.__all__))
    code = "import livetrade\n" + "".join(
        f"import livetrade.{name}\nprint(type(livetrade.{name}).__name__)\n" for name in shared
    )
    assert "module" not in run_fresh(code)


def test_importing_livetrade_is_light() -> None:
    loaded = run_fresh("import sys, livetrade\nprint(*sys.modules, sep='\\n')")
    assert HEAVY & {name.partition(".")[0] for name in loaded} == set()


def test_importing_livetrade_leaves_asyncio_alone() -> None:
    code = (
        "import asyncio, types\n"
        "owners = asyncio, asyncio.events, asyncio.runners, asyncio.tasks, asyncio.base_events.BaseEventLoop\n"
        "def state(): return [(k, id(v)) for owner in owners for k, v in vars(owner).items()\n"
        "                     if isinstance(v, (types.FunctionType, type))]\n"
        "before = state()\n"
        "import livetrade\n"
        "print(state() == before)"
    )
    assert run_fresh(code) == ["True"]
