"""A whole session for people to keep: as JSON with nothing left out, and as Markdown to read.

In JSON each message is the client's own bytes. A lane's messages begin with the system messages
that its last answer was given under; its ``instructions`` name all that came with its requests, and
``system`` holds their bytes. In Markdown each text stands in a fence longer than any inside it,
so that what a conversation contains is never mistaken for the page around it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import orjson

from sculptor.context import Context
from sculptor.messages import Message, MessageHash
from sculptor.operations import Operation, operation_to_json
from sculptor.server.live_lane import LiveLane
from sculptor.state import HIDDEN, entry_to_json
from sculptor.store.protocol import Store
from sculptor.store.records import Node, Session, StoredStep

FORMAT = "sculptor.session/1"

_FENCES = re.compile(r"^\s*(`{3,})", re.MULTILINE)


def export_json(store: Store, session: Session, lives: Sequence[LiveLane]) -> bytes:
    """Return the session as one JSON object."""
    value = {
        "format": FORMAT,
        "session": {
            "id": session.id,
            "seed": session.seed.hex(),
            "created": session.created,
            "used": session.used,
        },
        "lanes": [_lane_value(store, live) for live in lives],
        "system": _system_value(store, lives),
        "usage": [
            {"time": row.time, "model": row.model, "purpose": row.purpose, **_tokens(asdict(row))}
            for row in store.usage(session.tenant, session.id)
        ],
    }
    return orjson.dumps(value, option=orjson.OPT_INDENT_2)


def export_markdown(store: Store, session: Session, lives: Sequence[LiveLane]) -> str:
    """Return the session as a page to read: operations, then every message as it came."""
    lines = [
        f"# Session {session.id}",
        "",
        f"Created {iso_time(session.created)}, last used {iso_time(session.used)}.",
    ]
    for live in lives:
        lines += ["", *_lane_lines(store, live)]
    return "\n".join(lines) + "\n"


def iso_time(seconds: float) -> str:
    """Return a time since 1970 as UTC in ISO 8601, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def operations_of(store: Store, live: LiveLane) -> list[Operation]:
    """Return the operations that lead to a lane's head, oldest first."""
    lane = live.lane
    return store.operations(lane.tenant, lane.session, lane.version)[::-1]


def _lane_value(store: Store, live: LiveLane) -> dict[str, Any]:
    context, lane = live.context, live.lane
    return {
        "id": lane.id,
        "agent": lane.agent,
        "version": lane.version,
        "admitted": lane.admitted,
        "used": lane.used,
        "tokens": {"original": context.total_tokens, "view": context.tokens},
        "messages": [orjson.Fragment(message.wire) for message in context.messages],
        "fragments": [entry_to_json(fragment) for fragment in context.fragments()],
        "operations": [
            {"id": operation.id, "version": operation.version, **operation_to_json(operation)}
            for operation in operations_of(store, live)
        ],
        "steps": [_step_value(step) for step in _steps(store, live)],
        "instructions": [
            {"node": node.id.hex(), "answer": node.answer, "index": index, "hash": name.hex()}
            for node, index, name in _instructions(store, live)
        ],
    }


def _system_value(store: Store, lives: Sequence[LiveLane]) -> dict[str, Any]:
    """Return the bytes of every system message that came, each once, by its hash."""
    wires: dict[str, Any] = {}
    for live in lives:
        names = dict.fromkeys(name for _, _, name in _instructions(store, live))
        found = store.wires(live.lane.tenant, list(names))
        wires.update((name.hex(), orjson.Fragment(wire)) for name, wire in found.items())
    return wires


def _instructions(store: Store, live: LiveLane) -> Iterator[tuple[Node, int, MessageHash]]:
    """Yield the system messages along a lane: the node they came for, and where they stood."""
    lane = live.lane
    for node in store.path(lane.tenant, lane.session, lane.node):
        for index, name in node.instructions:
            if name != node.message:  # which begins an answer's list
                yield node, index, name


def _steps(store: Store, live: LiveLane) -> list[StoredStep]:
    lane = live.lane
    path = store.path(lane.tenant, lane.session, lane.node)
    return store.steps(lane.tenant, lane.session, [node.id for node in path])


def _step_value(step: StoredStep) -> dict[str, Any]:
    return {
        "node": step.node.hex(),
        "sequence": step.sequence,
        "kind": step.kind,
        "time": step.time,
        "messages": [orjson.Fragment(wire) for wire in step.messages],
    }


def _tokens(row: dict[str, Any]) -> dict[str, int]:
    return {name: value for name, value in row.items() if name.endswith("_tokens")}


def _lane_lines(store: Store, live: LiveLane) -> Iterator[str]:
    context, lane = live.context, live.lane
    yield f"## Lane {lane.id}"
    yield ""
    yield (
        f"{len(context.messages)} messages of {context.total_tokens:,} tokens; "
        f"the view holds {context.tokens:,}."
    )
    operations = operations_of(store, live)
    if operations:
        yield from ("", "| operation | kind | author | time | tokens before | after | reason |")
        yield "|---|---|---|---|---|---|---|"
        yield from map(_operation_line, operations)
    for index, message in enumerate(context.messages):
        yield from ("", f"### {index}. {message.role} ({context.original_tokens(index):,} tokens)")
        yield from _hidden_line(context, index)
        for text in _texts(message):
            yield from ("", *_fenced(text))


def _operation_line(operation: Operation) -> str:
    receipt = operation.receipt
    cells = (
        operation.id,
        operation.kind,
        operation.author,
        iso_time(operation.time),
        f"{receipt.tokens_before:,}",
        f"{receipt.tokens_after:,}",
        " ".join(operation.reason.split()).replace("|", "\\|"),
    )
    return f"| {' | '.join(cells)} |"


def _hidden_line(context: Context, index: int) -> Iterator[str]:
    leaves = context.state.leaves_of(context.places[index])
    hidden = [f"{leaf.id} {leaf.status}" for leaf in leaves if leaf.status in HIDDEN]
    if hidden:
        yield from ("", f"Not shown to the model: {', '.join(hidden)}.")


def _texts(message: Message) -> Iterator[str]:
    for part in message.parts:
        text = f"[{part.kind}]" if part.kind == "image" or not part.text else part.text
        yield f"[{part.kind}] {text}" if part.kind in ("tool_call", "reasoning") else text


def _fenced(text: str) -> Iterator[str]:
    longest = max((len(run) for run in _FENCES.findall(text)), default=2)
    fence = "`" * (longest + 1)
    yield from (fence, text, fence)
