"""Servers on loopback that speak as the outside world does, for your own tests and notebooks.

They need no key and no network, and fail on demand.
"""

from livetrade.testing.faults import Fault
from livetrade.testing.fyers import FyersServer
from livetrade.testing.orderfaults import OrderFault
from livetrade.testing.orderside import OrderSide

__all__ = ["Fault", "FyersServer", "OrderFault", "OrderSide"]
