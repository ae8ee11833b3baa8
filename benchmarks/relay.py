"""The baseline: the least that FastAPI and aiohttp can do to pass a request on.

It reads a body, posts it, and gives back what comes, piece by piece where it is a stream. It knows
no key, keeps nothing, counts nothing and logs nothing.
"""

import contextlib
import socket
import sys
from collections.abc import AsyncIterator

import aiohttp
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse


def make_app(upstream: str) -> FastAPI:
    """Return the relay to one upstream."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as app.state.session:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/v1/chat/completions")
    async def relay(request: Request) -> Response:
        session: aiohttp.ClientSession = request.app.state.session
        answer = await session.post(
            f"{upstream}/v1/chat/completions",
            data=await request.body(),
            headers={"content-type": "application/json"},
        )
        if answer.content_type == "text/event-stream":
            return StreamingResponse(_pieces(answer), media_type="text/event-stream")
        async with answer:
            return Response(
                await answer.read(), status_code=answer.status, media_type="application/json"
            )

    return app


async def _pieces(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    async with answer:
        async for piece in answer.content.iter_any():
            yield piece


def main() -> None:
    """Serve the relay to the upstream named on the command line, and print its address."""
    sock = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{sock.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        make_app(sys.argv[1]), loop="uvloop", http="httptools", log_config=None, access_log=False
    )
    uvicorn.Server(config).run(sockets=[sock])


if __name__ == "__main__":
    main()
