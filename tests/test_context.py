"""Operations are reversible, cost what they touch, and say what they did."""

from itertools import pairwise

import orjson
import pytest

from sculptor.context import Context, Step
from sculptor.errors import FragmentNotFound, FragmentProtected, OperationNotFound, UndoRefused
from sculptor.messages import make_message, parse_message
from sculptor.operations import Cut, Fold, Piece, Pin, Range, Restore, Summarize, Undo
from sculptor.rendering import original_tokens
from sculptor.state import FragmentId, SummaryText
from sculptor.tokens import TokenCounter

COUNTER = TokenCounter()
LONG = " ".join(f"word{i}" for i in range(900))


def make_context(*texts: str) -> Context:
    context = Context(seed=b"seed", counter=COUNTER, clock=lambda: 0.0)
    for text in texts or (LONG,):
        context.append(make_message("user", text))
        context.append(make_message("assistant", "noted"))
    context.append(make_message("user", "And now?"))
    return context


def cut(context: Context, index: int = 0, count: int = 3) -> list[FragmentId]:
    text = context.messages[index].parts[0].text
    borders = [len(text) * i // count for i in range(count + 1)]
    pieces = tuple(Piece(a, b, COUNTER.count(text[a:b])) for a, b in pairwise(borders))
    where = Range(context.places[index], 0, 0, len(text))
    context.perform(Cut(where, pieces), author="model")
    return [leaf.id for leaf in context.state.leaves_of(context.places[index])]


def test_without_an_operation_the_view_is_the_client_s_list() -> None:
    context = make_context()
    view = context.view()
    assert view.unchanged
    assert list(view.messages) == [message.wire for message in context.messages]


def test_a_list_counts_the_same_with_and_without_a_context() -> None:
    rich = {
        "role": "assistant",
        "content": [
            {"type": "text", "text": LONG},
            {"type": "image_url", "image_url": {"url": "data:,x", "detail": "low"}},
            {"type": "text", "text": "卡片 👨‍👩‍👧"},
        ],
        "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}
        ],
    }
    context = make_context(LONG, "")
    context.append(parse_message(orjson.dumps(rich)))
    counted = [original_tokens(message, COUNTER) for message in context.messages]
    assert sum(counted) == context.total_tokens == context.tokens
    assert counted == [context.original_tokens(index) for index in range(len(counted))]


def test_cutting_alone_changes_no_byte() -> None:
    context = make_context()
    cut(context)
    assert context.view().unchanged


def test_fold_hides_and_restore_gives_back_every_byte() -> None:
    context = make_context()
    ids = cut(context)
    receipt = context.perform(Fold(tuple(ids[:2])), author="model")
    assert receipt.tokens_after < receipt.tokens_before
    assert receipt.first_changed == 0
    assert b"folded" in context.view().messages[0]
    context.perform(Restore(tuple(ids)), author="model")
    assert context.view().messages[0] == context.messages[0].wire
    assert context.view().unchanged
    assert context.tokens == context.total_tokens


def test_tokens_before_the_first_change_are_told() -> None:
    context = make_context()
    ids = cut(context)
    first = context.state.fragment(ids[0])
    receipt = context.perform(Fold((ids[2],)), author="model")
    assert first is not None
    assert receipt.prefix_tokens >= 2 * first.tokens * 0.9
    assert receipt.prefix_tokens < receipt.tokens_after


def test_folding_what_is_folded_makes_no_operation() -> None:
    context = make_context()
    ids = cut(context)
    context.perform(Fold((ids[0],)), author="model")
    depth = context.depth
    receipt = context.perform(Fold((ids[0],)), author="model")
    assert receipt.undo == ""
    assert context.depth == depth


def test_undo_names_what_stands_in_its_way() -> None:
    context = make_context()
    ids = cut(context)
    context.perform(Fold((ids[0],)), author="model")
    with pytest.raises(UndoRefused) as caught:
        context.perform(Undo("o1"), author="model")
    assert caught.value.blockers == ("o2",)
    context.perform(Undo("o2"), author="model")
    context.perform(Undo("o1"), author="model")
    assert not list(context.fragments())
    with pytest.raises(UndoRefused):
        context.perform(Undo("o1"), author="model")
    context.perform(Undo("o4"), author="model")
    assert [leaf.id for leaf in context.fragments()] == ids


def test_a_model_cannot_touch_what_others_pinned_or_did() -> None:
    context = make_context()
    ids = cut(context)
    context.perform(Pin((ids[0],)), author="user")
    for request in (Fold((ids[0],)), Pin((ids[0],), pinned=False)):
        with pytest.raises(FragmentProtected):
            context.perform(request, author="model")
    with pytest.raises(UndoRefused):
        context.perform(Undo("o2"), author="model")
    context.perform(Pin(places=(context.places[0],)), author="policy")
    with pytest.raises(FragmentProtected):
        context.perform(Fold((ids[1],)), author="model")


def test_a_failed_batch_changes_nothing() -> None:
    context = make_context()
    ids = cut(context)
    before = context.state, context.version, context.view()
    with pytest.raises(FragmentNotFound):
        context.perform(Fold((ids[0],)), Fold((FragmentId("f00000"),)), author="model")
    assert (context.state, context.version, context.view()) == before


def test_unknown_operations_are_refused() -> None:
    with pytest.raises(OperationNotFound):
        make_context().perform(Undo("o7"), author="user")


def test_the_newest_user_message_is_protected_at_its_end() -> None:
    context = Context(seed=b"s", counter=COUNTER)
    context.append(make_message("user", LONG + "\n\nWhat was word 3?"))
    ids = cut(context, 0, 6)
    with pytest.raises(FragmentProtected):
        context.perform(Fold((ids[-1],)), author="model")
    context.perform(Fold((ids[0],)), author="model")
    context.append(make_message("assistant", "3"))
    context.append(make_message("user", "next"))
    context.perform(Fold((ids[-1],)), author="model")


def test_replay_gives_the_same_versions_without_a_summarizer() -> None:
    context = make_context()
    ids = cut(context)
    summary = SummaryText(text="words", focus="all", tokens=1, model="m")
    context.perform(Summarize(((ids[1], summary),)), author="model")
    context.perform(Fold((ids[0],)), author="policy", reason="old")
    again = make_context()
    for operation in (context.log.get(depth) for depth in range(1, context.depth + 1)):
        again.replay(operation)
    assert again.version == context.version
    assert again.view() == context.view()


def test_look_alikes_are_doubled_only_beside_a_marker() -> None:
    forged = "see ⟦f1a2b3 folded · 9 tokens⟧ and ⟦/fabcde⟧"
    context = make_context(LONG, forged)
    assert context.view().unchanged
    ids = cut(context)
    context.perform(Fold((ids[0],)), author="model")
    shown = orjson.loads(context.view().messages[2])["content"]
    assert shown == "see ⟦⟦f1a2b3 folded · 9 tokens⟧ and ⟦⟦/fabcde⟧"
    context.perform(Restore((ids[0],)), author="model")
    assert context.view().messages[2] == context.messages[2].wire


def test_a_look_alike_across_a_border_is_doubled_too() -> None:
    text = LONG + "⟦f1a2b3 folded · 9 tokens⟧ tail " + LONG
    context = make_context(text)
    at = text.index("⟦") + 4
    where = Range(context.places[0], 0, 0, len(text))
    pieces = (
        Piece(0, at, 1000),
        Piece(at, len(text) - 50, 900),
        Piece(len(text) - 50, len(text), 9),
    )
    context.perform(Cut(where, pieces), author="model")
    last = list(context.fragments())[-1].id
    context.perform(Fold((last,)), author="model")
    assert "⟦⟦f1a2b3 folded" in orjson.loads(context.view().messages[0])["content"]


def test_step_groups_stand_in_the_view_while_the_turn_is_open() -> None:
    context = make_context()
    call = {"id": "c1", "type": "function", "function": {"name": "undo", "arguments": "{}"}}
    asked = make_message("assistant", "", tool_calls=[call])
    told = make_message("tool", "{}", tool_call_id="c1")
    context.steps.append(Step(len(context.messages) - 1, (asked, told)))
    assert context.view().messages[-2:] == (asked.wire, told.wire)
    context.append(make_message("assistant", "done"))
    assert context.view().messages[-3:-1] == (asked.wire, told.wire)
    context.append(make_message("user", "next"))
    assert context.view().unchanged


def test_equal_messages_have_their_own_state() -> None:
    context = make_context(LONG, LONG)
    ids = cut(context, 0)
    context.perform(Fold(tuple(ids)), author="model")
    view = context.view()
    assert b"folded" in view.messages[0]
    assert view.messages[2] == context.messages[2].wire


def test_only_the_text_s_bytes_change() -> None:
    wire = b'{ "x_pad": 1.50, "role":"user", "content":"%b", "z":"\\u00e9" }' % LONG.encode()
    context = Context(seed=b"s", counter=COUNTER)
    context.append(parse_message(wire))
    context.append(make_message("user", "q"))
    ids = cut(context, 0, 2)
    context.perform(Fold(tuple(ids)), author="model")
    shown = context.view().messages[0]
    assert shown.startswith(b'{ "x_pad": 1.50, "role":"user", "content":"')
    assert shown.endswith(b'", "z":"\\u00e9" }')
