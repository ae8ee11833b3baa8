"""Finding a server that runs already, at the address that the settings name."""

import json
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sculptor.server.settings import Settings

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_TIMEOUT_S = 2.0


def find_server(settings: "Settings") -> str | None:
    """Return the address of a Sculptor server where the settings have one, or None."""
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
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
