"""The management API as the command line reaches it.

Through the server that runs, where one does, for it alone may write its store; else through the
same routes over the store file itself, in this process and for the length of one command.
"""

import asyncio
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sculptor.cli.console import CommandError
from sculptor.cli.running import find_server
from sculptor.errors import StoreLocked

if TYPE_CHECKING:
    import httpx

    from sculptor.server.settings import Settings

_TIMEOUT_S = 120.0
_LISTED = 1_000
_TOLD_IDS = 10


class Management:
    """The routes under ``/api``; an error of theirs is raised with its words.

    ``asked`` says in a sentence whom, for those who find nothing there.
    """

    def __init__(self, client: "httpx.AsyncClient", runner: asyncio.Runner, *, asked: str) -> None:
        self._client, self._runner, self.asked = client, runner, asked

    def get(self, path: str, **query: object) -> Any:
        """Return the JSON of a route."""
        return self._request("GET", path, query=query).json()

    def read(self, path: str, **query: object) -> bytes:
        """Return the body of a route as it came."""
        return self._request("GET", path, query=query).content

    def post(self, path: str, body: dict[str, object]) -> Any:
        """Send a body and return the answer's JSON."""
        return self._request("POST", path, body=body).json()

    def delete(self, path: str) -> Any:
        """Delete what the path names."""
        return self._request("DELETE", path).json()

    def find(self, name: str, *, whole: bool = False) -> str:
        """Return the ID of the session meant by ``last``, its ID, a client's name, or a beginning.

        A beginning is one of the IDs of the sessions used last; ``whole`` refuses it, and says
        which IDs begin so.

        Raises:
            CommandError: there is no such session, or several.
        """
        name = _typed(name)
        known = self._find_whole(name) if name not in ("", "last") else None
        if known is not None:
            return known
        rows = self.get("/sessions", limit=_LISTED)["sessions"]
        ids = [row["id"] for row in rows]
        if name == "last" and ids:
            return str(ids[0])
        found = [each for each in ids if name and each.startswith(name)]
        if whole:
            raise CommandError(_wants_whole(name, found))
        if len(found) > 1:
            raise CommandError(f"{len(found)} sessions begin with {name!r}; give more of the ID.")
        if found:
            return str(found[0])
        raise CommandError(
            f"There is no session {name!r}: give an ID or how it begins (`sculptor sessions list` "
            "shows them), or the name that its client gave it."
        )

    def _find_whole(self, name: str) -> str | None:
        """Return the ID of the session with this whole ID or name, or None."""
        from sculptor.sdk.asks import session_path

        response = self._send("GET", session_path(name))
        if response.is_success:
            return str(response.json()["id"])
        if response.status_code != 404:
            raise CommandError(_told(response))
        return None

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, object] | None = None,
        body: dict[str, object] | None = None,
    ) -> "httpx.Response":
        response = self._send(method, path, query=query, body=body)
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            raise CommandError(
                f"The server at {self._client.base_url} wants another key. Set SCULPTOR_KEYS "
                "(tenant=key) as the server has them."
            )
        if response.is_error:
            raise CommandError(_told(response))
        return response

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, object] | None = None,
        body: dict[str, object] | None = None,
    ) -> "httpx.Response":
        import httpx

        given = {key: str(value) for key, value in (query or {}).items() if value is not None}
        try:
            return self._runner.run(
                self._client.request(method, f"/api{path}", params=given, json=body)
            )
        except httpx.InvalidURL as error:
            raise CommandError(f"Too long a name to ask for ({error}); give the ID.") from error
        except httpx.HTTPError as error:
            raise CommandError(
                f"The server did not answer: {error or type(error).__name__}."
            ) from error


@contextmanager
def open_management(
    settings: "Settings", tenant: str | None, *, own_store: bool = False
) -> Iterator[Management]:
    """Open the management API for one tenant (without a name: the only one there is).

    A server that answers is asked; with ``own_store`` only one that holds the settings' own file,
    for whoever names a file means that file.

    Raises:
        CommandError: the tenant is not known, or no server answers for a store that one holds.
        StoreError: the store cannot be opened.
    """
    import httpx

    running = find_server(settings)
    if own_store:
        running = running if running and running.holds(settings.store_path) else None
    with asyncio.Runner() as runner:
        if running is not None:
            headers = _credential(settings, tenant)
            client = httpx.AsyncClient(
                base_url=running.url, headers=headers, timeout=_TIMEOUT_S, trust_env=False
            )
            try:
                yield Management(client, runner, asked=f"Asked the server at {running.url}.")
            finally:
                runner.run(client.aclose())
            return
        asked = _told_store(settings.store_path)
        if not own_store:
            asked = f"No server answers at {settings.host}:{settings.port}. {asked}"
        with _in_process(settings, tenant or _only_tenant(settings), runner) as client:
            yield Management(client, runner, asked=asked)


def _told_store(path: Path | None) -> str:
    if path is None:
        return "A store in memory ends with its server."
    return f"Looked in {path}." if path.exists() else f"There is no store at {path} yet."


@contextmanager
def _in_process(
    settings: "Settings", tenant: str, runner: asyncio.Runner
) -> Iterator["httpx.AsyncClient"]:
    import httpx
    from pydantic import SecretStr

    from sculptor.cli.logs import configure_logs
    from sculptor.server.app import Server

    configure_logs("error")
    path, key = settings.store_path, secrets.token_urlsafe()
    changed: dict[str, object] = {
        "backend": "scripted",
        "upstream": "",
        "upstream_key_env": "",
        "keys": {tenant: SecretStr(key)},
    }
    if path is not None and not path.exists():
        changed["store"] = "memory"  # looking must not make a store
    try:
        server = Server(settings.model_copy(update=changed))
    except StoreLocked as error:
        raise CommandError(
            f"A server holds {path}, and it does not answer at {settings.host}:{settings.port}. "
            "Give its address with --host and --port."
        ) from error
    client = httpx.AsyncClient(
        transport=httpx.ASGITransport(app=server.app),
        base_url="http://127.0.0.1",
        headers={"authorization": f"Bearer {key}"},
    )
    try:
        yield client
    finally:
        runner.run(client.aclose())
        runner.run(server.close())


def _only_tenant(settings: "Settings") -> str:
    names = list(settings.keys)
    if len(names) > 1:
        raise CommandError(f"Say whose sessions with --tenant: {', '.join(names)}.")
    return names[0] if names else "local"


def _credential(settings: "Settings", tenant: str | None) -> dict[str, str]:
    if not settings.keys:
        return {}
    name = tenant or _only_tenant(settings)
    secret = settings.keys.get(name)
    if secret is None:
        raise CommandError(f"The settings hold no key of {name!r}: {', '.join(settings.keys)}.")
    key = secret.get_secret_value()
    if key.startswith("sha256:"):
        raise CommandError(
            f"The settings hold only a digest of {name!r}'s key, and the server that runs wants "
            "the key itself: set SCULPTOR_KEYS to tenant=key, or stop the server."
        )
    return {"authorization": f"Bearer {key}"}


def _typed(name: str) -> str:
    """Return an argument as a header of the same bytes is read: in UTF-8, else in Latin-1."""
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes that the terminal's encoding does not have
        return os.fsencode(name).decode("latin-1")
    return name


def _wants_whole(name: str, begin_so: list[str]) -> str:
    told = (
        f"There is no session {name!r}: give a whole ID (`sculptor sessions list --json` shows "
        "them), the name that its client gave it, or 'last'."
    )
    if not begin_so:
        return told
    more = len(begin_so) - _TOLD_IDS
    others = f" and {more} more" if more > 0 else ""
    return f"{told} IDs that begin so: {', '.join(begin_so[:_TOLD_IDS])}{others}."


def _told(response: "httpx.Response") -> str:
    """Return what an error says: the envelope's words, or the status where there is none."""
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"The server answered {response.status_code}."
