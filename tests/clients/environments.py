"""One virtual environment for each set of clients, made once and kept under ``.venvs/clients``.

Its name holds a hash of the requirements file and the version of Python, so a changed pin makes a
new environment. A lock file keeps two test runs from making the same one at the same time; an
environment counts only once the file ``complete`` stands in it.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FOLDER = ROOT / ".venvs" / "clients"


def requirements() -> dict[str, Path]:
    """Return the requirements file of each client set, by its name."""
    return {file.stem: file for file in sorted(HERE.glob("*.txt"))}


def make(file: Path) -> Path:
    """Return the Python of a requirements file's environment, made if it is missing."""
    version = "{}.{}".format(*sys.version_info)
    name = hashlib.sha256(file.read_bytes() + version.encode()).hexdigest()[:12]
    folder = FOLDER / f"{file.stem}-{name}"
    python = folder / "bin" / "python"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_suffix(".lock")):
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            # The pip that runs the tests serves all: one less to install in each.
            _run(sys.executable, "-m", "venv", "--without-pip", str(folder))
            _pip(python, "install", "--no-deps", "--no-compile", "--requirement", str(file))
            _pip(python, "check")
            (folder / "complete").touch()
    return python


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _pip(python: Path, *arguments: str) -> None:
    options = ("--quiet", "--disable-pip-version-check", "--python", str(python))
    _run(sys.executable, "-m", "pip", *options, *arguments)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
