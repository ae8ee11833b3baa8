"""The command line as a process of its own, in a home of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-c", "from sculptor.cli import main; main()"]


@contextmanager
def serving(
    home: Path, *flags: str, **environment: str
) -> "Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]":
    """Run ``sculptor serve``; gives the process and what it told at its start."""
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", "--json", *flags],
        cwd=home,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def run(home: Path, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run one command to its end."""
    return subprocess.run(
        [*COMMAND, *words],
        cwd=home,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
