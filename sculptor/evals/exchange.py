"""Prompts and scores for people who work outside this program: JSON in, JSON out.

These are the functions behind ``sculptor eval prompt`` and ``sculptor eval score``.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from sculptor.errors import EvalError
from sculptor.evals.fields import Fields
from sculptor.evals.types import Json, Message, Object, Task, check_scorer

Row = tuple[Object, float | None]

_LINE_FIELDS = ("id", "reply", "prediction", "response", "reference", "params", "draw")


def read_draws(text: str) -> tuple[list[Object], bool]:
    """Return the draws of a JSON object, list or lines, and whether it was one object."""
    if not text.strip():
        raise EvalError("There is no draw to read: the input is empty.")
    try:
        value: Json = json.loads(text)
    except (ValueError, RecursionError):
        return [_draw_of(item) for item in _parse_lines(text.split("\n"), "draw")], False
    if isinstance(value, Mapping):
        return [_draw_of(value)], True
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_draw_of(item) for item in value], False
    raise EvalError("A draw is a JSON object; see `sculptor eval prompt --help`.")


def prompt_messages(task: Task, draw: Object) -> Sequence[Message]:
    """Return the chat messages of a draw."""
    return task.sample(draw).messages


def score_lines(
    task: Task, lines: Iterable[str], *, scorer: str | None = None
) -> Iterator[tuple[Object, Row]]:
    """Yield, for each JSON line to score, the line to print and the row for metrics.

    A line holds ``id``, ``reply``, ``reference`` and, where needed, ``params``. A reply of
    ``null`` is the empty reply. Instead of ``reference`` it may hold a ``draw`` to take it from.
    """
    scorer = check_scorer(scorer, task.scorers)
    for number, line in enumerate(lines, start=1):
        for value in _parse_lines([line], "line to score", first=number):
            if not isinstance(value, Mapping):
                raise EvalError(
                    f"Line {number} is no object; each line to score has id, reply and reference."
                )
            try:
                yield _score_line(task, value, scorer)
            except EvalError as error:
                raise EvalError(f"Line {number} (id {_short(value.get('id'))}): {error}") from error


def _score_line(task: Task, line: Object, scorer: str | None) -> tuple[Object, Row]:
    reply, reference, params = line.get("reply"), line.get("reference"), line.get("params")
    if reply is None:
        reply = line.get("prediction", line.get("response")) or ""
    if not isinstance(reply, str):
        raise EvalError(f"The reply must be a string or null, not {_short(reply)}.")
    if params is not None and not isinstance(params, Mapping):
        raise EvalError(f"The params must be an object, not {_short(params)}.")
    found: Object = {
        **{name: value for name, value in line.items() if name not in _LINE_FIELDS},
        **(params or {}),
    }
    draw = line.get("draw")
    if isinstance(draw, Mapping) and reference is None:
        sample = task.sample(draw)
        reference, found = sample.reference, {**sample.params, **found}
    if reference is None:
        reference = Fields(line).find("answer_formatted", "gold", "answer")
    if reference is None:
        raise EvalError("There is no reference (also read as answer_formatted, gold, answer).")
    score = task.score(reply, reference, scorer=scorer, params=found)
    return {"id": line.get("id"), "score": score.value, **score.detail}, (found, score.value)


def _draw_of(value: Json) -> Object:
    if not isinstance(value, Mapping):
        raise EvalError("Every draw is a JSON object.")
    inner = value.get("draw")
    if isinstance(inner, Mapping):
        return {**({"id": value["id"]} if "id" in value else {}), **inner}
    return value


def _short(value: Json) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _parse_lines(lines: Iterable[str], what: str, *, first: int = 1) -> Iterator[Json]:
    for number, line in enumerate(lines, start=first):
        if line.strip():
            try:
                value: Json = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise EvalError(f"Line {number} is no JSON {what}: {error}.") from error
            yield value
