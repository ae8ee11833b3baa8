"""The command line: every command parses, calls one function, and prints what came of it."""


def main() -> None:
    """Run the command line; the entry point of ``sculptor``."""
    from sculptor.cli.app import app

    app(prog_name="sculptor")
