"""What ``sculptor doctor`` looks at, one check a concern.

A check finds out by doing: it opens the store, asks the upstream, and has a model edit its context
through real requests to a server started for it. What it finds comes with what to do about it.
"""

import asyncio
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from sculptor.cli.running import find_server
from sculptor.errors import SculptorError, SettingsError, StoreError, StoreLocked, UpstreamError

if TYPE_CHECKING:
    from sculptor.server.settings import Settings

_UPSTREAM_WAIT_S = 15.0
_SAMPLE_INDEX = 6  # a stream of some 17,000 characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check found; ``fix`` says what to do where it is not well."""

    name: str
    told: str
    fix: str = ""

    @property
    def is_well(self) -> bool:
        """Whether nothing need be done."""
        return not self.fix


Check = Callable[["Settings"], Finding]


def run_checks(settings: "Settings") -> Iterator[tuple[str, Callable[[], Finding]]]:
    """Yield each check's name, and what makes it; a check never raises on purpose."""
    checks: tuple[tuple[str, Check], ...] = (
        ("tokenizer", check_tokenizer),
        ("address", check_address),
        ("store", check_store),
        ("upstream", check_upstream),
        ("edit", check_edit),
    )
    for name, check in checks:
        yield name, partial(_made, name, check, settings)


def check_tokenizer(settings: "Settings") -> Finding:
    """Count with every tokenizer whose ranks are shipped, and with one of the user's own."""
    from sculptor.tokens import EncodingName, TokenCounter

    names = tuple(dict.fromkeys((*get_args(EncodingName), *filter(None, [settings.encoding]))))
    for name in names:
        TokenCounter(encoding=name).count("one two three")
    return Finding(name="tokenizer", told=f"{', '.join(names)} count without a network")


def check_address(settings: "Settings") -> Finding:
    """See whether the address is free, or a server of ours answers there."""
    from sculptor.server.run import listen

    running = find_server(settings)
    if running is not None:
        return Finding(name="address", told=f"a server runs at {running.url}")
    try:
        listen(settings).close()
    except SettingsError as error:
        fix = "Stop what listens there, or set another port: --port, SCULPTOR_PORT."
        return Finding(name="address", told=str(error).partition(" Choose")[0], fix=fix)
    return Finding(name="address", told=f"{settings.host}:{settings.port} is free")


def check_store(settings: "Settings") -> Finding:
    """Open the store and derive every hash in it anew; a server's own store is left to it."""
    from sculptor.store import SqliteStore

    path = settings.store_path
    if path is None:
        return Finding(name="store", told="memory, gone when the server stops")
    running = find_server(settings)
    try:
        store = SqliteStore(path, durability=settings.durability)
    except StoreLocked as error:
        if running is not None and running.holds(path):
            return Finding(name="store", told=f"{path} is served at {running.url}")
        fix = "Stop that server, or set another file: --store, SCULPTOR_STORE."
        return Finding(name="store", told=str(error).partition(". ")[0], fix=fix)
    except StoreError as error:
        fix = "Set a file that can be written: --store, SCULPTOR_STORE."
        return Finding(name="store", told=str(error), fix=fix)
    try:
        problems = store.verify()
    finally:
        store.close()
    if problems:
        fix = "Put the file aside and restore it from a backup, or start with a new one."
        told = f"{path} is damaged: {problems[0]} ({len(problems)} in all)"
        return Finding(name="store", told=told, fix=fix)
    size_kib = path.stat().st_size / 1024
    return Finding(name="store", told=f"{path} can be written and is whole ({size_kib:,.0f} KiB)")


def check_upstream(settings: "Settings") -> Finding:
    """Ask the upstream for its models, with the key that requests would bear."""
    if settings.chosen_backend != "openai":
        return _embedded_finding(settings)
    try:
        key = settings.upstream_key
    except SettingsError as error:
        return Finding(name="upstream", told="its key is missing", fix=str(error))
    try:
        status, body = asyncio.run(_ask_models(settings, key))
    except UpstreamError as error:
        fix = f"See that {settings.upstream} is right and can be reached from here."
        return Finding(name="upstream", told=str(error), fix=fix)
    return _upstream_finding(settings, status, body)


def check_edit(settings: "Settings") -> Finding:
    """Have the scripted model fold a text through real requests, and take all of it back."""
    from sculptor.server.run import serve_in_thread
    from sculptor.server.settings import load_settings

    with tempfile.TemporaryDirectory(prefix="sculptor-doctor-") as folder:
        flags = {
            "port": 0,
            "store": str(Path(folder) / "trial.sqlite3"),
            "backend": "scripted",
            "admission": "on",
            "toolset": settings.toolset,
        }
        trial, _ = load_settings(flags, environment={}, folder=Path(folder))
        address, stop = serve_in_thread(trial)
        try:
            return _edit_finding(address)
        finally:
            stop()


def _made(name: str, check: Check, settings: "Settings") -> Finding:
    try:
        return check(settings)
    except (SculptorError, OSError) as error:
        return Finding(name=name, told=str(error), fix="Report this; the check itself failed.")


def _embedded_finding(settings: "Settings") -> Finding:
    from sculptor.server.app import make_backend

    name = settings.chosen_backend
    try:
        make_backend(settings)
    except SettingsError as error:
        return Finding(name="upstream", told=f"none, and no {name} backend", fix=str(error))
    return Finding(name="upstream", told=f"none; the {name} backend answers in this process")


async def _ask_models(settings: "Settings", key: str | None) -> tuple[int, bytes]:
    from sculptor.errors import UpstreamStatus
    from sculptor.server.answer import UpstreamTimeouts
    from sculptor.server.retries import RetrySettings
    from sculptor.server.upstream import Upstream, UpstreamSettings

    waits = UpstreamTimeouts(first_byte_s=_UPSTREAM_WAIT_S, idle_s=_UPSTREAM_WAIT_S)
    retries = RetrySettings(max_retries=0)
    upstream = Upstream(
        UpstreamSettings(url=settings.upstream, key=key, timeouts=waits, retries=retries)
    )
    try:
        with await upstream.relay("GET", "/models", None, request_id="doctor") as response:
            return response.status, await response.read()
    except UpstreamStatus as error:
        return error.status, error.body
    finally:
        await upstream.close()


def _upstream_finding(settings: "Settings", status: int, body: bytes) -> Finding:
    where = settings.upstream
    if status in (401, 403):
        if settings.relays_client_key:
            told = f"{where} answers and wants a key; each client's own is passed on"
            return Finding(name="upstream", told=told)
        named = settings.upstream_key_env
        fix = f"Put a valid key into {named}." if named else "Name its key: --upstream-key-env."
        return Finding(name="upstream", told=f"{where} refuses the key ({status})", fix=fix)
    if status in (404, 405):
        told, fix = f"{where} answers and lists no models", ""
        if _parsed(body) is None:
            told = f"{where} answers {status}, and not in JSON"
            fix = "Give the base URL of the API, as its clients use it; it often ends in /v1."
        return Finding(name="upstream", told=told, fix=fix)
    models = _parsed(body)
    if status >= 400:
        fix = "Ask its operator; the server would pass this error on."
        return Finding(name="upstream", told=f"{where} answers {status}", fix=fix)
    if not isinstance(models, dict) or not isinstance(models.get("data"), list):
        fix = "Give the base URL of the API, as its clients use it; it often ends in /v1."
        return Finding(name="upstream", told=f"{where} is no OpenAI-compatible API", fix=fix)
    source = f"the key from {settings.upstream_key_env}" if settings.upstream_key_env else "no key"
    return Finding(name="upstream", told=f"{where} takes {source} ({len(models['data'])} models)")


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _edit_finding(address: str) -> Finding:
    import httpx

    from sculptor.evals.exchange import prompt_messages
    from sculptor.evals.registry import find_task

    task = find_task("pi-llm")
    messages = list(prompt_messages(task, task.draw(_SAMPLE_INDEX, seed=0)))
    with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
        body = {"model": "scripted", "messages": messages}
        answer = client.post("/v1/chat/completions", json=body)
        if answer.is_error:
            return _broken_edit(f"a request was answered {answer.status_code}: {answer.text[:200]}")
        place = f"/api/sessions/{answer.headers['x-session-id']}"
        shown = client.get(f"{place}/view").json()
        made = client.get(f"{place}/operations").json()["operations"]
        if shown["unchanged"] or not made:
            return _broken_edit("the model was offered its tools, and nothing was folded")
        for operation in made:
            undone = client.post(
                f"{place}/operations", json={"kind": "undo", "operation": operation["id"]}
            )
            if undone.is_error:
                return _broken_edit(f"{operation['id']} could not be undone: {undone.text[:200]}")
        restored = client.get(f"{place}/view").json()
    if not restored["unchanged"] or restored["messages"][: len(messages)] != messages:
        return _broken_edit("undoing every operation did not bring the original back")
    told = (
        f"a model cut a view from {shown['original_tokens']:,} to {shown['tokens']:,} tokens "
        "through real requests; undone, it was the original again"
    )
    return Finding(name="edit", told=told)


def _broken_edit(told: str) -> Finding:
    return Finding(
        name="edit", told=told, fix="Reinstall sculptor-context; if it stays, report it."
    )
