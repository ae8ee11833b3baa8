"""Whether the shipped model leaves its tools alone where text is short: calls, and who is right.

``python evals/recipes/mom/short.py --out FOLDER`` asks samples of our tasks, shortened to a context
of under 1,000 tokens by the proxy's count, through the proxy: without the tools, and with the tools
offered all the same. ``FOLDER/result.json`` counts samples with a call, and apart from them those
where the answer without tools is right; ``report.md`` is made from it.
"""

import argparse
import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import origin
import orjson
from model_records import shortened

from sculptor.cli.mom_serving import serving
from sculptor.evals.arms import find_arms
from sculptor.evals.registry import find_task
from sculptor.evals.runs.client import ChatClient
from sculptor.evals.runs.plan import Endpoint, make_plan
from sculptor.evals.runs.solving import solve
from sculptor.evals.stats import wilson

ARMS = ("plain", "sculptor")
SEED = 5

Draw = Mapping[str, Any]


def few_keys(draw: Draw) -> Draw:
    """Keep 3 to 8 keys of a stream of updates, and the first 4 values of each."""
    count = random.Random(draw["index"]).randint(3, 8)
    kept, pairs = list(draw["tracked_keys"])[:count], []
    left = dict.fromkeys(kept, 4)
    for key, value in draw["pairs"]:
        if left.get(key):
            left[key] -= 1
            pairs.append([key, value])
    options = {**draw["options"], "n_tracked_keys": count, "n_tracked_updates": 4}
    return {**draw, "tracked_keys": kept, "pairs": pairs, "options": options}


def short_essay(draw: Draw) -> Draw:
    """Ask for one of four keys in an essay of 512 tokens."""
    return {**draw, "length": 512}


def few_turns(draw: Draw) -> Draw:
    """Keep three turns of a tool log, 5 lines each, and ask for two of the settings they tell."""
    turns = list(draw["turns"])[:3]
    told = dict.fromkeys(f"{turn['service']}.{name}" for turn in turns for name in turn["values"])
    return {**draw, "turns": turns, "asked": list(told)[:2], "log_lines": 5}


KINDS: Mapping[str, tuple[str, Callable[[Draw], Draw]]] = {
    "last values, 3 to 8 keys": ("pi-llm-sculptor", few_keys),
    "a key in an essay": ("ruler-own-niah-multikey-1", short_essay),
    "settings, 3 turns": ("tool-log", few_turns),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One sample by one arm; ``tokens`` are those of the context by the proxy's count."""

    kind: str
    index: int
    arm: str
    right: bool
    calls: int
    tokens: int


def main() -> None:
    """Ask, count and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--n", type=int, default=70, help="samples of a kind")
    parser.add_argument("--weights", default=None, help="folder of weights; else the shipped ones")
    arguments = parser.parse_args()
    with serving(arguments.weights) as served:
        answers = anyio.run(_ask_all, f"{served.url}/v1", arguments.n)
        result = {**_about(arguments.n), "weights": served.fingerprint, "kinds": _count(answers)}
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    (arguments.out / "report.md").write_text(report(result))


async def _ask_all(url: str, n: int) -> list[Answered]:
    async with ChatClient(Endpoint(base_url=url), connections=1) as client:
        return [
            await _ask(client, kind, index, arm)
            for kind in KINDS
            for index in range(n)
            for arm in ARMS
        ]


async def _ask(client: ChatClient, kind: str, index: int, name: str) -> Answered:
    task, shorten = find_task(KINDS[kind][0]), KINDS[kind][1]
    plan = make_plan(
        task.name, arms=[name], model="sculptor-mom", limit=index + 1, seed=SEED, admission="on"
    )
    (arm,) = find_arms([name])
    sample = task.sample(shorten(task.draw(index, seed=SEED)))
    line, _, score, error = await solve(
        task, sample, arm, index=index, plan=plan, client=client, budget=None
    )
    if error is not None or score is None:
        raise SystemExit(f"{kind}, sample {index}, {name}: {error}")
    row = orjson.loads(shortened(line, traced=True))
    context = row["trace"][-1]["answer"].get("x_context") or {}
    return Answered(
        kind=kind,
        index=index,
        arm=name,
        right=score >= 1,
        calls=row["told"]["calls"],
        tokens=context.get("original_tokens", 0),
    )


def _count(answers: list[Answered]) -> list[dict[str, Any]]:
    kinds = []
    for kind in KINDS:
        plain, tools = ([a for a in answers if (a.kind, a.arm) == (kind, arm)] for arm in ARMS)
        where = [with_tools for alone, with_tools in zip(plain, tools, strict=True) if alone.right]
        called = sum(a.calls > 0 for a in where)
        kinds.append(
            {
                "kind": kind,
                "n": len(tools),
                "tokens_at_most": max(a.tokens for a in tools),
                "right_without": sum(a.right for a in plain),
                "right_with": sum(a.right for a in tools),
                "called": sum(a.calls > 0 for a in tools),
                "called_where_plain_is_right": called,
                "interval": [round(x, 4) for x in wilson(called, len(where))] if where else None,
            }
        )
    return kinds


def _about(n: int) -> dict[str, Any]:
    return {
        "title": "Short contexts: tools left alone",
        "command": f"python evals/recipes/mom/short.py --out FOLDER --n {n}",
        "commit": origin.commit(),
        "made": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": origin.machine(),
        "seed": SEED,
    }


def report(result: Mapping[str, Any]) -> str:
    """Return the page of a result."""
    rows = [
        f"| {kind['kind']} | {kind['n']} | {kind['tokens_at_most']} | {kind['right_without']} "
        f"| {kind['right_with']} | {kind['called']} | {kind['called_where_plain_is_right']} of "
        f"{kind['right_without']}{_interval(kind['interval'])} |"
        for kind in result["kinds"]
    ]
    head = (
        "| context | n | tokens, at most | right without tools | right with tools offered "
        "| samples with a call | with a call where right without |"
    )
    return f"""# {result["title"]}

Weights `{result["weights"]}`, {result["machine"]}, commit `{result["commit"]}`, {result["made"]}: \
`{result["command"]}`

The tools are offered here though the proxy would not offer them by itself on texts so short. Tokens
are of the proxy's count; 95 % Wilson intervals. A sample that asks for several values is right
when all are.

{head}
|---|---|---|---|---|---|---|
{chr(10).join(rows)}
"""


def _interval(bounds: list[float] | None) -> str:
    return f" ({bounds[0]:.0%} to {bounds[1]:.0%})" if bounds else ""


if __name__ == "__main__":
    main()
