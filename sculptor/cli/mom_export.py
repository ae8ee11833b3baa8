"""``sculptor mom export``: from a training run to weights that are served."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from sculptor.cli.console import AsJson, CommandError, print_json


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    folder: Annotated[Path, typer.Argument(help="Where the weights go.")],
    dtype: Annotated[
        Literal["int8", "float16", "float32"], typer.Option(help="How matrices are stored.")
    ] = "int8",
    name: Annotated[str, typer.Option(help="The model's name in answers.")] = "sculptor-mom",
    window_tokens: Annotated[
        int, typer.Option(min=1024, help="The longest view it is to be shown, in its own tokens.")
    ] = 32_768,
    as_json: AsJson = False,
) -> None:
    """Turn a training run's checkpoint into weights that are served without torch (needs torch).

    Example: sculptor mom export runs/language weights/language --window-tokens 16384
    """
    from sculptor.mom.language.tokenizer import load_tokenizer
    from sculptor.server.mom.loading import describe_model, load_model

    try:
        from sculptor.mom.recipes.export import export_run
    except ImportError:
        told = "export needs torch; install it with: pip install torch"
        raise CommandError(told) from None
    tokenizer = load_tokenizer()
    try:
        made = export_run(run, folder, dtype=dtype, vocab_size=tokenizer.vocab_size)
    except ValueError as error:
        raise CommandError(str(error)) from error
    describe_model(folder, tokenizer=tokenizer, name=name, window_tokens=window_tokens)
    loaded = load_model(folder)
    told_facts = {"folder": str(folder), "bytes": made.nbytes, "fingerprint": loaded.fingerprint}
    if as_json:
        print_json(told_facts)
    else:
        typer.echo(f"{folder}: {made.nbytes:,} bytes, {loaded.fingerprint}")
