"""The arms that leave text out by rule: the middle, or old tool results."""

from collections.abc import Sequence
from dataclasses import dataclass

from sculptor.evals.arms.texts import (
    MESSAGE_TOKENS,
    left_out,
    message_tokens,
    split_ends,
    text_of,
    text_tokens,
    total_tokens,
    units,
    with_text,
)
from sculptor.evals.arms.types import Chat, Situation, budget_of
from sculptor.evals.types import Message, Sample

_LINE_TOKENS = 16


@dataclass(frozen=True, slots=True)
class TruncateMiddle:
    """Whole messages go from the middle outwards, then the middle of the longest one left."""

    name: str = "truncate-middle"
    summary: str = "the middle left out until the rest fits the budget"
    needs_budget: bool = True

    async def solve(self, sample: Sample, chat: Chat, situation: Situation) -> str:
        """Send the beginning and the end."""
        kept = truncate_middle(sample.messages, budget_of(situation))
        return await chat(kept, tools=sample.tools)


@dataclass(frozen=True, slots=True)
class ObservationMasking:
    """Tool results are replaced by a line, oldest first, until the rest fits the budget.

    A conversation without tool results, or one too long without them, is sent over the budget; the
    report counts such samples.
    """

    name: str = "observation-masking"
    summary: str = "old tool results replaced by a line until the rest fits the budget"
    needs_budget: bool = True

    async def solve(self, sample: Sample, chat: Chat, situation: Situation) -> str:
        """Send everything but the oldest tool results."""
        kept = mask_results(sample.messages, budget_of(situation))
        return await chat(kept, tools=sample.tools)


def truncate_middle(messages: Sequence[Message], budget: int) -> Sequence[Message]:
    """Return messages of at most ``budget`` tokens, with their beginning and their end."""
    if total_tokens(messages) <= budget:
        return messages
    groups = units(messages)
    sizes = [total_tokens(group) for group in groups]
    while len(groups) > 2 and sum(sizes) > budget:
        middle = len(groups) // 2
        del groups[middle], sizes[middle]
    kept = [message for group in groups for message in group]
    while (over := total_tokens(kept) - budget) > 0:
        longest = max(range(len(kept)), key=lambda at: text_tokens(text_of(kept[at])))
        room = text_tokens(text_of(kept[longest])) - over - _LINE_TOKENS
        kept[longest] = with_text(kept[longest], cut_middle(text_of(kept[longest]), room))
        if room <= 0:
            break
    return kept


def cut_middle(text: str, tokens: int) -> str:
    """Return the first and the last half of so many tokens of a text, with a line between."""
    tokens = max(0, tokens)
    head, middle, tail = split_ends(text, head=tokens // 2, tail=tokens - tokens // 2)
    return f"{head}\n{left_out(text_tokens(middle))}\n{tail}" if middle else text


def mask_results(messages: Sequence[Message], budget: int) -> Sequence[Message]:
    """Return the messages with as few tool results masked, oldest first, as fit the budget."""
    kept, total = list(messages), total_tokens(messages)
    for at, message in enumerate(messages):
        if total <= budget:
            break
        if message.get("role") == "tool":
            before = message_tokens(message)
            kept[at] = with_text(message, left_out(before - MESSAGE_TOKENS))
            total += message_tokens(kept[at]) - before
    return kept
