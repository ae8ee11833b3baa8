"""A home of its own for every test of the command line."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from sculptor.cli.logs import configure_logs


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Run in an empty folder, with no settings, and leave the process' logs as they were."""
    for name in [name for name in os.environ if name.startswith(("SCULPTOR_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("SCULPTOR_PORT", "1")  # nothing listens there
    monkeypatch.chdir(tmp_path)
    before, handlers = structlog.get_config(), list(logging.root.handlers)
    configure_logs("error")
    yield tmp_path
    structlog.configure(**before)
    logging.root.handlers[:] = handlers
