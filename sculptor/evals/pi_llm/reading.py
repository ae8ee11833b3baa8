"""Reading a PI-LLM draw somebody else may have written.

Accepted are the original program's lists (``list_tracked_keys``, ``list_all_pairs``,
``list_forget_keys``), our own names for them, and rows of the published set. Counts that a draw
leaves out are taken from its pairs.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from sculptor.errors import EvalError
from sculptor.evals.fields import Fields, sample_id
from sculptor.evals.pi_llm.forgetting import Forgetting
from sculptor.evals.pi_llm.options import Options
from sculptor.evals.pi_llm.scorers import read_truth
from sculptor.evals.types import Json, Message, Sample, user_message

_PAIRS = ("pairs", "list_all_pairs", "all_pairs", "updates", "stream")
# The other names may stand for a count or a text somewhere else.
_ONLY_PAIRS = _PAIRS[:3]
_TRACKED = ("tracked_keys", "list_tracked_keys", "keys", "tracked")
_FORGOTTEN = ("forget_keys", "list_forget_keys", "forgotten_keys")


def read_pairs(fields: Fields) -> list[tuple[str, str]] | None:
    """Return the update stream, or ``None`` if the draw has none."""
    for name in _PAIRS:
        items = fields.find(name)
        if isinstance(items, Sequence) and not isinstance(items, str):
            return [_read_pair(item) for item in items]
        if items is not None and name in _ONLY_PAIRS:
            raise EvalError(f"The draw's field {name!r} must be a list of [key, value] pairs.")
    return None


def _read_pair(item: Json) -> tuple[str, str]:
    """Return (key, value); both are text or numbers."""
    parts: Sequence[Json] = ()
    if isinstance(item, Mapping):
        if "key" in item:
            parts = (item["key"], item.get("value", item.get("item")))
        elif len(item) == 1:
            parts = next(iter(item.items()))
    elif isinstance(item, Sequence) and not isinstance(item, str):
        parts = item
    words = [str(part) for part in parts if isinstance(part, str | int | float)]
    if len(parts) != 2 or len(words) != 2:
        raise EvalError(f"A pair is written [key, value], both text; got {json.dumps(item)[:60]}.")
    return words[0], words[1]


def read_tracked(fields: Fields) -> tuple[str, ...]:
    """Return the keys asked for, in the order of the question."""
    tracked = fields.texts(*_TRACKED)
    if tracked is None:
        answer = fields.find("reference", "dict_tracked_key_value", "answers", "answer")
        if isinstance(answer, Mapping):
            return tuple(answer)
        raise EvalError("The draw needs the field 'tracked_keys', in the order of the question.")
    twice = next((key for key in tracked if tracked.count(key) > 1), None)
    if twice is not None:
        raise EvalError(f"The draw's field 'tracked_keys' names {twice!r} more than once.")
    return tracked


def complete(
    options: Options,
    fields: Fields,
    tracked: Sequence[str],
    pairs: Sequence[tuple[str, str]],
) -> Options:
    """Return the options with the counts a hand-made draw leaves out taken from its pairs."""
    counts: dict[str, int] = {}
    for key, _ in pairs:
        counts[key] = counts.get(key, 0) + 1
    options = replace(options, n_tracked_keys=len(tracked))
    if not fields.has("n_tracked_updates", "n_updates"):
        most = max((counts.get(key, 0) for key in tracked), default=0)
        options = replace(options, n_tracked_updates=max(most, 1))
    if not fields.has("n_untracked_updates"):
        most = max((count for key, count in counts.items() if key not in tracked), default=0)
        options = replace(options, n_untracked_updates=most)
    return options


def read_forgotten(fields: Fields, options: Options, tracked: Sequence[str]) -> tuple[str, ...]:
    """Return the keys a forgetting prompt concerns."""
    found = fields.texts(*_FORGOTTEN)
    forgetting = Forgetting.parse(options.prompt_forgetting)
    wanted = 0 if forgetting.is_keyless() else forgetting.count(len(tracked))
    if found is None and wanted == len(tracked):
        return tuple(tracked)
    if found is None and wanted:
        raise EvalError(
            f"prompt_forgetting {options.prompt_forgetting!r} concerns {wanted} keys drawn by "
            "chance; the draw must list them in 'forget_keys'."
        )
    return found or ()


def hub_sample(fields: Fields, name: str) -> Sample:
    """Return the case of a row of the published set: ``prompt`` and ``answer_formatted``."""
    prompt = fields.find("prompt", "messages")
    if isinstance(prompt, str):
        try:
            prompt = json.loads(prompt)
        except json.JSONDecodeError:
            prompt = [user_message(str(prompt))]
    if not isinstance(prompt, Sequence) or isinstance(prompt, str):
        raise EvalError("A row's prompt must be a list of chat messages or its JSON text.")
    reference = fields.find("answer_formatted", "reference")
    return Sample(
        id=sample_id(fields, name, json.dumps(prompt)),
        draw={},
        messages=tuple(cast(Sequence[Message], prompt)),
        reference=None if reference is None else read_truth(reference),
        params={
            "experiment": fields.text("experiment", default=""),
            "n_updates": fields.number("n_updates", default=2),
        },
    )
