"""Closed-loop exams of trained weights: the model plays scenes it never saw, turn by turn.

``python evals/recipes/mom/exams.py WEIGHTS --out exam.json --samples 200 --processes 8`` draws
scenes of a seed that no recipe trains on, lets the model work each through the product's own
context on the CPU runtime, and counts the turns answered exactly as wanted, by family, form and
length, with intervals over scenes. Held-out families are examined beside the trained ones.

Each scene is kept when it is done, in the folder ``exam.scenes`` beside ``exam.json``: the same
command goes on where it was cut, with any number of processes, and ``--seconds 0`` only counts.
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
from typing import Any

import orjson
from exam_figures import ExaminedScene, ExaminedTurn, read_scenes, summarize

from sculptor.chat import Completed
from sculptor.errors import EvalError, SettingsError
from sculptor.evals.runs.records import RecordFile
from sculptor.mom.recipes.corpus import FAMILIES, Mix, examine, make_sample
from sculptor.mom.recipes.corpus.exam import NOT_EXAMINED, Writer
from sculptor.mom.recipes.corpus.scene import Wire
from sculptor.server.mom.backend import MomBackend, open_backend
from sculptor.server.mom.loading import load_model

SEED = 900_001
"""Scenes of this seed are drawn here alone."""

ANSWER_TOKENS = 700
_MEMORY_MIB = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the processes share."""

    weights: Path
    kept: Path
    mix: Mix
    until: float


def main() -> None:
    """Examine the weights on the scenes that are missing and write one JSON object."""
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
    work = Work(
        weights=arguments.weights,
        kept=arguments.out.with_suffix(".scenes"),
        mix=mix,
        until=time.time() + arguments.seconds,
    )
    try:
        about = _about(work)
        _examine_missing(work, samples=arguments.samples, processes=arguments.processes)
    except (EvalError, SettingsError) as problem:
        parser.error(str(problem))
    scenes = [scene for scene in read_scenes(work.kept) if scene.index < arguments.samples]
    told = summarize(scenes, about=about)
    arguments.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({k: v for k, v in told.items() if k != "wrong"}))


def _about(work: Work) -> dict[str, Any]:
    """Return what is examined on what, and see that the kept scenes are of the same.

    Raises:
        EvalError: they are not.
    """
    about = {"seed": SEED, "weights": load_model(work.weights).fingerprint}
    wanted = orjson.loads(
        orjson.dumps(about | {"mix": asdict(work.mix)}, option=orjson.OPT_NON_STR_KEYS)
    )
    path = work.kept / "about.json"
    if path.exists():
        there = orjson.loads(path.read_bytes())
        differs = [name for name in wanted if there.get(name) != wanted[name]]
        if differs:
            raise EvalError(
                f"{work.kept} holds scenes of another exam ({' and '.join(differs)}); "
                "remove it, or name another --out."
            )
    work.kept.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(wanted, option=orjson.OPT_INDENT_2) + b"\n")
    return about


def _examine_missing(work: Work, *, samples: int, processes: int) -> None:
    """Examine on the scenes that are not kept yet, each process on every so many of them."""
    done = {scene.index for scene in read_scenes(work.kept)}
    missing = [index for index in range(samples) if index not in done]
    shares = [missing[number::processes] for number in range(processes)]
    with ProcessPoolExecutor(processes) as pool:
        list(pool.map(partial(_examine_share, work), range(processes), shares))


def _examine_share(work: Work, number: int, indices: Sequence[int]) -> None:
    """Examine on some scenes, in order; keep each as soon as it is done."""
    if not indices or time.time() > work.until:
        return
    backend = open_backend(work.weights, memory_mib=_MEMORY_MIB)
    with asyncio.Runner() as runner, RecordFile(work.kept / f"{number:03d}") as records:
        writer: Writer = partial(_write, runner, backend)
        for index in indices:
            if time.time() > work.until:
                break
            records.append(_examine_scene(writer, work.mix, index).to_line())
        runner.run(backend.close())


def _examine_scene(writer: Writer, mix: Mix, index: int) -> ExaminedScene:
    sample = make_sample(SEED, index, mix=mix)
    chars = sum(len(str(m.get("content"))) for t in sample.scene.turns for m in t.said)
    turns = tuple(
        ExaminedTurn(
            right=turn.is_right,
            calls=turn.calls,
            refused=turn.refused,
            wanted=turn.wanted,
            told=turn.told,
        )
        for turn in examine(sample.scene, writer, form=sample.form, seed=index)
    )
    return ExaminedScene(
        index=index, family=sample.family, form=sample.form, chars=chars, turns=turns
    )


def _write(
    runner: asyncio.Runner, backend: MomBackend, messages: Sequence[Wire], *, tools: Sequence[Wire]
) -> Mapping[str, object]:
    body = {"model": "mom", "messages": list(messages), "max_tokens": ANSWER_TOKENS}
    if tools:
        body["tools"] = list(tools)
    return runner.run(_answered(backend, orjson.dumps(body)))


async def _answered(backend: MomBackend, body: bytes) -> Mapping[str, object]:
    async for event in backend.answer(body):
        if isinstance(event, Completed):
            return event.message
    raise RuntimeError("The backend ended without an answer.")


if __name__ == "__main__":
    main()
