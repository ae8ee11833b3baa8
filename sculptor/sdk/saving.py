"""One conversation in one JSON file: originals verbatim, and every operation that was done to them.

The file is written beside its place and moved there, so that a crash leaves the old one or the new
one. It carries a checksum of its contents, and each operation the name of the version it makes:
loading replays the recorded changes and compares, so that a damaged file is never half believed.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from sculptor.context import Context as CoreContext
from sculptor.context import Hit, Step
from sculptor.errors import ContextError, StoreCorrupt
from sculptor.messages import MessageKey, parse_message
from sculptor.operations import operation_from_json, operation_to_json
from sculptor.state import Place
from sculptor.tokens import TokenCounter, encoding_of
from sculptor.tools import ToolsetName

FORMAT = "sculptor-context"
FORMAT_VERSION = 1


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Step(_Strict):
    after: int
    messages: list[str]
    replaces: bool


class _Hit(_Strict):
    id: str
    key: str
    occurrence: int
    part: int
    start: int
    end: int
    query: str


class _Recorded(_Strict):
    version: str
    operation: dict[str, Any]


class _Saved(_Strict):
    """The contents of a file; messages are their original JSON, as text."""

    toolset: ToolsetName
    encoding: Annotated[str, AfterValidator(encoding_of)]
    factor: float
    inline: bool
    seed: str
    messages: list[str]
    steps: list[_Step]
    operations: list[_Recorded]
    hits: list[_Hit]


class _File(_Strict):
    format: Literal["sculptor-context"]
    format_version: Literal[1]
    checksum: str
    context: dict[str, Any]


def write_file(path: str | PathLike[str], core: CoreContext, toolset: ToolsetName) -> None:
    """Write a context to a file, whole or not at all.

    Raises:
        OSError: it cannot be written there.
    """
    context = _saved(core, toolset).model_dump()
    body = orjson.dumps(
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "checksum": _checksum(context),
            "context": context,
        },
        option=orjson.OPT_INDENT_2,
    )
    _replace(Path(path), body)


def read_file(
    path: str | PathLike[str], clock: Callable[[], float]
) -> tuple[CoreContext, ToolsetName]:
    """Read what ``write_file`` wrote and replay its operations.

    Raises:
        StoreCorrupt: the file is no such file, or is damaged.
        OSError: it cannot be read.
    """
    name = os.fspath(path)
    try:
        file = _File.model_validate(orjson.loads(Path(path).read_bytes()))
        if file.checksum != _checksum(file.context):
            raise StoreCorrupt(f"{name} does not match its checksum")
        saved = _Saved.model_validate(file.context)
        return _loaded(saved, name, clock), saved.toolset
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise StoreCorrupt(f"{name} is no saved context: {where}: {first['msg']}") from error
    except (ContextError, KeyError, TypeError, ValueError) as error:
        raise StoreCorrupt(f"{name} is no saved context: {error}") from error


def _saved(core: CoreContext, toolset: ToolsetName) -> _Saved:
    recorded = [core.log.get(depth) for depth in range(1, core.depth + 1)]
    return _Saved(
        toolset=toolset,
        encoding=core.counter.encoding,
        factor=core.counter.factor,
        inline=core.inline,
        seed=core.seed.hex(),
        messages=[message.wire.decode() for message in core.messages],
        steps=[
            _Step(
                after=step.after,
                messages=[message.wire.decode() for message in step.messages],
                replaces=step.replaces,
            )
            for step in core.steps
        ],
        operations=[
            _Recorded(version=operation.version, operation=operation_to_json(operation))
            for operation in recorded
        ],
        hits=[
            _Hit(
                id=hit.id,
                key=hit.place.key.hex(),
                occurrence=hit.place.occurrence,
                part=hit.part,
                start=hit.start,
                end=hit.end,
                query=hit.query,
            )
            for hit in core.hits.values()
        ],
    )


def _loaded(saved: _Saved, name: str, clock: Callable[[], float]) -> CoreContext:
    core = CoreContext(
        seed=bytes.fromhex(saved.seed),
        counter=TokenCounter(encoding=saved.encoding, factor=saved.factor),
        inline=saved.inline,
        clock=clock,
    )
    core.extend(parse_message(wire.encode()) for wire in saved.messages)
    for recorded in saved.operations:
        operation = operation_from_json(recorded.operation)
        if operation.version != recorded.version or operation.depth != core.depth + 1:
            raise StoreCorrupt(f"{name}: operation {operation.id} does not make its version")
        core.replay(operation)
    core.steps = list(_steps(saved.steps, len(core.messages)))
    core.hits = {row.id: _hit(row) for row in saved.hits}
    core.unsaved.clear()
    return core


def _steps(rows: Sequence[_Step], messages: int) -> Iterator[Step]:
    for row in rows:
        if not 0 <= row.after < messages or not row.messages:
            raise ValueError("a step follows no message")
        read = tuple(parse_message(wire.encode()) for wire in row.messages)
        yield Step(row.after, read, row.replaces)


def _hit(row: _Hit) -> Hit:
    place = Place(MessageKey(bytes.fromhex(row.key)), row.occurrence)
    return Hit(row.id, place, row.part, row.start, row.end, row.query)


def _checksum(context: dict[str, Any]) -> str:
    body = orjson.dumps(context, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(body, digest_size=16).hexdigest()


def _replace(path: Path, body: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
