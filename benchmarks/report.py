"""What a run leaves behind: ``docs/benchmarks.json`` for programs, ``docs/benchmarks.md`` to read.

Sections measured in earlier runs stay until they are measured again, each with the commit, machine
and time of its own run.
"""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from benchmarks.figures import Figure

_TITLES = {
    "proxy": "The proxy",
    "latency": "Latency, one request at a time",
    "core": "The core: a million tokens in 2,000 messages",
    "memory": "Memory over many requests",
}
_INTRODUCTION = """\
# Speed and size

Made by `make bench` (`python -m benchmarks`); `benchmarks.json` holds the same figures. Times say
as much about the machine as about the program, so each figure of the proxy is a ratio to a bare
FastAPI and aiohttp relay that ran beside it, taking turns round by round, before the same provider
and under the same load. CPU is the kernel's count over all threads of a process. An interval is
95 % of the mean over the rounds; for operations it is the middle 90 % of the single times. The
400 KB bodies pass unchanged because they say `x-sculptor: off`; *managed* is a conversation of the
same size with 50 folds in force.
"""


def facts(arguments: Sequence[str]) -> dict[str, Any]:
    """Return where and how this run is made."""
    return {
        "command": " ".join(["python -m benchmarks", *arguments]),
        "commit": _git("rev-parse", "--short", "HEAD"),
        "has_local_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}",
        "load_at_start": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "time": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def save(folder: Path, section: str, figures: Sequence[Figure], run: Mapping[str, Any]) -> None:
    """Put a section's figures into both files."""
    path = folder / "benchmarks.json"
    held: dict[str, Any] = orjson.loads(path.read_bytes()) if path.exists() else {}
    rows = [asdict(figure) | {"met": figure.met} for figure in figures]
    held[section] = {"run": dict(run), "figures": rows}
    sections = {name: held[name] for name in _TITLES if name in held}
    path.write_bytes(orjson.dumps(sections, option=orjson.OPT_INDENT_2) + b"\n")
    (folder / "benchmarks.md").write_text(_markdown(sections), encoding="utf-8")


def _markdown(sections: Mapping[str, Any]) -> str:
    lines = [_INTRODUCTION]
    for name, section in sections.items():
        run = section["run"]
        changed = " with local changes" if run["has_local_changes"] else ""
        lines += [
            f"## {_TITLES[name]}\n",
            f"`{run['command']}` at {run['commit']}{changed}, {run['time']}; {run['machine']}, "
            f"Python {run['python']}, load {run['load_at_start']} at the start.\n",
            "| figure | value | interval | n | baseline of the same run | target |",
            "|---|---|---|---|---|---|",
            *map(_row, section["figures"]),
            "",
        ]
    return "\n".join(lines)


def _row(figure: Mapping[str, Any]) -> str:
    base, target = figure["baseline_value"], figure["target"]
    baseline = f"{figure['baseline']}: {_number(base)}" if base is not None else ""
    verdict = "" if target is None else f"{_number(target)}: {'met' if figure['met'] else 'missed'}"
    repeats = f" in {figure['rounds']} rounds" if figure["rounds"] > 1 else ""
    name = figure["name"] + (f" ({figure['note']})" if figure["note"] else "")
    cells = (
        name,
        f"{_number(figure['value'])} {figure['unit']}",
        f"{_number(figure['low'])} to {_number(figure['high'])}",
        f"{figure['n']}{repeats}",
        baseline,
        verdict,
    )
    return f"| {' | '.join(cells)} |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
