"""Conversations of one process are known by their messages, and two never meet unless one."""

from sculptor.context import Step
from sculptor.messages import Message
from sculptor.operations import Cut, Fold, Piece, Range, Restore
from sculptor.sdk.conversations import Conversation, Conversations
from sculptor.tokens import TokenCounter
from tests.loop.scripted import call, message

COUNTER = TokenCounter()
FILLER = "The committee met again and adjourned without a vote on the matter. "
FIRST = message("user", FILLER * 20)
OPENING = (FIRST, message("assistant", "I see."), message("user", "Which port?"))
ANSWER = message("assistant", "Noted.")
NEXT = message("user", "And now?")


def edited(kept: Conversations, *messages: Message) -> Conversation:
    """Open a conversation and fold its first message."""
    made = kept.open(messages, COUNTER)
    context = made.context
    place, text = context.places[0], messages[0].parts[0].text
    context.perform(Cut(Range(place, 0, 0, len(text)), (Piece(0, len(text), 200),)), author="model")
    context.perform(Fold(tuple(leaf.id for leaf in context.fragments())), author="model")
    return made


def test_state_is_found_again_by_the_list_with_the_answer() -> None:
    kept = Conversations()
    made = edited(kept, *OPENING)
    kept.keep(made, ANSWER)
    found = kept.open([*OPENING, ANSWER, NEXT], COUNTER)
    assert found.admitted
    assert found.context.version == made.context.version
    assert found.context.state == made.context.state
    assert found.context.depth == 2
    assert b"folded" in found.context.view().messages[0]


def test_user_messages_alone_carry_nothing() -> None:
    kept = Conversations()
    kept.keep(edited(kept, *OPENING), ANSWER)
    for listed in (OPENING, [*OPENING, message("assistant", "Something else."), NEXT]):
        found = kept.open(listed, COUNTER)
        assert not found.admitted
        assert found.context.depth == 0


def test_system_text_may_come_go_and_change() -> None:
    kept = Conversations()
    made = edited(kept, *OPENING)
    assistant = message("assistant", None, tool_calls=[call("search_context", "a")])
    step = Step(2, (assistant, message("tool", "{}", tool_call_id="a")))
    made.context.steps.append(step)
    kept.keep(made, ANSWER)
    dated = message("system", "It is Monday.")
    for listed in ([*OPENING, ANSWER], [dated, *OPENING, ANSWER], [dated, dated, *OPENING, ANSWER]):
        found = kept.open(listed, COUNTER)
        assert found.context.depth == 2
        assert [each.after for each in found.context.steps] == [len(listed) - 2]
        shown = found.context.view().messages
        assert shown[len(listed) - 1] == assistant.wire


def test_what_is_kept_is_never_changed() -> None:
    kept = Conversations()
    kept.keep(edited(kept, *OPENING), ANSWER)
    first, second = (kept.open([*OPENING, ANSWER, NEXT], COUNTER) for _ in range(2))
    ids = tuple(leaf.id for leaf in first.context.fragments())
    first.context.perform(Restore(ids), author="user")
    assert second.context.depth == 2
    assert kept.open([*OPENING, ANSWER, NEXT], COUNTER).context.depth == 2


def test_closed_turns_leave_their_steps_behind() -> None:
    kept = Conversations()
    made = edited(kept, *OPENING)
    assistant = message("assistant", None, tool_calls=[call("search_context", "a")])
    made.context.steps.append(Step(2, (assistant, message("tool", "{}", tool_call_id="a"))))
    kept.keep(made, ANSWER)
    later = kept.open([*OPENING, ANSWER, NEXT], COUNTER)
    kept.keep(later, message("assistant", "Later."))
    found = kept.open([*OPENING, ANSWER, NEXT, message("assistant", "Later.")], COUNTER)
    assert found.context.steps == []


def test_the_oldest_leave_first() -> None:
    kept = Conversations(limit=2)
    listed = [message("user", f"{number} " + FILLER * 20) for number in range(3)]
    for each in listed[:2]:
        kept.keep(edited(kept, each, *OPENING[1:]), ANSWER)
    assert kept.open([listed[0], *OPENING[1:], ANSWER], COUNTER).admitted
    kept.keep(edited(kept, listed[2], *OPENING[1:]), ANSWER)
    assert len(kept) == 2
    found = [kept.open([each, *OPENING[1:], ANSWER], COUNTER).admitted for each in listed]
    assert found == [True, False, True]


def test_equal_conversations_get_equal_ids() -> None:
    ids = []
    for _ in range(2):
        kept = Conversations()
        ids.append([leaf.id for leaf in edited(kept, *OPENING).context.fragments()])
    assert ids[0] == ids[1]
