"""Processes of their own for servers and load, and what the kernel says they used."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import orjson

from benchmarks.load import Job

_START_LINES = 200


class Process:
    """A server in a process of its own."""

    def __init__(self, child: "subprocess.Popen[bytes]", url: str) -> None:
        self._child, self.url = child, url

    @property
    def is_running(self) -> bool:
        """Whether it has not ended by itself."""
        return self._child.poll() is None

    def cpu_s(self) -> float:
        """Return the CPU seconds used until now, over all threads that still live."""
        tasks = Path(f"/proc/{self._child.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def resident_bytes(self) -> int:
        """Return the resident memory."""
        pages = int(Path(f"/proc/{self._child.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def started(
    command: Sequence[str], *, log: Path, environment: dict[str, str] | None = None, url: str = ""
) -> Iterator[Process]:
    """Run a server; its first line of output with an address in it is where it listens.

    Where ``url`` is given that is where, and the caller waits for it.

    Raises:
        RuntimeError: it ended before it said where.
    """
    with log.open("wb") as errors:
        child = subprocess.Popen(
            command,
            stdout=subprocess.PIPE if not url else errors,
            stderr=errors,
            env=os.environ | (environment or {}),
        )
    try:
        yield Process(child, url or _address(child, log))
    finally:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(20)
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()


def module(name: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of ours."""
    return [sys.executable, "-m", name, *arguments]


def load(job: Job) -> list[float]:
    """Do a job in a process of its own and return the seconds of each request.

    Raises:
        RuntimeError: a request was not answered with 200.
    """
    done = subprocess.run(
        module("benchmarks.load"), input=orjson.dumps(asdict(job)), capture_output=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{job.url}, {job.kind}: {done.stderr.decode()[-2_000:]}")
    taken: list[float] = orjson.loads(done.stdout)
    return taken


def _address(child: "subprocess.Popen[bytes]", log: Path) -> str:
    assert child.stdout is not None
    for _ in range(_START_LINES):
        line = child.stdout.readline().decode()
        if not line:
            break
        if line.startswith("{"):
            return str(orjson.loads(line)["address"])
        if line.startswith("http"):
            return line.strip()
    raise RuntimeError(f"a server did not start: {log.read_text()[-2_000:]}")
