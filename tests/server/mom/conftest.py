from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from sculptor.server.app import Server
from sculptor.server.run import serve_in_thread
from sculptor.server.settings import Settings
from tests.server.mom.builders import Reciter, recite, write_weights

Serve = Callable[..., OpenAI]


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def serve(weights: Path) -> Iterator[Serve]:
    """Start a server, with the real runtime or the one given; gives a client of it."""
    ends: list[Callable[[], object]] = []

    def start(runtime: Reciter | None = None, **changed: Any) -> OpenAI:
        values = {"port": 0, "store": "memory", "backend": "mom", "drain_seconds": 0}
        settings = Settings.model_validate({**values, "mom_weights": str(weights), **changed})
        backend = None if runtime is None else recite(runtime, weights)
        url, stop = serve_in_thread(settings, server=Server(settings, backend=backend))
        client = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60)
        ends.extend((client.close, stop))
        return client

    yield start
    for end in ends:
        end()
