"""What all tests share: Hypothesis without deadlines, and no engine that outlives its test."""

import warnings
from collections.abc import Iterator

import pytest
from hypothesis import settings

from livetrade.registry import engines

settings.register_profile("livetrade", deadline=None)
settings.load_profile("livetrade")


@pytest.fixture(autouse=True)
def no_engine_is_left() -> Iterator[None]:
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # what is no longer watched: the test is over
        for engine in engines().values():
            engine.close()
