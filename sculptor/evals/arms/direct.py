"""The arms that send the sample as it is: without the tools, and with them under two prompts.

The instructions follow the roles and procedures that the Sculptor paper describes (arXiv
2508.04664, Figures 7 to 9), in words of our own. They are sent as a system message of the eval.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sculptor.evals.arms.types import Chat, Situation
from sculptor.evals.types import Message, Sample

GENERIC = (
    "You are a helpful assistant. You may manage your own context while you work: hide what does "
    "not matter, keep to what does, shorten long passages to summaries, and search for facts."
)
_TASK_PROMPTS: Mapping[str, str] = {
    "pi-llm": (
        "You track values that are updated again and again, and report the latest value of each "
        "key although earlier ones interfere. First cut the whole stream into about ten "
        "fragments with fragment_context, then fold the early ones, as long as every key still "
        "has an update in what stays visible. Fragment IDs come from fragment_context alone. "
        "Then answer for every key from what is left."
    ),
    "needlebench": (
        "You find facts hidden in a long text. Search for each name or term you need with "
        "search_context, several queries in one call where you can, and read around a hit "
        "before you rely on it. For questions about family, go from name to name; before you "
        "name the eldest, search once more to make sure that nobody is told to be their elder."
    ),
    "ruler-own": (
        "You find facts hidden in a long text. Search with search_context for the very names, "
        "keys or variables asked for, several queries in one call, follow what the hits refer "
        "to, and list every answer."
    ),
    "mrcr-own": (
        "You find one of several answers to equal requests in a long conversation. Search for "
        "the request's words, count the matching requests in order, restore or read the answer "
        "asked for, and repeat it exactly."
    ),
    "tool-log": (
        "You answer from tool results that later results supersede. Search for the last mention "
        "of each setting asked for, several queries in one call, and fold results that no longer "
        "hold. Then answer for every setting."
    ),
}


@dataclass(frozen=True, slots=True)
class Plain:
    """The model alone: the whole conversation, the tools off."""

    name: str = "plain"
    summary: str = "the whole conversation, without the tools"
    needs_budget: bool = False

    async def solve(self, sample: Sample, chat: Chat, situation: Situation) -> str:
        """Send the sample as it is."""
        del situation
        return await chat(sample.messages, tools=sample.tools)


@dataclass(frozen=True, slots=True)
class WithTools:
    """The proxy's tools, under the generic prompt or the task's.

    ``splits`` sends the last paragraph, the question, as a message of its own. The newest user
    message is protected in part, so that only then all of the text before it may be hidden.
    """

    name: str = "sculptor"
    summary: str = "the context tools under a generic prompt"
    task_prompt: bool = False
    splits: bool = False
    needs_budget: bool = False

    async def solve(self, sample: Sample, chat: Chat, situation: Situation) -> str:
        """Send the sample behind the arm's instructions."""
        prompt = task_prompt(situation.task) if self.task_prompt else GENERIC
        own = split_question(sample.messages) if self.splits else sample.messages
        messages = ({"role": "system", "content": prompt}, *own)
        return await chat(messages, tools=sample.tools, mode=situation.admission)


def task_prompt(task: str) -> str:
    """Return the instructions for a task's family."""
    found = (text for family, text in _TASK_PROMPTS.items() if task.startswith(family))
    return next(found, GENERIC)


def split_question(messages: Sequence[Message]) -> Sequence[Message]:
    """Return the messages with the last one's last paragraph in a message of its own."""
    *before, last = messages
    text = last["content"]
    text, border, question = text.rpartition("\n\n") if isinstance(text, str) else ("", "", "")
    if not border:
        return messages
    return [*before, {**last, "content": text + border}, {**last, "content": question}]
