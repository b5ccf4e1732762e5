"""One contract for both: what holds for an engine in this process holds for one that is attached to over a socket."""

from collections.abc import Iterator

import pytest

from tests.desk.kit import attached_trading
from tests.flows import test_commands as commands

FIXTURES = ("busy", "no_engine_is_left")
SAME = {name: thing for name, thing in vars(commands).items() if name.startswith("test_") or name in FIXTURES}
globals().update(SAME)


@pytest.fixture(autouse=True, scope="module")
def attached() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "trading", attached_trading)
        yield
