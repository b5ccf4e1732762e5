"""What the order side of the loopback Fyers does wrong on demand."""

from collections import deque
from enum import StrEnum
from typing import NamedTuple


class OrderFault(StrEnum):
    """What `FyersServer.exchange.fail` does. "The call" is the next of its kind: place, modify, cancel or book."""

    LATE = "late"
    """The call is done, and answered `seconds` late."""
    LOST = "lost"
    """The call is done (`taken`) or not, and never answered."""
    GATEWAY = "gateway"
    """The call is done (`taken`) or not, and answered with 502 and HTML."""
    UNACKNOWLEDGED = "unacknowledged"
    """The call is done (`taken`) or not, and answered with code 201 and no id."""
    GARBAGE = "garbage"
    """The call is done (`taken`) or not, and answered with something that makes no sense."""
    RESET = "reset"
    """The connection is reset, after the call was done (`taken`) or before."""
    THROTTLE = "throttle"
    """The call is answered with 429, and Retry-After `seconds`; it is not done."""
    REFUSE = "refuse"
    """The call is answered with 400 and `message`; it is not done."""
    ADDRESS = "address"
    """The call is answered with 403: it comes from an address that is not the app's."""
    REJECT = "reject"
    """The order is taken, and rejected with `message` a moment later."""
    ODD_STATUS = "odd status"
    """The order is taken, and the books give it a status that nobody knows, for `seconds`."""
    UNTAGGED = "untagged"
    """The order is taken without its tag."""
    HIDDEN = "hidden"
    """The order is taken, and is in no book for `seconds`."""
    FILL_FIRST = "fill first"
    """The order fills, and the call is answered `seconds` after that."""
    RACE = "race"
    """The order fills before the cancel arrives."""
    DUPLICATE = "duplicate"
    """Each of the next reports on the socket comes twice."""
    REORDER = "reorder"
    """The next reports on the socket are held back for `seconds` and come in another order."""
    SILENT = "silent"
    """The next reports on the socket do not come."""


SOCKET = (OrderFault.DUPLICATE, OrderFault.REORDER, OrderFault.SILENT)
"""Those that concern reports, and no call."""


class Planned(NamedTuple):
    fault: OrderFault
    call: str
    seconds: float
    message: str
    taken: bool


class OrderFaults:
    """What is to go wrong, until it did."""

    def __init__(self) -> None:
        self._calls: deque[Planned] = deque()
        self._reports: deque[Planned] = deque()

    def expect(self, planned: Planned, times: int) -> None:
        (self._reports if planned.fault in SOCKET else self._calls).extend([planned] * times)

    def of_call(self, call: str) -> Planned | None:
        for planned in self._calls:
            if planned.call == call:
                self._calls.remove(planned)
                return planned
        return None

    def of_report(self) -> Planned | None:
        return self._reports.popleft() if self._reports else None

    def clear(self) -> None:
        self._calls.clear()
        self._reports.clear()
