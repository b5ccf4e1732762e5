"""Who is at work: context variables, which the tasks that somebody makes inherit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from datetime import datetime
from functools import wraps
from typing import Any, TypeVar

from livetrade.core.kinds import Process, Source, StrategyState
from livetrade.core.records import record

F = TypeVar("F", bound=Callable[..., Any])

MANUAL = "manual"
current_strategy: ContextVar[str] = ContextVar("livetrade_strategy", default=MANUAL)
"""Whose orders these are: the strategy that is running, or `manual` for what a person does."""
current_source: ContextVar[Source | None] = ContextVar("livetrade_source", default=None)
"""Where orders come from, if neither from a person's own call nor from a strategy."""


@contextmanager
def acting_as(strategy: str, source: Source | None = None) -> Iterator[None]:
    """What is ordered meanwhile is of this strategy, and came from there."""
    was, came = current_strategy.set(strategy), current_source.set(source)
    try:
        yield
    finally:
        current_source.reset(came)
        current_strategy.reset(was)


class Flow:
    """One line of work in lock-step: a task that reads ticks, or a strategy, with the tasks that it makes."""

    def at_end(self, job: Callable[[], object]) -> None:
        """Has a job done when the line ends. Nobody hears of the end of one that is no strategy: then it is not."""


flow: ContextVar[Flow | None] = ContextVar("livetrade_flow", default=None)
"""Whose line of work this is; None for anybody who has read no tick yet."""


def at_end(job: Callable[[], object]) -> None:
    """Has a job done when the strategy that is running ends."""
    line = flow.get()
    if line is not None:
        line.at_end(job)


def as_registered(function: F) -> F:
    """A callback that acts for the strategy that registers it, on whatever thread it is called."""
    if current_strategy.get() == MANUAL:
        return function
    context = copy_context()

    @wraps(function)
    def acting(*values: Any) -> Any:
        return context.run(function, *values)

    return acting  # type: ignore[return-value]


@record
class StrategyInfo:
    """What the one who runs a strategy knows of it."""

    name: str
    where: Process
    state: StrategyState
    started_at: datetime
    error: str
