"""Chains of kinship sentences: who is an elder of whom, told in a random order.

The templates and terms, and their order, are the original's: an index drawn with a seed must find
the same sentence. Two older sets of templates belong to version 1's free-form challenge and to the
elder-only one.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sculptor.errors import EvalError

_ENGLISH = (
    "{A} is {B}'s {R}.",
    "{B}'s {R} is {A}.",
    "{A}, as {B}'s {R}, has a significant impact on {B}'s upbringing.",
    "{A} is not only {B}'s {R} but also {B}'s role model.",
    "During {B}'s upbringing, {A} was not only {B}'s {R}, but also {B}'s guardian.",
    "For {B}, {A} is not just a {R}, but also a friend.",
    "For {B}, {A} is more than just a {R}; {A} is a lifelong mentor of {B}.",
)
_CHINESE = (
    "{A}是{B}的{R}。",
    "{B}的{R}是{A}。",
    "{A}作为{B}的{R}，对{B}的成长有重要影响。",
    "{A}不仅是{B}的{R}，还是{B}的榜样。",
    "{A}在{B}的成长过程中，不仅仅是{B}的{R}，还是{B}的监护人。",
    "{A}对{B}来说，不只是一个{R}，还是一个朋友。",
)
_CHILD = {"English": "{B} is the child of {A}.", "Chinese": "{B}是{A}所生的孩子。"}
_OLD_TAIL = {
    "English": (
        "{A} plays the role of {B}'s {R} in {B}'s life.",
        "{B} considers {A} as their {R}.",
    ),
    "Chinese": ("{A}在{B}的生命中扮演着{R}的角色。", "{B}把{A}视为其{R}。"),
}

GENERATIONS: Mapping[str, Mapping[str, int]] = {
    "English": {
        "father": 1,
        "mother": 1,
        "dad": 1,
        "mom": 1,
        "grandfather": 2,
        "grandmother": 2,
        "maternal grandmother": 2,
        "maternal grandfather": 2,
        "paternal grandfather": 2,
        "paternal grandmother": 2,
    },
    "Chinese": {
        "父亲": 1,
        "母亲": 1,
        "爸爸": 1,
        "妈妈": 1,
        "爷爷": 2,
        "奶奶": 2,
        "姥姥": 2,
        "姥爷": 2,
        "外公": 2,
        "外婆": 2,
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A drawn chain: names from the eldest down, sentences shuffled, generations spanned."""

    names: tuple[str, ...]
    sentences: tuple[str, ...]
    generations: int


def templates(language: str, style: str = "v2") -> Sequence[str]:
    """Return the sentence templates of ``v2``, ``v1`` or ``elder-only``."""
    current = {"English": _ENGLISH, "Chinese": _CHINESE}[language]
    with_child = (*current[:4], _CHILD[language], *current[5:])
    if style == "elder-only":
        return with_child
    if style == "v1":
        return (*with_child[:6], *_OLD_TAIL[language])
    return current


def draw_chain(
    rng: random.Random,
    all_names: Sequence[str],
    *,
    people: int,
    language: str,
    style: str = "v2",
    shuffle: bool = True,
) -> Chain:
    """Draw names, then for each link a template and a term, then the order of the sentences.

    The older styles shuffle an empty piece along with the sentences, which changes the order.
    """
    if people > len(all_names):
        raise EvalError(f"{people} names asked for; the file has {len(all_names)} in {language}.")
    names = rng.sample(list(all_names), people)
    terms, generations = GENERATIONS[language], 0
    sentences = []
    for elder, younger in pairwise(names):
        template = rng.choice(templates(language, style))
        term = rng.choice(list(terms))
        sentences.append(template.format(A=elder, B=younger, R=term))
        generations += terms[term]
    if style != "v2":
        sentences.append("")
    if shuffle:
        rng.shuffle(sentences)
    return Chain(
        names=tuple(names),
        sentences=tuple(sentence for sentence in sentences if sentence),
        generations=generations,
    )
