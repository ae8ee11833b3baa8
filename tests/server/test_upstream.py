"""The way to an upstream holds against everything a hostile one does, on real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sculptor.chat import ChunkReader, Completed, parse_json, read_completion
from sculptor.errors import (
    SculptorError,
    SettingsError,
    UpstreamBroken,
    UpstreamError,
    UpstreamStatus,
    UpstreamTimeout,
)
from sculptor.server.answer import UpstreamResponse, UpstreamTimeouts
from sculptor.server.circuit import CircuitSettings
from sculptor.server.failures import CircuitOpen, ClientKeyRefused, UpstreamUnreachable
from sculptor.server.retries import RetrySettings
from sculptor.server.upstream import Upstream, UpstreamSettings

from .hostile import (
    BAD_ANSWERS,
    BROKEN_STREAMS,
    STOP,
    TEXT,
    TEXT_MANNERS,
    TEXT_SAID,
    TOOL_MANNERS,
    TWO_CALLS,
    Exchange,
    HostileUpstream,
    Manner,
    answer,
    close_after_answer,
    completion,
    hang_after_head,
    hang_before_head,
    hang_mid_stream,
    stream,
    well_behaved,
)

PATH = "/chat/completions"
QUICK = RetrySettings(max_retries=2, base_s=0.001, cap_s=0.002)
SHORT = UpstreamTimeouts(connect_s=1, first_byte_s=0.25, idle_s=0.15, total_s=30)
"""For upstreams that hang; for others it would hold a busy machine against them."""
PATIENT = UpstreamTimeouts(connect_s=20, first_byte_s=20, idle_s=20, total_s=60)


@asynccontextmanager
async def serve(
    *script: Manner, **settings: Any
) -> AsyncIterator[tuple[HostileUpstream, Upstream]]:
    async with HostileUpstream(*script) as server:
        settings = {"retries": QUICK, "key": "sk-of-the-server", "timeouts": PATIENT} | settings
        upstream = Upstream(UpstreamSettings(url=server.url, **settings))
        try:
            yield server, upstream
        finally:
            await upstream.close()


async def ask(upstream: Upstream, body: bytes = b'{"stream":true}') -> UpstreamResponse:
    return await upstream.post(PATH, body, request_id="req-1")


async def read_stream(response: UpstreamResponse) -> Completed:
    reader = ChunkReader()
    with response:
        while frames := await response.next_frames():
            for data in frames:
                if data == b"[DONE]":
                    reader.done()
                else:
                    reader.feed(parse_json(data))
    return reader.complete()


@pytest.mark.parametrize("manner", TEXT_MANNERS)
def test_every_manner_of_streaming_is_understood(manner: str) -> None:
    async def check() -> None:
        async with serve(TEXT_MANNERS[manner]) as (_, upstream):
            done = await read_stream(await ask(upstream))
            assert done.text == TEXT_SAID
            assert done.finish_reason == "stop"

    asyncio.run(check())


@pytest.mark.parametrize("manner", TOOL_MANNERS)
def test_every_manner_of_calling_tools_is_repaired(manner: str) -> None:
    async def check() -> None:
        async with serve(TOOL_MANNERS[manner]) as (_, upstream):
            done = await read_stream(await ask(upstream))
            said = [
                (call["id"], call["function"]["name"], call["function"]["arguments"])
                for call in done.tool_calls
            ]
            assert said == TWO_CALLS
            assert done.finish_reason == "tool_calls"

    asyncio.run(check())


@pytest.mark.parametrize("manner", BROKEN_STREAMS)
def test_a_stream_that_breaks_is_an_error_and_no_answer(manner: str) -> None:
    async def check() -> None:
        is_slow = manner in ("hang", "comments for ever")
        timeouts = SHORT if is_slow else PATIENT
        async with serve(BROKEN_STREAMS[manner], timeouts=timeouts) as (server, upstream):
            response = await ask(upstream)
            assert parse_json((await response.next_frames())[0])["choices"]
            with pytest.raises(UpstreamTimeout if is_slow else UpstreamBroken):
                await read_stream(response)
            assert len(server.exchanges) == 1, "nothing is tried again after the first byte"

    asyncio.run(check())


@pytest.mark.parametrize("manner", BAD_ANSWERS)
def test_an_answer_that_is_none_is_an_error(manner: str) -> None:
    async def check() -> None:
        timeouts = SHORT if manner == "hang" else PATIENT
        async with serve(BAD_ANSWERS[manner], timeouts=timeouts) as (_, upstream):
            with pytest.raises(UpstreamError) as caught, await ask(upstream) as response:
                read_completion(parse_json(await response.read()))
            assert isinstance(caught.value, UpstreamTimeout) is (manner == "hang")

    asyncio.run(check())


def test_a_whole_answer_over_a_kept_connection() -> None:
    async def check() -> None:
        async with serve(well_behaved()) as (server, upstream):
            for _ in range(5):
                with await ask(upstream, b"{}") as response:
                    done = read_completion(parse_json(await response.read()))
                assert done.text == TEXT_SAID
            assert server.connections == 1
            seen = server.exchanges[0]
            assert (seen.method, seen.path) == ("POST", "/v1/chat/completions")

    asyncio.run(check())


def test_only_listed_headers_go_up_and_come_down() -> None:
    async def check() -> None:
        theirs = {
            "authorization": "Bearer client",
            "x-api-key": "client",
            "cookie": "c",
            "x-forwarded-for": "1.2.3.4",
            "x-session-id": "s",
            "content-type": "application/json",
            "accept": "text/event-stream",
            "traceparent": "00-1",
        }
        async with serve(stream(*TEXT)) as (server, upstream):
            response = await upstream.post(
                PATH, b"{}", request_id="req-1", client_headers=theirs, client_key="client"
            )
            with response:
                names = {name for name, _ in response.relayed()}
            assert names == {b"x-ratelimit-remaining-requests"}
            sent = server.exchanges[0].headers
            assert sent == {
                "host": f"127.0.0.1:{server.port}",
                "authorization": "Bearer sk-of-the-server",
                "content-type": "application/json",
                "content-length": "2",
                "accept": "text/event-stream",
                "accept-encoding": "identity",
                "traceparent": "00-1",
                "user-agent": "sculptor",
                "x-request-id": "req-1",
            }

    asyncio.run(check())


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_passing_statuses_are_tried_thrice_in_all(status: int) -> None:
    async def check() -> None:
        good = answer(200, completion({"content": "at last"}))
        bad = answer(status, {"error": {"message": "no"}})
        async with serve(bad, bad, good) as (server, upstream):
            with await ask(upstream) as response:
                assert b"at last" in await response.read()
            assert len(server.exchanges) == 3
        async with serve(bad) as (server, upstream):
            with pytest.raises(UpstreamStatus) as caught:
                await ask(upstream)
            assert caught.value.status == status
            assert len(server.exchanges) == 3
            is_final = status in (500, 502, 504)
            assert (caught.value.headers.get("x-should-retry") == "false") is is_final

    asyncio.run(check())


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_what_the_client_did_wrong_is_handed_on_at_once(status: int) -> None:
    async def check() -> None:
        said = {"error": {"message": "wrong", "param": "x", "code": "y"}}
        async with serve(answer(status, said)) as (server, upstream):
            with pytest.raises(UpstreamStatus) as caught:
                await ask(upstream)
            assert caught.value.status == status
            assert parse_json(caught.value.body) == said
            assert len(server.exchanges) == 1

    asyncio.run(check())


def test_a_long_wait_is_left_to_the_client() -> None:
    async def check() -> None:
        bad = answer(429, {}, "retry-after: 31\r\nx-ratelimit-limit-requests: 5\r\nset-cookie: a=b")
        async with serve(bad) as (server, upstream):
            with pytest.raises(UpstreamStatus) as caught:
                await ask(upstream)
            assert len(server.exchanges) == 1
            assert caught.value.headers == {
                "retry-after": "31",
                "x-ratelimit-limit-requests": "5",
            }

    asyncio.run(check())


def test_a_stream_that_said_done_keeps_its_connection() -> None:
    async def end_later(exchange: Exchange) -> None:
        await stream(*TEXT, STOP, end=False)(exchange)
        await asyncio.sleep(0.02)
        await exchange.send_end()

    async def end_never(exchange: Exchange) -> None:
        await stream(*TEXT, STOP, end=False)(exchange)
        await exchange.hang()

    async def read_to_done(upstream: Upstream) -> None:
        with await ask(upstream) as response:
            while (await response.next_frames())[-1] != b"[DONE]":
                pass

    async def check() -> None:
        async with serve(end_later, end_never) as (server, upstream):
            await read_to_done(upstream)
            await asyncio.sleep(0.05)
            await read_to_done(upstream)
            assert server.connections == 1
            await asyncio.wait_for(server.exchanges[1].dropped.wait(), 3)

    asyncio.run(check())


def test_a_stale_pooled_connection_costs_no_try() -> None:
    async def check() -> None:
        async def reset(exchange: Exchange) -> None:
            exchange.reset()

        good = answer(200, completion({"content": "ok"}))
        no_retries = RetrySettings(max_retries=0)
        async with serve(good, reset, good, retries=no_retries) as (server, upstream):
            with await ask(upstream) as response:
                await response.read()
            with await ask(upstream) as response:
                assert b"ok" in await response.read()
            assert len(server.exchanges) == 3
            assert server.connections == 2
        async with serve(good, reset, retries=no_retries) as (server, upstream):
            with await ask(upstream) as response:
                await response.read()
            with pytest.raises(UpstreamBroken):
                await ask(upstream)
            assert len(server.exchanges) == 3, "one free retry, not more"

    asyncio.run(check())


def test_a_fresh_connection_that_breaks_is_not_tried_again() -> None:
    async def check() -> None:
        async with serve(BAD_ANSWERS["reset"]) as (server, upstream):
            with pytest.raises(UpstreamBroken):
                await ask(upstream)
            assert len(server.exchanges) == 1

    asyncio.run(check())


def test_a_connection_closed_in_the_pool_is_not_used() -> None:
    async def check() -> None:
        good = answer(200, completion({"content": "ok"}))
        async with serve(close_after_answer, good) as (_, upstream):
            with await ask(upstream) as response:
                await response.read()
            with await ask(upstream) as response:
                assert b"ok" in await response.read()

    asyncio.run(check())


def test_nobody_there() -> None:
    async def check() -> None:
        async with HostileUpstream(well_behaved()) as server:
            url = server.url
        upstream = Upstream(UpstreamSettings(url=url, retries=QUICK))
        with pytest.raises(UpstreamUnreachable) as caught:
            await ask(upstream)
        assert str(server.port) not in str(caught.value)
        assert "refused" in str(caught.value)
        await upstream.close()

    asyncio.run(check())


def test_time_to_the_first_byte_counts_past_the_head() -> None:
    async def check() -> None:
        for manner in (hang_before_head, hang_after_head):
            async with serve(manner, timeouts=SHORT) as (_, upstream):
                with pytest.raises(UpstreamTimeout) as caught:
                    await read_stream(await ask(upstream))
                assert caught.value.phase == "first byte"

    asyncio.run(check())


def test_the_whole_request_has_an_end() -> None:
    async def drip(exchange: Exchange) -> None:
        await stream(*TEXT, end=False)(exchange)
        while True:
            await exchange.send_piece(TEXT[1])
            await asyncio.sleep(0.02)

    async def check() -> None:
        timeouts = UpstreamTimeouts(idle_s=5, total_s=0.2)
        async with serve(drip, timeouts=timeouts) as (_, upstream):
            with pytest.raises(UpstreamTimeout) as caught:
                await read_stream(await ask(upstream))
            assert caught.value.phase == "whole request"

    asyncio.run(check())


def test_a_slow_reader_is_not_the_upstreams_fault() -> None:
    async def check() -> None:
        async with serve(TEXT_MANNERS["well behaved"]) as (_, upstream):
            response = await ask(upstream)
            first = await response.next_frames()
            await asyncio.sleep(2 * SHORT.idle_s)
            assert first
            with response:
                for _ in range(6):
                    await response.next_frames()
                    await asyncio.sleep(0.5 * SHORT.idle_s)

    asyncio.run(check())


@pytest.mark.parametrize("manner", [hang_before_head, hang_after_head, hang_mid_stream])
def test_when_the_client_leaves_the_upstream_sees_it_at_once(manner: Manner) -> None:
    async def check() -> None:
        patient = UpstreamTimeouts(first_byte_s=60, idle_s=60)
        async with serve(manner, timeouts=patient) as (server, upstream):

            async def work() -> None:
                await read_stream(await ask(upstream))

            task = asyncio.create_task(work())
            await server.asked.wait()
            await asyncio.sleep(0.05)
            task.cancel()
            await asyncio.wait_for(server.exchanges[0].dropped.wait(), 1)
            assert not upstream.circuit.is_open

    asyncio.run(check())


@pytest.mark.parametrize("status", [401, 403])
def test_whose_key_was_refused(status: int) -> None:
    async def check() -> None:
        bad = answer(status, {"error": {"message": "Incorrect API key"}})
        for settings, kind in (
            ({"relay_client_key": True}, UpstreamStatus),
            ({"relay_client_key": True, "key": None}, ClientKeyRefused),
        ):
            async with serve(bad, **settings) as (server, upstream):
                with pytest.raises(UpstreamStatus) as caught:
                    await upstream.post(PATH, b"{}", request_id="r", client_key="theirs")
                assert type(caught.value) is kind
                with pytest.raises(UpstreamStatus):
                    await upstream.relay("GET", "/files", None, request_id="r", client_key="theirs")
                sent = server.exchanges[0].headers["authorization"]
                is_ours = sent == "Bearer sk-of-the-server"
                assert is_ours is (kind is UpstreamStatus)
                assert is_ours or sent == "Bearer theirs"

    asyncio.run(check())


def test_without_the_opt_in_no_key_is_passed_on() -> None:
    async def check() -> None:
        async with serve(well_behaved(), key=None) as (server, upstream):
            with await upstream.post(PATH, b"{}", request_id="r", client_key="theirs") as response:
                await response.read()
            assert "authorization" not in server.exchanges[0].headers

    asyncio.run(check())


def test_other_paths_are_relayed_as_they_are() -> None:
    async def check() -> None:
        sound = bytes(range(256)) * 5000
        manners = (
            answer(200, sound, "content-type: audio/mpeg\r\nset-cookie: a=b"),
            answer(404, b"nope", "content-type: text/plain"),
        )
        async with serve(*manners) as (server, upstream):
            headers = {"content-type": "multipart/form-data; boundary=x"}
            response = await upstream.relay(
                "POST", "/audio/x%20y?a=%2F", sound, request_id="r", client_headers=headers
            )
            with response:
                assert response.relayed(with_body=True) == [(b"content-type", b"audio/mpeg")]
                received = b""
                while piece := await response.next_bytes():
                    received += piece
            assert received == sound
            seen = server.exchanges[0]
            assert (seen.path, seen.body) == ("/v1/audio/x%20y?a=%2F", sound)
            assert seen.headers["content-type"] == headers["content-type"]
            with await upstream.relay("DELETE", "/files/f", None, request_id="r") as response:
                assert (response.status, await response.read()) == (404, b"nope")
            assert "content-type" not in server.exchanges[1].headers

    asyncio.run(check())


@pytest.mark.parametrize(
    "path", ["//evil/x", "/../admin", "/a/%2e%2E/b", "x", "/a/./b", "/..%2fadmin", "/..%5cadmin"]
)
def test_no_path_leads_out_of_the_base(path: str) -> None:
    async def check() -> None:
        async with serve(well_behaved()) as (server, upstream):
            if path == "//evil/x":
                with await upstream.relay("POST", path, b"{}", request_id="r") as response:
                    await response.read()
                assert server.exchanges[0].path == "/v1//evil/x"
            else:
                with pytest.raises(SculptorError):
                    await upstream.relay("GET", path, None, request_id="r")
                assert not server.exchanges

    asyncio.run(check())


def test_a_body_past_the_limit_is_refused() -> None:
    async def check() -> None:
        async with serve(answer(200, b"x" * 300_000), body_limit_bytes=200_000) as (_, upstream):
            broken = pytest.raises(UpstreamBroken, match="over 200000 bytes")
            with await ask(upstream) as response, broken:
                await response.read()

    asyncio.run(check())


def test_the_circuit_opens_and_lets_a_probe_through() -> None:
    async def check() -> None:
        settings = {
            "circuit": CircuitSettings(consecutive_failures=3, open_s=0.1),
            "retries": RetrySettings(max_retries=0),
        }
        bad = answer(500, {})
        async with serve(bad, bad, bad, well_behaved(), **settings) as (server, upstream):
            for _ in range(3):
                with pytest.raises(UpstreamStatus):
                    await ask(upstream)
            with pytest.raises(CircuitOpen):
                await ask(upstream)
            assert len(server.exchanges) == 3
            await asyncio.sleep(0.12)
            with await ask(upstream, b"{}") as response:
                await response.read()
            assert not upstream.circuit.is_open

    asyncio.run(check())


def test_settings_are_checked() -> None:
    for url in ("ftp://h/v1", "h:80/v1", "http://u:p@h/v1", "http://h/v1?key=x", ""):
        with pytest.raises(SettingsError):
            Upstream(UpstreamSettings(url=url))
    assert "sk-" not in repr(UpstreamSettings(url="http://h", key="sk-secret"))


def test_a_url_without_a_path_gets_the_usual_one() -> None:
    async def check() -> None:
        async with HostileUpstream(well_behaved()) as server:
            for url in (server.url, server.url + "/", server.url.removesuffix("/v1")):
                upstream = Upstream(UpstreamSettings(url=url))
                with await ask(upstream, b"{}") as response:
                    await response.read()
                await upstream.close()
            assert {exchange.path for exchange in server.exchanges} == {"/v1/chat/completions"}

    asyncio.run(check())


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    test_a_whole_answer_over_a_kept_connection()
