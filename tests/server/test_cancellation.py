"""The work of a request ends when its client goes, and only then."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from starlette.types import Message, Receive, Scope, Send

from sculptor.server.bodies import read_body
from sculptor.server.cancellation import ClientLeft, ClientWatch

from .serving import connect, post, serve_app


async def silent() -> Message:
    await asyncio.sleep(3600)
    return {"type": "http.disconnect"}


def test_a_client_that_leaves_cancels_the_work_within_a_second() -> None:
    async def check() -> None:
        working, ended = asyncio.Event(), asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await read_body(receive, {})
            try:
                async with ClientWatch(receive):
                    working.set()
                    await asyncio.sleep(60)
            except ClientLeft:
                ended.set()

        async with serve_app(app) as port:
            _, writer = await connect(port)
            writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx")
            await working.wait()
            writer.close()
            await asyncio.wait_for(ended.wait(), 1)

    asyncio.run(check())


@pytest.mark.parametrize("seconds", [0, 0.4])
def test_work_that_ends_in_time_is_undisturbed(seconds: float) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive, {})
        async with ClientWatch(receive):
            await asyncio.sleep(seconds)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"done"})
        await asyncio.sleep(0.3)

    async def check() -> None:
        async with serve_app(app) as port:
            status, said = await post(port, b"x")
            assert status == 200
            assert b"done" in said

    asyncio.run(check())


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await work()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0)

    asyncio.run(main())


def test_what_aborts_the_work_is_what_leaves_it() -> None:
    async def aborted() -> None:
        loop = asyncio.get_running_loop()
        async with ClientWatch(silent) as watch:
            loop.call_soon(watch.abort, ValueError("first"))
            loop.call_soon(watch.abort, KeyError("second"))
            await asyncio.sleep(5)

    async def work() -> None:
        with pytest.raises(ValueError, match="first"):
            await aborted()

    run(work)


def test_an_abort_after_the_end_does_nothing() -> None:
    async def work() -> None:
        async with ClientWatch(silent) as watch:
            pass
        watch.abort(ValueError("late"))
        await asyncio.sleep(0)

    run(work)


def test_errors_of_the_work_pass() -> None:
    async def work() -> None:
        with pytest.raises(KeyError):
            async with ClientWatch(silent):
                raise KeyError

    run(work)


def test_a_cancellation_from_outside_stays_one() -> None:
    async def work() -> None:
        entered = asyncio.Event()

        async def inner() -> None:
            async with ClientWatch(silent) as watch:
                entered.set()
                asyncio.get_running_loop().call_soon(watch.abort, ValueError())
                await asyncio.sleep(5)

        task = asyncio.create_task(inner())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(work)


def test_cleaning_up_may_take_its_time() -> None:
    cleaned: list[bool] = []

    async def aborted() -> None:
        async with ClientWatch(silent) as watch:
            asyncio.get_running_loop().call_soon(watch.abort, ClientLeft())
            try:
                await asyncio.sleep(5)
            finally:
                await asyncio.sleep(0.01)
                cleaned.append(True)

    async def work() -> None:
        with pytest.raises(ClientLeft):
            await aborted()
        assert cleaned

    run(work)
