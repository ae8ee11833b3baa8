"""What the package hands out, and what loading it costs."""

import subprocess
import sys

import pytest

import sculptor
from sculptor import sdk

HEAVY = ["numpy", "aiohttp", "openai", "fastapi", "pydantic", "tiktoken", "httpx", "orjson"]


@pytest.mark.parametrize("package", [sculptor, sdk])
def test_all_is_sorted_and_everything_in_it_is_there(package: object) -> None:
    names = list(package.__all__)  # type: ignore[attr-defined]
    assert names == sorted(names) == ["AsyncSculptor", "Context", "Sculptor", "wrap"]
    assert all(getattr(package, name) is not None for name in names)
    assert set(names) <= set(dir(package))
    assert getattr(sculptor, names[0]) is getattr(sdk, names[0])


@pytest.mark.parametrize("package", [sculptor, sdk])
def test_what_is_not_there_is_said_not_to_be(package: object) -> None:
    with pytest.raises(AttributeError, match="no attribute 'Magic'"):
        package.Magic  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("module", ["sculptor", "sculptor.sdk"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["Context", "Sculptor"])
def test_what_needs_no_client_loads_none(name: str) -> None:
    code = f"import sys; from sculptor import {name}; print('openai' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
