"""A strategy named on the command line, and its parameters."""

import json
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import typer


def function_named(text: str) -> Callable[..., Any]:
    """The function that `MODULE:FUNCTION` names; modules of the folder that the command runs in are found too."""
    module, colon, name = text.partition(":")
    if not (module and colon and name):
        raise typer.BadParameter(
            f"a strategy is named as MODULE:FUNCTION, such as my_strategies:ema_cross, not {text!r}"
        )
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except ImportError as error:
        raise typer.BadParameter(f"{text}: {error}") from None
    except AttributeError:
        raise typer.BadParameter(f"{text}: the module {module} has no {name}") from None
    if not callable(found):
        raise typer.BadParameter(f"{text} is no function")
    return found  # type: ignore[no-any-return]


def parameters(given: Sequence[str] | None) -> dict[str, Any]:
    """`k=v` for each: a number, true, false, null or a list as JSON has them, anything else as the text that it is."""
    found: dict[str, Any] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise typer.BadParameter(f"a parameter is given as name=value, not {text!r}", param_hint="--param")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found
