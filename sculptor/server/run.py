"""Starting and stopping the server: for the command line, and in a thread for programs."""

import socket
import threading
from collections.abc import Callable

import uvicorn

from sculptor.errors import SettingsError
from sculptor.server.app import Server
from sculptor.server.settings import Settings

_BACKLOG = 2_048
_KEEP_ALIVE_S = 75


def listen(settings: Settings) -> socket.socket:
    """Return the listening socket.

    Raises:
        SettingsError: the address is taken, or is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((settings.host, settings.port))
    except OSError as error:
        made.close()
        raise SettingsError(
            f"{settings.host}:{settings.port} cannot be bound: {error.strerror}. Choose another "
            "port with --port, or stop what listens there."
        ) from None
    return made


class _Announcing(uvicorn.Server):
    """A uvicorn server that says when it takes requests."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        self._announce()


def uvicorn_config(settings: Settings, server: Server) -> uvicorn.Config:
    """Return how uvicorn serves an application."""
    return uvicorn.Config(
        server.app,
        log_config=None,
        access_log=False,
        lifespan="on",
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.drain_seconds) or None,
        server_header=False,
        date_header=False,
        loop="auto",
        http="httptools",
    )


def serve(
    settings: Settings,
    *,
    server: Server | None = None,
    started: Callable[[str], None] | None = None,
) -> None:
    """Serve until told to stop (SIGINT or SIGTERM); ``started`` is called with the address.

    Raises:
        SettingsError: the address cannot be bound.
        StoreError: the store cannot be opened.
    """
    sock = listen(settings)
    with sock:
        address = address_of(sock)
        config = uvicorn_config(settings, server or Server(settings))
        _Announcing(config, lambda: started(address) if started else None).run(sockets=[sock])


def serve_in_thread(
    settings: Settings, *, server: Server | None = None
) -> tuple[str, Callable[[], None]]:
    """Serve in a thread; return the base address and what stops it.

    Raises:
        SettingsError: the address cannot be bound.
        StoreError: the store cannot be opened.
    """
    sock = listen(settings)
    ready = threading.Event()
    runner = _Announcing(uvicorn_config(settings, server or Server(settings)), ready.set)

    def run() -> None:
        try:
            runner.run(sockets=[sock])
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="sculptor", daemon=True)
    thread.start()
    ready.wait()

    def stop() -> None:
        runner.should_exit = True
        thread.join()
        sock.close()

    return address_of(sock), stop


def address_of(sock: socket.socket) -> str:
    """Return the address a client is pointed at, without the path."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
