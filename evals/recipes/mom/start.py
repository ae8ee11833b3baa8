"""How soon `sculptor serve` answers with the shipped model after it was called.

``python evals/recipes/mom/start.py --out start.json`` calls it over and over, each time in a
process and with a store of its own, and times the first ``/readyz`` that is 200 and the first
answer after it. The scripted backend, which loads no model, is called in turn as the baseline.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from arguments import count
from origin import origin

from sculptor.evals.stats import bootstrap_mean

BACKENDS = ("mom", "scripted")
QUESTION = {"role": "user", "content": "The gate code is 4471. What is the gate code?"}
_WAIT_S = 60.0


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=count, default=10, help="of each backend")
    asked = parser.parse_args()
    times = {name: list[tuple[float, float]]() for name in BACKENDS}
    for run in range(asked.runs):
        for name in BACKENDS:
            times[name].append(start(name))
        print(f"{run + 1} of {asked.runs}: {times['mom'][-1][0]:.2f} s", flush=True)
    told = origin() | {
        "torch_installed": find_spec("torch") is not None,
        "backends": {name: figures(rows) for name, rows in times.items()},
    }
    asked.out.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def figures(rows: list[tuple[float, float]]) -> dict[str, object]:
    """Return the mean and its interval of both times, and every run."""
    ready, answered = zip(*rows, strict=True)
    return {
        "ready_s": asdict(bootstrap_mean(ready)) | {"runs": [round(each, 3) for each in ready]},
        "first_answer_s": asdict(bootstrap_mean(answered)),
    }


def start(backend: str) -> tuple[float, float]:
    """Return the seconds from the call until ``/readyz`` is 200, and those of the first answer."""
    with tempfile.TemporaryDirectory() as home, socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        held.close()
        command = [str(Path(sys.executable).with_name("sculptor")), "serve", "--port", str(port)]
        began = time.monotonic()
        server = subprocess.Popen(
            [*command, "--backend", backend],
            env=os.environ | {"XDG_STATE_HOME": home},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait(f"http://127.0.0.1:{port}/readyz", until=began + _WAIT_S)
            ready = time.monotonic()
            ask(f"http://127.0.0.1:{port}/v1/chat/completions")
            return ready - began, time.monotonic() - ready
        finally:
            server.send_signal(signal.SIGINT)
            server.wait()


def wait(url: str, *, until: float) -> None:
    """Return once the address answers with 200.

    Raises:
        TimeoutError: it does not in time.
    """
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.005)
    raise TimeoutError(f"{url} did not answer in {_WAIT_S:.0f} s.")


def ask(url: str) -> None:
    """Have one short question answered."""
    body = {"model": "m", "messages": [QUESTION], "max_tokens": 16}
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=_WAIT_S) as answer:
        answer.read()


if __name__ == "__main__":
    main()
