"""What a request calls its session and its agent, in headers and in its body."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import orjson

_HARNESS_HEADERS = (
    "x-claude-code-session-id",
    "session-id",
    "session_id",
    "thread-id",
    "x-session-affinity",
)
OWN_HEADER = "x-session-id"
BODY = "body."
NAME_SOURCES = (
    OWN_HEADER,
    *_HARNESS_HEADERS,
    f"{BODY}session_id",
    f"{BODY}conversation_id",
    f"{BODY}user_id",
)
"""Where a client's name of a session is looked for; the header it stood in is known by its digest
alone, so other ``x-…-session-id`` headers cannot be. Of the body fields only sessions begun before
they meant the same as our own header are found so."""

_AGENT_HEADERS = ("x-claude-code-agent-id", "x-codex-window-id")
_AGENT = re.compile(r"[\x20-\x7e]{1,256}")
"""What an agent may be called: unlike a session's, its name is kept and shown."""


def outside_id(headers: Mapping[str, str], body: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return where the request names its session, and the name; headers come before the body."""
    for name in (OWN_HEADER, *_HARNESS_HEADERS):
        value = _header_value(headers.get(name))
        if value:
            return name, value
    for name in sorted(name for name in headers if name.endswith("-session-id")):
        value = _header_value(headers[name]) if name.startswith("x-") else None
        if value:
            return name, value
    metadata = body.get("metadata")
    for source, key in (
        (metadata, "session_id"),
        (metadata, "conversation_id"),
        (body, "session_id"),
    ):
        value = name_of(source.get(key)) if isinstance(source, Mapping) else None
        if value:
            return f"{BODY}{key}", value
    user = metadata.get("user_id") if isinstance(metadata, Mapping) else None
    inside = _inside_user_id(user) if isinstance(user, str) else None
    return (f"{BODY}user_id", inside) if inside else None


def _inside_user_id(user: str) -> str | None:
    """Return the session id that some harnesses put into ``metadata.user_id``."""
    if user.startswith("{"):
        try:
            return name_of(orjson.loads(user).get("session_id"))
        except orjson.JSONDecodeError:
            return None
    _, mark, value = user.rpartition("_session_")
    return name_of(value) if mark else None


def name_of(value: object) -> str | None:
    """Return a name without the blanks around it, None where nothing is left."""
    return (value.strip() or None) if isinstance(value, str) else None


def _header_value(value: str | None) -> str | None:
    """Return a header's value as its client wrote it: in UTF-8, else in the Latin-1 it came as."""
    if value is None or value.isascii():
        return name_of(value)
    try:
        return name_of(value.encode("latin-1").decode())
    except UnicodeError:
        return name_of(value)


def agent_of(headers: Mapping[str, str]) -> str:
    """Return what a harness calls the agent that asks, or nothing."""
    given = (headers.get(name, "") for name in _AGENT_HEADERS)
    return next((value for value in given if _AGENT.fullmatch(value)), "")


def agent_lane(agent: str) -> str:
    """Return the lane that an agent's header names."""
    return hashlib.blake2b(agent.encode(), digest_size=6).hexdigest()
