"""What trades cost, as a person sees it: itemised in fills and frames, the same after a restart."""

from pathlib import Path

import livetrade as lt
from tests.support import SBIN, quoted, trading


def test_a_journal_keeps_the_schedule_and_what_it_charged(tmp_path: Path) -> None:
    path = tmp_path / "charged.journal"
    with trading(stream=quoted(), fees=lt.IndianEquityFees(brokerage=(20, "0.03")), journal=path) as engine:
        assert engine.market_buy(SBIN, 100, product="CNC").result().success
        before = engine.account.fill_history.columns["fill"][0]
    with lt.LiveTradingEngine(journal=path, stream=quoted()) as engine:
        assert engine.account.fees == lt.IndianEquityFees(brokerage=("20", "0.03"))
        assert engine.account.fill_history.columns["fill"] == [before]
        assert engine.market_sell(SBIN, 100, product="CNC").result().success
        bought, sold = engine.account.fill_history.columns["fill"]
        assert dict(sold.charges).keys() == dict(bought.charges).keys()  # type: ignore[union-attr]
        assert sold.fees_raw == sum(raw for _, raw in sold.charges)  # type: ignore[union-attr]
