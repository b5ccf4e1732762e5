"""What a picture of an attached engine is drawn from is what the desk itself, and its journal, draw."""

from pathlib import Path
from typing import Any

import livetrade as lt
from livetrade.core.kinds import ExitKind
from tests.desk.test_attach import desk_and_attached
from tests.flows.test_plots import a_day, drawn
from tests.support import INFY, SBIN, quoted


def levels(account: Any) -> list[tuple[ExitKind, tuple[int, ...], bool, bool]]:
    told = account._levels(SBIN)
    return [(level.kind, level.prices_raw, bool(level.ended_ns), level.fired) for level in told]


def test_the_levels_of_exits_are_the_same_wherever_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "levels.journal"
    with desk_and_attached(stream=quoted(), journal=path) as (engine, _, attached):
        a_day(engine)
        engine.market_buy(SBIN, 1, stop_loss_price="500.00").result()
        attached.resume().result(10)
        assert levels(engine) == [
            (ExitKind.STOP_LOSS, (54000,), True, False),
            (ExitKind.TAKE_PROFIT, (60000,), True, False),
            (ExitKind.STOP_LOSS, (54500,), True, False),
            (ExitKind.TRAILING_STOP, (54395, 54700, 55000), True, True),
            (ExitKind.STOP_LOSS, (50000,), False, False),
        ]
        assert attached._levels(SBIN) == engine._levels(SBIN)
        assert lt.open_journal(path)._levels(SBIN) == engine._levels(SBIN)
        assert engine._levels(INFY) == attached._levels(INFY) == []
        drawn(attached.plot(SBIN), tmp_path)
        drawn(attached.plot(), tmp_path)
        drawn(lt.open_journal(path).plot(SBIN), tmp_path)
        drawn(lt.open_journal(path).plot(), tmp_path)
