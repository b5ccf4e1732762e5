"""Handles: the answer to something that was already sent, waited for in every way there is."""

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

import livetrade as lt
from livetrade.handle import Handle
from tests.support import SBIN, events_of, quoted, soon, trading


def later(handle: Handle[int], answer: int = 7) -> threading.Thread:
    thread = threading.Thread(target=lambda: (threading.Event().wait(0.02), handle.resolve(answer)))
    thread.start()
    return thread


def test_it_is_awaited_from_coroutines_and_threads_alike() -> None:
    handle: Handle[int] = Handle("buy")
    assert repr(handle) == "<buy: sent, no answer yet>"

    async def cell() -> list[int]:
        return await asyncio.gather(handle, handle, asyncio.wait_for(handle, 10))

    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(handle.result, 10) for _ in range(2)] + [pool.submit(asyncio.run, cell())]
        soon(lambda: len(handle.awaited_by) == 4)
        handle.resolve(7)
        assert [future.result(10) for future in waiting] == [7, 7, [7, 7, 7]]
    assert handle.awaited_by == ()
    assert handle.done()
    assert repr(handle) == "<buy: 7>"


def test_the_first_answer_counts() -> None:
    handle: Handle[int] = Handle("buy")
    handle.resolve(1)
    handle.resolve(2)
    handle.fail(ValueError())
    assert handle.result() == 1


def test_a_failure_is_raised_to_everybody() -> None:
    handle: Handle[int] = Handle("buy")
    handle.fail(ZeroDivisionError("why"))

    async def cell() -> None:
        await handle

    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="why"):
            handle.result(1)
        with pytest.raises(ZeroDivisionError, match="why"):
            asyncio.run(cell())
    assert "why" in repr(handle)


@pytest.mark.parametrize("timeout", [0.01, timedelta(seconds=0.01), 0])
def test_giving_up_to_wait_changes_nothing(timeout: float | timedelta) -> None:
    handle: Handle[int] = Handle("buy")
    with pytest.raises(TimeoutError):
        handle.result(timeout)
    later(handle).join()
    assert handle.result(timeout) == 7


def test_a_cancelled_task_never_cancels_the_order(caplog: pytest.LogCaptureFixture) -> None:
    with trading() as engine:
        handle = engine.limit_buy(SBIN, 1, 540)
        filled = handle.wait_for("FILLED")

        async def cell() -> None:
            task = asyncio.ensure_future(filled)
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await filled
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(filled, 0.01)

        asyncio.run(cell())
        assert not filled.done()
        assert engine.order(handle.client_order_id).status == "ACCEPTED"
        engine.stream.update(SBIN, bid="539.95", ask=540)
        assert filled.result(5).success  # after the loop that waited is gone
        gc.collect()
        assert "callback" not in caplog.text


def test_an_answer_given_before_anybody_waits() -> None:
    with trading() as engine:
        handles = [engine.market_buy(SBIN, 1) for _ in range(200)]
        engine.cash  # noqa: B018  the engine has taken all of them once it answers
        assert all(handle.done() for handle in handles)

        async def cell() -> list[lt.OrderResult]:
            return await asyncio.gather(*handles)

        assert all(answer.success for answer in asyncio.run(cell()))


def test_the_user_thread_may_wait_in_a_callback() -> None:
    with trading(stream=quoted()) as engine:
        answers: list[lt.OrderResult] = []

        @engine.on_fill
        def protect(fill: lt.Fill) -> None:
            if not answers:
                answers.append(engine.market_buy(SBIN, 2).result(5))
                answers.append(asyncio.run(_awaited(engine)))

        engine.market_buy(SBIN, 1).result(5)
        soon(lambda: len(answers) == 2)
        assert all(answer.success for answer in answers)


async def _awaited(engine: lt.LiveTradingEngine) -> lt.OrderResult:
    return await engine.market_buy(SBIN, 3)


def test_the_engines_own_thread_never_waits_for_itself() -> None:
    errors: list[Exception] = []

    def fees(_: lt.Fill) -> int:
        try:
            engine.market_buy(SBIN, 1).result(5)
        except RuntimeError as error:
            errors.append(error)
        engine.close()
        return 0

    with trading() as other, trading(fees=fees, name="fees") as engine:
        assert other.is_open
        assert engine.market_buy(SBIN, 1).result(5).success
        assert "own thread" in str(errors[0])
        soon(lambda: not engine.is_open)
        assert events_of(engine)


def test_wait_for_follows_to_the_end() -> None:
    with trading() as engine:
        handle = engine.limit_buy(SBIN, 1, 540)
        assert handle.wait_for("accepted").result(5).success
        late = handle.wait_for("FILLED", timeout=timedelta(milliseconds=1)).result(5)
        assert late.message.startswith("Not confirmed")
        with pytest.raises(lt.OrderPendingError):
            late.raise_if_failed()
        filled = handle.wait_for(lt.OrderStatus.FILLED, 60)
        engine.cancel(handle.client_order_id)
        answer = filled.result(5)
        assert (answer.success, answer.order.status) == (False, "CANCELED")
        assert not engine.halt().wait_for("FILLED").result(5).success
        denied = engine.market_buy(SBIN, 1).wait_for("FILLED").result(5)
        assert denied.message.startswith("Trading halted")
