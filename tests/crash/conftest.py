"""What the trials came to is shown at the end of the run: figures, never asserted."""

import pytest

from tests.crash.trial import Figures, Record
from tests.needs import require_strace

_FIGURES = pytest.StashKey[list[tuple[str, Figures]]]()


@pytest.fixture
def strace() -> None:
    require_strace()


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """Takes a line about a trial, and its figures."""
    told = request.config.stash.setdefault(_FIGURES, [])
    return lambda line, figures: told.append((line, figures))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    told = config.stash.get(_FIGURES, [])
    if told:
        terminalreporter.section("crashes")
        for line, figures in told:
            terminalreporter.write_line(f"{line}: {figures}")
        terminalreporter.write_line(f"together: {sum((figures for _, figures in told), Figures())}")
