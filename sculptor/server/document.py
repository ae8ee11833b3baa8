"""The OpenAPI document of the server, as a file: ``python -m sculptor.server.document [FOLDER]``.

``server/openapi.json`` at the top of the repository is written by this and held against the running
application by a test.
"""

import asyncio
import sys
from pathlib import Path

import httpx
import orjson

from sculptor.server.app import Server
from sculptor.server.settings import Settings

NAME = "openapi.json"


def make_document() -> bytes:
    """Return the document as the server itself gives it, indented."""
    body = asyncio.run(_ask())
    return orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2) + b"\n"


def export(folder: Path) -> Path:
    """Write the document into a folder and return the file."""
    place = folder / NAME
    place.write_bytes(make_document())
    return place


async def _ask() -> bytes:
    server = Server(Settings.model_validate({"store": "memory", "backend": "scripted"}))
    try:
        transport = httpx.ASGITransport(app=server.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return (await client.get("/openapi.json")).raise_for_status().content
    finally:
        await server.close()


if __name__ == "__main__":
    print(export(Path(sys.argv[1] if len(sys.argv) > 1 else "server")))
