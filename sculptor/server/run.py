"""Starting and stopping the server: for the command line, and in a thread for programs."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn

from sculptor.errors import SettingsError
from sculptor.server.app import Server
from sculptor.server.settings import Settings

_BACKLOG = 2_048
_KEEP_ALIVE_S = 75
_CLOSING_S = 2
_EVICTION_S = 0.2


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


class _Runner(uvicorn.Server):
    """A uvicorn server that says when it takes requests, and drains before it stops.

    At the first signal ``/readyz`` answers 503 and nothing new is let in, while what runs may end;
    at the second what runs is ended with an error. ``tell`` is called with a line at each of them.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        server: Server,
        *,
        announce: Callable[[], None] | None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(config)
        self._server, self._announce, self._tell = server, announce, tell
        self._loop: asyncio.AbstractEventLoop | None = None
        self.is_hurried = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self._announce is not None:
            self._announce()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; a second time, hurry."""
        if self._loop is None:
            super().handle_exit(sig, frame)
        elif not self.should_exit:
            self._loop.call_soon_threadsafe(self._drain)
            super().handle_exit(sig, frame)
        elif not self.is_hurried:
            # Not told to uvicorn, which would leave the store open.
            self.is_hurried = True
            self._loop.call_soon_threadsafe(self._hurry)

    def _drain(self) -> None:
        admission = self._server.admission
        admission.drain()
        running = _counted(admission.running)
        most = f"{admission.settings.drain_s:g} s"
        told = f"Stopping: {running} may take up to {most} to end; Ctrl-C again ends at once."
        self._say(told if admission.running else "Stopping.")

    def _hurry(self) -> None:
        admission = self._server.admission
        self._say(f"Ending at once: {_counted(admission.running)} cut off.")
        admission.evict()

    def _say(self, line: str) -> None:
        if self._tell is not None:
            self._tell(line)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let what runs end, then stop."""
        admission = self._server.admission
        admission.drain()
        if not await admission.wait_idle():
            admission.evict()
            await asyncio.sleep(_EVICTION_S)
        await super().shutdown(sockets)


def uvicorn_config(settings: Settings, server: Server) -> uvicorn.Config:
    """Return how uvicorn serves an application."""
    return uvicorn.Config(
        server.app,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        lifespan="on",
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_CLOSING_S,
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
    stopping: Callable[[str], None] | None = None,
) -> bool:
    """Serve until told to stop (SIGINT or SIGTERM); return whether it was told so twice.

    ``started`` is called with the address, ``stopping`` with a line that says what happens.

    Raises:
        SettingsError: the address cannot be bound.
        StoreError: the store cannot be opened.
    """
    sock = listen(settings)
    with sock:
        address = address_of(sock)
        made = server or Server(settings)
        config = uvicorn_config(settings, made)
        say = (lambda: started(address)) if started is not None else None
        runner = _Runner(config, made, announce=say, tell=stopping)
        with contextlib.suppress(KeyboardInterrupt):  # by now it has drained and closed the store
            runner.run(sockets=[sock])
    return runner.is_hurried


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
    try:
        made = server or Server(settings)
    except BaseException:
        sock.close()
        raise
    runner = _Runner(uvicorn_config(settings, made), made, announce=ready.set)

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


def _counted(requests: int) -> str:
    return f"{requests} request{'' if requests == 1 else 's'}"


def address_of(sock: socket.socket) -> str:
    """Return the address a client is pointed at, without the path."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
