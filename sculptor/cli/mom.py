"""`sculptor mom`: look at, time, train and examine the Mixture-of-Memories model."""

import json
import math
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from sculptor.cli.stopping import INTERRUPTED, told_to_stop

app = typer.Typer(
    no_args_is_help=True,
    help="The small language model: what it is, how fast, how to train it, what it recalls.",
)

RecipeFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A recipe (TOML).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Threads = Annotated[int, typer.Option(min=0, help="CPU threads; 0 leaves the default.")]


@app.command()
def info(
    model: Annotated[
        Path | None,
        typer.Argument(
            exists=True, help="A weights folder or a recipe (TOML); else what is served."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a model: how many weights it has, the size of its state, how it is served.

    Of a recipe (this needs torch) also how many weights one token uses.

    Example: sculptor mom info
    """
    if model is None or model.is_dir():
        _tell(_weights_info(model), as_json=as_json)
    else:
        _tell(_recipe_info(model), as_json=as_json)


def _weights_info(folder: Path | None) -> dict[str, object]:
    from sculptor.cli.options import settings_of
    from sculptor.errors import SettingsError
    from sculptor.server.mom.loading import load_model
    from sculptor.server.mom.places import need_weights

    try:
        loaded = load_model(need_weights(str(folder or settings_of().mom_weights)))
    except SettingsError as error:
        _fail(str(error))
    weights, config = loaded.weights, loaded.weights.config
    return {
        "name": loaded.name,
        "fingerprint": loaded.fingerprint,
        "window_tokens": loaded.window_tokens,
        "parameters": sum(weights.tensor(name).size for name in weights.names()),
        "state_bytes": config.state_bytes,
        "layers": config.layers,
        "attention_layers": list(config.attention_layers),
        "rule": str(config.rule),
    }


def _recipe_info(recipe: Path) -> dict[str, object]:
    _need_torch()
    import torch

    from sculptor.mom.models.modeling import MomForCausalLM, count_active, count_parameters
    from sculptor.mom.recipes.recipe import load_recipe

    try:
        config = load_recipe(recipe).model
    except ValueError as error:
        _fail(str(error))
    with torch.device("meta"):
        model = MomForCausalLM(config)
    return {
        "parameters": count_parameters(model),
        "active_parameters": count_active(model),
        "state_bytes": config.state_bytes,
        "layers": config.layers,
        "attention_layers": list(config.attention_layers),
        "rule": str(config.rule),
    }


@app.command()
def bench(
    recipe: RecipeFile,
    length: Annotated[int, typer.Option(min=1, help="Tokens per sequence.")] = 1024,
    sequences: Annotated[int, typer.Option(min=1, help="Sequences in the pack.")] = 1,
    runs: Annotated[int, typer.Option(min=1, help="Timed repetitions.")] = 5,
    threads: Threads = 0,
    as_json: AsJson = False,
) -> None:
    """Time one layer forward and backward, and decoding; show that the state stays as it is.

    Example: sculptor mom bench evals/recipes/mom/small.toml --length 512 --threads 1 --json
    """
    _need_torch(threads)
    import torch

    from sculptor.mom.recipes.measure import measure_lengths, time_decode, time_mixer
    from sculptor.mom.recipes.recipe import load_recipe

    try:
        config = load_recipe(recipe).model
    except ValueError as error:
        _fail(str(error))
    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    layer = time_mixer(config.mixer, sequences=sequences, length=length, dtype=dtype, runs=runs)
    decode = time_decode(config, tokens=32, runs=runs)
    told = {
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "layer_forward_backward": asdict(layer),
        "layer_tokens_per_s": round(sequences * length / layer.median_s, 1),
        "decode_tokens_per_s": round(32 / decode.median_s, 1),
        "lengths": [asdict(p) for p in measure_lengths(config, lengths=(1, length), piece=length)],
    }
    _tell(told, as_json=as_json)


@app.command()
def train(
    recipe: RecipeFile,
    out: Annotated[Path, typer.Option(help="Folder of the run; an unfinished one is resumed.")],
    until: Annotated[int, typer.Option(min=0, help="Stop after this step; 0 runs all.")] = 0,
    seconds: Annotated[float, typer.Option(min=0, help="Stop after this time; 0: never.")] = 0,
    threads: Threads = 0,
    as_json: AsJson = False,
) -> None:
    """Train a model from a recipe, or go on with a run that was cut.

    Under `torchrun` every process takes its share of each batch. Ctrl-C writes a checkpoint first.

    Example: sculptor mom train evals/recipes/mom/small.toml --out runs/small
    """
    _need_torch(threads)
    from sculptor.mom.recipes.place import find_place
    from sculptor.mom.recipes.recipe import load_recipe
    from sculptor.mom.recipes.train import Trainer

    try:
        trainer = Trainer(load_recipe(recipe), folder=out, place=find_place())
    except ValueError as error:
        _fail(str(error))
    tell = None if trainer.place.rank else _progress
    # A launcher of several ends them by SIGTERM once one has failed, whom they would wait for.
    signals = [signal.SIGINT] if trainer.place.world > 1 else [signal.SIGINT, signal.SIGTERM]
    try:
        with told_to_stop(*signals) as is_told:
            line = trainer.run(
                until=until or None, seconds=seconds or math.inf, tell=tell, stop=is_told
            )
    except (FloatingPointError, ValueError) as error:
        _fail(str(error))
    if is_told():
        typer.echo(f"Stopped at step {trainer.step}; the same command goes on there.", err=True)
        raise typer.Exit(INTERRUPTED)
    if trainer.place.rank:
        return
    told: dict[str, object] = {"folder": str(out), "step": trainer.step}
    # The last evaluation may lie some steps back where the time ran out.
    _tell((asdict(line) if line else {}) | told, as_json=as_json)


@app.command()
def recall(
    plan: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A plan (TOML).")],
    out: Annotated[Path, typer.Option(help="Folder of the study; finished runs are kept.")],
    threads: Threads = 0,
    as_json: AsJson = False,
) -> None:
    """Compare models on a recall task: rates swept on one seed, the best run on all seeds.

    Example: sculptor mom recall evals/recipes/mom/mqar_cpu.toml --out runs/mqar_cpu
    """
    _need_torch(threads)
    from sculptor.mom.recipes.place import find_place
    from sculptor.mom.recipes.recall import load_plan, run_plan, summarize

    try:
        study = load_plan(plan)
        results = run_plan(study, folder=out, place=find_place(), tell=_progress)
    except ValueError as error:
        _fail(str(error))
    rows = summarize(study, results)
    if as_json:
        typer.echo(json.dumps({"arms": rows}))
        return
    for row in rows:
        typer.echo(f"{row['arm']}: {row['accuracy']:.4f} at rate {row['rate']:g}")


def _progress(line: str) -> None:
    typer.echo(line, err=True)


def _tell(values: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(values))
        return
    for name, value in values.items():
        typer.echo(f"{name.replace('_', ' ')}: {value}")


def _need_torch(threads: int = 0) -> None:
    if find_spec("torch") is None:
        _fail("This command needs torch; install it with: pip install torch")
    if threads:
        import torch

        torch.set_num_threads(threads)


def _fail(message: str) -> NoReturn:
    typer.echo(f"Error: {message}", err=True)
    sys.exit(1)
