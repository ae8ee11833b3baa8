"""Answers kept on disk by the request that got them, for ``--cache``.

A file appears whole or not at all, so runs may share a folder. The key is the body and the mode
header; the base URL does not count, the model's name stands in the body.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedReply:
    """One answer as it came."""

    body: bytes
    headers: Mapping[str, str]
    seconds: float


class ReplyCache:
    """A folder of answers."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def get(self, mode: str, request: bytes) -> CachedReply | None:
        """Return the answer to a request, if it is known."""
        try:
            value = orjson.loads(self._path(mode, request).read_bytes())
        except (FileNotFoundError, orjson.JSONDecodeError):
            return None
        return CachedReply(
            body=value["body"].encode(), headers=value["headers"], seconds=value["seconds"]
        )

    def put(
        self, mode: str, request: bytes, body: bytes, headers: Mapping[str, str], seconds: float
    ) -> None:
        """Keep an answer."""
        path = self._path(mode, request)
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_suffix(f".{os.getpid()}")
        value = {"body": body.decode(), "headers": dict(headers), "seconds": seconds}
        made.write_bytes(orjson.dumps(value))
        made.replace(path)

    def _path(self, mode: str, request: bytes) -> Path:
        name = hashlib.sha256(mode.encode() + b"\n" + request).hexdigest()
        return self._folder / name[:2] / f"{name[2:]}.json"
