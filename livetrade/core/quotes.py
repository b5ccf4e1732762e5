"""The one rule for good and bad prices: `merge(quote, update)`.

What an update leaves out stays as it was, unless it says that it is whole. A bad update changes nothing at all: it is
answered with the reason it is counted under, and the last good quote stands.
"""

from livetrade.core.kinds import OrderSide, PriceSource
from livetrade.core.ticks import Tick

NEGATIVE = "negative"
EMPTY = "empty"
CROSSED = "crossed"
BACKWARD = "backward"
DUPLICATE = "duplicate"


def merge(quote: Tick | None, update: Tick) -> Tick | str:  # noqa: PLR0911  one answer for each way to be bad
    """The quote after `update`, or the reason why the update is not believed.

    - A crossed pair given together, or a negative figure, is refused whole.
    - One new side that passes the old other side makes the old side unknown until it comes.
    - A side that a whole update leaves out is unknown from then on.
    - Times are compared per source, and only where the source gives them: equal ones are ordinary, a backward one or
      an exact copy with the same time is refused.
    """
    bid, ask, last = update.bid_raw, update.ask_raw, update.last_raw
    volume, bid_size, ask_size = update.volume_raw, update.bid_size_raw, update.ask_size_raw
    if (
        bid < 0
        or ask < 0
        or last < 0
        or (volume is not None and volume < 0)
        or (bid_size is not None and bid_size < 0)
        or (ask_size is not None and ask_size < 0)
    ):
        return NEGATIVE
    if bid > ask > 0:
        return CROSSED
    if quote is None:
        return update if bid or ask or last else EMPTY
    if update.whole and not (bid or ask or last):
        return EMPTY
    time, before = update.time_ns, quote.time_ns
    if time or before or quote.seen:
        if time > before > 0 and update.source == quote.source:
            update.seen = quote.seen
        else:
            reason = _misplaced_in_time(quote, update)
            if reason:
                return reason
    if update.whole or (
        bid
        and ask
        and (last or not quote.last_raw)
        and (volume is not None or quote.volume_raw is None)
        and (bid_size is not None or quote.bid_size_raw is None)
        and (ask_size is not None or quote.ask_size_raw is None)
    ):
        return update  # complete: it is the new quote as it stands
    return _filled_in(quote, update)


def _misplaced_in_time(quote: Tick, update: Tick) -> str | None:
    """Checks the update's time against its source's last one, and carries the other sources' times along."""
    seen = quote.seen or {}
    if quote.time_ns:
        seen = {**seen, quote.source: quote.time_ns}
    time, before = update.time_ns, seen.get(update.source, 0)
    if time:
        if time < before:
            return BACKWARD
        if time == before and update.source == quote.source and _same_figures(quote, update):
            return DUPLICATE
    update.seen = seen
    return None


def _same_figures(quote: Tick, update: Tick) -> bool:
    pairs = (
        (update.bid_raw or None, quote.bid_raw or None),
        (update.ask_raw or None, quote.ask_raw or None),
        (update.last_raw or None, quote.last_raw or None),
        (update.volume_raw, quote.volume_raw),
        (update.bid_size_raw, quote.bid_size_raw),
        (update.ask_size_raw, quote.ask_size_raw),
    )
    return all(new == old or (new is None and not update.whole) for new, old in pairs)


def _filled_in(quote: Tick, update: Tick) -> Tick:
    bid, ask = update.bid_raw, update.ask_raw
    bid_size, ask_size = update.bid_size_raw, update.ask_size_raw
    if not bid and not (ask and ask < quote.bid_raw):
        bid = quote.bid_raw
    if not ask and not (update.bid_raw > quote.ask_raw > 0):
        ask = quote.ask_raw
    if bid_size is None and bid:
        bid_size = quote.bid_size_raw
    if ask_size is None and ask:
        ask_size = quote.ask_size_raw
    merged = Tick(
        update.instrument,
        update.received_ns,
        bid,
        ask,
        update.last_raw or quote.last_raw,
        update.time_ns,
        quote.volume_raw if update.volume_raw is None else update.volume_raw,
        bid_size,
        ask_size,
        update.source,
    )
    merged.seen = update.seen
    return merged


def touch(quote: Tick | None, side: OrderSide) -> tuple[int, PriceSource] | None:
    """What a market order on `side` meets: a buy the ask, a sell the bid; the last price where it is all there is.

    None when that is not known: with one side known, the other is missing, and the last price does not stand in.
    """
    if quote is None:
        return None
    if quote.bid_raw or quote.ask_raw:
        if side is OrderSide.BUY:
            return (quote.ask_raw, PriceSource.ASK) if quote.ask_raw else None
        return (quote.bid_raw, PriceSource.BID) if quote.bid_raw else None
    return quote.last_raw, PriceSource.LAST


def touched_at(quote: Tick | None, side: OrderSide) -> int:
    """The price that `touch` meets; 0 while there is none."""
    met = touch(quote, side)
    return met[0] if met else 0
