"""Where the desks of this user are: one small file for each, which only its owner may read."""

import contextlib
import json
import os
import re
import stat
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from time import monotonic, sleep
from typing import NoReturn

from livetrade.core.records import record
from livetrade.errors import DeskError

_FILE_NAME = re.compile(r"[^/\\\0]{1,64}")


@record
class Running:
    """A desk that runs: where, with which token, as which process, and the engine's name."""

    url: str
    token: str
    pid: int
    name: str

    def __reduce__(self) -> NoReturn:
        raise TypeError("where a desk is holds its token, and is not to be pickled")

    def __repr__(self) -> str:
        return f"Running({self.name!r} at {self.url}, pid {self.pid})"


def check_name(name: str) -> None:
    """Raises `DeskError` for a name that its file cannot have."""
    if not _FILE_NAME.fullmatch(name):
        raise DeskError(
            f"a desk is found by its name, which is that of a file: no slash, at most 64 letters, not {name!r}"
        )


def folder() -> Path:
    """The user's own folder for them; `LIVETRADE_RUNTIME_DIR` overrides it."""
    given = os.environ.get("LIVETRADE_RUNTIME_DIR")
    return Path(given).expanduser() if given else _usual_folder()


@cache
def _usual_folder() -> Path:
    from platformdirs import user_runtime_path

    with (
        warnings.catch_warnings()
    ):  # it warns where the system names none, as in a container; one in /tmp serves as well
        warnings.simplefilter("ignore")
        return user_runtime_path("livetrade", appauthor=False)


def write(running: Running) -> Path:
    """Tells others where a desk is, until `remove`."""
    place = folder()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = place / f"{running.name}.json"
    terms = {"url": running.url, "token": running.token, "pid": running.pid, "name": running.name}
    draft = path.with_name(f".{running.name}.{os.getpid()}")
    draft.touch(0o600)
    draft.write_text(json.dumps(terms), "utf-8")
    draft.replace(path)
    return path


def remove(running: Running) -> None:
    """Takes the file away, unless another desk has taken its place."""
    path = folder() / f"{running.name}.json"
    if _read(path) == running:
        path.unlink(missing_ok=True)


def until_gone(running: Running, seconds: float) -> None:
    """Waits until a desk that ends has ended: nobody finds it any more, and its process keeps its journal no longer."""
    file, until = folder() / f"{running.name}.json", monotonic() + seconds
    elsewhere = running.pid not in (0, os.getpid())
    while monotonic() < until and (_read(file) == running or (elsewhere and _lives(running.pid))):
        sleep(0.02)


def all_running() -> Iterator[Running]:
    """The desks whose process lives; the file of one that was killed is taken away."""
    for path in sorted(folder().glob("*.json")):
        found = _read(path)
        if found is None:
            continue
        if _lives(found.pid):
            yield found
        else:
            with contextlib.suppress(OSError):
                path.unlink()


def find(name: str | None = None) -> Running:
    """The desk of a name, or the only one. Raises `DeskError`."""
    running = list(all_running())
    found = [desk for desk in running if name in (None, desk.name)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(desk.name for desk in running)
    if not running:
        raise DeskError("no desk is running here; start one with `livetrade serve` or lt.start_desk(...)")
    if name is None:
        raise DeskError(f"several desks are running ({names}): say which one by its name")
    raise DeskError(f"no desk {name!r} is running; {names} {'is' if len(running) == 1 else 'are'}")


def _read(path: Path) -> Running | None:
    """None where it is no such file, or not the user's own: others must not lead us to a desk of theirs."""
    try:
        status = path.stat()
        if status.st_uid != os.getuid() or status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            return None
        terms = json.loads(path.read_text("utf-8"))
        return Running(str(terms["url"]), str(terms["token"]), int(terms["pid"]), str(terms["name"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return False
    return True
