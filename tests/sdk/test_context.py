"""A context in one's own loop: what goes to the model, what stays, and who did what."""

import asyncio
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from openai.types.chat import ChatCompletionMessage, ChatCompletionMessageFunctionToolCall

from sculptor import Context
from sculptor.errors import (
    FragmentNotFound,
    FragmentProtected,
    InvalidMessage,
    OperationNotFound,
    ToolError,
    UndoRefused,
    UpstreamBroken,
)
from sculptor.loop.pairing import pair_up
from sculptor.messages import parse_message
from sculptor.summaries import Summary, SummaryJob

from .stub import call

FILLER = "The committee met again and adjourned without a vote on the matter. "
HISTORY: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": FILLER * 20 + "port: 8080\n" + FILLER * 40},
    {"role": "assistant", "content": "Noted."},
    {"role": "user", "content": "Which port?"},
]
FOLD = call("fragment_context", "call_1", num_fragments=3, fold_except=[])
WEATHER = call("get_weather", "call_2", city="Rome")


def begun() -> Context:
    return Context(HISTORY, clock=lambda: 1.0)


def answer(message: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = orjson.loads(message["content"])
    return told


def assistant(*calls: dict[str, Any], text: str | None = None) -> dict[str, Any]:
    return {"role": "assistant", "content": text, "tool_calls": list(calls)}


# Appending


def test_messages_come_in_every_form_a_program_holds_them() -> None:
    wire = b'{ "role":"user", "content":"caf\\u00e9", "x": 1.50 }'
    typed = ChatCompletionMessage(role="assistant", content="Hi.")
    context = Context(["Hello.", typed, wire])
    assert context.wire() == (
        b'{"role":"user","content":"Hello."}',
        b'{"content":"Hi.","role":"assistant"}',
        wire,
    )
    assert context.messages()[2] == {"role": "user", "content": "café", "x": 1.5}


def test_mappings_and_iterables_of_any_kind_are_written_as_json() -> None:
    parts = ({"type": "text", "text": word} for word in ("a", "b"))
    context = Context()
    context.extend([MappingProxyType({"role": "user", "content": parts}), "c"])
    assert context.messages() == [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "user", "content": "c"},
    ]


def test_what_a_program_changes_afterwards_does_not_change_the_context() -> None:
    message = {"role": "user", "content": "Hello."}
    context = Context([message])
    message["content"] = "Bye."
    context.messages()[0]["content"] = "Bye."
    assert context.messages()[0]["content"] == "Hello."


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"role": "wizard", "content": "x"}, r"messages\[0\].role is 'wizard'"),
        ({"role": "user", "content": 7}, "must be a string, a list of parts or null"),
        ({"role": "user", "content": "\ud800"}, "cannot be written as JSON"),
        ({"role": "user", "content": "x", "own": 1 + 2j}, "cannot be written as JSON"),
        (b"{", "is not JSON in UTF-8"),
        (b'{"role":"user","content":"\xff"}', "is not JSON in UTF-8"),
        ({"role": "assistant", "tool_calls": [FOLD]}, "cannot begin the conversation"),
    ],
)
def test_what_is_no_message_is_refused_with_words(message: Any, said: str) -> None:
    context = Context()
    with pytest.raises(InvalidMessage, match=said):
        context.append(message)
    assert context.messages() == []


# The loop


def test_our_calls_and_their_results_are_in_view_while_the_turn_is_open() -> None:
    context = begun()
    context.append(assistant(FOLD, text="Tidying."))
    result = context.apply(FOLD)
    context.append(result)
    shown = context.messages()
    assert shown[:4] == [HISTORY[0], shown[1], *HISTORY[2:]]
    assert "folded" in shown[1]["content"]
    assert shown[4:] == [assistant(FOLD, text="Tidying."), result]
    context.append({"role": "assistant", "content": "8080."})
    assert [m["role"] for m in context.messages()[3:]] == ["user", "assistant", "tool", "assistant"]
    context.append("Sure?")
    after = context.messages()
    assert [m["role"] for m in after[3:]] == ["user", "assistant", "user"]
    assert "folded" in after[1]["content"], "effects stay when the step is left out"
    assert context.originals() == [*HISTORY, after[4], after[5]]


def test_a_step_with_client_calls_is_whole_now_and_theirs_alone_afterwards() -> None:
    context = begun()
    both = assistant(FOLD, WEATHER, text="One moment.")
    context.append(both)
    found = {"role": "tool", "tool_call_id": "call_2", "content": "sunny"}
    for made in both["tool_calls"]:
        context.append(context.apply(made) if context.is_internal(made) else found)
    shown = context.messages()
    assert shown[4] == both
    assert {m["tool_call_id"] for m in shown[5:]} == {"call_1", "call_2"}
    read = [parse_message(wire) for wire in context.wire()]
    assert pair_up(read) == tuple(message.wire for message in read)
    context.append({"role": "assistant", "content": "Sunny."})
    context.append("Thanks.")
    assert context.messages()[4:6] == [assistant(WEATHER, text="One moment."), found]
    read = [parse_message(wire) for wire in context.wire()]
    assert pair_up(read) == tuple(message.wire for message in read)


def test_openai_objects_are_applied_as_they_come() -> None:
    context = begun()
    typed = ChatCompletionMessageFunctionToolCall.model_validate(FOLD)
    assert context.is_internal(typed)
    assert not context.is_internal(WEATHER)
    message = context.apply(typed)
    assert message["role"] == "tool"
    assert message["tool_call_id"] == "call_1"
    assert answer(message)["ok"]


def test_arguments_may_be_parsed_already() -> None:
    context = begun()
    function = {"name": "fragment_context", "arguments": {"num_fragments": 2}}
    assert answer(context.apply({"id": "x", "function": function}))["ok"]


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        7,
        {},
        {"function": 7},
        {"id": None, "function": {"name": None, "arguments": None}},
        call("nothing_of_ours"),
        {"id": "x", "function": {"name": "undo", "arguments": "{nope"}},
        {"id": "x", "function": {"name": "undo", "arguments": "[]"}},
        call("undo", operation="o7"),
        call("fold_fragment", fragment_ids=["f00000"]),
        call("search_context", queries=["("], mode="regex"),
        call("search_context", queries=["port"], mode="semantic"),
        call("summarize_fragment", fragment_ids=["all"], focus="x"),
    ],
)
def test_a_wrong_call_is_answered_and_changes_nothing(wrong: Any) -> None:
    context = begun()
    before = context.version, context.wire()
    message = context.apply(wrong)
    told = answer(message)
    assert told["error"]
    assert told["message"]
    assert "Traceback" not in message["content"]
    assert (context.version, context.wire()) == before


def test_applying_in_a_thread_gives_the_same() -> None:
    waiting, blocking = begun(), begun()
    assert asyncio.run(waiting.aapply(FOLD)) == blocking.apply(FOLD)
    assert waiting.version == blocking.version


def test_the_offline_summarizer_works_without_a_model() -> None:
    context = begun()
    context.apply(call("fragment_context", num_fragments=1))
    told = answer(context.apply(call("summarize_fragment", fragment_ids=["all"], focus="the port")))
    assert told["ok"]
    assert "8080" in context.messages()[1]["content"]
    (leaf,) = context.fragments()
    assert leaf.summary is not None
    assert leaf.summary.model == "extractive"
    assert context.tokens < context.total_tokens / 2


class OneLine:
    """A summarizer of one's own."""

    name = "one line"

    def summarize(self, jobs: Sequence[SummaryJob]) -> list[Summary]:
        return [Summary(text=f"About {j.focus}.", model=self.name, prompt_hash="0") for j in jobs]


class Broken:
    name = "broken"

    def summarize(self, jobs: Sequence[SummaryJob]) -> list[Summary]:
        raise UpstreamBroken("the summarizer's line is down")


def test_a_summarizer_of_ones_own_is_asked() -> None:
    context = Context(HISTORY, summarizer=OneLine())
    context.apply(call("fragment_context", num_fragments=1))
    context.apply(call("summarize_fragment", fragment_ids=["all"], focus="ports"))
    assert "About ports." in context.messages()[1]["content"]


def test_a_summarizer_that_fails_is_told_to_the_model() -> None:
    context = Context(HISTORY, summarizer=Broken())
    context.apply(call("fragment_context", num_fragments=1))
    before = context.version
    told = answer(context.apply(call("summarize_fragment", fragment_ids=["all"], focus="x")))
    assert told["error"] == "NOT_SUMMARIZED"
    assert context.version == before


class Letters:
    """An embedder that knows one word."""

    name = "letters"

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [[float("port" in text), 0.1] for text in texts]


def test_an_embedder_allows_search_by_meaning() -> None:
    context = Context(HISTORY, embedder=Letters())
    hits = context.search("the port", mode="semantic", order="relevance")
    assert hits[0].message in (1, 3)
    with pytest.raises(ToolError, match="No embedder"):
        begun().search("the port", mode="semantic")


def test_the_ledger_stands_at_the_end_where_it_is_asked_for() -> None:
    context = begun()
    assert context.messages(ledger=True) == HISTORY
    context.fragment(1)
    assert context.messages() == HISTORY
    context.fold("all")
    last = context.messages(ledger=True)[-1]["content"]
    assert last[0] == {"type": "text", "text": "Which port?"}
    assert "context ledger" in last[1]["text"]
    assert context.messages()[-1] == HISTORY[-1]


def test_the_papers_toolset_marks_fragments_in_the_text() -> None:
    context = Context(HISTORY, toolset="paper")
    assert len(context.tools()) == 6
    made = call("fragment_context", start_marker="port", end_marker="8080", num_fragments=1)
    (row,) = answer(context.apply(made))["fragments"]
    assert f"⟦{row['id']}⟧ port: 8080 ⟦/{row['id']}⟧" in context.messages()[1]["content"]
    sidecar = Context(HISTORY, toolset="paper", inline=False)
    sidecar.apply(made)
    assert sidecar.messages() == HISTORY


# People and policies


def test_people_fold_restore_and_undo_with_their_names_in_the_record() -> None:
    context = begun()
    context.fragment(1, size_tokens=200, author="policy", reason="long")
    receipt = context.fold("all", reason="stale")
    assert receipt.tokens_after < receipt.tokens_before
    assert receipt.first_changed == 1
    assert receipt.undo == "o2"
    context.restore(context.fragments()[0].id)
    context.undo("o3")
    kinds = [(o.kind, o.author, o.reason) for o in context.operations()]
    assert kinds == [
        ("fragment", "policy", "long"),
        ("fold", "user", "stale"),
        ("restore", "user", ""),
        ("undo", "user", ""),
    ]
    assert context.receipts()[1] == receipt
    assert {leaf.status for leaf in context.fragments()} == {"folded"}
    with pytest.raises(UndoRefused):
        context.undo("o3")
    context.undo()
    assert context.fragments()[0].status == "visible"


def test_fragments_are_named_by_id_range_and_all() -> None:
    context = begun()
    context.fragment(1, num_fragments=5)
    ids = [leaf.id for leaf in context.fragments()]
    context.fold(f"{ids[1]}..{ids[3]}")
    assert [leaf.status == "folded" for leaf in context.fragments(1)] == [
        False,
        True,
        True,
        True,
        False,
    ]
    assert "8080" in "".join(context.text_of(name) for name in ids)
    with pytest.raises(InvalidMessage, match="runs backwards"):
        context.fold(f"{ids[3]}..{ids[1]}")
    with pytest.raises(FragmentNotFound, match="f00000"):
        context.fold("f00000")
    with pytest.raises(InvalidMessage, match="Name at least one"):
        context.fold()
    with pytest.raises(FragmentNotFound):
        context.text_of("f00000")


def test_pins_hold_for_fragments_and_for_whole_messages() -> None:
    context = begun()
    context.fragment(1, num_fragments=3)
    first, second, third = (leaf.id for leaf in context.fragments())
    context.pin(first)
    with pytest.raises(FragmentProtected, match="pinned by the user"):
        context.fold(first)
    context.fold("all")
    assert [leaf.status for leaf in context.fragments()] == ["visible", "folded", "folded"]
    context.restore("all")
    context.unpin(first)
    context.pin(messages=[-3], author="policy")
    with pytest.raises(FragmentProtected, match="pinned by the policy"):
        context.fold(second)
    context.unpin(messages=[1])
    assert context.fold(first, second, third).undo


def test_cutting_takes_numbers_sizes_and_messages_that_exist() -> None:
    context = begun()
    with pytest.raises(InvalidMessage, match="no message 9; the conversation has 4"):
        context.fragment(9)
    with pytest.raises(InvalidMessage, match="not both"):
        context.fragment(1, num_fragments=2, size_tokens=100)
    with pytest.raises(InvalidMessage, match="at least 1"):
        context.fragment(1, num_fragments=0)
    context.fragment()
    cut = {context.core.index_of(leaf.place) for leaf in context.fragments()}
    assert cut == {1}, "short messages are cut only where they are named"
    context.fragment(0, 1, 2, 3, num_fragments=2)
    cut = {context.core.index_of(leaf.place) for leaf in context.fragments()}
    assert cut == {1, 2}, "system text and the last question are never cut"
    assert not context.fragment(1, num_fragments=2).undo, "what is cut already is left"


def test_a_batch_is_one_operation_with_one_undo() -> None:
    context = begun()
    with context.batch(author="policy", reason="tidy") as batch:
        ids = batch.fragment(1, num_fragments=4)
        batch.fold(*ids[:2])
        batch.pin(ids[3], messages=[2])
        assert batch.receipt is None
    assert batch.receipt is not None
    assert batch.receipt.tokens_after == context.tokens
    assert [o.kind for o in context.operations()] == ["batch"]
    assert [leaf.status for leaf in context.fragments(1)] == ["folded"] * 2 + ["visible"] * 2
    with pytest.raises(FragmentProtected):
        context.fold(ids[3])
    with context.batch() as batch:
        batch.unpin(ids[3])
        batch.fold(ids[3])
        batch.restore(ids[0])
    assert context.fragments()[3].status == "folded"
    context.undo()
    context.undo("o1")
    assert context.messages() == HISTORY
    assert context.fragments() == ()


def test_a_batch_with_a_mistake_or_an_exception_does_nothing() -> None:
    context = begun()

    def broken(error: Exception | None) -> None:
        with context.batch() as batch:
            batch.fragment(1)
            if error is not None:
                raise error
            batch.fold("f00000")

    with pytest.raises(FragmentNotFound):
        broken(None)
    with pytest.raises(KeyError):
        broken(KeyError())
    assert context.operations() == ()
    with context.batch() as batch:
        pass
    assert batch.receipt is not None
    assert not batch.receipt.undo


def test_search_finds_hidden_text_and_says_where_it_is() -> None:
    context = begun()
    context.fragment(1, num_fragments=3)
    context.fold("all")
    hit, other = context.search("8080", "which", mode="ignore_case")
    assert (hit.query, hit.message, hit.role, hit.hidden) == ("8080", 1, "user", "folded")
    assert hit.fragment in {leaf.id for leaf in context.fragments()}
    original = HISTORY[1]["content"]
    assert original[hit.char : hit.char + 4] == "8080"
    assert "port: 8080" in hit.text
    assert (other.message, other.hidden, other.fragment) == (3, None, None)
    assert context.search("nowhere") == ()
    assert [h.message for h in context.search("port", order="last")] == [3, 1]
    assert context.search("port", mode="ranked")[0].message in (1, 3)
    assert context.search("adjourned", role="tool") == ()


def test_ranked_search_sees_what_was_added_since() -> None:
    context = begun()
    assert context.search("submarine", mode="ranked") == ()
    context.append({"role": "assistant", "content": "The submarine dives."})
    (hit,) = context.search("submarine", mode="ranked")
    assert (hit.message, hit.role) == (4, "assistant")
    assert context.search("submarine", mode="ranked") == (hit,)


def test_hits_without_room_for_an_excerpt_bring_their_own_text() -> None:
    context = Context([{"role": "user", "content": "needle " + FILLER * 40} for _ in range(12)])
    hits = context.search("needle", max_results=50, context_size=1000)
    hits += context.search(*["vote"] * 20, max_results=50, context_size=1000)
    assert all(hit.query in hit.text for hit in hits)


@pytest.mark.parametrize(
    "arguments", [{"max_results": 51}, {"context_size": 1}, {"mode": "psychic"}]
)
def test_a_search_that_cannot_be_made_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessage, match="cannot be made"):
        begun().search("port", **arguments)
    with pytest.raises(InvalidMessage, match="cannot be made"):
        begun().search()


def test_unknown_operations_are_said_to_be_unknown() -> None:
    with pytest.raises(OperationNotFound, match="o4"):
        begun().undo("o4")
    with pytest.raises(OperationNotFound):
        begun().undo()


def test_what_was_done_does_not_pile_up_twice() -> None:
    context = begun()
    context.apply(FOLD)
    context.search("port")
    context.restore("all")
    assert context.core.unsaved == []


# Copies


def test_a_fork_goes_its_own_way() -> None:
    context = begun()
    context.append(assistant(FOLD, WEATHER))
    context.append(context.apply(FOLD))
    (hit, *_) = context.search("port")
    copy = context.fork()
    assert copy.wire() == context.wire()
    assert copy.version == context.version
    assert copy.operations() == context.operations()
    before = context.wire()
    copy.restore("all")
    copy.append({"role": "tool", "tool_call_id": "call_2", "content": "sunny"})
    copy.append("More.")
    assert context.wire() == before
    detail = call("get_search_detail", search_id=hit.id)
    assert answer(copy.apply(detail))["text"] == answer(context.apply(detail))["text"]


def test_a_fork_in_the_middle_of_a_step_still_takes_its_results() -> None:
    context = begun()
    context.append(assistant(FOLD))
    copy = context.fork()
    copy.append(copy.apply(FOLD))
    assert [m["role"] for m in copy.messages()[4:]] == ["assistant", "tool"]
    assert [m["role"] for m in context.messages()[4:]] == ["assistant"]
