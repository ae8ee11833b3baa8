"""Rendering: a message and what is in force for it give the bytes that a model is shown.

It is pure: the same message and leaves give the same bytes. Text inside parts is replaced and
nothing else is touched; a message with nothing in force is its own original bytes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import orjson

from sculptor import markers
from sculptor.messages import Message, Part
from sculptor.spans import Path, locate_all, splice
from sculptor.state import HIDDEN, Fragment
from sculptor.tokens import TokenCounter

MESSAGE_OVERHEAD_TOKENS = 4
"""What a chat template adds around one message."""

IMAGE_TOKENS = {"low": 85, "high": 765}
"""What OpenAI's vision models take for one image of 1024 x 1024 pixels, by level of detail."""

_OPEN_SPELLINGS = (markers.OPEN.encode(), b"\\u27e6", b"\\u27E6")
"""How an opening bracket may stand in JSON."""


class Stretch(NamedTuple):
    """A run of one part's shown text; ``name`` tells two stretches of equal place apart."""

    name: str
    text: str
    tokens: int


class _Shown(NamedTuple):
    """A text part and what is shown of it."""

    part: Part
    runs: list[Stretch]
    is_altered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """One message as shown: its bytes, its tokens, and its stretches with their tokens."""

    wire: bytes
    tokens: int
    stretches: tuple[tuple[str, int], ...] = ()


def render_message(
    message: Message,
    leaves: Sequence[Fragment],
    counter: TokenCounter,
    *,
    escape: bool,
    inline: bool = False,
) -> Rendered:
    """Render one message with its leaf fragments in reading order.

    ``escape`` says that the view holds a marker, so look-alikes in client text are doubled;
    ``inline`` puts boundary markers around visible fragments.
    """
    altered = any(leaf.status in HIDDEN for leaf in leaves) or (inline and bool(leaves))
    shown: list[_Shown] = []
    for index, part in enumerate(message.parts):
        if part.text_path is None:
            continue
        inside = [leaf for leaf in leaves if leaf.part == index]
        if inside:
            runs = list(stretches_of(part, inside, counter, inline=inline))
        else:
            runs = _whole(part, counter, _count_key(message, index))
        shown.append(_Shown(part, runs, is_altered=altered and bool(inside)))
    stretches = [(run.name, run.tokens) for each in shown for run in each.runs]
    escape = escape and _holds_opening(message)
    edits = dict(_text_edits(shown, escape=escape))
    return Rendered(
        wire=_edited(message.wire, edits | dict(_quoted_escapes(message)) if escape else edits),
        tokens=fixed_tokens(message, counter) + sum(count for _, count in stretches),
        stretches=tuple(stretches),
    )


def is_counted(message: Message, counter: TokenCounter) -> bool:
    """Whether the tokens of a message's texts are known, so that rendering it whole is fast."""
    return all(
        not part.text or counter.is_known(_count_key(message, index))
        for index, part in enumerate(message.parts)
        if part.text_path is not None
    )


def has_look_alike(message: Message) -> bool:
    """Whether client text in the message matches the marker grammar."""
    return next(_escapes(message), None) is not None


def escaped_wire(message: Message) -> bytes:
    """Return a message's bytes as a view that holds a marker shows them."""
    return _edited(message.wire, dict(_escapes(message)))


def original_tokens(message: Message, counter: TokenCounter) -> int:
    """Return the tokens of a message as it came; the same as rendering it whole counts."""
    return fixed_tokens(message, counter) + sum(
        counter.count(part.text, key=_count_key(message, index))
        for index, part in enumerate(message.parts)
        if part.text_path is not None
    )


def fixed_tokens(message: Message, counter: TokenCounter) -> int:
    """Return the tokens of what no operation changes: calls, images, the template's own."""
    others = [part for part in message.parts if part.text_path is None]
    if not others:
        return MESSAGE_OVERHEAD_TOKENS
    counted = sum(counter.count(part.text) for part in others if part.kind != "image")
    images = locate_all(message.wire, (part.path for part in others if part.kind == "image"))
    lows = (b'"low"' in message.wire[span.start : span.end] for span in images.values())
    seen = sum(IMAGE_TOKENS["low" if low else "high"] for low in lows)
    return MESSAGE_OVERHEAD_TOKENS + counted + seen


def common_tokens(before: Rendered, after: Rendered) -> int:
    """Return the tokens at the beginning of a message that a change left as they were."""
    same = 0
    for old, new in zip(before.stretches, after.stretches, strict=False):
        if old != new:
            break
        same += old[1]
    return same


def stretches_of(
    part: Part, leaves: Sequence[Fragment], counter: TokenCounter, *, inline: bool
) -> Iterator[Stretch]:
    """Yield a part's shown text: each leaf fragment, and each gap that is not empty, in order."""
    at = 0
    for leaf in leaves:
        if leaf.start > at:
            yield _plain(part.text[at : leaf.start], counter)
        yield _leaf(leaf, part.text[leaf.start : leaf.end], counter, inline=inline)
        at = leaf.end
    if at < len(part.text):
        yield _plain(part.text[at:], counter)


def _count_key(message: Message, index: int) -> bytes:
    return message.key + index.to_bytes(4, "big")


def _whole(part: Part, counter: TokenCounter, key: bytes) -> list[Stretch]:
    """Return a part without fragments as one stretch; ``key`` stands for its text."""
    return [Stretch("", part.text, counter.count(part.text, key=key))] if part.text else []


def _plain(text: str, counter: TokenCounter) -> Stretch:
    return Stretch("", text, counter.count(text))


def _leaf(leaf: Fragment, text: str, counter: TokenCounter, *, inline: bool) -> Stretch:
    if leaf.status == "folded":
        shown = markers.folded(leaf.id, leaf.tokens, markers.preview_of(text))
        return Stretch(f"{leaf.id} folded", shown, counter.count(shown))
    if leaf.status == "summarized" and leaf.summary is not None:
        shown = markers.summarized(leaf.id, leaf.tokens, leaf.summary.focus, leaf.summary.text)
        return Stretch(f"{leaf.id} {shown}", shown, counter.count(shown))
    if inline:
        shown = markers.bounded(leaf.id, markers.escape(text))
        return Stretch(f"{leaf.id} bounded", shown, leaf.tokens + counter.count(shown[:8]) * 2)
    return Stretch("", text, leaf.tokens)


def _escaped(runs: Sequence[Stretch], rest: str) -> Iterator[str]:
    """Double look-alikes in client text, runs of it joined first: a border must not hide one.

    ``rest`` is what the next part begins with.
    """
    left = len(runs)
    for own, group in groupby(runs, key=lambda run: bool(run.name)):
        texts = [run.text for run in group]
        left -= len(texts)
        text = "".join(texts)
        yield text if own else markers.escape(text, before_marker=left > 0, rest=rest)


def _text_edits(shown: Sequence[_Shown], *, escape: bool) -> Iterator[tuple[Path, bytes]]:
    """Yield each text part that is not shown as it came: its path, and its new literal."""
    rest = ""
    for part, runs, is_altered in reversed(shown):
        text = "".join(run.text for run in runs) if is_altered else part.text
        made = text
        if escape:
            made = "".join(_escaped(runs, rest)) if is_altered else markers.escape(text, rest=rest)
            rest = markers.head(text, rest)
        if (is_altered or made != text) and part.text_path is not None:
            yield part.text_path, orjson.dumps(made)


def _holds_opening(message: Message) -> bool:
    return any(spelling in message.wire for spelling in _OPEN_SPELLINGS)


def _escapes(message: Message) -> Iterator[tuple[Path, bytes]]:
    """Yield each string that holds a look-alike: its path, and its literal with that doubled.

    Reasoning is left out: providers sign it, so it stays as it is, and no marker ever stands there.
    """
    if not _holds_opening(message):
        return
    shown = [_Shown(p, [], is_altered=False) for p in message.parts if p.text_path is not None]
    yield from _text_edits(shown, escape=True)
    yield from _quoted_escapes(message)


def _quoted_escapes(message: Message) -> Iterator[tuple[Path, bytes]]:
    """Yield the look-alikes beside text parts: in refusals, and in the arguments of calls."""
    for path, span in locate_all(message.wire, _quoted_paths(orjson.loads(message.wire))).items():
        literal = message.wire[span.start : span.end]
        shown = _escaped_literal(literal)
        if shown != literal:
            yield path, shown


def _quoted_paths(value: dict[str, Any]) -> Iterator[Path]:
    """Yield where a message holds client text beside its text parts: refusals, and calls."""
    if isinstance(value.get("refusal"), str):
        yield ("refusal",)
    content = value.get("content")
    for index, item in enumerate(content if isinstance(content, list) else ()):
        if isinstance(item.get("refusal"), str):
            yield ("content", index, "refusal")
    bodies: list[tuple[Path, dict[str, Any]]] = [
        (("tool_calls", index, kind), call[kind])
        for index, call in enumerate(value.get("tool_calls") or ())
        for kind in [call.get("type") or "function"]
    ]
    if isinstance(value.get("function_call"), dict):
        bodies.append((("function_call",), value["function_call"]))
    for path, body in bodies:
        yield from ((*path, key) for key in ("arguments", "input") if key in body)


def _escaped_literal(literal: bytes) -> bytes:
    if not literal.startswith(b'"'):
        return markers.escape_json(literal.decode()).encode()
    text: str = orjson.loads(literal)
    shown = markers.escape_json(text)
    return literal if shown == text else orjson.dumps(shown)


def _edited(wire: bytes, edits: dict[Path, bytes]) -> bytes:
    if not edits:
        return wire
    spans = locate_all(wire, edits)
    return splice(wire, sorted((spans[path], new) for path, new in edits.items()))
