"""What loading the backend takes with it."""

import subprocess
import sys
from pathlib import Path

CODE = """
import sys
from sculptor.server.app import Server
from sculptor.server.run import serve_in_thread
from sculptor.server.settings import Settings
settings = Settings(port=0, store="memory", backend="mom", mom_weights=sys.argv[1])
url, stop = serve_in_thread(settings)
import httpx
body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}
answer = httpx.post(url + "/v1/chat/completions", json=body, timeout=30)
stop()
found = {"torch", "triton", "matplotlib", "onnxruntime", "ray"} & set(sys.modules)
print(answer.status_code, answer.json()["usage"]["completion_tokens"], sorted(found))
"""
SETTINGS = """
import sys
from sculptor.server.settings import Settings
print(Settings().chosen_backend, [m for m in ("numpy", "tokenizers", "torch") if m in sys.modules])
"""


def run(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip().splitlines()[-1]


def test_a_server_answers_without_torch(weights: Path) -> None:
    assert run(CODE, str(weights)) == "200 3 []"


def test_choosing_a_backend_loads_nothing_heavy() -> None:
    assert run(SETTINGS).endswith("[]")
