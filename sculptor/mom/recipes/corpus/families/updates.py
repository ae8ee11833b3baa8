"""Streams in which items are set again and again: the last value counts.

Asked for are all items, some, one; how often one was set; or one that is not there, or misspelled.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sculptor.mom.recipes.corpus.families.update_questions import (
    ask_for_absent,
    ask_for_many,
    ask_for_one,
    ask_how_often,
)
from sculptor.mom.recipes.corpus.moves import (
    CALL_CHARS,
    PER_CALL,
    QUESTION_CHARS,
    Ask,
    Steps,
    look_up,
    needs_tools,
    put_away,
    search,
    search_then_say,
)
from sculptor.mom.recipes.corpus.scene import Move, Scene, Turn, Wire, one_answer, say, user
from sculptor.mom.recipes.corpus.streams import Stream, draw_stream, messages_of
from sculptor.mom.recipes.corpus.wording import draw_wording
from sculptor.mom.recipes.corpus.words import made_up
from sculptor.search import nearest

CONTEXT_CHARS = 60

OPTIONS: Mapping[str, Any] = {"context_size": CONTEXT_CHARS, "latest_per_query": True}
"""How a last value is searched for."""

_MORE_SHARE = 0.6
_BULLET = "\n- "
_SEPARATORS = (", ", "; ", " / ", _BULLET, " + ")


def draw(rng: random.Random, *, chars: int) -> Scene:
    """Draw a scene with a stream of about ``chars`` characters."""
    while True:
        drawn = draw_stream(rng, chars=chars)
        kind = rng.choices(_KINDS, (68, 14, 7, 7, 4))[0]
        scene = kind(rng, drawn)
        if scene is not None:
            more = rng.random() < (_MORE_SHARE if chars < CALL_CHARS else _MORE_SHARE / 2)
            return _with_more(rng, scene, drawn) if more else scene


def _many(rng: random.Random, drawn: Stream) -> Scene | None:
    asked = list(drawn.items)
    if len(asked) > 3 and rng.random() < 0.25:
        asked = rng.sample(asked, rng.randint(2, len(asked) - 1))
    wording, separator = draw_wording(rng), rng.choice(_SEPARATORS)
    listed = separator.join(asked)
    question = f"{ask_for_many(rng, drawn.groups, listed)} {wording.demand}"
    if len(question) > QUESTION_CHARS:
        return None
    said = messages_of(rng, drawn, question, listed=listed)
    asks = [
        Ask(
            query=drawn.surface.query(item),
            line=wording.fill(item, drawn.last(item)),
            onward=_onward(item, separator),
        )
        for item in asked
    ]
    if not _lead_on(str(said[-1]["content"]), asks, asked):
        return None
    return _scene("updates", drawn, said, asks, asked)


def _onward(item: str, separator: str) -> str:
    """Return an item as only the list of what is asked for shows it."""
    return f"- {item}" if separator == _BULLET else f"{separator}{item}{separator}"


def _lead_on(text: str, asks: Sequence[Ask], asked: Sequence[str]) -> bool:
    """Whether the last occurrence of what leads on from each batch stands before the next item."""
    for at in range(PER_CALL - 1, len(asks) - 1, PER_CALL):
        onward = asks[at].onward
        after = text[text.rfind(onward) + len(onward) :]
        if not after.removeprefix(_BULLET).startswith(asked[at + 1]):
            return False
    return True


def _one(rng: random.Random, drawn: Stream) -> Scene | None:
    text, ask, item = _one_ask(rng, drawn)
    return _scene("updates", drawn, messages_of(rng, drawn, text), [ask], [item])


def _one_ask(rng: random.Random, drawn: Stream) -> tuple[str, Ask, str]:
    """Return a question about one item, what it asks for, and the item."""
    item = rng.choice(drawn.items)
    value = drawn.last(item)
    question = ask_for_one(rng, drawn.groups, item)
    line = value
    if rng.random() < 0.5:
        wording = draw_wording(rng)
        question, line = f"{question} {wording.demand}", wording.fill(item, value)
    return question, Ask(query=drawn.surface.query(item), line=line), item


def _with_more(rng: random.Random, scene: Scene, drawn: Stream) -> Scene:
    """Return the scene with up to four more questions, each in a turn of its own.

    Where all records would be out of view by then, nobody could tell how they are written.
    """
    said = [str(message["content"]) for message in scene.turns[0].said]
    chars = sum(map(len, said))
    if len(said) > 1 and chars > CALL_CHARS:
        return scene
    turns = list(scene.turns)
    for _ in range(rng.randint(1, 4)):
        question, ask, item = _one_ask(rng, drawn)
        if not _finds([*said, question], ask, drawn, item):
            continue
        direct = say(ask.line)
        tools = look_up([ask], options=OPTIONS) if needs_tools(chars) else direct
        turns.append(Turn(said=(user(question),), direct=direct, tools=tools))
    return replace(scene, turns=tuple(turns))


def _scene(
    family: str, drawn: Stream, said: list[Wire], asks: Sequence[Ask], asked: Sequence[str]
) -> Scene | None:
    """Return the scene, or None where a search would not find the last value of everything."""
    texts = [message["content"] for message in said]
    if not all(_finds(texts, ask, drawn, item) for ask, item in zip(asks, asked, strict=True)):
        return None
    chars = sum(map(len, texts))
    direct = "\n".join(ask.line for ask in asks)
    if not needs_tools(chars, items=len(asks)):
        return one_answer(family, said, direct=direct)
    tools = look_up(asks, options=OPTIONS)
    return one_answer(family, said, direct=direct, tools=tools, foldable=len(said) == 1)


def _finds(texts: Sequence[str], ask: Ask, drawn: Stream, item: str) -> bool:
    """Whether the query's last occurrence is the item's last record."""
    found = next((text for text in reversed(texts) if ask.query in text), None)
    if found is None:
        return False
    at = found.rindex(ask.query) + len(ask.query)
    return found.startswith(f"{drawn.last(item)}{drawn.surface.end}"[:-1], at)


def _count(rng: random.Random, drawn: Stream) -> Scene | None:
    item = rng.choice(drawn.items)
    query = drawn.surface.query(item)
    times = sum(name == item for name, _ in drawn.records)
    question, answer = ask_how_often(rng, drawn.groups, item, times=times)
    said = messages_of(rng, drawn, question)
    texts = [message["content"] for message in said]
    if sum(text.count(query) for text in texts) != times:
        return None
    chars = sum(map(len, texts))
    if not needs_tools(chars) and times < 6:
        return one_answer("counting", said, direct=answer)
    tools = search_then_say([query], answer, max_results=1, context_size=50)
    return one_answer("counting", said, direct=answer, tools=tools, foldable=len(said) == 1)


def _absent(rng: random.Random, drawn: Stream) -> Scene | None:
    item = made_up(rng)
    question, answer = ask_for_absent(rng, drawn.groups, item)
    said = messages_of(rng, drawn, question)
    texts = [message["content"] for message in said]
    query = drawn.surface.query(item)
    if any(query in text for text in texts):
        return None
    chars = sum(map(len, texts))
    if not needs_tools(chars):
        return one_answer("absent", said, direct=answer)
    tools = search_then_say([query], answer, **OPTIONS)
    return one_answer("absent", said, direct=answer, tools=tools, foldable=len(said) == 1)


def _misspelled(rng: random.Random, drawn: Stream) -> Scene | None:
    """Ask for an item with a letter left out: the search finds nothing, and says what is near."""
    item = rng.choice([item for item in drawn.items if len(item) > 5] or drawn.items)
    at = rng.randrange(1, len(item))
    wrong = item[:at] + item[at + 1 :]
    asked = drawn.surface.query(wrong)
    said = messages_of(rng, drawn, ask_for_one(rng, drawn.groups, wrong))
    texts = [message["content"] for message in said]
    ask = Ask(query=drawn.surface.query(item), line=drawn.last(item))
    chars = sum(map(len, texts))
    if any(asked in text for text in texts) or not _finds(texts, ask, drawn, item):
        return None
    if not needs_tools(chars):
        return None
    if not any(item in text[m.start : m.end] for text in texts for m in nearest([text], asked)):
        return None
    line = f"{item}: {ask.line}"

    def script() -> Steps:
        """Search as asked, then by the name that is near."""
        yield put_away()
        yield Move(calls=(search([asked], **OPTIONS),))
        yield Move(calls=(search([ask.query], **OPTIONS),))
        yield Move(text=line)

    return one_answer("misspelled", said, direct=line, tools=script, foldable=len(said) == 1)


_KINDS = (_many, _one, _count, _absent, _misspelled)
