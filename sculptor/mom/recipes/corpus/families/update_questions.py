"""How one asks about a stream: for what many items hold at the end, or one; how often; in vain."""

import random

from sculptor.mom.recipes.corpus.words import kind, made_up

_QUESTIONS = (
    "Tell me what these hold at the end: {items}.",
    "Now, what did each of these end up with: {items}?",
    "What is the {newest} {state} of every one of these: {items}?",
    "Which {state} counts in the end for each of these {groups}: {items}?",
    "Look at the following and tell their {newest} {state}: {items}.",
    "For each of ({items}), what holds after the last change?",
    "How do all of them stand now ({items})?",
    "Go through {items} and say what each one has at last.",
    "I want the {newest} {state} of each: {items}.",
    "Give me every {state} that holds at the end, for {items}.",
    "State what became of {items}.",
    "Tell the last {state} of all these {groups} ({items}) you have followed.",
    "{items}: what has each of them in the end?",
    "Which {state} has each one last been given: {items}?",
    "Say for {items} what stands there after everything.",
    "These are the {groups} I ask for: {items}. What is the {newest} {state} of each?",
)
_ORDERS = ("Tell", "Report", "List", "Name", "Give me", "Now write", "Recall", "Find", "Please say")
_QUERIES = ("What is", "What are", "Which is", "What was", "Could you tell", "What would be")
_ONE = (
    "What does {item} hold at the end?",
    "And {item}, which {state} has it now?",
    "What is the {newest} {state} of {item}?",
    "Tell me the {newest} {state} of {item}.",
    "What became of {item}?",
    "Look up {item} and tell its {newest} {state}.",
    "{item}: which {state} holds?",
    "I only need {item}. What has it last been given?",
    "Say what {item} stands at.",
)
_COUNTS = (
    ("How many times was {item} set?", "{}"),
    ("How often does {item} get a {state} above?", "{} times."),
    ("Count the lines that set {item}.", "It was set {} times."),
    ("Number of times {item} is given a {state}:", "{}"),
)
_CLOSINGS = (
    *("",) * 6,
    " Answer with the {what} alone.",
    " Give the {what} alone.",
    " Reply with the {what} only.",
    " The {what} and nothing else, please.",
)
"""Whatever is asked for may be wanted alone: said of one kind, the word came to mean that kind."""

_ABSENT = (
    ("", "{item} is not in the text."),
    ("", "{item} is not in the text."),
    (" If it is not there, say so.", "There is no {item} in what you gave me."),
    (" It may be missing: then tell me.", "The text does not mention {item}."),
    (" If you cannot find it, say 'I find no {item} above.'", "I find no {item} above."),
    (" Should there be none, write: no {item}", "no {item}"),
)
"""A hint with the question, and what is told where the item is not there; one decides the other."""


def ask_for_many(rng: random.Random, groups: str, listed: str) -> str:
    """Return a question for what items hold at the end."""
    asked = rng.choice(_QUESTIONS) if rng.random() < 0.5 else _composed(rng)
    return _fill(rng, asked, groups, items=listed)


def ask_for_one(rng: random.Random, groups: str, item: str) -> str:
    """Return a question for what one item holds at the end."""
    asked = _fill(rng, rng.choice(_ONE), groups, item=item)
    return asked + rng.choice(_CLOSINGS).format(what=kind(rng, "states", "things"))


def ask_how_often(rng: random.Random, groups: str, item: str, *, times: int) -> tuple[str, str]:
    """Return a question for how often an item was set, and its answer."""
    asked, told = rng.choice(_COUNTS)
    closing = rng.choice(_CLOSINGS).format(what="number") if told == "{}" else ""
    return _fill(rng, asked, groups, item=item) + closing, told.format(times)


def ask_for_absent(rng: random.Random, groups: str, item: str) -> tuple[str, str]:
    """Return a question for an item that is not there, and its answer."""
    asked = ask_for_one(rng, groups, item)
    hint, told = rng.choice(_ABSENT)
    return asked + hint.format(item=item), told.format(item=item)


def _composed(rng: random.Random) -> str:
    """Put a question for many items together, words that mean nothing among its parts."""
    of = rng.choice(("{items}", "({items})", "of {items}", "for {items}", "[{items}]"))
    what = rng.choice(
        (
            "the {newest} {state}",
            "the {newest} {state} of each",
            "the {newest} {state} of every {one}",
            "all {state}",
            "what each {one} {does}",
            "how every {one} {does}",
        )
    )
    what = what.replace("{one}", kind(rng, "groups")).replace("{does}", made_up(rng))
    tail = rng.choice(
        ("", "", f" you are {made_up(rng)}", f" in all this {made_up(rng)}", " above")
    )
    if rng.random() < 0.5:
        return f"{rng.choice(_ORDERS)} {what} {of}{tail}{rng.choice('.:;')}"
    return f"{rng.choice(_QUERIES)} {what} {of}{tail}?"


def _fill(rng: random.Random, template: str, groups: str, **words: str) -> str:
    state, newest = kind(rng, "states", "things"), kind(rng, "newest", "adjectives")
    return template.format(groups=groups, state=state, newest=newest, **words)
