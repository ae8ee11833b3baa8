"""Where a figure comes from: the commit and the machine."""

import os
import platform
import subprocess
from pathlib import Path


def commit() -> str:
    """Return the commit of this tree, in short.

    Raises:
        CalledProcessError: this is no checkout.
    """
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def machine() -> str:
    """Return the processor's kind and how many cores there are."""
    return f"{platform.machine()}, {os.cpu_count()} cores"
