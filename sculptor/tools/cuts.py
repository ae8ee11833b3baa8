"""Cuts of whole messages, as people and programs order them.

A model cuts by markers or roles (``fragment``); who holds the list names messages by their index.
What is protected or cut already is left alone, so that an order may be given twice.
"""

from collections.abc import Iterable, Iterator, Sequence

from sculptor.context import Context
from sculptor.cutting import cut
from sculptor.errors import InvalidMessage
from sculptor.operations import Cut, Piece, Range
from sculptor.state import Place

MIN_MESSAGE_TOKENS = 400
"""Where no message is named, those up to this long are left whole."""

DEFAULT_SIZE_TOKENS = 1_000
"""How long a piece is where neither a number nor a size is asked for."""


def message_index(context: Context, index: int) -> int:
    """Return the index from the front of a message that may be counted from the end.

    Raises:
        InvalidMessage: there is no such message.
    """
    count = len(context.messages)
    if not -count <= index < count:
        said = f"There is no message {index}; the conversation has {count}, counted from 0."
        raise InvalidMessage(said, "messages")
    return index % count


def places(context: Context, indexes: Iterable[int]) -> tuple[Place, ...]:
    """Return the places of messages; raise InvalidMessage where there is no such one."""
    return tuple(context.places[message_index(context, index)] for index in indexes)


def named_or_long(context: Context, indexes: Sequence[int]) -> list[int]:
    """Return the messages named, once each, or where none is named all long ones."""
    if indexes:
        return list(dict.fromkeys(message_index(context, index) for index in indexes))
    every = range(len(context.messages))
    return [index for index in every if context.original_tokens(index) > MIN_MESSAGE_TOKENS]


def cuts_of(
    context: Context, index: int, *, num_fragments: int | None, size_tokens: int | None
) -> Iterator[Cut]:
    """Yield cuts of what is neither protected nor cut yet in a message."""
    if num_fragments is None and size_tokens is None:
        size_tokens = DEFAULT_SIZE_TOKENS
    for where in context.free_ranges(index):
        text = context.messages[index].parts[where.part].text
        if not text[where.start : where.end].strip():
            continue
        pieces = pieces_of(
            context, where, text, num_fragments=num_fragments, size_tokens=size_tokens
        )
        yield Cut(where, pieces)


def pieces_of(
    context: Context,
    where: Range,
    text: str,
    *,
    num_fragments: int | None,
    size_tokens: int | None,
) -> tuple[Piece, ...]:
    """Return the pieces of a range of a part with this text: so many, or so long."""
    made = cut(
        text,
        start=where.start,
        end=where.end,
        pieces=num_fragments,
        size_tokens=size_tokens,
        counter=context.counter,
    )
    return tuple(Piece(piece.start, piece.end, piece.tokens) for piece in made)
