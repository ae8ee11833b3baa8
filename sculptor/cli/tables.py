"""Sessions as tables, made to be read at 80 columns and better at more."""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from sculptor.cli.console import visible

Row = Mapping[str, Any]

_SHOWN_CHARS = 160
_LISTED = 40
_STYLES = {"folded": "yellow", "summarized": "cyan", "marked": "magenta", "visible": "green"}


def print_sessions(rows: Sequence[Row]) -> None:
    """Print sessions, one a line."""
    if not rows:
        _console().print("No sessions yet.")
        return
    table = _table("session", "last used", ">messages", ">operations", ">billed tokens")
    for row in rows:
        table.add_row(
            row["id"][:12],
            ago(row["used"]),
            f"{row['messages']:,}",
            f"{row['operations']:,}",
            f"{row['billed_tokens']:,}",
        )
    _console().print(table)


def print_session(answer: Row, shown_lane: str) -> None:
    """Print one session's head: its times, its lanes, what it cost."""
    console = _console()
    console.print(Text(f"Session {answer['id']}", style="bold"), soft_wrap=True)
    console.print(f"created {_moment(answer['created'])}, last used {ago(answer['used'])}\n")
    table = _table("lane", "agent", "last used", ">operations", "tools")
    for lane in answer["lanes"]:
        mark = " *" if lane["id"] == shown_lane and len(answer["lanes"]) > 1 else ""
        offered = "offered" if lane["admitted"] else "not yet"
        agent, count = escape(visible(lane["agent"] or "-")), f"{lane['operations']:,}"
        table.add_row(lane["id"] + mark, agent, ago(lane["used"]), count, offered)
    console.print(table)
    if answer["usage"]:
        costs = _table("calls for", ">calls", ">prompt", ">cached", ">completion")
        for row in answer["usage"]:
            numbers = ("calls", "prompt_tokens", "cached_tokens", "completion_tokens")
            costs.add_row(row["purpose"], *(f"{row[name]:,}" for name in numbers))
        console.print()
        console.print(costs)
    console.print()


def print_operations(rows: Sequence[Row]) -> None:
    """Print operations, newest first."""
    if not rows:
        _console().print("No operations on this lane.")
        return
    table = _table("operation", "kind", "by", "when", ">fragments", ">view before", ">after")
    for row in rows[:_LISTED]:
        receipt = row["receipt"]
        table.add_row(
            row["id"],
            row["kind"],
            row["author"],
            ago(row["time"]),
            str(len(row["fragments"])),
            f"{receipt['tokens_before']:,}",
            f"{receipt['tokens_after']:,}",
        )
    _console().print(table)
    _print_rest(len(rows), "operations")


def print_fragments(rows: Sequence[Row]) -> None:
    """Print fragments, in reading order."""
    if not rows:
        return
    _console().print()
    table = _table("fragment", ">message", "role", ">tokens", "state", "begins")
    for row in rows[:_LISTED]:
        pin = f", pinned by {row['pinned_by']}" if row["pinned_by"] else ""
        state = Text(row["status"] + pin, style=_STYLES.get(row["status"], ""))
        begin = Text(visible(" ".join(row["starts"].split())), overflow="ellipsis", no_wrap=True)
        table.add_row(
            row["id"], str(row["message"]), row["role"], f"{row['tokens']:,}", state, begin
        )
    _console().print(table)
    _print_rest(len(rows), "fragments")


def print_diff(answer: Row, *, whole: bool) -> None:
    """Print each changed message, what came beside what is shown."""
    console = _console()
    if not answer["messages"]:
        console.print("Nothing is changed: the model is shown what the client sent.")
        return
    for row in answer["messages"]:
        title = (
            f"message {row['index']}, {row['role']}: "
            f"{row['tokens_before']:,} tokens, shown as {row['tokens_after']:,}"
        )
        table = Table(title=title, title_justify="left", expand=True, show_lines=True)
        table.add_column("as it came", ratio=1, overflow="fold")
        table.add_column("as shown", ratio=1, overflow="fold")
        for stretch in row["stretches"]:
            style = _STYLES.get(stretch["kind"], "dim")
            texts = (stretch["original"], stretch["rendered"])
            left, right = (visible(text if whole else _elided(text)) for text in texts)
            if stretch["kind"] == "same":
                right = "unchanged"
            table.add_row(Text(left, style=style if style == "dim" else ""), Text(right, style))
        console.print(table)
    console.print(
        f"The whole view: {answer['tokens_after']:,} tokens of {answer['tokens_before']:,}."
    )


def ago(seconds: float, now: float | None = None) -> str:
    """Return a past time as people say it: ``3 min ago``; past a month its date."""
    passed = max(0.0, (time.time() if now is None else now) - seconds)
    if passed < 60:
        return "just now"
    for unit, size, most in (("min", 60, 60), ("h", 3_600, 24), ("days", 86_400, 31)):
        if passed < size * most:
            return f"{int(passed // size)} {unit} ago"
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d")


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


def _elided(text: str) -> str:
    left_out = len(text) - 2 * _SHOWN_CHARS
    if left_out <= 0:
        return text
    return f"{text[:_SHOWN_CHARS]}\n[… {left_out:,} characters …]\n{text[-_SHOWN_CHARS:]}"


def _print_rest(count: int, what: str) -> None:
    if count > _LISTED:
        _console().print(f"{count - _LISTED:,} more {what}; --json prints all.")


def _table(*columns: str) -> Table:
    """Return a plain table; a column whose name begins with ``>`` is aligned right."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in columns:
        is_number = name.startswith(">")
        table.add_column(name.lstrip(">"), justify="right" if is_number else "left")
    return table


def _console() -> Console:
    return Console(highlight=False)
