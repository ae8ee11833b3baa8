"""The ideal policy for PI-LLM: fold from the front while every key keeps its last value in view.

Three calls of the model at the most: cut (and, where the toolset can, fold in the same call), fold,
answer. The range to hide ends right before the earliest of the last updates, so nothing that is
asked for is ever hidden. If a value is hidden all the same, by somebody else's fold, the fragment
nearest the question is brought back. The answer tells what can be seen, nothing else.
"""

from collections.abc import Sequence

from sculptor.server.scripted.prompt import Prompt, Result
from sculptor.server.scripted.reply import Reply, ToolCall
from sculptor.server.scripted.update_stream import UpdateStream, read_update_stream

_WORTH_CHARS = 1_600
"""Less than some 400 tokens is not worth another call."""

_PIECE_CHARS = 8_000
_MAX_PIECES = 8
_MARKER_CHARS = 40


def fold_for_coverage(prompt: Prompt) -> Reply | None:
    """Answer a PI-LLM prompt by the ideal policy, or return None for any other."""
    stream = read_update_stream(prompt)
    if stream is None:
        return None
    answer = Reply(text=stream.answer())
    if prompt.toolset is None or prompt.has_failed:
        return answer
    if prompt.results_of("fragment_context"):
        return fold_pieces(prompt) or _restore(prompt, stream) or answer
    return _restore(prompt, stream) or _fold_front(prompt, stream) or answer


def cut_and_fold(prompt: Prompt, text: str, start: int, end: int, pieces: int) -> Reply:
    """Cut a range of the user's text into pieces and, where one call can do both, fold them all."""
    arguments: dict[str, object] = {
        "start_marker": _start_marker(prompt.texts("user"), text, start, end),
        "end_marker": _end_marker(text, start, end),
        "num_fragments": pieces,
        "role": "user",
    }
    if prompt.toolset == "full":
        arguments["fold_except"] = []
    return Reply(calls=(ToolCall("fragment_context", arguments),))


def fold_pieces(prompt: Prompt) -> Reply | None:
    """Fold the pieces cut in this turn that are still visible, or return None where none is."""
    table = [row for call in prompt.results_of("fragment_context") for row in _rows(call)]
    done = {call.arguments.get("fragment_id") for call in prompt.results_of("fold_fragment")}
    left = [row["id"] for row in table if row["state"] == "visible" and row["id"] not in done]
    if not left or prompt.toolset == "full":
        return None
    calls = [ToolCall("fold_fragment", {"fragment_id": name}) for name in left]
    return Reply(calls=tuple(calls if prompt.parallel else calls[:1]))


def _fold_front(prompt: Prompt, stream: UpdateStream) -> Reply | None:
    """Fold what stands before the earliest of the last updates, if that is worth it."""
    if not stream.is_covered:
        return None
    start = stream.shown_from
    end = min(update.start for update in stream.last.values())
    if end - start < _WORTH_CHARS:
        return None
    pieces = min(_MAX_PIECES, -(-(end - start) // _PIECE_CHARS)) if prompt.toolset == "full" else 1
    return cut_and_fold(prompt, stream.text, start, end, pieces)


def _restore(prompt: Prompt, stream: UpdateStream) -> Reply | None:
    """Bring back the last of what is folded if a key has no value in view."""
    if stream.is_covered or not stream.folded:
        return None
    last = stream.folded[-1]
    named = {"fragment_ids": [last]} if prompt.toolset == "full" else {"fragment_id": last}
    return Reply(calls=(ToolCall("restore_fragment", named),))


def _start_marker(texts: Sequence[str], text: str, start: int, end: int) -> str:
    """Return as much of the text from ``start`` as is needed for its first occurrence to be it."""
    earlier = texts[: texts.index(text)]
    size = _MARKER_CHARS
    while True:
        marker = text[start : start + size]
        known = text.find(marker) < start or any(marker in other for other in earlier)
        if not known or 4 * size > end - start:
            return marker
        size *= 2


def _end_marker(text: str, start: int, end: int) -> str:
    """Return as much of the text before ``end`` as does not occur earlier in the range."""
    size = _MARKER_CHARS
    while True:
        marker = text[end - size : end]
        if text.find(marker, start) == end - size or 4 * size > end - start:
            return marker
        size *= 2


def _rows(call: Result) -> Sequence[dict[str, str]]:
    return call.value.get("fragments") or () if isinstance(call.value, dict) else ()
