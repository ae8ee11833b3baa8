"""``sculptor doctor``: what is set, whether it works, and what to do where it does not."""

from typing import TYPE_CHECKING

import typer

from sculptor.cli import options
from sculptor.cli.console import AsJson, print_json

if TYPE_CHECKING:
    from sculptor.cli.checks import Finding
    from sculptor.server.settings import Settings, Source


def doctor(
    host: options.Host = None,
    port: options.Port = None,
    store: options.StoreFile = None,
    upstream: options.Upstream = None,
    upstream_key_env: options.UpstreamKeyEnv = None,
    backend: options.BackendName = None,
    toolset: options.ToolsetFlag = None,
    as_json: AsJson = False,
) -> None:
    """Check settings, store, upstream and tokenizer, and that an edit really happens.

    Ends with status 1 where something needs mending, having said what to do.

    Example: sculptor doctor --upstream http://127.0.0.1:11434/v1
    """
    from sculptor.cli.logs import configure_logs
    from sculptor.server.settings import load_settings

    configure_logs("error")
    settings, origins = load_settings(
        {
            "host": host,
            "port": port,
            "store": store,
            "upstream": upstream,
            "upstream_key_env": upstream_key_env,
            "backend": backend,
            "toolset": toolset,
        }
    )
    rows = setting_rows(settings, origins)
    findings = _examine_quietly(settings) if as_json else _examine_aloud(settings, rows)
    if as_json:
        print_json(
            {
                "ok": all(finding.is_well for finding in findings),
                "settings": [
                    dict(zip(("name", "value", "from"), row, strict=True)) for row in rows
                ],
                "checks": [
                    {"name": f.name, "ok": f.is_well, "told": f.told, "fix": f.fix}
                    for f in findings
                ],
            }
        )
    if not all(finding.is_well for finding in findings):
        raise typer.Exit(1)


def setting_rows(settings: "Settings", origins: "dict[str, Source]") -> list[tuple[str, str, str]]:
    """Return each setting's name, value and origin; of keys only whose they are."""
    rows: list[tuple[str, str, str]] = []
    for name, origin in origins.items():
        value = getattr(settings, name)
        shown = ", ".join(value) if name == "keys" else value
        if name == "backend":
            shown = settings.chosen_backend
        elif name == "admission_tokens":
            shown = settings.chosen_admission_tokens
        elif name == "store":
            shown = settings.store_path or "memory"
        rows.append((name, _as_text(shown), origin))
    return rows


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "-" if value is None else str(value) or "-"


def _examine_quietly(settings: "Settings") -> "list[Finding]":
    from sculptor.cli.checks import run_checks

    return [examine() for _, examine in run_checks(settings)]


def _examine_aloud(settings: "Settings", rows: list[tuple[str, str, str]]) -> "list[Finding]":
    """Print the settings, then each finding as soon as it is there."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from sculptor.cli.checks import run_checks

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("setting", "value", "from"):
        table.add_column(column, overflow="fold")
    for name, value, origin in rows:
        style = "dim" if origin == "default" else ""
        table.add_row(Text(name, style), Text(value, style), Text(origin, style))
    console.print(table)
    console.print()
    findings: list[Finding] = []
    for name, examine in run_checks(settings):
        with console.status(f"checking {name}"):
            finding = examine()
        findings.append(finding)
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_column(width=4)
        line.add_column(width=9)
        line.add_column(overflow="fold")
        mark = Text("ok", "green") if finding.is_well else Text("FAIL", "bold red")
        line.add_row(mark, name, Text(finding.told))
        if finding.fix:
            line.add_row("", "", Text(finding.fix, "yellow"))
        console.print(line)
    return findings
