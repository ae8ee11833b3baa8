"""Whether a recall query is sent to the memories that its pair was written to.

``python evals/recipes/mom/route_agreement.py RUN [RUN ...] --out FILE.json`` reads finished runs of
a recall plan on MQAR. For every query and layer it compares the memories that the query reads with
those that the value of its pair was written to. Chance is the same count against the values of
the other pairs of the sequence, so an uneven load is no agreement. A layer says:

- ``together``: share of queries that read a memory their pair was written to; ``by_chance``.
- ``weight``: share of the routed read that falls on such memories; ``weight_by_chance``.
- ``right_together``, ``right_apart``: exact match where the queries meet their pair, and where not.
- ``picked``: how often keys, values and queries pick each memory; rows sum to ``top_k``.

Two interventions say what the route does. ``redirected``: exact match where every query is routed
as the value of its ``own`` pair was, of an ``other`` pair, or to the memories that were not picked
for its own (``apart``). ``silenced``: exact match without the values in the routed memories, or
in the shared one.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal
from unittest import mock

import torch
from torch import Tensor

from sculptor.evals.stats import wilson
from sculptor.mom.layers import mixer
from sculptor.mom.models.modeling import MomForCausalLM
from sculptor.mom.models.packing import pack_batch
from sculptor.mom.ops.routing import Route
from sculptor.mom.recipes.checkpoints import read_checkpoint
from sculptor.mom.recipes.data import Batches
from sculptor.mom.recipes.recipe import Recipe, recipe_from_dict
from sculptor.mom.recipes.tasks import Mqar, task_from_dict

EXAMPLE = "python evals/recipes/mom/route_agreement.py runs/recall/runs/mom-0.006-0 --out out.json"
Redirection = Literal["own", "other", "apart"]
REDIRECTIONS: tuple[Redirection, ...] = ("own", "other", "apart")


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """A batch of MQAR as ``Q`` queries: ``tokens [B, T]`` and, for each query, places in them.

    ``asked [Q]`` where it stands, ``values [Q, P]`` where the values of its sequence's pairs stand
    and ``own [Q]`` which pair is its own; ``targets [Q]`` the answers.
    """

    tokens: Tensor
    asked: Tensor
    values: Tensor
    own: Tensor
    targets: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """One layer: ``read [Q, M]`` the weight of each memory in a query's read, rows summing to one.

    ``written [Q, P, M]`` is true where a pair's value was written, ``own [Q]`` the pair that a
    query asks for, ``right [Q]`` whether its answer was.
    """

    read: Tensor
    written: Tensor
    own: Tensor
    right: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Counts over the queries of one layer; shares are between zero and one."""

    layer: int
    queries: int
    together: float
    by_chance: float
    weight: float
    weight_by_chance: float
    right_together: float | None
    right_apart: float | None
    together_interval: tuple[float, float]


def agree(reads: Reads, *, layer: int) -> Agreement:
    """Count how often queries meet their own pair, and how often they would meet another."""
    weight = torch.einsum("qm,qpm->qp", reads.read.double(), reads.written.double())
    met = torch.einsum("qm,qpm->qp", (reads.read > 0).double(), reads.written.double()) > 0
    own = torch.nn.functional.one_hot(reads.own, weight.shape[1]).bool()
    together = met[own]
    return Agreement(
        layer=layer,
        queries=together.numel(),
        together=_share(together),
        by_chance=_share(met[~own]),
        weight=round(float(weight[own].mean()), 4),
        weight_by_chance=round(float(weight[~own].mean()), 4),
        right_together=_share(reads.right[together]) if together.any() else None,
        right_apart=_share(reads.right[~together]) if not together.all() else None,
        together_interval=wilson(int(together.sum()), together.numel()),
    )


def ask(recipe: Recipe, *, batches: int) -> Iterator[Questions]:
    """Yield the first batches of the evaluation stream of a run."""
    task, train = task_from_dict(recipe.task), recipe.train
    if not isinstance(task, Mqar):
        raise ValueError(f"Pairs are known for MQAR alone, not for {recipe.task['kind']!r}.")
    stream = Batches(task, seed=train.seed, stream="eval", examples=train.batch)
    for i in range(batches):
        batch = stream[i]
        sequence = batch.asked // task.length
        keys = batch.tokens[:, 0 : 2 * task.pairs : 2][sequence]
        yield Questions(
            tokens=batch.tokens,
            asked=batch.asked,
            values=sequence.unsqueeze(1) * task.length + 1 + 2 * torch.arange(task.pairs),
            own=(keys == batch.tokens.flatten()[batch.asked].unsqueeze(1)).int().argmax(1),
            targets=batch.targets[batch.asked],
        )


@torch.inference_mode()
def answer(model: MomForCausalLM, questions: Questions) -> tuple[Tensor, tuple[Route, ...]]:
    """Return which queries were answered rightly ``[Q]``, and the routes of all tokens."""
    logits, output = model(pack_batch(questions.tokens))
    said = logits.flatten(0, -2)[questions.asked].argmax(-1)
    return said == questions.targets, output.routes


def reads_of(route: Route, questions: Questions, *, right: Tensor, dense: bool) -> Reads:
    """Return what a layer's queries read and where their pairs went."""
    none = torch.zeros_like(route.probabilities)
    picked = none.scatter(1, route.index, 1.0)
    read = route.probabilities if dense else none.scatter(1, route.index, route.weights)
    read = read if route.reads is None else route.reads
    return Reads(
        read=read[questions.asked],
        written=picked[questions.values] > 0,
        own=questions.own,
        right=right,
    )


def picks_by_kind(route: Route, questions: Questions) -> dict[str, Tensor]:
    """Return how often each memory ``[M]`` is picked by keys, by values and by queries."""
    picked = torch.zeros_like(route.probabilities).scatter(1, route.index, 1.0)
    values = questions.values.unique()
    places = {"keys": values - 1, "values": values, "queries": questions.asked}
    return {kind: picked[at].mean(0) for kind, at in places.items()}


def redirect(route: Route, questions: Questions, how: Redirection) -> Route:
    """Return the route with every query sent where a pair's value went, or where it did not go.

    The weights are those of that value's token. An ``other`` pair is the next one.
    """
    queries = torch.arange(len(questions.own))
    pair = (questions.own + (how == "other")) % questions.values.shape[1]
    value = questions.values[queries, pair]
    probabilities, index = route.probabilities[value], route.index[value]
    if how == "apart":
        index = probabilities.scatter(1, index, -1.0).topk(index.shape[1], dim=1).indices
    best = probabilities.gather(1, index)
    weights = best / best.sum(-1, keepdim=True)
    to, spread = questions.asked, torch.zeros_like(probabilities).scatter(1, index, weights)
    return Route(
        probabilities=route.probabilities.index_copy(0, to, spread),
        index=route.index.index_copy(0, to, index),
        weights=route.weights.index_copy(0, to, weights),
        reads=None if route.reads is None else route.reads.index_copy(0, to, spread),
    )


def examine_run(folder: Path, *, batches: int) -> dict[str, object]:
    """Return the agreement of a finished run by layer, and exact match under interventions."""
    recipe = recipe_from_dict(json.loads((folder / "recipe.json").read_text(encoding="utf-8")))
    model = MomForCausalLM(recipe.model).eval()
    kept = read_checkpoint(folder)
    if kept is None:
        raise ValueError(f"{folder} holds no checkpoint; name the folder of a training run.")
    model.load_state_dict(kept["model"])
    asked = list(ask(recipe, batches=batches))
    answers = [answer(model, questions) for questions in asked]
    layers = []
    for i in range(len(answers[0][1])):
        dense = recipe.model.read == "dense"
        parts = [
            reads_of(routes[i], questions, right=right, dense=dense)
            for questions, (right, routes) in zip(asked, answers, strict=True)
        ]
        kinds = [picks_by_kind(a[1][i], q) for q, a in zip(asked, answers, strict=True)]
        picked = {name: torch.stack([k[name] for k in kinds]).mean(0) for name in kinds[0]}
        layers.append(
            asdict(agree(_join(parts), layer=i))
            | {"picked": {n: [round(x, 3) for x in p.tolist()] for n, p in picked.items()}}
        )
    right = torch.cat([a[0] for a in answers])
    return {
        "run": folder.name,
        "step": kept["step"],
        "queries": right.numel(),
        "accuracy": _share(right),
        "redirected": {how: _redirected(model, asked, how) for how in REDIRECTIONS},
        "silenced": {which: _silenced(model, asked, which) for which in ("routed", "shared")},
        "layers": layers,
    }


def main() -> None:
    """Examine the runs and write one JSON list."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"Example: {EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", type=Path, nargs="+", help="folders with recipe and checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--batches", type=int, default=16, help="batches of the evaluation stream")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = [examine_run(folder, batches=arguments.batches) for folder in arguments.runs]
    arguments.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _share(hits: Tensor) -> float:
    return round(float(hits.double().mean()), 4)


def _join(parts: Sequence[Reads]) -> Reads:
    return Reads(
        read=torch.cat([p.read for p in parts]),
        written=torch.cat([p.written for p in parts]),
        own=torch.cat([p.own for p in parts]),
        right=torch.cat([p.right for p in parts]),
    )


def _redirected(model: MomForCausalLM, asked: Sequence[Questions], how: Redirection) -> float:
    """Return exact match with the queries of every layer sent elsewhere."""
    pick = mixer.Mixer.pick
    rights = []
    for questions in asked:

        def elsewhere(
            layer: mixer.Mixer, x: Tensor, questions: Questions = questions
        ) -> tuple[Route, Tensor]:
            chosen, x = pick(layer, x)
            return redirect(chosen, questions, how), x

        with mock.patch.object(mixer.Mixer, "pick", elsewhere):
            rights.append(answer(model, questions)[0])
    return _share(torch.cat(rights))


@torch.no_grad()
def _silenced(model: MomForCausalLM, asked: Sequence[Questions], which: str) -> float:
    """Return exact match with zeros for values in the routed or in the shared memories."""
    kept = {name: weight.clone() for name, weight in model.state_dict().items()}
    for part in model.modules():
        if isinstance(part, mixer.Mixer):
            c = part.config
            groups = slice(c.memories) if which == "routed" else slice(c.memories, None)
            part.memory[groups, :, c.key_width : c.key_width + c.value_width] = 0
    share = _share(torch.cat([answer(model, questions)[0] for questions in asked]))
    model.load_state_dict(kept)
    return share


if __name__ == "__main__":
    main()
