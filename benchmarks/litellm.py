"""LiteLLM's proxy for comparison, in a virtual environment of its own, never in CI.

``benchmarks/litellm.txt`` pins what is installed::

    python -m venv .venvs/litellm && .venvs/litellm/bin/pip install -r benchmarks/litellm.txt
"""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.processes import Process, started

ENVIRONMENT = Path(".venvs/litellm")
_START_S = 180
_CONFIG = """\
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: openai/gpt-4o
      api_base: {url}/v1
      api_key: sk-benchmark
"""


@contextlib.contextmanager
def litellm(upstream: str, folder: Path) -> Iterator[Process]:
    """Start LiteLLM's proxy before the upstream, with its own default settings, one worker."""
    config = folder / "litellm.yaml"
    config.write_text(_CONFIG.format(url=upstream))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        *(str(ENVIRONMENT / "bin" / "litellm"), "--config", str(config)),
        *("--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"),
    ]
    log = folder / "litellm.log"
    local = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        # Without a key it refuses to start; checking one would only add to its cost.
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    }
    url = f"http://127.0.0.1:{port}"
    with started(command, log=log, environment=local, url=url) as process:
        _wait(process, port, log)
        yield process


def _wait(process: Process, port: int, log: Path) -> None:
    until = time.monotonic() + _START_S
    while process.is_running and time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.5)
    raise RuntimeError(f"LiteLLM's proxy did not start: {log.read_text()[-2_000:]}")
