"""What is read of a broker's own books, written once: for an engine here, and for one that is attached to."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from livetrade.columns import Exact
from livetrade.core.account import Account
from livetrade.ports import BrokerOrder
from livetrade.reads import view_of
from livetrade.reconciling import Compared, broker_orders_frame, reconciled_frame

if TYPE_CHECKING:
    import pandas as pd


class BrokerBooks(ABC):
    @abstractmethod
    def _read(self, question: Callable[[Account], Any]) -> Any:
        """Asks the account between two events."""

    @abstractmethod
    def broker_rows(self) -> Sequence[tuple[BrokerOrder, bool]]:
        """The broker's book of today, each order with whether it is foreign. Raises `BrokerError`."""

    @abstractmethod
    def compared(self, accept: bool) -> Sequence[Compared]:
        """What the broker filled under our ids, beside the books. Raises `BrokerError`."""

    def broker_orders(self, *, exact: Exact = False) -> "pd.DataFrame":
        """Every order in the broker's book of today, indexed by `venue_order_id`; `foreign` marks those that were not
        placed under an id of ours. They are shown, and never booked. Raises `BrokerError`, `EngineClosedError`.

        Columns: foreign, client_order_id, symbol, side, order_type, product, quantity, filled_qty, avg_price,
        limit_price, trigger_price, status, message, placed_at.
        """
        rows = self.broker_rows()
        orders, foreign = [row for row, _ in rows], [is_foreign for _, is_foreign in rows]
        return broker_orders_frame(orders, foreign, self._read(view_of), exact=exact)

    def reconcile(self, accept: bool = False, *, exact: Exact = False) -> "pd.DataFrame":
        """What the broker filled under our ids, beside what the books hold: symbol, product, ours, broker, difference.

        What others traded does not show here: a position that they closed is an alarm, and `settle` books it. A
        difference blocks opening orders of its symbol. accept: go on with the differences as they are; they are kept
        in the journal, and block no more. The books stay as they are. Raises `BrokerError`, `EngineClosedError`.
        """
        return reconciled_frame(self.compared(accept), self._read(view_of), exact=exact)
