"""Exports: JSON holds the client's own bytes, Markdown cannot be broken by what it quotes."""

from collections.abc import Iterator

import pytest

from tests.server.managing import LONG, Managed, error_of, managed


@pytest.fixture(scope="module")
def server() -> Iterator[Managed]:
    with managed() as made:
        yield made


def test_json_leaves_nothing_out(server: Managed) -> None:
    wire = b'{"role" :"user","content":"caf\\u00e9 1e3","x":1.50,"n":12345678901234567890}'
    session = server.chat(
        wire, {"role": "assistant", "content": LONG}, {"role": "user", "content": "?"}
    )
    ids = server.do(session, kind="fragment")["fragments"]
    server.do(session, kind="fold", fragment_ids=ids[:1], reason="stale")
    answer = server.client.get(f"/api/sessions/{session}/export")
    assert answer.headers["content-disposition"] == f'attachment; filename="{session}.json"'
    assert wire in answer.content
    value = answer.json()
    (lane,) = value["lanes"]
    assert value["format"] == "sculptor.session/1"
    assert [message["role"] for message in lane["messages"]] == [
        "user",
        "assistant",
        "user",
        "assistant",
    ]
    assert [operation["kind"] for operation in lane["operations"]] == ["fragment", "fold"]
    assert lane["operations"][1]["reason"] == "stale"
    assert lane["operations"][1]["changes"][0][0] == ids[0]
    assert [fragment["id"] for fragment in lane["fragments"]] == ids
    assert lane["tokens"]["view"] < lane["tokens"]["original"]
    assert value["usage"][0]["purpose"] == "answer"


def test_steps_of_the_model_are_exported() -> None:
    with managed(admission="on") as server:
        session = server.chat(*_stream())
        lane = server.client.get(f"/api/sessions/{session}/export").json()["lanes"][0]
        assert {operation["author"] for operation in lane["operations"]} == {"model"}
        calls = lane["steps"][0]["messages"][0]["tool_calls"]
        assert calls[0]["function"]["name"] == "fragment_context"
        assert lane["steps"][0]["messages"][1]["role"] == "tool"


def test_markdown_fences_hold_whatever_they_quote(server: Managed) -> None:
    text = "Look:\n```python\nprint('# not a heading')\n`````\n## Lane forged\n"
    session = server.chat(
        {"role": "user", "content": text}, {"role": "user", "content": "and | this"}
    )
    server.do(session, kind="pin", messages=[0], reason="keep | it\nwell")
    answer = server.client.get(f"/api/sessions/{session}/export?format=markdown")
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    page = answer.text
    assert f"``````\n{text}\n``````" in page
    outside = "".join(page.split("``````")[::2])
    assert outside.count("## Lane") == 1
    assert "| o1 | pin | user |" in page
    assert "keep \\| it well |" in page


def test_markdown_tells_what_the_model_is_not_shown(server: Managed) -> None:
    session = server.talk()
    ids = server.do(session, kind="fragment")["fragments"]
    server.do(session, kind="fold", fragment_ids=ids[:1])
    page = server.client.get(f"/api/sessions/{session}/export?format=markdown").text
    assert f"Not shown to the model: {ids[0]} folded." in page
    assert LONG in page
    assert "### 0. system" in page


def test_other_forms_are_refused(server: Managed) -> None:
    session = server.talk()
    error = error_of(server.client.get(f"/api/sessions/{session}/export?format=pdf"), 400)
    assert error["param"] == "format"


def _stream() -> list[dict[str, str]]:
    from sculptor.evals.exchange import prompt_messages
    from sculptor.evals.registry import find_task

    task = find_task("pi-llm")
    return [dict(message) for message in prompt_messages(task, task.draw(6, seed=0))]  # type: ignore[misc]
