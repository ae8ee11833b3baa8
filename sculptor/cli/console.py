"""What all commands share: how they print, and how an error ends them.

An error raised on purpose is one line on standard error and a status of 1; Ctrl-C is a status of
130 and nothing else. What we did wrong keeps its traceback.
"""

import json
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sculptor.errors import SculptorError

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

INTERRUPTED = 130


class CommandError(SculptorError):
    """What a command cannot do; the text says what to do instead."""


class Group(TyperGroup):
    """A group of commands whose errors are one line."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            if not error.message:  # one that is missing: its help says what to give
                error.message = getattr(error.param, "help", None) or ""
            raise
        except BrokenPipeError:
            # Whoever read our output has enough; the interpreter must not try to flush it again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except (SculptorError, OSError) as error:
            typer.echo(f"Error: {visible(str(error))}", err=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


_VISIBLE = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: "\u2421",
    **{code: f"\\x{code:02x}" for code in range(0x80, 0xA0)},
    **{code: f"\\u{code:04x}" for code in (0x200E, 0x200F, *range(0x202A, 0x202F))},
    **{code: f"\\u{code:04x}" for code in range(0x2066, 0x206A)},
}


def visible(text: str) -> str:
    """Return text that does nothing to a terminal: control characters show as what they are.

    Conversations hold what anybody wrote; an escape sequence in one could rename a window, hide a
    line or write to the clipboard of who looks at it. Marks that turn the direction of writing are
    shown too. Line ends and tabs stay.
    """
    return text.translate(_VISIBLE)


def print_json(value: object) -> None:
    """Print one JSON value on one line, as UTF-8 whatever the terminal's encoding is."""
    text = json.dumps(value, ensure_ascii=False)
    sys.stdout.buffer.write(text.encode("utf-8", "surrogatepass") + b"\n")
    sys.stdout.buffer.flush()


def print_pairs(pairs: "list[tuple[str, str]]", *, title: str = "") -> None:
    """Print labels and values, the values in one column and never broken."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    if title:
        console.print(Text(title, style="bold"), soft_wrap=True)
    width = max(len(label) for label, _ in pairs)
    for label, value in pairs:
        line = Text.assemble(("  " + label.ljust(width + 2), "dim"), value)
        console.print(line, soft_wrap=True)
