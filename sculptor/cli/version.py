"""``sculptor version``: which version this is, and of what it is made."""

import platform
from importlib import metadata

import typer

from sculptor.cli.console import AsJson, print_json, print_pairs

DISTRIBUTION = "sculptor-context"


def version(as_json: AsJson = False) -> None:
    """Print the version, with those of Python and SQLite.

    Example: sculptor version --json
    """
    import sqlite3

    facts = {
        "sculptor": installed_version(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }
    if as_json:
        print_json(facts)
    else:
        print_pairs(list(facts.items()))


def print_version(asked: bool) -> None:
    """Print the version alone and end, where ``--version`` was given."""
    if asked:
        typer.echo(f"sculptor {installed_version()}")
        raise typer.Exit


def installed_version() -> str:
    """Return the installed version; a checkout that is not installed has none."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "not installed"
