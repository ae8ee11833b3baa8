"""The server put together: settings in, an ASGI application out."""

import asyncio
import contextlib
import hashlib
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Scope

from sculptor.errors import StoreError
from sculptor.filenames import file_mark
from sculptor.server.answer import UpstreamTimeouts
from sculptor.server.api import api_router
from sculptor.server.api_errors import keep_errors
from sculptor.server.auth import KeyRing, OriginGuard
from sculptor.server.backends import Backend, EmbeddedBackend, HttpBackend
from sculptor.server.completions import ChatCompletions
from sculptor.server.docs_page import OPENAI_PATHS, render_page
from sculptor.server.envelope import ApiError, ErrorFormatter, wrong_method
from sculptor.server.expiry import keep_expiring
from sculptor.server.front import Endpoint, Front
from sculptor.server.health import StoreHealth
from sculptor.server.identity import Identity
from sculptor.server.lanes import Lanes
from sculptor.server.limits import Admission, AdmissionSettings
from sculptor.server.metrics import Metrics
from sculptor.server.relay import Models, Relay
from sculptor.server.retries import RetrySettings
from sculptor.server.room import declared_window
from sculptor.server.settings import Settings
from sculptor.server.upstream import Upstream, UpstreamSettings
from sculptor.store import LOCAL, MemoryStore, SqliteStore, Store
from sculptor.store.records import TenantId
from sculptor.tokens import TokenCounter

_READ = ("GET", "HEAD")


class PeopleApp(FastAPI):
    """What people use; its OpenAPI document tells of the hot routes too."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        if self.openapi_schema is None:
            made = super().openapi()
            made["paths"] = {**OPENAI_PATHS, **made["paths"]}
        return super().openapi()


class Server:
    """One server's parts, made from its settings; ``app`` is the ASGI application."""

    def __init__(
        self, settings: Settings, store: Store | None = None, backend: Backend | None = None
    ) -> None:
        self.settings = settings
        self.backend = make_backend(settings) if backend is None else backend
        self.store = open_store(settings) if store is None else store
        self.admission = Admission(
            AdmissionSettings(
                running=settings.max_running,
                queued=settings.max_queued,
                running_per_key=settings.max_running_per_key,
                drain_s=settings.drain_seconds,
            )
        )
        self.metrics = Metrics()
        self.health = StoreHealth(self.store)
        self.lanes = Lanes(
            self.store,
            Identity(self.store, server_secret(settings)),
            counter_of=counter_maker(settings),
            inline=settings.inline,
            protected_tokens=settings.protected_tokens,
        )
        self.app = self._front()

    async def close(self) -> None:
        """Let running requests end, then close the upstream's connections and the store."""
        self.admission.drain()
        if not await self.admission.wait_idle():
            self.admission.evict()
            await asyncio.sleep(0.1)
        await self.backend.close()
        await asyncio.to_thread(self.store.close)

    def _front(self) -> ASGIApp:
        settings = self.settings
        keys = {secret.get_secret_value(): name for name, secret in settings.keys.items()}
        known = [*keys, *([settings.upstream_key] if settings.upstream_key else [])]
        formatter = ErrorFormatter(secrets=known)
        chat = ChatCompletions(settings, self.lanes, self.backend, formatter, self.health)
        paths = ("/chat/completions", "/chat/completions/")  # as some clients spell it
        hot: dict[tuple[str, str], Endpoint] = {("POST", path): chat for path in paths}
        return Front(
            hot=hot,
            relay=self._relay,
            people=self._people(),
            keys=KeyRing(keys),
            guard=OriginGuard(hosts=(settings.host, *settings.hosts)),
            admission=self.admission,
            formatter=formatter,
            metrics=self.metrics,
            health=self.health,
        )

    def _relay(self, scope: Scope) -> Endpoint:
        upstream = self.backend.upstream
        if upstream is not None:
            return Relay(upstream, scope, self.settings.body_limit_bytes)
        path = scope["path"].removeprefix("/v1")
        is_model = path == "/models" or path.startswith("/models/")
        allowed = _READ if is_model else ("POST",) if path == "/chat/completions" else ()
        if allowed and scope["method"] not in allowed:
            raise wrong_method(scope["method"], scope["path"], allowed)
        if is_model:
            window = declared_window(self.settings.window_tokens, self.backend)
            return Models(self.backend.names, window).at(path)
        raise ApiError(
            404,
            f"{scope['path']} is not served here: the embedded backend has no such path. Attach an "
            "upstream with sculptor serve --upstream URL.",
            code="not_found",
        )

    def _people(self) -> FastAPI:
        @contextlib.asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            del app
            names = [TenantId(name) for name in (LOCAL, *self.settings.keys)]
            days = self.settings.expire_days
            expiry = asyncio.create_task(keep_expiring(self.store, names, days=days))
            yield
            expiry.cancel()
            await self.close()

        app = PeopleApp(
            title="Sculptor", version="1", lifespan=lifespan, docs_url=None, redoc_url=None
        )
        keep_errors(app)
        app.include_router(api_router(self.lanes))

        # Of the file that was opened, whatever stands under its name later.
        store = file_mark(self.settings.store_path)

        @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
        def root() -> JSONResponse:
            told = {"name": "sculptor", "docs": "/docs", "base_url": "/v1"}
            return JSONResponse({**told, "store": store})

        @app.get("/docs", include_in_schema=False)
        def docs(request: Request) -> Response:
            base = str(request.base_url).rstrip("/")
            return Response(render_page(app.openapi(), base), media_type="text/html")

        @app.get("/healthz", tags=["health"])
        def healthz() -> JSONResponse:
            """Tell that the process is alive."""
            return JSONResponse({"status": "ok"})

        @app.get("/readyz", tags=["health"])
        def readyz() -> JSONResponse:
            """Tell whether requests are taken; 503 while the server drains or cannot store."""
            if self.admission.is_draining:
                return JSONResponse({"status": "draining"}, status_code=503)
            if reason := self.health.check():
                return JSONResponse({"status": "unready", "reason": reason}, status_code=503)
            return JSONResponse({"status": "ready"})

        @app.get("/metrics", tags=["health"])
        def metrics() -> Response:
            """Return the metrics in Prometheus' text format."""
            self.metrics.running.set(self.admission.running)
            return Response(self.metrics.render(), media_type="text/plain; version=0.0.4")

        return app


def create_app(settings: Settings, store: Store | None = None) -> ASGIApp:
    """Return the ASGI application for these settings."""
    return Server(settings, store).app


def open_store(settings: Settings) -> Store:
    """Open the store that the settings name.

    Raises:
        StoreLocked: another server holds the file.
        StoreError: it cannot be opened.
    """
    path = settings.store_path
    return MemoryStore() if path is None else SqliteStore(path, durability=settings.durability)


def make_backend(settings: Settings) -> Backend:
    """Return the backend that the settings name.

    Raises:
        SettingsError: it cannot be had here.
    """
    match settings.chosen_backend:
        case "openai":
            timeouts = UpstreamTimeouts(
                first_byte_s=settings.first_byte_timeout, idle_s=settings.idle_timeout
            )
            upstream = UpstreamSettings(
                url=settings.upstream,
                key=settings.upstream_key,
                relay_client_key=settings.relays_client_key,
                timeouts=timeouts,
                retries=RetrySettings(max_retries=settings.max_retries),
            )
            return HttpBackend(Upstream(upstream))
        case "scripted":
            from sculptor.server.scripted import ScriptedModel

            return EmbeddedBackend(ScriptedModel(), ("scripted", "scripted-paper"))
        case "mom":
            from sculptor.server.mom.backend import open_backend
            from sculptor.server.mom.places import need_weights

            return open_backend(
                need_weights(settings.mom_weights),
                memory_mib=settings.mom_memory_mib,
                device=settings.mom_device,
            )


def counter_maker(settings: Settings) -> Callable[[str], TokenCounter]:
    """Return what gives the token counter for a model's name."""

    @lru_cache(maxsize=64)
    def counter_of(model: str) -> TokenCounter:
        if settings.encoding:
            return TokenCounter(encoding=settings.encoding)
        return TokenCounter.for_model(model)

    return counter_of


def server_secret(settings: Settings) -> bytes:
    """Return the secret under which outside ids are stored: kept beside the store, 0600."""
    path = settings.store_path
    if path is None:
        return secrets.token_bytes(32)
    place = path.with_suffix(path.suffix + ".secret")
    try:
        if not place.exists():
            _make_secret(place)
        return hashlib.sha256(place.read_bytes()).digest()
    except OSError as error:
        raise StoreError(f"{place} cannot be read or made: {error}.") from error


def _make_secret(place: Path) -> None:
    """Make a secret, whole or not at all; where another server made one meanwhile, that stays."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=place.parent)  # for nobody but its owner
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(32))
        try:
            os.link(draft, place)
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            os.replace(draft, place)
    finally:
        Path(draft).unlink(missing_ok=True)
