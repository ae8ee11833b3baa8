"""Closed-loop exams of trained weights: the model plays scenes it never saw, turn by turn.

``python evals/recipes/mom/exams.py WEIGHTS --out exam.json --samples 200 --processes 8`` draws
scenes of a seed that no recipe trains on, lets the model work each through the product's own
context on the CPU runtime, and counts the turns answered exactly as wanted, by family, form and
length, with Wilson intervals. Held-out families are examined beside the trained ones.
"""

import argparse
import asyncio
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import orjson

from sculptor.chat import Completed
from sculptor.evals.stats import wilson
from sculptor.mom.recipes.corpus import FAMILIES, HELD_OUT, Mix, examine, make_sample
from sculptor.mom.recipes.corpus.exam import NOT_EXAMINED
from sculptor.mom.recipes.corpus.scene import Wire
from sculptor.server.mom.backend import MomBackend, open_backend

SEED = 900_001
"""Scenes of this seed are drawn here alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """How one turn of one scene went."""

    family: str
    form: str
    chars: int
    right: bool
    calls: int
    refused: int
    wanted: str
    told: str


def main() -> None:
    """Examine the weights and write one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=math.inf, help="no new scene after this")
    parser.add_argument("--tools", type=float, default=0.7, help="share played with tools")
    parser.add_argument("--chars", default="400,1500,4000,10000", help="lengths of scenes")
    arguments = parser.parse_args()
    mix = Mix(
        families=dict.fromkeys(sorted(set(FAMILIES) - NOT_EXAMINED), 1.0),
        chars={int(length): 1.0 for length in arguments.chars.split(",")},
        tools=arguments.tools,
        folded=0.0,
    )
    until = time.time() + arguments.seconds
    work = partial(_examine_share, arguments.weights, mix, arguments.samples, until)
    shares = [slice(i, None, arguments.processes) for i in range(arguments.processes)]
    with ProcessPoolExecutor(arguments.processes) as pool:
        rows = [row for part in pool.map(work, shares) for row in part]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(_summary(rows), indent=1) + "\n", encoding="utf-8")
    print(json.dumps({k: v for k, v in _summary(rows).items() if k != "wrong"}))


def _examine_share(weights: Path, mix: Mix, samples: int, until: float, share: slice) -> list[Row]:
    backend = open_backend(weights, memory_mib=64)
    rows: list[Row] = []
    with asyncio.Runner() as runner:
        for index in range(samples)[share]:
            if time.time() > until:
                break
            sample = make_sample(SEED, index, mix=mix)
            chars = sum(len(str(m.get("content"))) for t in sample.scene.turns for m in t.said)
            turns = examine(
                sample.scene, partial(_write, runner, backend), form=sample.form, seed=index
            )
            rows += [
                Row(
                    family=sample.family, form=sample.form, chars=chars, right=turn.is_right,
                    calls=turn.calls, refused=turn.refused, wanted=turn.wanted, told=turn.told,
                )
                for turn in turns
            ]  # fmt: skip
        runner.run(backend.close())
    return rows


def _write(
    runner: asyncio.Runner, backend: MomBackend, messages: Sequence[Wire], *, tools: Sequence[Wire]
) -> Mapping[str, object]:
    body = {"model": "mom", "messages": list(messages), "max_tokens": 700}
    if tools:
        body["tools"] = list(tools)
    return runner.run(_answered(backend, orjson.dumps(body)))


async def _answered(backend: MomBackend, body: bytes) -> Mapping[str, object]:
    async for event in backend.answer(body):
        if isinstance(event, Completed):
            return event.message
    raise RuntimeError("The backend ended without an answer.")


def _summary(rows: Sequence[Row]) -> dict[str, object]:
    def share(chosen: Sequence[Row]) -> dict[str, object]:
        right, n = sum(row.right for row in chosen), len(chosen)
        interval = [round(bound, 4) for bound in wilson(right, n)] if n else [0.0, 1.0]
        return {"right": right, "n": n, "share": right / max(1, n), "interval": interval}

    names = sorted({row.family for row in rows})
    trained = [row for row in rows if row.family not in HELD_OUT]
    calls = sum(row.calls for row in rows)
    return {
        "seed": SEED,
        "trained_families": share(trained),
        "with_tools": share([row for row in trained if row.form == "tools"]),
        "direct": share([row for row in trained if row.form == "direct"]),
        "under_1k_chars": share([row for row in trained if row.chars < 1000]),
        "calls": calls,
        "refused": sum(row.refused for row in rows),
        "families": {
            f"{name} {form}": share([r for r in rows if (r.family, r.form) == (name, form)])
            for name in names
            for form in ("direct", "tools")
        },
        "wrong": [asdict(row) for row in rows if not row.right][:60],
    }


if __name__ == "__main__":
    main()
