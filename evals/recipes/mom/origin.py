"""Where a figure comes from: the command, the commit, the machine and the time."""

import os
import platform
import shlex
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path


def commit() -> str:
    """Return the commit of this tree, in short; nothing where only the files are."""
    return told(["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"])


def machine(*, gpus: int = 0) -> str:
    """Return the processor's kind, how many cores it has, and ``gpus`` cards that are used."""
    cores = f"{platform.machine()}, {os.cpu_count()} cores"
    names = card_names()[:gpus]
    if not names:
        return cores
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "triton"))
    return f"{len(names)} × {names[0]}, {cores}, {libraries}"


def card_names() -> list[str]:
    """Return the names of the cards that are there."""
    return told(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]).splitlines()


def origin(*, gpus: int = 0) -> dict[str, str]:
    """Return what every figure tells of its making; ``gpus`` is how many cards it uses."""
    return {
        "command": f"python {shlex.join(sys.argv)}",
        "commit": commit(),
        "machine": machine(gpus=gpus),
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def told(command: list[str]) -> str:
    """Return what a command prints; nothing where it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
