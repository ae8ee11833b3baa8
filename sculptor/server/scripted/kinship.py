"""Kinship sentences in English and Chinese, and what follows from them.

The sentences are those of NeedleBench (arXiv 2407.11963) in both its versions: forms of "A is B's
elder", with ten terms that span one or two generations each. A sentence counts only where
it stands whole, so nothing is read from an excerpt's torn ends nor from the prompt's own examples,
which put a condition before it or go on after it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

GENERATIONS: Mapping[str, int] = {
    **dict.fromkeys(("father", "mother", "dad", "mom"), 1),
    **dict.fromkeys(("grandfather", "grandmother"), 2),
    **dict.fromkeys(("maternal grandmother", "maternal grandfather"), 2),
    **dict.fromkeys(("paternal grandfather", "paternal grandmother"), 2),
    **dict.fromkeys(("父亲", "母亲", "爸爸", "妈妈"), 1),
    **dict.fromkeys(("爷爷", "奶奶", "姥姥", "姥爷", "外公", "外婆"), 2),
}
"""How many generations lie between a person and the relative called so."""

_ELDER = r"(?P<elder>[^,，;；]{1,60}?)"
_YOUNGER = r"(?P<younger>[^,，;；]{1,60}?)"
_TERM = "(?P<term>" + "|".join(sorted(GENERATIONS, key=len, reverse=True)) + ")"
_FORMS = tuple(
    re.compile(form.format(A=_ELDER, B=_YOUNGER, R=_TERM, a="(?P=elder)", b="(?P=younger)"))
    for form in (
        r"{A} is {B}'s {R}",
        r"{B}'s {R} is {A}",
        r"{A}, as {B}'s {R}, has a significant impact on {b}'s upbringing",
        r"{A} is not only {B}'s {R} but also {b}'s role model",
        r"During {B}'s upbringing, {A} was not only {b}'s {R}, but also {b}'s guardian",
        r"For {B}, {A} is not just a {R}, but also a friend",
        r"For {B}, {A} is more than just a {R}; {a} is a lifelong mentor of {b}",
        r"{B} is the child of {A}",
        r"{A} plays the role of {B}'s {R} in {b}'s life",
        r"{B} considers {A} as their {R}",
        r"{A}是{B}的{R}",
        r"{B}的{R}是{A}",
        r"{A}作为{B}的{R}，对{b}的成长有重要影响",
        r"{A}不仅是{B}的{R}，还是{b}的榜样",
        r"{A}在{B}的成长过程中，不仅仅是{b}的{R}，还是{b}的监护人",
        r"{A}对{B}来说，不只是一个{R}，还是一个朋友",
        r"{B}是{A}所生的孩子",
        r"{A}在{B}的生命中扮演着{R}的角色",
        r"{B}把{A}视为其{R}",
    )
)
_HINT = re.compile("|".join(["child", "孩子", *(t for t in GENERATIONS if " " not in t)]))
_SENTENCE = re.compile(r"[^.。]+(?=[.。])")


class Kin(NamedTuple):
    """One sentence: who is whose elder, by how many generations."""

    elder: str
    younger: str
    generations: int


def read_kin(text: str) -> Iterator[Kin]:
    """Yield what a text says of kin; a line is tried whole first: a name may hold a full stop."""
    for line in text.split("\n"):
        if not _HINT.search(line):
            continue
        whole = line.strip()
        kin = _read_sentence(whole[:-1]) if whole.endswith((".", "。")) else None
        if kin is not None:
            yield kin
            continue
        for sentence in _SENTENCE.finditer(line):
            kin = _read_sentence(sentence[0].strip())
            if kin is not None:
                yield kin


def eldest(person: str, kin: Iterable[Kin]) -> str:
    """Return the relative most generations above a person; the person where none is known."""
    above = ancestors(person, kin)
    return max(above, key=lambda name: above[name], default=person)


def ancestors(person: str, kin: Iterable[Kin]) -> dict[str, int]:
    """Return all known ancestors and the generations up to each, nearest first."""
    elders: dict[str, list[Kin]] = {}
    for link in kin:
        elders.setdefault(link.younger, []).append(link)
    above = {person: 0}
    waiting = [person]
    for name in waiting:
        for link in elders.get(name, ()):
            if link.elder not in above:
                above[link.elder] = above[name] + link.generations
                waiting.append(link.elder)
    del above[person]
    return above


def descendants(person: str, kin: Iterable[Kin]) -> dict[str, int]:
    """Return all known descendants and the generations down to each, nearest first."""
    return ancestors(person, (Kin(k.younger, k.elder, k.generations) for k in kin))


def _read_sentence(sentence: str) -> Kin | None:
    for form in _FORMS:
        found = form.fullmatch(sentence)
        if found and _is_name(found["elder"]) and _is_name(found["younger"]):
            term = found.groupdict().get("term", "father")
            return Kin(found["elder"], found["younger"], GENERATIONS[term])
    return None


def _is_name(text: str) -> bool:
    return "'s " not in text and "的" not in text
