"""The commands of ``sculptor``, put together; what a command loads it loads when it runs."""

from typing import Annotated

import typer

from sculptor.cli import eval as eval_commands
from sculptor.cli import mom, sessions
from sculptor.cli.console import Group
from sculptor.cli.demo import demo
from sculptor.cli.doctor import doctor
from sculptor.cli.mom_eval import evaluate
from sculptor.cli.mom_export import export
from sculptor.cli.mom_talk import chat, generate
from sculptor.cli.serve import serve
from sculptor.cli.version import print_version, version
from sculptor.cli.wrap import WRAP_SETTINGS, wrap

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Give any language model the means to work on its own context.",
)


@app.callback()
def _root(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=print_version, is_eager=True
        ),
    ] = False,
) -> None:
    del show_version


app.command()(serve)
app.command()(demo)
app.command()(doctor)
app.command(context_settings=WRAP_SETTINGS)(wrap)
app.add_typer(sessions.app, name="sessions")
app.add_typer(eval_commands.app, name="eval")
mom.app.command("generate")(generate)
mom.app.command("chat")(chat)
mom.app.command("eval")(evaluate)
mom.app.command("export")(export)
app.add_typer(mom.app, name="mom")
app.command()(version)
