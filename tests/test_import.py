"""An import does nothing."""

import subprocess
import sys


def test_import_loads_no_heavy_library() -> None:
    heavy = ["numpy", "torch", "aiohttp", "openai", "fastapi", "pydantic", "tiktoken", "typer"]
    code = f"import sys, sculptor; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""
