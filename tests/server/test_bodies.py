"""Bodies arrive whole, unpacked and within the limit, over a real connection."""

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import brotli
import orjson
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from sculptor.server.bodies import parse_body, read_body
from sculptor.server.cancellation import ClientLeft
from sculptor.server.encodings import Unpacker
from sculptor.server.envelope import ApiError
from sculptor.server.headers import read_headers

from .serving import connect, post, serve_app

LIMIT = 1024 * 1024


def bare_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": lambda data: brotli.compress(data, quality=4),
    "zstd": zstd.compress,
}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    try:
        body = await read_body(receive, read_headers(scope["headers"]), limit_bytes=LIMIT)
        status, said = 200, b"%d %d" % (len(body), zlib.crc32(body))
    except ApiError as error:
        status, said = error.status, str(error.code).encode()
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": said})


Request = tuple[bytes, dict[str, str], bool]


def exchange(*requests: Request) -> list[tuple[int, bytes]]:
    """Send each (body, headers, whether chunked) to one server."""

    async def check() -> list[tuple[int, bytes]]:
        async with serve_app(app) as port:
            return [await post(port, body, head, chunked=cut) for body, head, cut in requests]

    return asyncio.run(check())


TEXT = b"".join(b"line %d \xe6\xbc\xa2\n" % number for number in range(40_000))


def is_ours(said: bytes, data: bytes) -> bool:
    return b"%d %d" % (len(data), zlib.crc32(data)) in said


@pytest.mark.parametrize("name", [*PACKERS, "", "identity", " GZIP "])
def test_a_body_arrives_in_any_encoding(name: str) -> None:
    pack = PACKERS.get(name.strip().lower(), bytes)
    headers = {"content-encoding": name} if name else {}
    packed = pack(TEXT)
    for status, said in exchange((packed, headers, False), (packed, headers, True)):
        assert status == 200
        assert is_ours(said, TEXT)


def test_a_bare_deflate_stream_is_taken() -> None:
    [(status, said)] = exchange((bare_deflate(TEXT), {"content-encoding": "deflate"}, False))
    assert status == 200
    assert is_ours(said, TEXT)


@pytest.mark.parametrize("name", PACKERS)
def test_a_bomb_is_refused_before_it_is_unpacked(name: str) -> None:
    bomb = PACKERS[name](bytes(64 * LIMIT))
    assert len(bomb) < LIMIT
    unpacker = Unpacker(name)
    tracemalloc.start()
    try:
        kept = 0
        for piece in unpacker.feed(bomb):
            kept += len(piece)
            if kept > LIMIT:
                break
        assert tracemalloc.get_traced_memory()[1] < 8 * LIMIT
    finally:
        tracemalloc.stop()
    assert kept < 2 * LIMIT
    [(status, said)] = exchange((bomb, {"content-encoding": name}, False))
    assert status == 413
    assert b"request_too_large" in said


def test_too_long_without_any_encoding() -> None:
    fits, too_long = b"x" * LIMIT, b"x" * (LIMIT + 1)
    answers = exchange((fits, {}, False), (fits, {}, True), (too_long, {}, True))
    assert [status for status, _ in answers] == [200, 200, 413]


def test_a_length_past_the_limit_is_refused_unread() -> None:
    async def check() -> None:
        async with serve_app(app) as port:
            status, _ = await post(port, b"", {"content-length": str(100 * LIMIT)})
            assert status == 413

    asyncio.run(check())


@pytest.mark.parametrize("name", PACKERS)
def test_damaged_bodies_are_400(name: str) -> None:
    packed = PACKERS[name](TEXT)
    bad = (packed[:-8], packed[:20] + b"damage" + packed[26:], packed + b"more", b"plain")
    answers = exchange(*((data, {"content-encoding": name}, False) for data in bad))
    assert answers == [(400, b"invalid_value")] * len(bad)


def test_unknown_encodings_are_415() -> None:
    names = ("compress", "gzip, br", "lzma")
    answers = exchange(*((b"x", {"content-encoding": name}, False) for name in names))
    assert [status for status, _ in answers] == [415] * len(names)


@given(data=st.binary(max_size=2000), cuts=st.lists(st.integers(0, 2000)))
@pytest.mark.parametrize("name", PACKERS)
def test_any_cut_unpacks_to_the_same(name: str, data: bytes, cuts: list[int]) -> None:
    packed = PACKERS[name](data)
    at = sorted(min(cut, len(packed)) for cut in cuts)
    pieces = [packed[a:b] for a, b in zip([0, *at], [*at, len(packed)], strict=True)]
    unpacker = Unpacker(name)
    assert b"".join(out for piece in pieces for out in unpacker.feed(piece)) == data
    unpacker.close()


def test_a_client_that_leaves_or_stalls_while_it_sends() -> None:
    async def check() -> None:
        ended: asyncio.Queue[BaseException] = asyncio.Queue()

        async def reading(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await read_body(receive, {}, idle_s=0.1)
            except (ClientLeft, ApiError) as error:
                ended.put_nowait(error)
            await send({"type": "http.response.start", "status": 408, "headers": []})
            await send({"type": "http.response.body"})

        async with serve_app(reading) as port:
            for leaves in (True, False):
                _, writer = await connect(port)
                writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nab")
                await writer.drain()
                await asyncio.sleep(0.02)
                if leaves:
                    writer.close()
                error = await asyncio.wait_for(ended.get(), 5)
                writer.close()
                assert isinstance(error, ClientLeft) is leaves
                assert leaves or getattr(error, "status", 0) == 408

    asyncio.run(check())


def test_json_objects_are_read() -> None:
    assert parse_body('{"a": ["漢", 1]}'.encode()) == {"a": ["漢", 1]}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "empty"),
        (b"{", "not valid JSON"),
        (b"{'a': 1}", "not valid JSON"),
        (b'{"a": NaN}', "not valid JSON"),
        (b'{"a":"\xff"}', "UTF-8 (byte 6)"),
        (b'{"a":"\\ud800"}', "not valid JSON"),
        (b"[1]", "not an object"),
        (b'"x"', "not an object"),
        (b"[" * 100_000, "not valid JSON"),
        (orjson.dumps({}) + b"x", "not valid JSON"),
    ],
)
def test_what_is_no_json_object_is_told_so(body: bytes, told: Any) -> None:
    with pytest.raises(ApiError) as caught:
        parse_body(body)
    assert caught.value.status == 400
    assert told in caught.value.message
