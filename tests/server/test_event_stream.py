"""A stream shows life in time, gives up on dead clients, and never garbles a frame."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from starlette.types import Message, Receive, Scope, Send

from sculptor.server.bodies import read_body
from sculptor.server.cancellation import ClientLeft, ClientWatch
from sculptor.server.event_stream import EventStream, StreamSettings
from sculptor.server.sse import EventDecoder

from .serving import connect, join_chunks, serve_app

Work = Callable[[EventStream], Awaitable[None]]
QUICK = StreamSettings(head_after_s=0.05, keep_alive_s=0.05, stuck_after_s=0.3)
REQUEST = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx"


@asynccontextmanager
async def serve_stream(
    work: Work, settings: StreamSettings, ended: asyncio.Queue[BaseException | None]
) -> AsyncIterator[int]:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive, {})
        try:
            async with (
                ClientWatch(receive) as watch,
                EventStream(
                    send, headers=[(b"x-a", b"b")], abort=watch.abort, settings=settings
                ) as stream,
            ):
                await work(stream)
            ended.put_nowait(None)
        except ClientLeft as error:
            ended.put_nowait(error)

    async with serve_app(app) as port:
        yield port


def fetch(work: Work, settings: StreamSettings = QUICK) -> bytes:
    async def check() -> bytes:
        ended: asyncio.Queue[BaseException | None] = asyncio.Queue()
        async with serve_stream(work, settings, ended) as port:
            reader, writer = await connect(port)
            writer.write(REQUEST)
            answer = await reader.read()
            writer.close()
            assert await ended.get() is None
            return answer

    return asyncio.run(check())


def payloads(answer: bytes) -> list[bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"chunked" in head
    return EventDecoder().feed(join_chunks(body))


def test_frames_come_in_order_under_the_right_headers() -> None:
    async def work(stream: EventStream) -> None:
        assert not stream.is_begun
        for number in range(50):
            await stream.write(b"data: %d\n\n" % number)
            assert stream.is_begun
        await stream.end(b"data: last\n\n")

    answer = fetch(work)
    assert payloads(answer) == [b"%d" % number for number in range(50)] + [b"last"]
    head = answer.partition(b"\r\n\r\n")[0].lower()
    for line in (
        b"200 ok",
        b"content-type: text/event-stream; charset=utf-8",
        b"cache-control: no-cache",
        b"x-accel-buffering: no",
        b"x-a: b",
    ):
        assert line in head
    assert b"keep-alive\n" not in answer


def test_silence_is_filled_with_comments_from_the_head_on() -> None:
    async def work(stream: EventStream) -> None:
        await asyncio.sleep(0.12)
        assert stream.is_begun
        await stream.write(b"data: a\n\n")
        await asyncio.sleep(0.12)
        await stream.end(b"data: b\n\n")

    answer = fetch(work)
    before, _, after = answer.partition(b"data: a")
    assert before.count(b": keep-alive\n\n") >= 1
    assert after.count(b": keep-alive\n\n") >= 1
    assert payloads(answer) == [b"a", b"b"]


def test_without_life_signs_only_the_head_comes() -> None:
    async def work(stream: EventStream) -> None:
        await asyncio.sleep(0.2)
        assert stream.is_begun
        await stream.end(b"data: a\n\n")

    answer = fetch(work, StreamSettings(head_after_s=0.02, keep_alive_s=0))
    assert payloads(answer) == [b"a"]
    assert b"keep-alive\n" not in answer


def test_nothing_follows_the_end() -> None:
    async def work(stream: EventStream) -> None:
        await stream.end(b"data: a\n\n")
        await asyncio.sleep(0.15)

    assert payloads(fetch(work)) == [b"a"]
    assert b"keep-alive\n" not in fetch(work)


def test_leaving_early_takes_the_life_sign_along() -> None:
    ended: list[bool] = []

    async def send(message: Message) -> None:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            ended.append(True)
            raise

    async def check() -> None:
        settings = StreamSettings(head_after_s=0.01)
        async with EventStream(send, headers=[], abort=lambda _: None, settings=settings):
            await asyncio.sleep(0.03)
        await asyncio.sleep(0)
        assert ended == [True]

    asyncio.run(check())


def test_an_error_in_time_leaves_the_head_unsent() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def check() -> None:
        with pytest.raises(ValueError, match="early"):
            async with EventStream(send, headers=[], abort=lambda _: None, settings=QUICK):
                raise ValueError("early")
        await asyncio.sleep(0.1)
        assert sent == []

    asyncio.run(check())


def test_a_client_that_reads_nothing_is_given_up() -> None:
    async def work(stream: EventStream) -> None:
        while True:
            await stream.write(b"data: " + b"x" * 60_000 + b"\n\n")

    async def check() -> None:
        ended: asyncio.Queue[BaseException | None] = asyncio.Queue()
        async with serve_stream(work, QUICK, ended) as port:
            _, writer = await connect(port)
            writer.write(REQUEST)
            left = await asyncio.wait_for(ended.get(), 10)
            assert isinstance(left, ClientLeft)
            assert "took nothing" in str(left)
            writer.close()

    asyncio.run(check())


def test_a_client_that_leaves_ends_the_stream() -> None:
    async def work(stream: EventStream) -> None:
        while True:
            await stream.write(b"data: x\n\n")
            await asyncio.sleep(0.01)

    async def check() -> None:
        ended: asyncio.Queue[BaseException | None] = asyncio.Queue()
        async with serve_stream(work, QUICK, ended) as port:
            reader, writer = await connect(port)
            writer.write(REQUEST)
            await reader.readuntil(b"data: x")
            writer.close()
            assert isinstance(await asyncio.wait_for(ended.get(), 1), ClientLeft)

    asyncio.run(check())


def test_work_and_life_signs_never_send_at_once() -> None:
    sending = signs = 0

    async def send(message: Message) -> None:
        nonlocal sending, signs
        assert sending == 0
        sending += 1
        await asyncio.sleep(0.004)
        sending -= 1
        signs += message.get("body") == b": keep-alive\n\n"

    async def check() -> None:
        settings = StreamSettings(head_after_s=0.01, keep_alive_s=0.003)
        async with EventStream(send, headers=[], abort=failed, settings=settings) as stream:
            for pause in range(30):
                await asyncio.sleep(pause % 7 / 1000)
                await stream.write(b"data: x\n\n")
            await asyncio.sleep(0.005)  # a life sign is on its way
            await stream.end()
        assert signs > 1

    def failed(error: Exception) -> None:
        raise error

    asyncio.run(check())


def test_a_connection_that_breaks_under_a_life_sign_ends_the_work() -> None:
    async def send(message: Message) -> None:
        raise OSError("gone")

    async def check() -> None:
        async def never() -> Message:
            await asyncio.sleep(60)
            raise AssertionError

        with pytest.raises(ClientLeft, match="broke"):
            async with (
                ClientWatch(never) as watch,
                EventStream(send, headers=[], abort=watch.abort, settings=QUICK),
            ):
                await asyncio.sleep(5)

    asyncio.run(check())
