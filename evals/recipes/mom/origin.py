"""Where a figure comes from: the commit and the machine."""

import os
import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path


def commit() -> str:
    """Return the commit of this tree, in short.

    Raises:
        CalledProcessError: this is no checkout.
    """
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def machine() -> str:
    """Return the cards that are there, the processor's kind and how many cores it has."""
    cores = f"{platform.machine()}, {os.cpu_count()} cores"
    cards = _cards()
    return f"{len(cards)} × {cards[0]}, {cores}" if cards else cores


def _cards() -> list[str]:
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        return []


def written_about() -> dict[str, str]:
    """Return what every figure tells of its making: command, commit, machine and time.

    The commit is empty on a machine that has the files alone.
    """
    try:
        known = commit()
    except (OSError, subprocess.CalledProcessError):
        known = ""
    return {
        "command": f"python {shlex.join(sys.argv)}",
        "commit": known,
        "machine": machine(),
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
