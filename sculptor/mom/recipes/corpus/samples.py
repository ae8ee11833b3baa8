"""Samples by number: sample ``index`` of a seed is the same on every machine and in every process.

A mix says how often each family, each length and each form is drawn. Lengths are those of the
conversation in characters; what the model reads is longer where it looks things up, and shorter
where long text is put away.
"""

import random
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Protocol

import orjson

from sculptor.mom.recipes.corpus.client_tools import draw_tool
from sculptor.mom.recipes.corpus.families import (
    chains,
    chat,
    client_calls,
    needles,
    requests,
    statements,
    tool_logs,
    updates,
    whereabouts,
)
from sculptor.mom.recipes.corpus.reserved import reserved_names
from sculptor.mom.recipes.corpus.rollout import Instance, Played, play, texts_of
from sculptor.mom.recipes.corpus.scene import Answers, Call, Form, Move, Scene, Script, Turn, system

_PLANTED: Sequence[Call] = (
    Call(name="fold_fragment", arguments={"fragment_ids": ["f00000"]}),
    Call(name="fold_fragment", arguments={"fragment_ids": []}),
    Call(name="restore_fragment", arguments={"fragment_ids": ["f12ab3"]}),
    Call(name="search_context", arguments={"query": "last"}),
    Call(name="get_search_detail", arguments={"search_id": "s00000"}),
)
_SYSTEMS = (
    "You keep track of things for the people of a workshop.",
    "Answer from the conversation. What is not in it you do not know.",
    "You may use the tools at hand. Say what was asked for and no more.",
    "Work through what you are given with care; the newest word counts.",
    "You help with lists, notes and logs. Never guess.",
    "Use your tools to keep the conversation short and to find what you need in it.",
    "Stay with the form that is asked for.",
)
_SYSTEM_SHARE = 0.2
_IDLE_TOOLS_SHARE = 0.12
_PLANTED_SHARE = 0.05
_CUT_SHARE = 0.3
_WINDOW_TOKENS = (1_500, 3_000, 6_000)


class Family(Protocol):
    """Draws scenes of one kind."""

    def __call__(self, rng: random.Random, *, chars: int) -> Scene:
        """Draw a scene of about ``chars`` characters."""
        ...


FAMILIES: Mapping[str, Family] = {
    "updates": updates.draw,
    "needles": needles.draw,
    "chains": chains.draw,
    "tool_logs": tool_logs.draw,
    "client_calls": client_calls.draw,
    "requests": requests.draw,
    "chat": chat.draw,
    "statements": statements.draw,
    "whereabouts": whereabouts.draw,
    "tool_sheets": tool_logs.draw_sheets,
}
"""Every family by name."""

HELD_OUT = frozenset({"whereabouts", "tool_sheets"})
"""A family, and a format of tool results, that no recipe trains on: exams alone draw them."""

_SHARES = {
    "updates": 46.0,
    "needles": 12.0,
    "chains": 14.0,
    "tool_logs": 10.0,
    "client_calls": 5.0,
    "requests": 4.0,
    "chat": 9.0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """How often each family is drawn, how long conversations are, and in which forms.

    ``chars`` are lengths with their shares; a drawn length lies within a factor of 1.4 of one.
    ``tools`` is the share played with context tools at hand, ``folded`` the share of those longer
    than a window that the product folds beforehand.
    """

    families: Mapping[str, float] = field(default_factory=lambda: dict(_SHARES))
    chars: Mapping[int, float] = field(
        default_factory=lambda: {600: 20.0, 1_500: 25.0, 4_000: 25.0, 10_000: 20.0, 24_000: 10.0}
    )
    tools: float = 0.65
    folded: float = _CUT_SHARE

    def __post_init__(self) -> None:
        unknown = sorted(set(self.families) - set(FAMILIES))
        if unknown:
            raise ValueError(f"No family is called {unknown}; known: {', '.join(FAMILIES)}.")
        if not self.chars or min(self.chars) < 1:
            raise ValueError("A mix needs lengths of at least 1 character.")
        if sum(self.families.values()) <= 0 or sum(self.chars.values()) <= 0:
            raise ValueError("The shares of a mix must sum to more than 0.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One played scene."""

    index: int
    family: str
    form: Form
    scene: Scene
    played: Played

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The sequences to train on."""
        return self.played.instances


def make_sample(seed: int, index: int, *, mix: Mix) -> Sample:
    """Return sample ``index`` of a seed."""
    rng = random.Random(f"{seed}/{index}")
    family = rng.choices(list(mix.families), list(mix.families.values()))[0]
    length = rng.choices(list(mix.chars), list(mix.chars.values()))[0]
    chars = max(1, round(length * rng.uniform(0.7, 1.4)))
    form: Form = "tools" if rng.random() < mix.tools else "direct"
    while True:
        scene = _clean_scene(rng, FAMILIES[family], chars=chars)
        if form == "tools" and rng.random() < _PLANTED_SHARE:
            scene = _with_mistake(scene, rng.choice(_PLANTED))
        window = rng.choice(_WINDOW_TOKENS) if rng.random() < mix.folded else None
        played = play(
            scene, form=form, seed=rng.getrandbits(63), ledger=rng.random() < 0.8, window=window
        )
        if not _names_in(texts_of(played.instances[-1:])):  # excerpts and answers join words anew
            return Sample(index=index, family=scene.family, form=form, scene=scene, played=played)


def iter_samples(seed: int, *, mix: Mix, start: int = 0, step: int = 1) -> Iterator[Sample]:
    """Yield samples ``start``, ``start + step`` and so on, without end."""
    index = start
    while True:
        yield make_sample(seed, index, mix=mix)
        index += step


def iter_texts(seed: int, *, samples: int, mix: Mix | None = None) -> Iterator[str]:
    """Yield the texts of a seed's samples, first view and last: what a tokenizer learns from."""
    for sample in islice(iter_samples(seed, mix=mix or Mix()), samples):
        first, last = sample.instances[:1], sample.instances[1:][-1:]
        yield from texts_of((*first, *last))


def _clean_scene(rng: random.Random, draw: Family, *, chars: int) -> Scene:
    """Draw a scene whose words do not happen to make up a name of an evaluation."""
    while True:
        scene = _dressed(rng, draw(rng, chars=chars))
        if not _names_in(_texts(scene)):
            return scene


def _names_in(texts: Iterable[str]) -> bool:
    return any(any(reserved_names(text)) for text in texts)


def _texts(scene: Scene) -> Iterator[str]:
    for turn in scene.turns:
        yield from (orjson.dumps(message).decode().replace("\\n", " ") for message in turn.said)
        yield from turn.results


def _dressed(rng: random.Random, scene: Scene) -> Scene:
    """Return the scene, now and then with a system text and with client tools nobody needs."""
    first, *later = scene.turns
    if rng.random() < _SYSTEM_SHARE and first.said and first.said[0]["role"] != "system":
        first = replace(first, said=(system(rng.choice(_SYSTEMS)), *first.said))
    tools = scene.tools
    if not tools and rng.random() < _IDLE_TOOLS_SHARE:
        drawn = {tool.name: tool for tool in (draw_tool(rng) for _ in range(rng.randint(1, 3)))}
        tools = tuple(tool.definition() for tool in drawn.values())
    return replace(scene, turns=(first, *later), tools=tools)


def _with_mistake(scene: Scene, call: Call) -> Scene:
    """Return the scene with a refused call at the beginning of its last turn."""
    *before, last = scene.turns
    return replace(scene, turns=(*before, _mistaken(last, call)))


def _mistaken(turn: Turn, call: Call) -> Turn:
    def script() -> Generator[Move, Answers, None]:
        """Make the mistake, then go on as planned."""
        yield Move(calls=(call,), planted=True)
        yield from turn.tools()

    tools: Script = script
    return replace(turn, tools=tools)
