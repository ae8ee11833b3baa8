"""Moves that several families share: put long text away, then look up a few things at a time.

Looking up goes by small batches: what the search brings stands right before the words that need
it, so that answering is copying from close by, however long the conversation is. A batch but the
last also looks up where the list of what is asked goes on.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sculptor.mom.recipes.corpus.scene import Answers, Call, Move, Script

PER_CALL = 3
"""Things looked up in one call; up to one more where that is all of them."""

FOLD_BYTES = 9_000
"""A view longer than this is put away before anything is looked up in it."""

CALL_CHARS = 3_000
"""Up to this, few things are answered as they stand, without a call."""

CALL_ITEMS = 12
"""Up to so many things are few."""

QUESTION_CHARS = 1_200
"""Longer questions would not stay in view whole when their message is put away."""

Steps = Generator[Move, Answers, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One thing to be looked up: the query, the line that tells it, and what its list shows next.

    ``onward`` is text whose last occurrence is where the list of things asked for goes on.
    """

    query: str
    line: str
    onward: str = ""


def needs_tools(chars: int, *, items: int = 1) -> bool:
    """Whether a conversation is long enough, or its question wide enough, for a call."""
    return chars > CALL_CHARS or items > CALL_ITEMS


def search(queries: Sequence[str], **options: Any) -> Call:
    """Return a search for several texts; options in the order of the schema."""
    return Call(name="search_context", arguments={"queries": list(queries), **options})


def put_away() -> Move:
    """Return the move that cuts and hides every long message, where the view is long.

    What is protected stays, the end of the newest user message with the question among it.
    """
    arguments = {"num_fragments": 1, "fold_except": list[int]()}
    call = Call(name="fragment_context", arguments=arguments)
    return Move(calls=(call,), only_over=FOLD_BYTES)


def look_up(asks: Sequence[Ask], *, options: Mapping[str, Any], folds: bool = True) -> Script:
    """Return the script that looks up and tells everything asked for, in its order.

    ``folds`` says that the question stays in view when old text is put away.
    """

    def script() -> Steps:
        """Look up one batch after the other and tell each with the next call."""
        if folds:
            yield put_away()
        text = ""
        for batch, onward in batches(asks):
            queries = [ask.query for ask in batch] + ([onward] if onward else [])
            yield Move(text=text, calls=(search(queries, **options),))
            text = "\n".join(ask.line for ask in batch)
        yield Move(text=text)

    return script


def batches(asks: Sequence[Ask]) -> list[tuple[Sequence[Ask], str]]:
    """Return the batches in order, each with what leads on to the next."""
    if len(asks) <= PER_CALL + 1:
        return [(asks, "")]
    cuts = [asks[at : at + PER_CALL] for at in range(0, len(asks), PER_CALL)]
    return [(cut, "" if cut is cuts[-1] else cut[-1].onward) for cut in cuts]


def search_then_say(queries: Sequence[str], text: str, **options: Any) -> Script:
    """Return the script that looks once and answers."""

    def script() -> Steps:
        """Put away, search, answer."""
        yield put_away()
        yield Move(calls=(search(queries, **options),))
        yield Move(text=text)

    return script
