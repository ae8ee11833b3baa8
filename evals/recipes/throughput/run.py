"""Throughput of the runner: short samples a second on one core, and its memory over many.

The runner is held on one core; the server, which answers at once with the same bytes, runs in a
process of its own on another where there is one. Figures go to
``evals/reports/throughput/result.json``:

    python evals/recipes/throughput/run.py --samples 100000
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path

from sculptor.evals.runs.plan import Endpoint, make_plan
from sculptor.evals.runs.runner import Finished, LocalExecutor, run_plan
from sculptor.evals.stats import bootstrap_mean

ROOT = Path(__file__).resolve().parents[3]
REPORT = ROOT / "evals" / "reports" / "throughput" / "result.json"
TASK = "needlebench-v2-single-4k"
BODY = json.dumps(
    {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "I do not know."}}],
        "usage": {"prompt_tokens": 900, "completion_tokens": 5},
    }
).encode()
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)
WINDOW = 1000
"""Samples in one measurement of the rate."""


class AnswersAtOnce(asyncio.Protocol):
    """Reads a request's length, waits for its last byte and answers."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.buffer = transport, bytearray()

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self.buffer += data
        while (head := self.buffer.find(b"\r\n\r\n")) >= 0:
            lower = bytes(self.buffer[:head]).lower()
            length = int(lower.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            if len(self.buffer) < head + 4 + length:
                return
            del self.buffer[: head + 4 + length]
            self.transport.write(ANSWER)


def serve(pipe: Connection) -> None:
    """Serve until terminated."""

    async def forever() -> None:
        server = await asyncio.get_running_loop().create_server(AnswersAtOnce, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    _hold_on_core(-1)
    asyncio.run(forever())


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--out", type=Path, default=REPORT)
    options = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("fork").Process(target=serve, args=(theirs,))
    server.start()
    _hold_on_core(0)
    try:
        figures = measure(ours.recv(), options.samples, options.concurrency)
    finally:
        server.terminate()
        server.join()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=2))


def measure(port: int, samples: int, concurrency: int) -> Mapping[str, object]:
    """Run so many samples and return the rates and the memory."""
    plan = make_plan(TASK, arms=["plain"], model="none", limit=samples)
    marks: list[tuple[float, float, float]] = []

    def tell(finished: Finished) -> None:
        tell_count[0] += 1
        if tell_count[0] % WINDOW == 0:
            marks.append((time.perf_counter(), time.process_time(), _resident_mib()))
            if len(marks) % 10 == 0:
                print(f"{tell_count[0]}: {marks[-1][2]:.1f} MiB", flush=True)

    tell_count = [0]
    keep: Callable[[Finished], None] = tell
    with tempfile.TemporaryDirectory() as folder:
        failed = run_plan(
            plan,
            Endpoint(base_url=f"http://127.0.0.1:{port}"),
            Path(folder),
            executor=LocalExecutor(concurrency=concurrency),
            on_finished=keep,
        )
        size = (Path(folder) / "samples.jsonl").stat().st_size
    pairs = list(pairwise(marks))
    wall = bootstrap_mean([WINDOW / (b[0] - a[0]) for a, b in pairs])
    cpu = bootstrap_mean([WINDOW / (b[1] - a[1]) for a, b in pairs])
    return {
        "what": "short samples a second of the runner against a server that answers at once",
        "task": TASK,
        "n": samples,
        "failed": failed,
        "concurrency": concurrency,
        "samples_per_s": {"mean": wall.mean, "low": wall.low, "high": wall.high, "n": wall.n},
        "samples_per_cpu_s": {"mean": cpu.mean, "low": cpu.low, "high": cpu.high, "n": cpu.n},
        "window": WINDOW,
        "resident_mib": {
            f"after {(at + 1) * WINDOW}": round(marks[at][2], 1)
            for at in sorted({0, 9, len(marks) // 2, len(marks) - 1})
            if at < len(marks)
        },
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "record_bytes_a_sample": size // samples,
        "command": f"python evals/recipes/throughput/run.py --samples {samples}",
        "commit": _commit(),
        "machine": {
            "cpu": _cpu_name(),
            "cores": os.cpu_count(),
            "held_on_cores": 1,
            "load_average_at_end": os.getloadavg()[0],
            "python": platform.python_version(),
            "system": platform.system(),
        },
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _hold_on_core(number: int) -> None:
    cores = sorted(os.sched_getaffinity(0))
    with suppress(OSError):
        os.sched_setaffinity(0, {cores[number]})


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def _commit() -> str:
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
