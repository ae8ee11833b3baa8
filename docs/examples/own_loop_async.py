"""The same loop for programs that await, kept on disk between two runs.

Run it: python docs/examples/own_loop_async.py. ``aapply`` works in a thread, so that a summarizer
that waits for a network does not hold up the event loop.
"""

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

from sculptor import Context

NOTES = "".join(
    f"Note {n}: the committee met, heard report {n} and adjourned without a vote. "
    for n in range(60)
)


async def model(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Cut the notes, summarize them, then answer."""
    await asyncio.sleep(0)
    results = [m for m in messages if m["role"] == "tool"]
    if not results:
        return {"tool_calls": [made("fragment_context", num_fragments=2)]}
    if len(results) == 1:
        focus = {"fragment_ids": ["all"], "focus": "votes"}
        return {"tool_calls": [made("summarize_fragment", **focus)]}
    return {"content": "There was no vote."}


def made(name: str, **arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"id": f"call_{name}", "type": "function", "function": function}


async def answer(context: Context) -> str:
    while True:
        said = {"role": "assistant", "content": None, **await model(context.messages(ledger=True))}
        context.append(said)
        if not said.get("tool_calls"):
            return str(said["content"])
        for call in said["tool_calls"]:
            context.append(await context.aapply(call))


async def main() -> None:
    context = Context([{"role": "user", "content": NOTES}])
    context.append({"role": "assistant", "content": "I have read them."})
    context.append("Was there a vote?")
    print(await answer(context))
    print(f"The model's view has {context.tokens} of {context.total_tokens} tokens.")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "conversation.json"
        context.save(path)
        loaded = Context.load(path)
    print(f"Loaded the same version: {loaded.version == context.version}")
    loaded.restore("all", reason="a person wants to read it")
    whole = loaded.originals()[0]["content"] == NOTES
    print(f"Restored to {loaded.tokens} tokens; the notes are whole: {whole}")


if __name__ == "__main__":
    asyncio.run(main())
