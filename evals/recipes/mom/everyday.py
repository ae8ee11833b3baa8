"""How the shipped model answers ordinary questions over text that no benchmark and no corpus made.

``python evals/recipes/mom/everyday.py --out FOLDER`` asks short questions in plain words over lists
and prose of some lengths, each once with the tools off and once as a client gets it by default, and
writes ``result.json`` and ``report.md``. The seventh part of the training has sentences of any form
because of what went wrong here before; the words of this list are kept out of it (decision 0018).
"""

import argparse
import json
import random
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import origin
from everyday_texts import KINDS, Asked

from sculptor.evals.stats import wilson
from sculptor.server.run import serve_in_thread
from sculptor.server.settings import Settings

LINES = (40, 200, 1_000)
MODES = ("off", "auto")
SEED = 41


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One answer; ``tokens`` are those of the prompt of the last call, in the model's own."""

    kind: str
    lines: int
    mode: str
    right: bool
    said: str
    wanted: str
    offered: bool
    tokens: int


def main() -> None:
    """Ask everything and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--n", type=int, default=20, help="questions of a kind and length")
    parser.add_argument("--weights", default="", help="folder of weights; else the shipped ones")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--at-a-time", type=int, default=4, help="questions answered side by side")
    arguments = parser.parse_args()
    values = {"port": 0, "store": "memory", "backend": "mom", "drain_seconds": 0}
    model = {"mom_weights": arguments.weights, "mom_device": arguments.device}
    settings = Settings.model_validate({**values, **model})
    url, stop = serve_in_thread(settings)
    try:
        jobs = list(_jobs(arguments.n))
        with ThreadPoolExecutor(arguments.at_a_time) as pool:
            answers = list(pool.map(partial(_ask, url), *zip(*jobs, strict=True)))
    finally:
        stop()
    arguments.out.mkdir(parents=True, exist_ok=True)
    result = {
        **_about(arguments),
        "cells": _cells(answers),
        "answers": list(map(asdict, answers)),
    }
    (arguments.out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    (arguments.out / "report.md").write_text(report(result))


def _jobs(count: int) -> Iterator[tuple[str, int, str, Asked]]:
    for kind, draw in KINDS.items():
        for lines in LINES:
            for number in range(count):
                asked = draw(random.Random(f"{SEED}/{kind}/{lines}/{number}"), lines)
                yield from ((kind, lines, mode, asked) for mode in MODES)


def _ask(url: str, kind: str, lines: int, mode: str, asked: Asked) -> Answered:
    content = f"{asked.text}\n\n{asked.question}"
    body = {"model": "sculptor-mom", "messages": [{"role": "user", "content": content}]}
    answer = httpx.post(
        f"{url}/v1/chat/completions", json=body, headers={"x-sculptor": mode}, timeout=900
    )
    answer.raise_for_status()
    value: dict[str, Any] = answer.json()
    said = value["choices"][0]["message"]["content"] or ""
    return Answered(
        kind=kind,
        lines=lines,
        mode=mode,
        right=asked.wanted.lower() in said.lower(),
        said=said[:200],
        wanted=asked.wanted,
        offered=answer.headers["x-context-status"] == "tools-on",
        tokens=value["usage"]["prompt_tokens"],
    )


def _cells(answers: list[Answered]) -> list[dict[str, Any]]:
    cells = []
    for kind in KINDS:
        for lines in LINES:
            for mode in MODES:
                mine = [a for a in answers if (a.kind, a.lines, a.mode) == (kind, lines, mode)]
                right = sum(a.right for a in mine)
                low, high = wilson(right, len(mine))
                cells.append(
                    {
                        "kind": kind,
                        "lines": lines,
                        "mode": mode,
                        "n": len(mine),
                        "right": right,
                        "interval": [round(low, 3), round(high, 3)],
                        "offered": sum(a.offered for a in mine),
                        "tokens": round(sum(a.tokens for a in mine) / len(mine)),
                    }
                )
    return cells


def _about(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "command": "python evals/recipes/mom/everyday.py --out FOLDER"
        f" --n {arguments.n} --device {arguments.device} --at-a-time {arguments.at_a_time}",
        "commit": origin.commit(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": origin.machine(gpus=int(arguments.device == "cuda")),
        "at_a_time": arguments.at_a_time,
        "seed": SEED,
    }


def report(result: Mapping[str, Any]) -> str:
    """Return the page of a result."""
    by_cell = {(cell["kind"], cell["lines"], cell["mode"]): cell for cell in result["cells"]}
    rows = []
    for (kind, lines, mode), auto in by_cell.items():
        if mode == "auto":
            off = by_cell[kind, lines, "off"]
            rows.append(
                f"| {kind} | {lines:,} | {off['tokens']:,} | {_share(off)} | {_share(auto)} | "
                f"{auto['offered']} of {auto['n']} |"
            )
    head = "| question | lines | tokens, its own | tools off | as by default | offered |"
    return f"""# The shipped model, asked in ordinary words

Questions over text that no benchmark and no part of the training corpus made. What went wrong here
before part 7 of the training is why that part has sentences of any form; the verbs, nouns
and colours asked about here are kept out of it. Right is an answer that holds the word wanted.
Through the proxy on
{result["machine"]}, commit `{result["commit"]}`, {result["date"]}; 95 % Wilson intervals;
{result["at_a_time"]} at a time. Offered: answers before which the tools were offered.

`{result["command"]}`

{head}
|---|---|---|---|---|---|
{chr(10).join(rows)}

Every answer stands in `result.json`.
"""


def _share(cell: Mapping[str, Any]) -> str:
    low, high = cell["interval"]
    return f"{cell['right']} of {cell['n']} ({low:.0%} to {high:.0%})"


if __name__ == "__main__":
    main()
