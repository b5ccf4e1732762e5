"""A strategy named on the command line, and its parameters."""

import ast
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

_WORDS = {"true": True, "false": False, "null": None}


def function_named(named: str) -> Callable[..., Any]:
    """The function that `MODULE:FUNCTION` names; modules of the current folder are found first."""
    module, _, name = named.partition(":")
    if not module or not name:
        raise typer.BadParameter(f"write MODULE:FUNCTION, such as strategies:ema_cross, not {named}")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Callable[..., Any] = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise typer.BadParameter(f"the module {module} needs {error.name}, which is not installed") from None
        raise typer.BadParameter(f"there is no module {module} here ({Path.cwd()})") from None
    except AttributeError:
        raise typer.BadParameter(f"the module {module} has no {name}") from None
    except Exception as error:  # noqa: BLE001  the user's module, whatever it raises as it is loaded
        raise typer.BadParameter(f"the module {module} cannot be loaded: {type(error).__name__}: {error}") from None
    return found


def parameters(given: Sequence[str] | None) -> dict[str, Any]:
    """`name=value` for each: a number, a list, true, false or none where it reads as one, and else text."""
    found: dict[str, Any] = {}
    for each in given or ():
        name, sign, value = each.partition("=")
        if not sign or not name.isidentifier():
            raise typer.BadParameter(f"write --param name=value, not {each}", param_hint="--param")
        try:
            found[name] = _WORDS[value] if value in _WORDS else ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            found[name] = value
    return found
