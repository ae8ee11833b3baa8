"""Finding a server that runs already, at the address that the settings name."""

import json
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from sculptor.filenames import file_mark

if TYPE_CHECKING:
    from sculptor.server.settings import Settings

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that answers: its address, and the mark of its store's file, if it has one."""

    url: str
    store: str | None

    def holds(self, path: Path | None) -> bool:
        """Whether this file is its store."""
        return path is not None and self.store is not None and self.store == file_mark(path)


def find_server(settings: "Settings") -> Running | None:
    """Return the Sculptor server that answers where the settings have one, or None."""
    host = _ANY_ADDRESS.get(settings.host, settings.host)
    connection = HTTPConnection(host, settings.port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        told = json.loads(answer.read(4096))
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()
    if not isinstance(told, dict) or told.get("name") != "sculptor":
        return None
    name = f"[{host}]" if ":" in host else host
    return Running(url=f"http://{name}:{settings.port}", store=told.get("store"))
