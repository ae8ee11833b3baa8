"""``sculptor sessions``: look at what is stored, take an operation back, export, delete."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from sculptor.cli import options
from sculptor.cli.console import AsJson, CommandError, Group, print_json, visible
from sculptor.cli.management import Management, open_management

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="Look at stored sessions, undo an operation, export, delete.",
)

_TOLD_OPERATIONS = 5

SessionName = Annotated[
    str,
    typer.Argument(
        metavar="SESSION",
        help="Its ID, how that begins, the name that its client gave it (x-session-id), or 'last'; "
        "`sculptor sessions list` shows the IDs.",
    ),
]
WholeSessionName = Annotated[
    str,
    typer.Argument(
        metavar="SESSION",
        help="Its whole ID, the name that its client gave it (x-session-id), or 'last'; "
        "`sculptor sessions list --json` shows whole IDs.",
    ),
]
LaneFlag = Annotated[
    str | None, typer.Option("--lane", help="The lane; without it the one used last.")
]


@app.command("list")
def list_sessions(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="So many, last used first.")] = 20,
    tenant: options.Tenant = None,
    store: options.StoreFile = None,
    host: options.Host = None,
    port: options.Port = None,
    as_json: AsJson = False,
) -> None:
    """List sessions, last used first.

    Example: sculptor sessions list --limit 5
    """
    with _management(tenant, store, host, port) as api:
        answer, asked = api.get("/sessions", limit=limit), api.asked
    if as_json:
        print_json(answer)
        return
    from sculptor.cli.tables import print_sessions

    print_sessions(answer["sessions"])
    if not answer["sessions"]:
        typer.echo(asked, err=True)


@app.command("show")
def show_session(
    session: SessionName,
    lane: LaneFlag = None,
    tenant: options.Tenant = None,
    store: options.StoreFile = None,
    host: options.Host = None,
    port: options.Port = None,
    as_json: AsJson = False,
) -> None:
    """Show a session: its lanes, operations and fragments.

    Example: sculptor sessions show last
    """
    with _management(tenant, store, host, port) as api:
        name = api.find(session)
        answer = api.get(f"/sessions/{name}")
        operations = api.get(f"/sessions/{name}/operations", lane=lane)
        fragments = api.get(f"/sessions/{name}/fragments", lane=lane)
    if as_json:
        print_json(
            {
                **answer,
                "lane": fragments["lane"],
                "operations": operations["operations"],
                "fragments": fragments["fragments"],
            }
        )
        return
    from sculptor.cli.tables import print_fragments, print_operations, print_session

    print_session(answer, fragments["lane"])
    print_operations(operations["operations"])
    print_fragments(fragments["fragments"])


@app.command("diff")
def show_diff(
    session: SessionName,
    lane: LaneFlag = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Print all text, instead of its ends.")
    ] = False,
    tenant: options.Tenant = None,
    store: options.StoreFile = None,
    host: options.Host = None,
    port: options.Port = None,
    as_json: AsJson = False,
) -> None:
    """Show what the model is not shown, beside what it is shown instead.

    Example: sculptor sessions diff last --whole
    """
    with _management(tenant, store, host, port) as api:
        answer = api.get(f"/sessions/{api.find(session)}/diff", lane=lane)
    if as_json:
        print_json(answer)
        return
    from sculptor.cli.tables import print_diff

    print_diff(answer, whole=whole)


@app.command("undo")
def undo(
    session: SessionName,
    operation: Annotated[
        str | None,
        typer.Argument(
            metavar="OPERATION",
            help="Which to undo, such as o3; `sculptor sessions show SESSION` lists them.",
            show_default=False,
        ),
    ] = None,
    lane: LaneFlag = None,
    tenant: options.Tenant = None,
    store: options.StoreFile = None,
    host: options.Host = None,
    port: options.Port = None,
    as_json: AsJson = False,
) -> None:
    """Take one operation out of force; refused where later ones depend on it.

    Without an operation nothing is undone, and the newest ones are named.

    While an answer is being made with the tools, wait: undone meanwhile, it stays in force there.

    Example: sculptor sessions undo last o3
    """
    with _management(tenant, store, host, port) as api:
        name = api.find(session)
        if operation is None:
            raise CommandError(_choices(api, name, lane))
        body: dict[str, object] = {"kind": "undo", "operation": operation, "lane": lane}
        answer = api.post(f"/sessions/{name}/operations", body)
    if as_json:
        print_json(answer)
        return
    receipt = answer["receipt"]
    typer.echo(
        f"{operation} is undone by {answer['operation']}: the view had "
        f"{receipt['tokens_before']:,} tokens and has {receipt['tokens_after']:,}."
    )


@app.command("export")
def export(
    session: SessionName,
    form: Annotated[
        Literal["json", "markdown"], typer.Option("--format", help="What to write.")
    ] = "json",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file; without it standard output.")
    ] = None,
    tenant: options.Tenant = None,
    store: options.StoreFile = None,
    host: options.Host = None,
    port: options.Port = None,
) -> None:
    """Write a session out whole: JSON with nothing left out, or Markdown to read.

    On a terminal, control characters of Markdown are shown and not obeyed.

    Example: sculptor sessions export last --format markdown -o session.md
    """
    with _management(tenant, store, host, port) as api:
        content = api.read(f"/sessions/{api.find(session)}/export", format=form)
    if output is None:
        if form == "markdown" and sys.stdout.isatty():
            content = visible(content.decode()).encode()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    output.write_bytes(content)
    typer.echo(f"Wrote {len(content):,} bytes to {output}.", err=True)


@app.command("delete")
def delete(
    session: WholeSessionName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    tenant: options.Tenant = None,
    store: options.StoreFile = None,
    host: options.Host = None,
    port: options.Port = None,
    as_json: AsJson = False,
) -> None:
    """Delete a session with all that only it uses; this cannot be undone.

    Example: sculptor sessions delete my-run --yes
    """
    with _management(tenant, store, host, port) as api:
        name = api.find(session, whole=True)
        if not yes:
            _confirm(name)
        answer = api.delete(f"/sessions/{name}")
    if as_json:
        print_json(answer)
    else:
        typer.echo(f"Deleted session {name}.")


@contextmanager
def _management(
    tenant: str | None, store: str | None, host: str | None, port: int | None
) -> Iterator[Management]:
    settings = options.settings_of(store=store, host=host, port=port)
    with open_management(settings, tenant, own_store=store is not None) as api:
        yield api


def _choices(api: Management, session: str, lane: str | None) -> str:
    """Return what to say where no operation is named: the newest there are, and what shows all."""
    rows = api.get(f"/sessions/{session}/operations", lane=lane)["operations"]
    if not rows:
        return f"Session {session} has no operations on this lane; there is nothing to undo."
    told = ", ".join(f"{row['id']} ({row['kind']})" for row in rows[:_TOLD_OPERATIONS])
    return (
        f"Say which operation to undo, such as {rows[0]['id']}. The newest are {told}; "
        f"`sculptor sessions show {session}` lists all."
    )


def _confirm(name: str) -> None:
    if not sys.stdin.isatty():
        raise CommandError(f"Nobody can be asked here; give --yes to delete session {name}.")
    typer.confirm(f"Delete session {name} and all that only it uses?", abort=True)
