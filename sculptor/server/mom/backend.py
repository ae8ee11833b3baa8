"""The ``mom`` backend: one model, loaded once, for every request of a server."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Literal

from sculptor.errors import SettingsError
from sculptor.loop import Event
from sculptor.mom.engine.cpu import CpuModel
from sculptor.mom.engine.weights import Weights
from sculptor.server.mom.loading import LoadedModel, load_model
from sculptor.server.mom.model import BoundMomModel, MomModel
from sculptor.server.mom.streams import TokenWriter, Writer
from sculptor.server.upstream import Upstream

Device = Literal["cpu", "cuda"]

_CPU_WIDTH = 8
_CUDA_WIDTH = 64
_CUDA_STEPS_PER_PIECE = 1
"""Every turn begins with a piece, and few tokens follow it: were more steps taken between two
pieces, most of the rows would wait to be read and stay empty."""
_MIB = 1024 * 1024

TOKENS_PER_COUNTED = 2.0
"""How many of the model's tokens one counted token is: 1.3 to 2.1 in English prose, lists and code,
since its vocabulary of a few thousand cuts finer than the one the proxy counts with. In German and
French it is 2.8, in Chinese 3.2, in Russian 4.4: the first long view is longer than the window that
was declared, the next ones go by what is learned."""


class MomBackend:
    """The shipped model, or another of its kind, in this process."""

    upstream: Upstream | None = None
    tokens_per_counted = TOKENS_PER_COUNTED
    writes_summaries = False

    def __init__(self, loaded: LoadedModel, writer: TokenWriter) -> None:
        self.names: tuple[str, ...] = (loaded.name,)
        self.window_tokens: int | None = loaded.window_tokens
        self.fingerprint = loaded.fingerprint
        self._writer = writer
        self._model = MomModel(
            writer,
            tokenizer=loaded.tokenizer,
            name=loaded.name,
            fingerprint=loaded.fingerprint,
            window_tokens=loaded.window_tokens,
        )

    def model(
        self, *, request_id: str, client_headers: Mapping[str, str], client_key: str | None
    ) -> BoundMomModel:
        """Return the model for one client request."""
        del request_id, client_headers
        return BoundMomModel(self._model, owner=client_key or "")

    def answer(self, body: bytes) -> AsyncIterator[Event]:
        """Answer a chat completion request that came by no server.

        Raises:
            ApiError: the request cannot be honoured, or the engine failed.
        """
        return self._model.stream(body)

    def model_name(self, asked: str) -> str:
        """Return the model name that answers bear: its own, whatever was asked for."""
        del asked
        return self.names[0]

    async def close(self) -> None:
        """End what is being written, and the engine's thread."""
        await asyncio.to_thread(self._writer.close)


def open_backend(folder: Path, *, memory_mib: int, device: Device = "cpu") -> MomBackend:
    """Load the weights in ``folder``; ``memory_mib`` bounds what is kept of earlier turns.

    Raises:
        SettingsError: the weights cannot be used here.
    """
    loaded = load_model(folder)
    writer = _make_writer(loaded.weights, memory_bytes=memory_mib * _MIB, device=device)
    return MomBackend(loaded, writer)


def _make_writer(weights: Weights, *, memory_bytes: int, device: Device) -> TokenWriter:
    if device == "cpu":
        return Writer(CpuModel(weights), memory_bytes=memory_bytes, width=_CPU_WIDTH)
    try:
        import torch
    except ImportError:
        raise SettingsError(
            "mom_device is cuda, which needs torch with CUDA: pip install torch."
        ) from None
    from sculptor.mom.engine.torch_model import TorchModel, load_torch

    if not torch.cuda.is_available():
        raise SettingsError("mom_device is cuda, and torch finds no CUDA device: leave it at cpu.")
    runtime = TorchModel(load_torch(weights, device="cuda"), rows=_CUDA_WIDTH)
    return Writer(
        runtime,
        memory_bytes=memory_bytes,
        width=_CUDA_WIDTH,
        steps_per_piece=_CUDA_STEPS_PER_PIECE,
    )
