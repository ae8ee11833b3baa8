"""Requests kept as they reached the model, with what it wrote: to be asked again anywhere.

A folder holds ``recorded.jsonl``, a line for each call that recorded (origin, weights, samples
wanted of each cell), and ``views/N/samples.jsonl``, a line a sample with its requests in order.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from sculptor.chat import Completed
from sculptor.errors import EvalError
from sculptor.evals.runs.records import RECORDS_FILE
from sculptor.loop import Event, ModelRequest
from sculptor.server.mom.backend import MomBackend
from sculptor.server.mom.model import BoundMomModel

RECORDED_FILE = "recorded.jsonl"
Told = dict[str, Any]
"""What the model wrote: text, calls, and why it ended."""


@contextmanager
def kept_requests() -> Iterator[list[dict[str, Any]]]:
    """Keep what reaches the model of this process while the block runs, and what it wrote."""
    original, asked = BoundMomModel.stream, list[dict[str, Any]]()

    async def stream(self: BoundMomModel, request: ModelRequest) -> AsyncIterator[Event]:
        async for event in original(self, request):
            if isinstance(event, Completed):
                hidden = sorted(request.added_tools)
                asked.append({"body": request.body.decode(), "hidden": hidden, "told": told(event)})
            yield event

    BoundMomModel.stream = stream  # type: ignore[method-assign]
    try:
        yield asked
    finally:
        BoundMomModel.stream = original  # type: ignore[method-assign]


def told(event: Completed) -> Told:
    """Return what the model wrote, without the ids that its calls are given at random."""
    calls = event.message.get("tool_calls") or []
    assert isinstance(calls, list)
    return {
        "content": event.message.get("content"),
        "calls": [call["function"] for call in calls],
        "finish_reason": event.finish_reason,
    }


async def ask(backend: MomBackend, asked: Mapping[str, Any], *, owner: str) -> Told:
    """Ask a kept request again and return what was written; ``owner``: whose turns it goes on."""
    body = asked["body"].encode()
    tools = orjson.loads(body).get("tools") or []
    request = ModelRequest(
        body=body,
        messages=(),
        tools=tuple(orjson.dumps(t) for t in tools if t["function"]["name"] in asked["hidden"]),
        value={},
        stream=False,
    )
    model = backend.model(request_id="", client_headers={}, client_key=owner)
    async for event in model.stream(request):
        if isinstance(event, Completed):
            return told(event)
    raise RuntimeError("The backend ended without an answer.")


def read_samples(out: Path) -> list[dict[str, Any]]:
    """Return the samples of a folder, each once; a line that a kill left torn is none."""
    lines = (
        line
        for path in sorted(out.glob(f"views/*/{RECORDS_FILE}"))
        for line in path.read_bytes().splitlines(keepends=True)
        if line.endswith(b"\n")
    )
    samples = (orjson.loads(line) for line in lines)
    return list({(sample["cell"], sample["index"]): sample for sample in samples}.values())


def read_calls(out: Path, *, weights: str) -> list[dict[str, Any]]:
    """Return the calls that recorded into a folder, none where nothing was begun.

    Raises:
        EvalError: they recorded other weights.
    """
    path = out / RECORDED_FILE
    lines = path.read_bytes().splitlines() if path.exists() else []
    calls = [orjson.loads(line) for line in lines]
    if others := {call["weights"] for call in calls} - {weights}:
        raise EvalError(
            f"{out} holds requests to the weights {', '.join(others)}, not to {weights}; "
            "take those, or name another --out."
        )
    return calls


def add_call(out: Path, call: Mapping[str, Any]) -> None:
    """Keep how this call records.

    Raises:
        EvalError: ``out`` is no folder.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise EvalError(f"{out} is a file; name a folder.") from None
    with (out / RECORDED_FILE).open("ab") as file:
        file.write(orjson.dumps(call) + b"\n")
