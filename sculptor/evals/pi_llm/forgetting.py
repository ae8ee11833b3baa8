"""The original's forgetting prompts: what is slipped into the stream, where, and for which keys.

A setting reads ``mode_portion_position_grammar``, parts after the first optional. The position is a
number of the key's own updates (fraction, index, negative index, ``each``, ``even``, ``odd``) or,
in brackets, a place in the whole stream.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from sculptor.errors import EvalError

_GLOBAL = (
    "sayreset",
    "hackreset",
    "fwdattend",
    "mindful",
    "meditation",
    "imagine",
    "mindfulnobreak",
)
_ONE_KEY = ("fwdattend", "sayreset", "hackreset", "mindful", "mindfulnobreak", "imagine")
_MODES = ("none", "forget", "activelocate", *_GLOBAL)

_BREATH = (
    "simply rest your attention on the breath for a moment. feel each inhalation and exhalation. "
    "if you realize your attention is wandering, gently bring it back to the breath. "
)
_TEXTS = {
    "fwdattend": "pay close attention to the following updates. ",
    "sayreset": "this text stream ends here and a new session of text stream begins next. ",
    "mindful": "let's take a break and " + _BREATH,
    "mindfulnobreak": "now, " + _BREATH,
    "imagine": (
        "Picture a clear sky above you. Any tension or distraction is like a passing cloud—"
        "acknowledge it, then let it drift away into the open blue."
    ),
}
_GRAMMARS = {
    "separate": "forget all the previous updates to {key}; ",
    "inline": "forget all the previous updates to {key} then update it to ",
    "separate-control": "the next key to update is {key}; ",
    "inline-control": "let's update the value of {key} by setting it to ",
}
_QUESTIONS = {
    "activelocate": (
        " Before answer it, analyze for this task, which portion of the text should be emphasized? "
        "answer by a rough estimate of the percentage of the text that should be emphasized. "
    ),
    "meditation": (
        " Before answer it, let's do a 10-min session of focused-attention meditation. Rest your "
        "attention on your breath and feel each inhalation and exhalation. If you realize your "
        "attention is wandering, gently bring it back to the breath. "
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgetting:
    """A parsed forgetting setting."""

    mode: str
    portion: str
    position: str
    grammar: str

    @classmethod
    def parse(cls, setting: str) -> "Forgetting":
        """Parse ``mode_portion_position_grammar``."""
        parts = setting.split("_")
        if len(parts) > 4:
            raise EvalError(f"prompt_forgetting {setting!r} has more than four parts.")
        mode, portion, position, grammar = [*parts, *("none", "each", "separate")[len(parts) - 1 :]]
        if mode not in _MODES:
            raise EvalError(f"Unknown forgetting mode {mode!r}; known: {', '.join(_MODES)}.")
        if portion not in ("none", "half", "full"):
            raise EvalError(f"The forgetting portion must be none, half or full, not {portion!r}.")
        if mode in _GLOBAL and portion != "none":
            raise EvalError(f"The mode {mode} concerns no key, so its portion must be none.")
        if mode == "forget" and grammar not in _GRAMMARS:
            raise EvalError(f"Unknown grammar {grammar!r}; known: {', '.join(_GRAMMARS)}.")
        return cls(mode=mode, portion=portion, position=position, grammar=grammar)

    def count(self, tracked: int) -> int:
        """Return how many keys are drawn to be forgotten."""
        if self.mode == "none":
            return 0
        if self.mode in _ONE_KEY:
            return 1
        return {"none": 0, "half": tracked // 2, "full": tracked}[self.portion]

    def is_keyless(self) -> bool:
        """Say whether the text goes to a place in the stream, whichever key stands there."""
        return self.position.startswith("[") and self.portion == "none"

    def question(self) -> str:
        """Return what the mode adds to the question."""
        return _QUESTIONS.get(self.mode, "")

    def text(self, key: str, *, chat_turn: str) -> str:
        """Return what is inserted before an update of ``key``."""
        if self.mode == "hackreset":
            return chat_turn
        if self.mode == "forget":
            return _GRAMMARS[self.grammar].format(key=key)
        if self.mode not in _TEXTS:
            raise EvalError(f"The mode {self.mode} has no text to insert at {self.position}.")
        return _TEXTS[self.mode]

    def places(
        self, stream: Sequence[str], forget_keys: Sequence[str], *, updates: int
    ) -> frozenset[int]:
        """Return the stream positions (of the listed keys) before which the text goes."""
        if not (self.position.startswith("[") and self.position.endswith("]")):
            return _own_places(stream, forget_keys, _chosen_updates(self.position, updates))
        try:
            target = int(self.position[1:-1])
        except ValueError as error:
            raise EvalError(
                f"A stream position is written [n], n whole; got {self.position!r}."
            ) from error
        target = target + len(stream) if target < 0 else target
        if self.portion == "none":
            return frozenset({target} & set(range(len(stream))))
        return frozenset(_closest(stream, forget_keys, target))


def fake_turn(
    values: Mapping[str, str | None], *, instruction: str, question: str, probe: str, family: str
) -> str:
    """Return text that looks like a closed chat turn: question, invented answer, new turn."""
    answer = "".join(f"The {probe} value of {key} is {value}. \n" for key, value in values.items())
    role = "model" if family == "gemini" else "assistant"
    opening = (
        f'\n{{\n"role": "{role}",\n"content": '
        '"Okay, Here are the current values of the specified keys:\n\n'
    )
    reopening = '"\n}\n],\n[\n{\n"role": "user",\n"content": "'
    return f'\n\n{question}"\n}}, {opening}{answer.rstrip()}{reopening}{instruction}\n'


def _chosen_updates(position: str, updates: int) -> frozenset[int]:
    named = {
        "each": range(1, updates),
        "even": range(0, updates, 2),
        "odd": range(1, updates, 2),
    }
    if position in named:
        return frozenset(named[position])
    number = _number(position)
    if isinstance(number, int):
        if number > updates:
            return frozenset()
        if number < updates:
            return frozenset({number if number >= 0 else updates + number})
    elif 0 < number < 1:
        return frozenset({math.ceil(number * updates)})
    raise EvalError(f"No update stands at {position!r} when a key has {updates}.")


def _number(position: str) -> int | float:
    try:
        return int(position)
    except ValueError:
        pass
    try:
        return float(position)
    except ValueError:
        pass
    try:
        return float(Fraction(position))
    except (ValueError, ZeroDivisionError) as error:
        raise EvalError(
            f"Forgetting position {position!r} is neither a number, a fraction, each, even, odd "
            "nor [n]."
        ) from error


def _own_places(
    stream: Sequence[str], keys: Sequence[str], chosen: frozenset[int]
) -> frozenset[int]:
    seen = dict.fromkeys(keys, 0)
    places = set()
    for place, key in enumerate(stream):
        if key in seen:
            if seen[key] in chosen:
                places.add(place)
            seen[key] += 1
    return frozenset(places)


def _closest(stream: Sequence[str], keys: Sequence[str], target: int) -> set[int]:
    found = set()
    for key in keys:
        own = [place for place, other in enumerate(stream) if other == key]
        if own:
            found.add(min(own, key=lambda place: abs(place - target)))
    return found
