"""People who move about, told in prose: where is each at the end?

Held out of training, to see whether the skill of the other families carries over: the last mention
before the question is the one that counts.
"""

import random

from sculptor.mom.recipes.corpus.moves import Ask, look_up, needs_tools
from sculptor.mom.recipes.corpus.prose import sentence
from sculptor.mom.recipes.corpus.scene import Scene, one_answer, user
from sculptor.mom.recipes.corpus.words import distinct, name, pick, place

CONTEXT_CHARS = 100

_MOVES = (
    "{who} went over to {where} {when}.",
    "{when_cap}, {who} could be met in {where}.",
    "{who} left for {where} without a word.",
    "One found {who} at {where} from then on.",
    "{who} took the early bus to {where}.",
    "They sent {who} to {where} {when}.",
)


def draw(rng: random.Random, *, chars: int) -> Scene:
    """Draw a scene with a story of about ``chars`` characters."""
    people = distinct(rng, name, rng.randint(2, 8))
    story: list[str] = []
    held: dict[str, str] = {}
    while sum(map(len, story)) < chars or len(held) < len(people):
        who = next((one for one in people if one not in held), None) or rng.choice(people)
        held[who] = place(rng)
        story.append(_move(rng, who, held[who]))
        story += [sentence(rng) for _ in range(rng.randint(0, 2))]
    asked = rng.sample(people, rng.randint(1, min(3, len(people))))
    question = f"Where are these at the end: {', '.join(asked)}? One line each, as name: place."
    said = [user(f"{' '.join(story)}\n\n{question}")]
    asks = [Ask(query=who, line=f"{who}: {held[who]}") for who in asked]
    direct = "\n".join(ask.line for ask in asks)
    size = len(said[0]["content"])
    if not needs_tools(size):
        return one_answer("whereabouts", said, direct=direct)
    options = {"max_results": 2, "context_size": CONTEXT_CHARS, "order": "last"}
    tools = look_up(asks, options=options)
    return one_answer("whereabouts", said, direct=direct, tools=tools)


def _move(rng: random.Random, who: str, where: str) -> str:
    when = pick(rng, "times")
    return rng.choice(_MOVES).format(
        who=who, where=where, when=when, when_cap=when[:1].upper() + when[1:]
    )
