"""``python -m benchmarks``: measure, and write ``docs/benchmarks.md`` and ``docs/benchmarks.json``.

Example: python -m benchmarks --only core --rounds 3
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import orjson

from benchmarks import proxy, report
from benchmarks.figures import Figure
from benchmarks.litellm import ENVIRONMENT
from benchmarks.processes import module

SECTIONS = ("core", "proxy", "latency", "memory")


def main() -> None:
    """Run the sections that were asked for."""
    asked = _arguments()
    run = report.facts(sys.argv[1:])
    docs = Path(__file__).parent.parent / "docs"
    if "core" in asked.only:
        report.save(docs, "core", _shown(_core(asked.repeats)), run)
    served: list[tuple[str, Callable[[proxy.Servers], Iterable[Figure]]]] = [
        ("proxy", lambda s: proxy.cpu_figures(s, rounds=asked.rounds, scale=asked.scale)),
        ("latency", lambda s: proxy.latency_figures(s, rounds=asked.rounds, scale=asked.scale)),
        ("memory", lambda s: [proxy.memory_figure(s, requests=asked.requests)]),
    ]
    for name, measure in served:
        if name not in asked.only:
            continue
        with_litellm = name == "proxy" and asked.litellm
        with (
            tempfile.TemporaryDirectory() as folder,
            proxy.servers(Path(folder), with_litellm=with_litellm) as among,
        ):
            report.save(docs, name, _shown(measure(among)), run)


def _core(repeats: int) -> Iterable[Figure]:
    done = subprocess.run(
        module("benchmarks.core", str(repeats)), stdout=subprocess.PIPE, check=True
    )
    return [Figure(**row) for row in orjson.loads(done.stdout)]


def _shown(figures: Iterable[Figure]) -> list[Figure]:
    kept: list[Figure] = []
    for figure in figures:
        kept.append(figure)
        verdict = {None: "", True: "met", False: "MISSED"}[figure.met]
        span = f"{figure.low:.3g} to {figure.high:.3g}"
        print(f"{figure.name:60} {figure.value:10.3f} {figure.unit:12} {span:22} {verdict}")
        sys.stdout.flush()
    return kept


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--rounds", type=int, default=6, help="rounds of each comparison")
    parser.add_argument("--scale", type=float, default=1.0, help="length of a round")
    parser.add_argument("--repeats", type=int, default=100, help="times each core operation runs")
    parser.add_argument("--requests", type=int, default=100_000, help="requests for memory")
    parser.add_argument(
        "--litellm", action="store_true", help=f"compare with LiteLLM's proxy in {ENVIRONMENT}"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
