"""The core on a context of a million tokens in 2,000 messages, and operations late in a history.

Run as a process of its own, so that the resident memory it reports is the context's; it prints its
figures as JSON. Times are wall time of one operation, the median with the middle 90 % of them.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from benchmarks.bodies import filler
from benchmarks.figures import Figure
from sculptor.context import Context
from sculptor.loop import MessageCache, read_request
from sculptor.messages import Chain, Message, make_message
from sculptor.operations import Cut, Fold, Piece, Range, Restore
from sculptor.search import find
from sculptor.state import Fragment
from sculptor.store import SqliteStore
from sculptor.store.checkpoints import Checkpoints
from sculptor.store.records import (
    ROOT,
    Node,
    NodeId,
    Record,
    Session,
    SessionId,
    StoredMessage,
    TenantId,
    node_id,
)
from sculptor.tokens import TokenCounter

MESSAGES = 2_000
_CHARS = 2_610
_EARLY, _LATE = 10, 10_000
_TENANT, _SESSION = TenantId("local"), SessionId("a" * 32)


def figures(repeats: int) -> Iterator[Figure]:
    """Measure everything, each operation ``repeats`` times."""
    counter = TokenCounter()
    counter.count("The ranks are loaded once for a process, before anything is measured.")
    empty = _resident_bytes()
    context = Context(seed=b"benchmark", counter=counter)
    context.extend(_message(index) for index in range(MESSAGES))
    text_bytes = sum(len(message.wire) for message in context.messages)
    yield _one("resident memory / text", (_resident_bytes() - empty) / text_bytes, "times", 6.0)
    yield _one("tokens of the context", context.total_tokens, "tokens", None)
    yield _times("append", _appending(context, repeats), 5.0)
    leaves = _cut(context, repeats)
    yield _times("fold", [_ms(_folding(context, leaf)) for leaf in leaves], 5.0)
    rendering: list[float] = []
    restoring: list[float] = []
    for leaf in leaves:
        restoring.append(_ms(_restoring(context, leaf)))
        rendering.append(_ms(context.view))
    yield _times("restore", restoring, 5.0)
    yield _times("render after one change", rendering, 20.0)
    yield _times("count a request seen before", _counting(context, repeats), 1.0)
    texts = [message.text for message in context.messages]
    queries = [f"Note core-{index * 7 % MESSAGES}." for index in range(repeats)]
    exact = [_ms(partial(find, texts, query)) for query in queries]
    yield _times("exact search", exact, 60.0)
    with tempfile.TemporaryDirectory() as folder:
        yield _times("ranked search, indexed", _ranked(context, queries, Path(folder)), 20.0)
        yield from _flatness(Path(folder))


def _message(index: int) -> Message:
    role = "assistant" if index % 2 else "user"
    return make_message(role, f"Note core-{index}. {filler(_CHARS, index)}")  # type: ignore[arg-type]


def _appending(context: Context, repeats: int) -> list[float]:
    messages = [_message(MESSAGES + index) for index in range(repeats)]
    return [_ms(partial(context.append, message)) for message in messages]


def _cut(context: Context, repeats: int) -> list[Fragment]:
    for index in range(1, 2 * repeats, 2):
        text = context.messages[index].text
        where = Range(context.places[index], 0, 0, len(text))
        piece = Piece(0, len(text), context.original_tokens(index))
        context.perform(Cut(where, (piece,)), author="model")
    return list(context.fragments())


def _folding(context: Context, leaf: Fragment) -> Callable[[], object]:
    return lambda: context.perform(Fold((leaf.id,)), author="model")


def _restoring(context: Context, leaf: Fragment) -> Callable[[], object]:
    return lambda: context.perform(Restore((leaf.id,)), author="model")


def _counting(context: Context, repeats: int) -> list[float]:
    """Time what counting adds to a request whose 2,000 messages were all seen in another one."""
    listed = b",".join(message.wire for message in context.messages[:MESSAGES])
    cache = MessageCache()
    body = b'{"messages":[' + listed + b"]}"
    counter = context.counter
    for message in read_request(body, cache).messages:
        counter.count(message.text, key=message.hash)
    again = read_request(body, cache).messages
    known = [(message.hash, message.parts[0].text) for message in again]

    def count() -> None:
        assert sum(counter.count(text, key=name) for name, text in known) > 0

    return [_ms(count) for _ in range(repeats)]


def _ranked(context: Context, queries: Sequence[str], folder: Path) -> list[float]:
    store = SqliteStore(folder / "ranked.sqlite3")
    try:
        records: list[Record] = [Session(tenant=_TENANT, id=_SESSION, seed=b"s", created=0, used=0)]
        parent = NodeId(ROOT)
        for index, message in enumerate(context.messages):
            node = _node(message, parent, index)
            records += [
                StoredMessage(tenant=_TENANT, hash=message.hash, wire=message.wire),
                node,
            ]
            parent = node.id
        store.write(records).result()
        hashes = [message.hash for message in context.messages]
        store.ranked(_TENANT, hashes, "river station")
        return [_ms(partial(store.ranked, _TENANT, hashes, query)) for query in queries]
    finally:
        store.close()


def _node(message: Message, parent: NodeId, index: int) -> Node:
    return Node(
        tenant=_TENANT,
        session=_SESSION,
        id=node_id(parent, message.hash),
        parent=parent,
        chain=Chain(index.to_bytes(16, "big")),
        message=message.hash,
        index=index,
    )


def _flatness(folder: Path) -> Iterator[Figure]:
    """Compare operations early and late in a history, each written to SQLite before the next."""
    store = SqliteStore(folder / "history.sqlite3")
    try:
        context = Context(seed=b"benchmark", counter=TokenCounter())
        message = _message(0)
        context.extend([message, make_message("user", "And now?")])
        node = _node(message, NodeId(ROOT), 0)
        session = Session(tenant=_TENANT, id=_SESSION, seed=b"s", created=0, used=0)
        stored = StoredMessage(tenant=_TENANT, hash=message.hash, wire=message.wire)
        store.write([session, stored, node]).result()
        where = Range(context.places[0], 0, 0, len(message.text))
        piece = Piece(0, len(message.text), context.original_tokens(0))
        context.perform(Cut(where, (piece,)), author="model")
        leaf = next(context.fragments())
        checkpoints = Checkpoints()

        def operate(number: int) -> None:
            request = Restore((leaf.id,)) if number % 2 else Fold((leaf.id,))
            context.perform(request, author="model")
            made: list[Any] = list(context.unsaved)
            context.unsaved = []
            store.write(
                checkpoints.records(
                    made, context.state, tenant=_TENANT, session=_SESSION, node=node.id
                )
            ).result()

        taken = [_ms(partial(operate, number)) for number in range(_LATE + 500)]
    finally:
        store.close()
    early, late = taken[_EARLY : _EARLY + 500], taken[_LATE:]
    ratio = statistics.median(late) / statistics.median(early)
    yield Figure(
        name=f"operation stored after {_LATE} others / after {_EARLY}",
        value=ratio,
        unit="times",
        low=ratio,
        high=ratio,
        n=len(late),
        rounds=1,
        baseline=f"median after {_EARLY}, ms",
        baseline_value=statistics.median(early),
        target=1.5,
        note="medians of 500 each; one history, so no interval",
    )


def _ms(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3


def _times(name: str, taken: Sequence[float], target: float) -> Figure:
    ordered = sorted(taken)
    edge = len(ordered) // 20
    return Figure(
        name=name,
        value=statistics.median(ordered),
        unit="ms",
        low=ordered[edge],
        high=ordered[-1 - edge],
        n=len(ordered),
        rounds=1,
        target=target,
    )


def _one(name: str, value: float, unit: str, target: float | None) -> Figure:
    return Figure(
        name=name, value=value, unit=unit, low=value, high=value, n=1, rounds=1, target=target
    )


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    made = [asdict(figure) for figure in figures(int(sys.argv[1]))]
    sys.stdout.buffer.write(orjson.dumps(made))
