"""A managed context inside your own agent loop.

Run it: python docs/examples/own_loop.py. The model here is a function, so no key is needed; put a
call of your provider in its place.
"""

import json
from typing import Any

from sculptor import Context

LOG = "".join(f"{hour:02d}:00 deployed build {hour}, all checks passed.\n" for hour in range(24))
QUESTION = "Which build was deployed last?"


def model(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> dict[str, Any]:
    """Tidy the context once, call a tool of the program, then answer."""
    used = [call["function"]["name"] for m in messages for call in m.get("tool_calls") or ()]
    if "fragment_context" not in used:
        cut = {"role": "user", "num_fragments": 10, "fold_except": [-1]}
        return {"tool_calls": [made("fragment_context", **cut), made("get_time")]}
    assert "fold_fragment" in {tool["function"]["name"] for tool in tools}
    return {"content": "Build 23 was deployed last."}


def made(name: str, **arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"id": f"call_{name}", "type": "function", "function": function}


GET_TIME = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object"}}}


def main() -> None:
    context = Context(
        [{"role": "user", "content": LOG * 12}, {"role": "assistant", "content": "Ok."}]
    )
    context.append(QUESTION)
    while True:
        answer = {"role": "assistant", "content": None}
        answer |= model(context.messages(), [*context.tools(), GET_TIME])
        context.append(answer)
        if not answer.get("tool_calls"):
            break
        for call in answer["tool_calls"]:
            if context.is_internal(call):
                context.append(context.apply(call))
            else:
                context.append({"role": "tool", "tool_call_id": call["id"], "content": "23:59"})

    print(answer["content"])
    print(f"The model's view has {context.tokens} of {context.total_tokens} tokens.")
    for operation in context.operations():
        print(f"{operation.id}: {operation.kind} by the {operation.author}")

    (hit, *_) = context.search("build 7,", context_size=50)
    line = next(line for line in hit.text.splitlines() if hit.query in line)
    print(f"Still found, though {hit.hidden}: {line}")
    receipt = context.undo()
    print(f"Undone: {receipt.tokens_before} -> {receipt.tokens_after} tokens.")


if __name__ == "__main__":
    main()
