"""One seed, played: lives of an engine, one after the other, over one disk, one venue and one market."""

import warnings
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Self

import livetrade as lt
from livetrade.core.kinds import FeedState, Source
from livetrade.core.records import record
from livetrade.surface import OrderHandle
from tests.simulation.disk import DiskJournal, Mode
from tests.simulation.engine import SimulatedEngine
from tests.simulation.market import ITEMS
from tests.simulation.rules import Rules
from tests.simulation.world import World

CASH = 2_000_000
PAUSES = (0.001, 0.001, 0.01, 0.01, 0.03, 0.1, 0.3, 1.1)


@record
class Outcome:
    """digest: of every event that is durable, as bytes."""

    seed: int
    digest: str
    events: int
    counts: dict[str, int]
    broken: tuple[str, ...]
    trace: tuple[str, ...]


class Session:
    """live: at the venue, or on paper; the seed decides unless it is given."""

    def __init__(self, seed: int, *, live: bool | None = None) -> None:
        self.world = World(seed)
        self.rules = Rules(self.world)
        self._dice = self.world.dice("session")
        dice = self.world.dice("terms")
        self.live = dice.random() < 0.6 if live is None else live
        self._latency = dice.choice((0, 0, 0.5))
        self._terms: dict[str, Any] = {
            "fees": lt.PercentFee("0.03", cap=20),
            "limits": lt.Limits(allow_short=dice.random() < 0.3),
            "trigger_by": dice.choice(("quote", "quote", "last")),
        }
        self._keeps_ticks = dice.random() < 0.5
        self._start()

    def _start(self) -> None:
        self.rules.market.begin()
        self.rules.begin()
        self.journal = DiskJournal(self.world, self.rules.disk, ticks=self._keeps_ticks)
        broker = self.rules.exchange if self.live else lt.PaperBroker(latency=self._latency)
        cash = None if self.journal.exists else CASH
        self.engine = SimulatedEngine(
            self.world, self.rules, self.journal, cash=cash, feed=self.rules.market, broker=broker, **self._terms
        )
        self.engine.on_fill(self.rules.on_fill)
        self.engine.on_order(self.rules.on_order)
        self.world.run(0.001)
        self.rules.market.change(FeedState.LIVE)
        for _ in range(3):
            self.rules.market.tick(self.engine.stream)
            self.world.run(0.001)

    # ── playing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def play(self, steps: int) -> Outcome:
        actions, weights = zip(*self._actions(), strict=True)
        for _ in range(steps):
            if self.world.broken:
                break
            try:
                self.world.did(self._dice.choices(actions, weights)[0]())
            except lt.OrderError as error:
                self.world.did(f"wrong use: {error}")
            self.world.run(self._dice.choice(PAUSES))
            self._check()
        if not self.world.broken:
            self._finish()
        return self._outcome()

    def _check(self) -> None:
        try:
            self.rules.check(self.engine)
            if self._dice.random() < 0.05:
                self.rules.check_fold(self.engine)
        except AssertionError as error:
            self.world.broken.append(f"{error!r}")

    def _actions(self) -> list[tuple[Callable[[], str], int]]:
        return [
            (lambda: self.rules.market.tick(self.engine.stream), 34),
            (lambda: self.rules.market.bad_tick(self.engine.stream), 8),
            (self._order, 16),
            (self._again, 2),
            (self._modify, 6),
            (self._cancel, 3),
            (self._exit, 5),
            (self._close_position, 3),
            (self._halt, 2),
            (self._transfer, 1),
            (self._venue, 14),
            (self._disk, 4),
            (self._feed, 2),
            (self._clock, 2),
            (self._wait, 2),
            (self.crash, 2),
            (self._restart, 1),
        ]

    def _finish(self) -> None:
        """Everything is well again, and all is said and done."""
        world, rules = self.world, self.rules
        rules.disk.mode = Mode.WELL
        rules.exchange.calm = True
        rules.market.change(FeedState.LIVE)
        world.did("calm")
        for _ in range(4):
            world.run(2)
            rules.exchange.say_all_again()
            rules.exchange.fill_markets()
        world.run(6)
        try:
            rules.check(self.engine)
            world.expect(rules.exchange.is_quiet, "the venue is not quiet")
            rules.check_end(self.engine)
        except AssertionError as error:
            world.broken.append(f"at the end: {error!r}")
        self.end()

    def end(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # what is not saved, or no longer watched
            self.engine.close()
        for handle in self.rules.handles:
            self.world.expect(handle.done(), f"never answered, and the engine is closed: {handle!r}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.journal.gone:
            self.engine.crash()
        self.world.loop.close()

    def _outcome(self) -> Outcome:
        world, disk = self.world, self.rules.disk
        return Outcome(
            world.seed,
            sha256(disk.bytes()).hexdigest(),
            disk.durable.seq,
            dict(world.counts),
            tuple(world.broken),
            tuple(world.trace),
        )

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _sent(self, handle: OrderHandle) -> str:
        self.rules.handles.append(handle)
        return repr(handle)

    def _order(self) -> str:
        item, engine, dice = self._dice.choice(ITEMS), self.engine, self._dice
        middle = self.rules.market.price(item.symbol)
        quantity = dice.choice((1, 10, 30))
        price = item.price(max(100, middle + 5 * dice.randint(-20, 20)))
        exits: dict[str, Any] = {}
        if dice.random() < 0.6:
            exits = {"stop_loss_pct": dice.choice(("0.1", "0.5", "2"))}
        if dice.random() < 0.2:
            exits["trailing_stop"] = dice.choice(("0.50", "2"))
        if dice.random() < 0.2:
            exits["take_profit_pct"] = dice.choice(("0.1", "1"))
        common = {"product": dice.choice(("INTRADAY", "INTRADAY", "CNC")), **exits}
        tif = {"time_in_force": dice.choice(("DAY", "GTC", "IOC"))}
        kind = dice.randrange(9)
        symbol = item.symbol
        if kind < 4:
            return self._sent(engine.market_buy(symbol, quantity, **common))
        if kind == 4:
            return self._sent(engine.market_sell(symbol, quantity, product=common["product"]))
        if kind == 5:
            return self._sent(engine.limit_buy(symbol, quantity, price, **common, **tif))
        if kind == 6:
            return self._sent(engine.limit_sell(symbol, quantity, price, product=common["product"], **tif))
        if kind == 7:
            return self._sent(engine.stop_buy(symbol, quantity, price, **common))
        return self._sent(engine.stop_sell(symbol, quantity, price, product=common["product"]))

    def _again(self) -> str:
        """The same id once more, maybe for something else."""
        orders = [order for order in self.engine.account.orders.values() if order.source is Source.USER]
        if not orders:
            return "no order to send again"
        order = self._dice.choice(orders)
        return self._sent(self.engine.market_buy(order.symbol, 10, client_order_id=order.client_order_id))

    def _pick(self) -> str:
        account = self.engine.account
        known = list(account.open_orders) * 3 + list(account.orders)[-2:] + list(account.orders)[:1]
        return self._dice.choice(known or ["NONE"])

    def _modify(self) -> str:
        return self._sent(self.engine.modify(self._pick(), quantity=self._dice.randint(1, 40)))

    def _cancel(self) -> str:
        if self._dice.random() < 0.2:
            return self._sent(self.engine.cancel_all(self._dice.choice((None, ITEMS[0].symbol))))
        return self._sent(self.engine.cancel(self._pick()))

    def _exit(self) -> str:
        item = self._dice.choice(ITEMS)
        middle = self.rules.market.price(item.symbol)
        which = self._dice.randrange(4)
        if which == 0:
            price = item.price(middle - 5 * self._dice.randint(-3, 20))
            return self._sent(self.engine.set_stop_loss(item.symbol, price))
        if which == 1:
            return self._sent(self.engine.set_take_profit(item.symbol, item.price(middle + 200)))
        if which == 2:
            return self._sent(self.engine.set_trailing_stop(item.symbol, amount="1.00"))
        return self._sent(self.engine.set_stop_loss(item.symbol, None))

    def _close_position(self) -> str:
        symbol = self._dice.choice(ITEMS).symbol
        if self._dice.random() < 0.5:
            return self._sent(self.engine.flatten(self._dice.choice((None, symbol))))
        return self._sent(self.engine.close_position(symbol, self._dice.choice((None, 5))))

    def _halt(self) -> str:
        return self._sent(self.engine.halt("so it is") if self._dice.random() < 0.2 else self.engine.resume())

    def _transfer(self) -> str:
        return self._sent(self.engine.transfer(self._dice.choice((-1000, 5000))))

    def _venue(self) -> str:
        if not self.live:
            return self.rules.market.tick(self.engine.stream)
        if self._dice.random() < 0.1:
            self.rules.exchange.say_all_again()
            return "the venue says everything again"
        return self.rules.exchange.act()

    def _disk(self) -> str:
        disk = self.rules.disk
        if disk.mode is Mode.WELL:
            disk.mode = self._dice.choice([mode for mode in Mode if mode is not Mode.WELL])
        else:
            disk.mode = Mode.WELL if self._dice.random() < 0.85 else self._dice.choice(list(Mode))
        return f"the disk is {disk.mode}"

    def _feed(self) -> str:
        state = self._dice.choice((*[FeedState.LIVE] * 3, FeedState.STALE, FeedState.RECONNECTING))
        self.rules.market.change(state)
        return f"the feed is {state}"

    def _clock(self) -> str:
        seconds = self._dice.choice((-3600, -5, -1.5, 0.5, 3, 60, 4000, 90_000))
        self.world.set_time(seconds)
        return f"the wall clock is set by {seconds} s"

    def _wait(self) -> str:
        seconds = self._dice.choice((2.5, 6))
        self.world.run(seconds)
        return f"{seconds} s pass"

    def crash(self) -> str:
        self.world.counts["crash"] += 1
        self.engine.crash()
        self._next_life()
        return f"crash; a new engine knows {self.rules.durable.seq} events"

    def _restart(self) -> str:
        self.world.counts["restart"] += 1
        self.end()
        self._next_life()
        return "closed, and opened again"

    def _next_life(self) -> None:
        self.rules.exchange.crash()
        self.rules.disk.crash()
        self.rules.note_orphans()
        self.world.new_loop()
        self._start()


def play(seed: int, steps: int) -> Outcome:
    with Session(seed) as session:
        return session.play(steps)
