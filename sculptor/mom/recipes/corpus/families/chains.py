"""Chains of relations told in any order among filler: follow them to their end, link by link.

Each link is found by a search for the name reached so far.
"""

import random
from collections.abc import Sequence
from itertools import pairwise

from sculptor.mom.recipes.corpus.families.chain_questions import ask_for_all, ask_for_end
from sculptor.mom.recipes.corpus.families.relations import (
    KIN,
    OTHERS,
    Relation,
    draw_names,
    tell,
)
from sculptor.mom.recipes.corpus.instructions import roles
from sculptor.mom.recipes.corpus.moves import Steps, needs_tools, put_away, search
from sculptor.mom.recipes.corpus.prose import essay, loose_sentence
from sculptor.mom.recipes.corpus.scene import Move, Scene, Script, one_answer, user
from sculptor.mom.recipes.corpus.words import made_up

CONTEXT_CHARS = 80
MAX_HITS = 6

_BEFORE_QUESTION = (
    *("My question: ", "", "Now tell me. ", "With that read: ", "By these words, ", "Question:\n"),
    *("Having read it, answer this: ", "From this and nothing else: ", "Now for what I ask. "),
)


def draw(rng: random.Random, *, chars: int) -> Scene:
    """Draw a scene with a text of about ``chars`` characters."""
    relation = KIN if rng.random() < 0.6 else rng.choice(OTHERS)
    count = rng.choices((2, 3, 4, 5, 6), (10, 28, 28, 20, 14))[0]
    filler = essay(rng, chars=max(1, chars))
    names = _unknown_names(rng, relation, count + rng.choice((0, 2, 3)), "\n".join(filler))
    chain, other = names[:count], names[count:]
    sentences = [tell(rng, relation, *ends) for ends in (*pairwise(chain), *pairwise(other))]
    text = _scatter(rng, filler, sentences)
    upward = not relation.down or rng.random() < (0.4 if relation.top else 0.75)
    path = chain[::-1] if upward else chain
    if rng.random() < (0.5 if relation.top else 0.12):
        question, answer = ask_for_all(rng, path)
    else:
        question, answer = ask_for_end(rng, relation, path, upward=upward)
    said = [user(_frame(rng, text, question))]
    if not needs_tools(len(text)):
        return one_answer("chains", said, direct=answer)
    return one_answer("chains", said, direct=answer, tools=_climb(path, answer))


def _unknown_names(rng: random.Random, relation: Relation, count: int, text: str) -> list[str]:
    """Return names of which a text holds none, so that a search finds the links alone."""
    known = text.casefold()
    while True:
        names = draw_names(rng, relation, count)
        if not any(name.casefold() in known for name in names):
            return names


def _scatter(rng: random.Random, paragraphs: list[str], sentences: Sequence[str]) -> str:
    order = rng.sample(sentences, len(sentences))
    for sentence in order:
        at, way = rng.randrange(len(paragraphs) + 1), rng.random()
        if at < len(paragraphs) and way < 0.3:
            words = paragraphs[at].split(" ")
            cut = rng.randrange(len(words) + 1)
            parts = (" ".join(words[:cut]), sentence, " ".join(words[cut:]))
            paragraphs[at] = "\n".join(filter(None, parts))
        elif at < len(paragraphs) and way < 0.6:
            paragraphs[at] = f"{sentence} {paragraphs[at]}"
        else:
            paragraphs.insert(at, sentence)
    return "\n\n".join(paragraphs)


def _frame(rng: random.Random, text: str, question: str) -> str:
    opening = rng.choice(
        ("Some papers I found:", "Read all of this.", f"From the files of {made_up(rng)}:", "Text:")
    )
    opening = " ".join(filter(None, (roles(rng), opening)))
    ending = rng.choice(_BEFORE_QUESTION)
    if rng.random() < 0.15:
        ending = f"{loose_sentence(rng)} "
    tag = rng.choice(("text", "papers", made_up(rng), made_up(rng).capitalize()))
    if rng.random() < 0.4:
        text = f"<{tag}>\n{text}\n</{tag}>"
    return f"{opening}\n\n{text}\n\n{ending}{question}"


def _climb(path: Sequence[str], answer: str) -> Script:
    """Search each name on the path, the last one too: nothing leads on from it.

    The name asked about is searched along, so that what is asked and how it is to be answered stand
    close by, however many steps the chain has.
    """

    def script() -> Steps:
        """Go from name to name, then answer."""
        yield put_away()
        for reached in path:
            queries = [reached] if reached == path[0] else [reached, path[0]]
            call = search(queries, max_results=MAX_HITS, context_size=CONTEXT_CHARS)
            yield Move(calls=(call,))
        yield Move(text=answer)

    return script
