"""The protocol tokens: the first ids of every vocabulary, which no text can produce.

Their numbers are part of the weights, so they never change; new ones take free places below
``TEXT_OFFSET``, where text tokens begin. Names of context tools and of their arguments are atomic
inside calls: a tool's name is one token, and so is an argument's key with its quotes and colon.
"""

from enum import IntEnum

TEXT_OFFSET = 128
"""The id of the first text token."""

TOOL_NAMES = (
    "fragment_context",
    "fold_fragment",
    "summarize_fragment",
    "restore_fragment",
    "search_context",
    "get_search_detail",
    "pin_fragment",
    "undo",
)
"""Tools whose name is one token; only ever appended to."""

ARGUMENT_NAMES = (
    "start_marker",
    "end_marker",
    "role",
    "num_fragments",
    "size_tokens",
    "fold_except",
    "fragment_ids",
    "keep_last",
    "focus",
    "queries",
    "mode",
    "max_results",
    "context_size",
    "order",
    "latest_per_query",
    "search_id",
    "extended_context",
    "pinned",
    "operation",
    "fragment_id",
    "query",
)
"""Arguments whose key is one token; only ever appended to."""


class Protocol(IntEnum):
    """The tokens that give a conversation its form, by their ids."""

    PAD = 0
    BEGIN = 1
    """Starts a conversation."""
    END = 2
    """Ends a message; the model's own end of turn."""
    SYSTEM = 3
    USER = 4
    ASSISTANT = 5
    TOOL = 6
    OTHER_ROLE = 7
    DEFINE = 8
    """Starts the definition of one tool."""
    CALL = 9
    """Starts a tool call: its name follows."""
    ARGUMENTS = 10
    """Parts the name of a tool from its parameters, and that of a call from its arguments."""
    CALL_END = 11
    RESULT = 12
    """Parts the name of the tool that answers from its answer."""
    PART = 13
    """Parts two text parts of one message."""
    IMAGE = 14
    OTHER_PART = 15


_FIRST_TOOL = 32
_FIRST_ARGUMENT = 64

TOOL_TOKENS = {name: _FIRST_TOOL + number for number, name in enumerate(TOOL_NAMES)}
"""The token of each atomic tool name."""

ARGUMENT_TOKENS = {name: _FIRST_ARGUMENT + number for number, name in enumerate(ARGUMENT_NAMES)}
"""The token of each atomic argument key."""

NEXT_STRING = 96
"""``","`` between two strings of a list in a call; text never takes it, for it would cut keys."""

TEXT_BELOW = {NEXT_STRING: b'","'}
"""Tokens of text below ``TEXT_OFFSET``, which only the template writes."""

SPELLINGS = {token: name.encode() for name, token in TOOL_TOKENS.items()} | {
    token: f'"{name}":'.encode() for name, token in ARGUMENT_TOKENS.items()
}
"""What atomic tokens stand for inside a call."""
