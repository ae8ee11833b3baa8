"""What stands around a question without asking anything: roles, rules, notes, worked examples.

A model that has only met bare questions takes the first name it sees in a longer prompt for what is
asked. So rules come in any number and order, numbered or not, and examples bring names that occur
nowhere else.
"""

import random
from collections.abc import Sequence

from sculptor.mom.recipes.corpus.prose import loose_sentence
from sculptor.mom.recipes.corpus.words import made_up, pick

_ROLES = (
    "You keep the books of a depot.",
    "You are on duty at the desk of the {thing}.",
    "Pretend to be the {person} of a small yard.",
    "I count on you as on a good {person}.",
    "You help me to keep order.",
    "Take the part of a {person} who forgets nothing.",
    "This is an exercise in reading with care.",
    "What follows tests how well you keep track of things.",
    "Consider this a trial of your patience.",
    "Let us see how you do with a long text.",
)
_RULES = (
    "Read every word of it.",
    "Take your time over it.",
    "Only what stands here counts.",
    "Never guess.",
    "Later entries go before earlier ones.",
    "Do not mix up what looks alike.",
    "Spelling counts, capitals too.",
    "Order matters in all of this.",
    "There may be more in it than you need.",
    "Most of it will not be asked for.",
    "What I ask comes at the end.",
    "Keep your answer short.",
    "No remarks of your own, please.",
    "Nothing outside this text is of use.",
    "A thing may come up more than once.",
    "Mind the small words.",
    "You will be asked about it afterwards.",
    "Anything crossed out later no longer holds.",
    "Leave out what nobody asked for.",
    "Numbers are to be copied digit by digit.",
    "Write names just as they stand.",
    "It is fine if some of it makes no sense.",
    "Look at the {thing} first, if there is one.",
    "Should the {word} come up, pass over it.",
)
_HEADINGS = ("Notes:", "Mind:", "Please note", "A few rules:", "Hints:", "Remarks", "How to go on:")


def roles(rng: random.Random) -> str:
    """Return up to two sentences that open a prompt, or nothing."""
    if rng.random() < 0.4:
        return ""
    chosen = [rng.choice(_ROLES)] if rng.random() < 0.6 else []
    return _filled(rng, [*chosen, *_rules(rng, rng.randint(0, 2))])


def notes(rng: random.Random, last: Sequence[str] = ()) -> str:
    """Return a block of rules, ``last`` behind them: in one line, or numbered one to a line."""
    chosen = [_fill(rng, rule) for rule in _rules(rng, rng.randint(0, 4))]
    lines = [*chosen, *last]
    if len(lines) < 2 or rng.random() < 0.4:
        return " ".join(lines)
    mark = rng.choice(("{n}. ", "{n}) ", "- ", "* ", "({n}) "))
    listed = [f"{mark.replace('{n}', str(n))}{line}" for n, line in enumerate(lines, start=1)]
    heading = [rng.choice(_HEADINGS)] if rng.random() < 0.7 else []
    return "\n".join([*heading, *listed])


def numbered_examples(rng: random.Random, examples: Sequence[str]) -> str:
    """Return worked examples one to a line, each called one."""
    if not examples:
        return ""
    word = rng.choice(("Sample", "Case", "Model", "Exercise", "Pattern", "Instance", "Specimen"))
    form = rng.choice(
        (f"{word} {{n}}: ", f"({word.lower()} {{n}}) ", f"{word} {{n}}. ", "- ", "{n}: ")
    )
    lines = [f"{form.replace('{n}', str(n))}{text}" for n, text in enumerate(examples, start=1)]
    heading = rng.choice(("To show what is meant:", "By way of example:", "Like this:", ""))
    return "\n".join(filter(None, [heading, *lines]))


def _rules(rng: random.Random, count: int) -> list[str]:
    """Draw rules, some that say nothing: which words ask for something is learned by the rest."""
    known = rng.sample(_RULES, count)
    return [loose_sentence(rng) if rng.random() < 0.25 else rule for rule in known]


def _filled(rng: random.Random, sentences: Sequence[str]) -> str:
    return " ".join(_fill(rng, sentence) for sentence in sentences)


def _fill(rng: random.Random, text: str) -> str:
    thing = pick(rng, "things") if rng.random() < 0.7 else made_up(rng)
    return text.format(thing=thing, word=made_up(rng), person=pick(rng, "people"))
