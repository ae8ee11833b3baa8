"""The API's clients against a real server: what they read, what they do, what they raise."""

import asyncio
import inspect
from collections.abc import Iterator

import httpx
import orjson
import pytest

from sculptor import AsyncSculptor, Sculptor
from sculptor.errors import (
    ContextError,
    FragmentNotFound,
    InvalidMessage,
    OperationNotFound,
    SculptorError,
    SettingsError,
    StaleHead,
    StoreError,
    UndoRefused,
    UpstreamBroken,
    UpstreamStatus,
    UpstreamTimeout,
)
from sculptor.sdk.refusals import refusal
from tests.server.managing import LONG, Managed, managed

from .stub import serving


@pytest.fixture(scope="module")
def server() -> Iterator[Managed]:
    with managed() as made:
        yield made


@pytest.fixture
def client(server: Managed) -> Iterator[Sculptor]:
    with Sculptor(url_of(server)) as made:
        yield made


def url_of(server: Managed) -> str:
    return str(server.client.base_url)


def test_sessions_are_listed_and_shown(server: Managed, client: Sculptor) -> None:
    older, newer = server.talk(), server.talk()
    assert [row.id for row in client.sessions(limit=2)] == [newer, older]
    assert client.sessions(limit=1, offset=1)[0].id == older
    shown = client.session(newer)
    assert shown.id == newer
    assert shown.lanes[0].version
    assert {row.purpose for row in shown.usage} <= {"answer", "step", "summary"}


def test_a_person_cuts_folds_searches_and_undoes(server: Managed, client: Sculptor) -> None:
    session = server.talk()
    cut = client.fragment(session, 1, num_fragments=4, reason="long")
    assert len(cut.fragments) == 4
    rows = client.fragments(session)
    assert [row.id for row in rows] == cut.fragments
    assert rows[0].starts == LONG[:80]

    done = client.fold(session, f"{rows[0].id}..{rows[1].id}", reason="stale")
    assert done.receipt.tokens_after < done.receipt.tokens_before
    assert done.fragments == cut.fragments[:2]
    view = client.view(session)
    assert not view.unchanged
    assert "folded" in view.messages[1]["content"]
    assert view.tokens == done.receipt.tokens_after

    (row,) = client.search(session, "Whale number 7 ")
    assert row.total == 1
    assert row.hits[0].hidden == "folded"
    (lost,) = client.search(session, "no such words", mode="exact")
    assert lost.hits == []

    diff = client.diff(session)
    assert [changed.index for changed in diff.messages] == [1]
    assert diff.messages[0].original == LONG
    assert diff.messages[0].stretches[0].kind == "folded"

    client.restore(session, rows[0].id)
    client.pin(session, rows[0].id, messages=[2])
    client.unpin(session, rows[0].id, messages=[2])
    client.undo(session, "o5")
    operations = client.operations(session)
    assert [o.kind for o in operations] == ["undo", "unpin", "pin", "restore", "fold", "fragment"]
    assert {o.author for o in operations} == {"user"}
    assert operations[-1].reason == "long"
    assert client.operations(session, limit=1) == operations[:1]


def test_sessions_are_exported_and_deleted(server: Managed, client: Sculptor) -> None:
    session = server.talk()
    assert orjson.loads(client.export(session))["session"]["id"] == session
    assert client.export(session, format="markdown").startswith(b"# Session")
    client.delete(session)
    with pytest.raises(ContextError, match=f"No session '{session}'"):
        client.session(session)


def test_what_the_server_refuses_is_raised_in_its_words(server: Managed, client: Sculptor) -> None:
    session = server.talk()
    client.fragment(session, 1, num_fragments=2)
    first = client.fragments(session)[0].id
    client.fold(session, first)
    with pytest.raises(FragmentNotFound, match="f00000"):
        client.fold(session, "f00000")
    with pytest.raises(OperationNotFound, match="o9"):
        client.undo(session, "o9")
    with pytest.raises(UndoRefused, match="o2") as refused:
        client.undo(session, "o1")
    assert refused.value.blockers == ("o2",)
    with pytest.raises(InvalidMessage, match="fold needs fragment_ids"):
        client.fold(session)
    with pytest.raises(InvalidMessage) as invalid:
        client.sessions(limit=0)
    assert invalid.value.param == "limit"
    with pytest.raises(ContextError, match="nowhere"):
        client.view(session, lane="nowhere")
    client.pin(session, messages=[1])
    with pytest.raises(ContextError, match="pinned by the user"):
        client.fold(session, client.fragments(session)[1].id)


def test_names_of_sessions_are_never_taken_for_paths(client: Sculptor) -> None:
    with pytest.raises(ContextError):
        client.session("../healthz")


@pytest.mark.parametrize(
    "name", ["a/b", "50%", "a%2Fb", "my name?#&+", "..x", "/", ".", "..", "ID:7"]
)
def test_a_session_is_found_by_any_name_that_its_client_gave_it(
    server: Managed, client: Sculptor, name: str
) -> None:
    session = server.chat({"role": "user", "content": "Hello"}, **{"x-session-id": name})
    assert client.session(name).id == session
    assert client.view(name).session == session
    assert orjson.loads(client.export(name))["session"]["id"] == session
    client.delete(name)
    with pytest.raises(ContextError, match="the name that its client gave it"):
        client.session(name)


def test_a_wrong_key_is_said_to_be_wrong() -> None:
    with managed(keys={"local": "sk-sculptor-right"}) as server:
        with Sculptor(url_of(server), key="sk-sculptor-right") as client:
            assert client.sessions() == []
        with Sculptor(url_of(server), key="wrong") as client, pytest.raises(SettingsError):
            client.sessions()


def test_the_client_that_awaits_does_the_same(server: Managed) -> None:
    async def main() -> None:
        session = server.talk()
        async with AsyncSculptor(url_of(server)) as client:
            assert session in [row.id for row in await client.sessions()]
            assert (await client.session(session)).id == session
            cut = await client.fragment(session, 1, num_fragments=2)
            assert [row.id for row in await client.fragments(session)] == cut.fragments
            done = await client.fold(session, *cut.fragments)
            assert not (await client.view(session)).unchanged
            assert (await client.diff(session)).messages
            (row,) = await client.search(session, "krill", max_results=2)
            assert len(row.hits) == 2
            await client.pin(session, messages=[2])
            await client.unpin(session, messages=[2])
            await client.restore(session, cut.fragments[0])
            assert len(await client.operations(session)) == 5
            with pytest.raises(UndoRefused):
                await client.undo(session, done.operation)
            await client.undo(session, "o5")
            assert await client.export(session, format="markdown")
            await client.delete(session)
            with pytest.raises(ContextError, match="No session"):
                await client.session(session)

    asyncio.run(main())


def test_both_clients_have_the_same_methods() -> None:
    def face(kind: type) -> dict[str, inspect.Signature]:
        return {
            name: inspect.signature(item)
            for name, item in vars(kind).items()
            if not name.startswith("_")
        }

    assert face(Sculptor) == face(AsyncSculptor)


@pytest.mark.parametrize(
    ("status", "error", "kind", "words"),
    [
        (409, {"message": "busy", "code": "session_busy"}, StaleHead, "busy"),
        (503, {"message": "locked", "code": "store_unavailable"}, StoreError, "locked"),
        (500, {"message": "sorry", "code": "internal_error"}, UpstreamStatus, "sorry"),
        (502, None, UpstreamStatus, "The server answered 502."),
        (409, {"message": "no", "code": "undo_refused"}, UndoRefused, "no"),
        (403, {"message": "not from there"}, SettingsError, "not from there"),
    ],
)
def test_each_refusal_has_its_place_in_the_tree(
    status: int, error: dict[str, str] | None, kind: type[SculptorError], words: str
) -> None:
    body = b"<html>" if error is None else orjson.dumps({"error": error})
    made = refusal(httpx.Response(status, content=body))
    assert type(made) is kind
    assert str(made) == words


def test_a_server_that_is_not_there_is_said_not_to_be() -> None:
    client = Sculptor("http://127.0.0.1:9/v1")
    with pytest.raises(UpstreamBroken, match=r"http://127.0.0.1:9 .*sculptor serve"):
        client.sessions()
    client.close()

    async def main() -> None:
        async with AsyncSculptor("http://127.0.0.1:9") as client:
            with pytest.raises(UpstreamBroken, match="sculptor serve"):
                await client.sessions()

    asyncio.run(main())
    with pytest.raises(SettingsError, match="must begin with http"):
        Sculptor("localhost:8484")


def test_another_kind_of_server_is_recognised() -> None:
    with serving(b"[]") as stub:
        client = Sculptor(stub.url)
        with pytest.raises(UpstreamBroken, match="as no Sculptor server does"):
            client.search("a", "b")
        client.close()


def test_a_server_that_does_not_answer_is_left() -> None:
    def hang(body: object) -> bytes:
        del body
        stub.gone.wait(5)
        return b"{}"

    with serving(hang) as stub:
        client = Sculptor(stub.url, timeout_s=0.05)
        with pytest.raises(UpstreamTimeout, match=r"within 0.05 s"):
            client.search("a", "b")
        stub.gone.set()
        client.close()
