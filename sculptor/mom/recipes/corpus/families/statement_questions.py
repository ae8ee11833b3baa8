"""A stated fact, the questions that ask for it, and how they want it answered."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sculptor.mom.recipes.corpus.clauses import Clause
from sculptor.mom.recipes.corpus.moves import Ask
from sculptor.mom.recipes.corpus.wording import draw_wording

_ONE_WORD = ("Answer with one word.", "One word, please.", "Just one word.", "In one word.")
_SHORT = ("Just that, please.", "Keep it short.", "No more than that.", "Nothing else.", "Briefly.")
_SENTENCE = ("Answer in a sentence.", "In a whole sentence, please.", "Give me the sentence.")
_WRAPPED = ("{}", "{}", "{}", "{}", "{}", "Question: {}", "{} Thank you.", "Hello! {}", "Q: {}\nA:")
_WITHIN = (
    "Tell me {}.", "Please say {}.", "I would like to know {}.", "Can you tell me {}?",
    "Do you know {}?", "Find out {}.", "Does it say {}?", "I wonder {}.", "Look up {}.",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One sentence of a text, and what it says of what."""

    clause: Clause
    state: str
    subject: str
    value: str

    @property
    def sentence(self) -> str:
        """The sentence as it stands, with a capital and a stop."""
        text = self.state.format(a=self.subject, b=self.value)
        return text[:1].upper() + text[1:]

    @property
    def query(self) -> str:
        """What finds the sentence: its subject, with what follows where that is a figure."""
        core = bare(self.subject)
        if not core[-1].isdigit():
            return core
        after = self.state.partition("{a}")[2]
        border = re.match(r"[^\s{]+| [^\s{]+", after)
        return core + (border[0] if border else "")


def ask_for(rng: random.Random, fact: Fact, facts: Sequence[Fact]) -> tuple[str, Ask]:
    """Return a question about a fact, and what is looked up and told."""
    clause = fact.clause
    alone = sum(bare(fact.value) in other.sentence for other in facts) == 1
    if clause.backward and alone and not fact.value[-1].isdigit() and rng.random() < 0.5:
        question = rng.choice(clause.backward).format(b=fact.value)
        question, line = _told(rng, fact, question, of=fact.value, answer=fact.subject)
        return question, Ask(query=bare(fact.value), line=line)
    if rng.random() < 0.25:
        question = rng.choice(_WITHIN).format(rng.choice(clause.indirect)).format(a=fact.subject)
    else:
        question = rng.choice(_WRAPPED).format(rng.choice(clause.questions)).format(a=fact.subject)
    question, line = _told(rng, fact, question, of=fact.subject, answer=fact.value)
    return question, Ask(query=fact.query, line=line)


def _told(
    rng: random.Random, fact: Fact, question: str, *, of: str, answer: str
) -> tuple[str, str]:
    """Return the question with a wish for how it is answered, and the answer."""
    drawn = rng.random()
    if drawn < 0.2 and " " not in bare(answer):
        return f"{question} {rng.choice(_ONE_WORD)}", bare(answer)
    if drawn < 0.3:
        return f"{question} {rng.choice(_SENTENCE)}", fact.sentence
    if drawn < 0.4:
        wording = draw_wording(rng)
        return f"{question} {wording.demand}", wording.fill(of, answer)
    if drawn < 0.5:
        return f"{question} {rng.choice(_SHORT)}", answer
    if drawn < 0.57:
        question = question[:1].lower() + question[1:].rstrip("?")
    return question, answer


def bare(text: str) -> str:
    """Return a noun without its article."""
    return re.sub(r"^(the|a) ", "", text)
