"""Vectors for semantic search, from the upstream's own ``/embeddings``."""

from collections.abc import Mapping, Sequence

import orjson

from sculptor.chat import parse_json
from sculptor.errors import UpstreamBroken
from sculptor.server.upstream import Upstream

_BATCH = 256


class UpstreamEmbedder:
    """Embeds texts for one client request."""

    def __init__(
        self,
        upstream: Upstream,
        model: str,
        *,
        request_id: str,
        client_headers: Mapping[str, str],
        client_key: str | None,
    ) -> None:
        self._upstream, self._model = upstream, model
        self._request_id, self._client_key = request_id, client_key
        self._client_headers = client_headers

    async def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one vector for each text, in order.

        Raises:
            UpstreamError: the upstream cannot embed, or what it sent is no list of vectors.
        """
        vectors: list[list[float]] = []
        for start in range(0, len(texts), _BATCH):
            vectors += await self._embed(texts[start : start + _BATCH])
        return vectors

    async def _embed(self, texts: Sequence[str]) -> list[list[float]]:
        body = {"model": self._model, "input": list(texts), "encoding_format": "float"}
        response = await self._upstream.post(
            "/embeddings",
            orjson.dumps(body),
            request_id=self._request_id,
            client_headers=self._client_headers,
            client_key=self._client_key,
        )
        with response:
            value = parse_json(await response.read())
        rows = value.get("data")
        if not isinstance(rows, list) or len(rows) != len(texts):
            raise UpstreamBroken("The upstream's answer holds no vector for each text.")
        ordered = sorted(rows, key=lambda row: int(row["index"]))
        return [list(map(float, row["embedding"])) for row in ordered]
