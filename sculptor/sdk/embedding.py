"""Vectors for semantic search, from an ``openai`` client's ``/embeddings``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sculptor.errors import UpstreamBroken

if TYPE_CHECKING:
    from openai import OpenAI

_BATCH = 256


class ClientEmbedder:
    """An embedder behind any OpenAI-compatible provider; it waits for the network."""

    def __init__(self, client: "OpenAI", model: str) -> None:
        self._client, self.name = client, model

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one vector for each text, in order.

        Raises:
            UpstreamBroken: the provider cannot embed, or did not send a vector for each text.
        """
        import openai

        vectors: list[list[float]] = []
        for start in range(0, len(texts), _BATCH):
            batch = list(texts[start : start + _BATCH])
            try:
                made = self._client.embeddings.create(model=self.name, input=batch)
            except openai.OpenAIError as error:
                raise UpstreamBroken(f"{self.name} cannot embed: {error}") from error
            if len(made.data) != len(batch):
                raise UpstreamBroken(f"{self.name} sent no vector for each text.")
            vectors += [row.embedding for row in sorted(made.data, key=lambda row: row.index)]
        return vectors
