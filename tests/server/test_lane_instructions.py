"""System texts: a lane shows those of its last answer, and an export holds every one that came."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sculptor.store import MemoryStore, Store
from sculptor.store.records import Node, Record
from tests.server.managing import Managed, managed
from tests.server.stub_upstream import StubUpstream, say
from tests.server.test_lane_races import KINDS, SlowUpstream

NAME = {"x-session-id": "told"}


def system(text: str) -> dict[str, str]:
    return {"role": "system", "content": text}


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def bot(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


HISTORY = [user("hi"), bot("hello"), user("next")]


@pytest.fixture
def upstream() -> Iterator[StubUpstream]:
    with StubUpstream() as made:
        yield made


@pytest.fixture(params=KINDS)
def server(
    request: pytest.FixtureRequest, upstream: StubUpstream, tmp_path: Path
) -> Iterator[Managed]:
    with serving(KINDS[request.param](tmp_path), upstream) as made:
        yield made
        assert made.store.verify() == []


def serving(store: Store, upstream: StubUpstream) -> Any:
    return managed(store, backend="openai", upstream=upstream.url)


def exported(server: Managed, session: str) -> dict[str, Any]:
    value: dict[str, Any] = server.client.get(f"/api/sessions/{session}/export").json()
    return value


def shown(value: dict[str, Any]) -> dict[str, list[str]]:
    """Return the system texts that each lane shows, by its last answer."""
    return {
        lane["messages"][-1]["content"]: [
            message["content"] for message in lane["messages"] if message["role"] == "system"
        ]
        for lane in value["lanes"]
    }


def told(value: dict[str, Any], answer: str, *, of_answers: bool = False) -> list[str]:
    """Return the system texts along the lane that ends with an answer."""
    (lane,) = (one for one in value["lanes"] if one["messages"][-1]["content"] == answer)
    return [
        value["system"][each["hash"]]["content"]
        for each in lane["instructions"]
        if each["answer"] == of_answers
    ]


def test_each_lane_shows_what_its_last_answer_was_given_under(
    server: Managed, upstream: StubUpstream
) -> None:
    upstream.answers += [say(text) for text in ("hello", "ok 4", "ok 5", "ok 6")]
    server.chat(system("one"), HISTORY[0], **NAME)
    server.chat(system("two"), *HISTORY, **NAME)
    server.chat(system("three"), *HISTORY, **NAME)
    session = server.chat(system("four"), *HISTORY, bot("ok 5"), user("more"), **NAME)
    value = exported(server, session)
    assert shown(value) == {"ok 4": ["two"], "ok 6": ["four"]}
    assert {each["content"] for each in value["system"].values()} == {"one", "two", "three", "four"}
    assert told(value, "ok 4", of_answers=True) == ["one", "two"]
    assert told(value, "ok 6", of_answers=True) == ["one", "three", "four"]
    assert told(value, "ok 6") == ["one", "two", "three", "four"]


def test_a_request_without_system_texts_shows_none(server: Managed, upstream: StubUpstream) -> None:
    upstream.answers += [say(text) for text in ("hello", "bare", "dressed", "bare again")]
    server.chat(system("one"), HISTORY[0], **NAME)
    server.chat(*HISTORY, **NAME)
    server.chat(system("two"), system("late"), *HISTORY, **NAME)
    session = server.chat(*HISTORY, **NAME)
    lanes = shown(exported(server, session))
    assert lanes == {"bare": [], "dressed": ["two", "late"], "bare again": []}


def test_of_one_answer_given_again_the_last_system_text_is_shown(
    server: Managed, upstream: StubUpstream
) -> None:
    upstream.answers += [say("same")] * 5
    for text in ("one", "two", "two", "one"):
        session = server.chat(system(text), user("hi"), **NAME)
        assert shown(exported(server, session)) == {"same": [text]}
    session = server.chat(user("hi"), **NAME)
    value = exported(server, session)
    assert shown(value) == {"same": []}
    under = [each for each in value["lanes"][0]["instructions"] if each["answer"]]
    texts = [value["system"][each["hash"]]["content"] for each in under]
    assert texts == ["one", "two", "one"]


def test_a_talk_of_system_text_alone_shows_it_once(server: Managed, upstream: StubUpstream) -> None:
    upstream.answers += [say("one"), say("two")]
    for text in ("one", "two"):
        session = server.chat(system("Be brief."), **NAME)
        assert shown(exported(server, session))[text] == ["Be brief."]


@pytest.mark.parametrize("kind", KINDS)
def test_of_requests_sent_at_once_every_system_text_is_kept(kind: str, tmp_path: Path) -> None:
    texts = [f"system {number}" for number in range(4)]
    with SlowUpstream() as upstream, serving(KINDS[kind](tmp_path), upstream) as server:
        upstream.answers += [say("hello"), *[_repeat] * len(texts)]
        server.chat(HISTORY[0], **NAME)
        with ThreadPoolExecutor(len(texts)) as pool:
            sent = pool.map(lambda text: server.chat(system(text), *HISTORY, **NAME), texts)
            (session,) = set(sent)
        value = exported(server, session)
        assert server.store.verify() == []
    assert shown(value) == {f"under {text}": [text] for text in texts}
    for text in texts:
        assert set(told(value, f"under {text}")) == set(texts)


def test_answers_of_an_older_store_show_what_their_request_was_sent_with(
    upstream: StubUpstream,
) -> None:
    upstream.answers += [say("hello"), say("ok")]
    with serving(_OlderStore(), upstream) as server:
        server.chat(system("one"), HISTORY[0], **NAME)
        session = server.chat(system("two"), *HISTORY, **NAME)
        value = exported(server, session)
        assert shown(value) == {"ok": ["two"]}
        assert told(value, "ok") == ["one", "two"]
        assert server.store.verify() == []


def test_what_was_told_is_there_after_opening_anew(upstream: StubUpstream, tmp_path: Path) -> None:
    upstream.answers += [say("one"), say("two")]
    for text in ("one", "two"):
        file = tmp_path / "store.db"
        with managed(file=file, backend="openai", upstream=upstream.url) as server:
            session = server.chat(system(f"for {text}"), user("hi"), **NAME)
            value = exported(server, session)
            server.store.close()
    assert shown(value) == {"one": ["for one"], "two": ["for two"]}


def _repeat(value: dict[str, Any]) -> dict[str, Any]:
    return bot(f"under {value['messages'][0]['content']}")


class _OlderStore(MemoryStore):
    """A store whose answers were written before they kept any instructions."""

    def write(self, records: Sequence[Record]) -> Future[None]:
        return super().write(
            [
                replace(each, instructions=()) if isinstance(each, Node) and each.answer else each
                for each in records
            ]
        )
