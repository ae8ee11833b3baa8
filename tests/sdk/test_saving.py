"""Saving and loading: the same context afterwards, or an error that says what is wrong."""

import os
import random
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sculptor import Context
from sculptor.errors import StoreCorrupt
from sculptor.sdk import saving
from tests.test_laws import CONVERSATION, play

from .stub import call

FILLER = "The committee met again and adjourned without a vote on the matter. "
WIRE = b'{ "role":"user", "content":"caf\\u00e9 ' + FILLER.encode() * 30 + b'", "x": 1.50 }'
FOLD = call("fragment_context", "call_1", num_fragments=3, fold_except=[])


def worked(seed: int = 1) -> Context:
    """Return a context with operations of all kinds, hits, an open step and odd bytes."""
    context = play(random.Random(seed), Context(CONVERSATION), 8)
    context.append({"role": "assistant", "content": "Yes."})
    context.append(WIRE)
    context.fragment(1, num_fragments=2, author="policy", reason="long")
    context.search("port")
    both = {"role": "assistant", "content": None, "tool_calls": [FOLD, call("look", "call_2")]}
    context.append(both)
    context.append(context.apply(FOLD))
    return context


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    context = worked()
    context.save(tmp_path / "c.json")
    loaded = Context.load(tmp_path / "c.json")
    assert loaded.wire() == context.wire()
    assert [m.wire for m in loaded.core.messages] == [m.wire for m in context.core.messages]
    assert loaded.version == context.version
    assert loaded.operations() == context.operations()
    assert loaded.fragments() == context.fragments()
    assert loaded.core.hits == context.core.hits
    assert (loaded.tokens, loaded.tools()) == (context.tokens, context.tools())
    assert loaded.core.unsaved == []


def test_a_loaded_context_goes_on(tmp_path: Path) -> None:
    context = worked()
    context.save(tmp_path / "c.json")
    loaded = Context.load(tmp_path / "c.json")
    for each in (context, loaded):
        each.append({"role": "tool", "tool_call_id": "call_2", "content": "seen"})
        each.restore("all")
        each.append("And now?")
    assert loaded.wire() == context.wire()
    assert loaded.fragments() == context.fragments()


def test_a_step_whose_results_are_missing_still_takes_them(tmp_path: Path) -> None:
    context = Context(CONVERSATION)
    context.append({"role": "assistant", "content": None, "tool_calls": [FOLD]})
    context.save(tmp_path / "c.json")
    loaded = Context.load(tmp_path / "c.json")
    loaded.append(loaded.apply(FOLD))
    assert [m["role"] for m in loaded.messages()[-2:]] == ["assistant", "tool"]
    loaded.append("Thanks.")
    assert loaded.originals() == [*CONVERSATION, {"role": "user", "content": "Thanks."}]


def test_the_settings_travel_with_it(tmp_path: Path) -> None:
    context = Context(CONVERSATION, toolset="paper", encoding="cl100k_base", seed=b"\x00\xff")
    context.fragment(1)
    context.save(tmp_path / "c.json")
    loaded = Context.load(tmp_path / "c.json")
    assert len(loaded.tools()) == 6
    assert loaded.core.inline
    assert loaded.core.counter.encoding == "cl100k_base"
    assert loaded.core.seed == b"\x00\xff"
    assert loaded.wire() == context.wire()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_any_history_comes_back(seed: int) -> None:
    context = play(random.Random(seed), Context(CONVERSATION), 6)
    path = Path(os.environ["PYTEST_TMP"]) / "c.json"
    context.save(path)
    loaded = Context.load(path)
    assert loaded.version == context.version
    assert loaded.wire() == context.wire()


@pytest.fixture(autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_TMP", str(tmp_path_factory.getbasetemp()))


def test_the_old_file_stands_until_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.json"
    Context(CONVERSATION).save(path)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        worked().save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["c.json"]


def saved(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    path = tmp_path / "c.json"
    worked().save(path)
    return path, orjson.loads(path.read_bytes())


def resealed(path: Path, value: dict[str, Any]) -> None:
    """Write a changed file with a checksum that fits, as a careful forger would."""
    value["checksum"] = saving._checksum(value["context"])
    path.write_bytes(orjson.dumps(value))


def test_a_byte_flipped_anywhere_is_noticed(tmp_path: Path) -> None:
    path, _ = saved(tmp_path)
    body = path.read_bytes()
    for at in range(150, len(body), len(body) // 40):
        changed = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        if orjson_equal(changed, body):
            continue
        path.write_bytes(changed)
        with pytest.raises(StoreCorrupt, match=r"c\.json"):
            Context.load(path)


def orjson_equal(one: bytes, other: bytes) -> bool:
    try:
        return bool(orjson.loads(one) == orjson.loads(other))
    except orjson.JSONDecodeError:
        return False


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b"null", b"\xff\xfe"])
def test_another_file_is_said_to_be_another(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "c.json"
    path.write_bytes(body)
    with pytest.raises(StoreCorrupt, match="is no saved context"):
        Context.load(path)


def test_a_later_format_is_not_guessed_at(tmp_path: Path) -> None:
    path, value = saved(tmp_path)
    resealed(path, value | {"format_version": 2})
    with pytest.raises(StoreCorrupt, match="format_version"):
        Context.load(path)


def test_an_operation_that_does_not_make_its_version_is_noticed(tmp_path: Path) -> None:
    path, value = saved(tmp_path)
    value["context"]["operations"][0]["operation"]["author"] = "user"
    resealed(path, value)
    with pytest.raises(StoreCorrupt, match="o1 does not make its version"):
        Context.load(path)


def test_operations_out_of_order_are_noticed(tmp_path: Path) -> None:
    path, value = saved(tmp_path)
    del value["context"]["operations"][0]
    resealed(path, value)
    with pytest.raises(StoreCorrupt):
        Context.load(path)


@pytest.mark.parametrize(
    ("where", "what"),
    [
        (("messages", 0), '{"role":"wizard"}'),
        (("messages", 0), "{"),
        (("steps", 0, "after"), 99),
        (("steps", 0, "messages"), []),
        (("hits", 0, "key"), "zz"),
        (("seed",), "zz"),
        (("encoding",), "klingon"),
        (("operations", 0, "operation", "changes"), 7),
    ],
)
def test_what_cannot_be_is_refused_with_words(tmp_path: Path, where: Any, what: Any) -> None:
    path, value = saved(tmp_path)
    inside = value["context"]
    for step in where[:-1]:
        inside = inside[step]
    inside[where[-1]] = what
    resealed(path, value)
    with pytest.raises(StoreCorrupt, match=r"c\.json"):
        Context.load(path)


def test_a_file_that_is_not_there_is_the_systems_to_report(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Context.load(tmp_path / "none.json")
    with pytest.raises(FileNotFoundError):
        Context().save(tmp_path / "none" / "c.json")
