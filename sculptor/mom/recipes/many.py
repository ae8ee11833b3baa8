# mypy: disallow-untyped-calls=False
"""Several small models trained side by side in one process.

A small model leaves a card waiting for its host. Here every model of a study is a *lane*: on a GPU
its whole step, optimisers included, is one captured graph over fixed buffers, replayed in turn;
on a CPU the same step runs as it is. Lanes that draw from the same stream of batches share each
batch. What a lane learns is what it would learn alone.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from sculptor.mom.models.modeling import MomForCausalLM
from sculptor.mom.models.packing import pack_batch
from sculptor.mom.ops.routing import count_load
from sculptor.mom.recipes.captured import CapturedStep
from sculptor.mom.recipes.data import Batches, TensorBatch, iter_batches
from sculptor.mom.recipes.metrics import Recalled
from sculptor.mom.recipes.optim import load_states, make_optimizers, rate_at
from sculptor.mom.recipes.recipe import Recipe
from sculptor.mom.recipes.tasks import Task, task_from_dict


class Lane:
    """One model with its optimisers and its step."""

    def __init__(self, recipe: Recipe, *, device: torch.device) -> None:
        self.recipe, self.device, self.step = recipe, device, 0
        self.task = task_from_dict(recipe.task)
        bf16 = recipe.train.dtype == "bfloat16"
        weights = torch.float32 if bf16 else getattr(torch, recipe.train.dtype)
        torch.manual_seed(recipe.train.seed)
        model = MomForCausalLM(recipe.model, compute_dtype=torch.bfloat16 if bf16 else None)
        self.model = model.to(device=device, dtype=weights)
        self._optimizers = make_optimizers(self.model, recipe.train)
        self._captured = None
        if device.type == "cuda":
            self._captured = CapturedStep(self._work, model=self.model, optimizers=self._optimizers)

    @property
    def done(self) -> bool:
        """Whether all steps of the recipe are made."""
        return self.step >= self.recipe.train.steps

    def advance(self, batch: TensorBatch) -> None:
        """Make one step on ``batch``, which lies on this lane's device."""
        rate = rate_at(self.step, self.recipe.train)
        if self._captured:
            self._captured(batch, rate=rate)
        else:
            for optimizer in self._optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = rate
            self._work(batch)
        self.step += 1

    def state_dict(self) -> dict[str, object]:
        """Return all that a resumed lane needs, for `torch.save`."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizers": [o.state_dict() for o in self._optimizers],
        }

    def load_state_dict(self, kept: Mapping[str, object]) -> None:
        """Go on from what `state_dict` returned; only before the first step."""
        assert isinstance(kept["step"], int)
        assert isinstance(kept["optimizers"], list)
        self.model.load_state_dict(kept["model"])  # type: ignore[arg-type]
        load_states(self._optimizers, kept["optimizers"])
        self.step = kept["step"]

    def _work(self, batch: TensorBatch) -> Tensor:
        for optimizer in self._optimizers:
            optimizer.zero_grad()
        parts = self.model.loss(
            pack_batch(batch.tokens),
            targets=batch.targets,
            weights=batch.weights,
            asked=batch.asked,
            balance_weight=self.recipe.train.balance_weight,
        )
        torch.autograd.backward(parts.total)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.train.clip)
        for optimizer in self._optimizers:
            optimizer.step()
        return parts.total.detach()


def run_lanes(
    lanes: Sequence[Lane],
    *,
    seconds: float = float("inf"),
    clock: Callable[[], float] = time.monotonic,
    watch: Callable[[], None] | None = None,
) -> bool:
    """Advance all lanes by turns until each is done; return False if ``seconds`` ran out first.

    Lanes of one task, seed and batch size see the same batches, drawn once. ``watch`` is called
    after every round, a step of each lane.
    """
    until, rounds = clock() + seconds, 0
    streams = {key: (group, _batches(group)) for key, group in _by_stream(lanes).items()}
    while streams:
        for key, (group, batches) in list(streams.items()):
            batch = next(batches, None)
            if batch is None:
                del streams[key]
                continue
            batch = batch.to(group[0].device)
            for lane in group:
                if not lane.done:
                    lane.advance(batch)
        rounds += 1
        if watch:
            watch()
        if rounds % 20 == 0 and lanes[0].device.type == "cuda":
            torch.cuda.synchronize()
        if clock() > until:
            return all(lane.done for lane in lanes)
    return True


@torch.inference_mode()
def examine(
    model: MomForCausalLM, *, task: Task, seed: int, examples: int, batches: int
) -> Recalled:
    """Score ``model`` by exact match on ``batches`` batches of the evaluation stream of a seed."""
    model.eval()
    device = model.model.embedding.device
    right, asked = 0, 0
    loads: list[Tensor] = []
    stream = Batches(task, seed=seed, stream="eval", examples=examples)
    for i in range(batches):
        batch = stream[i].to(device)
        logits, output = model(pack_batch(batch.tokens))
        wanted = batch.weights > 0
        right += int((logits[wanted].argmax(-1) == batch.targets[wanted]).sum())
        asked += int(wanted.sum())
        picks = [count_load(r.index, memories=model.config.memories) for r in output.routes]
        loads.append(torch.stack(picks) if picks else torch.zeros(0, 0))
    total = torch.stack(loads).sum(0).double()
    share = total / total.sum(-1, keepdim=True).clamp(min=1)
    model.train()
    rounded = [[round(x, 4) for x in layer] for layer in share.tolist()]
    return Recalled(right=right, asked=asked, load=rounded)


def _by_stream(lanes: Sequence[Lane]) -> dict[tuple[object, ...], list[Lane]]:
    groups: dict[tuple[object, ...], list[Lane]] = {}
    for lane in lanes:
        train = lane.recipe.train
        key = (repr(lane.task), train.seed, train.batch, lane.step)
        groups.setdefault(key, []).append(lane)
    return groups


def _batches(group: Sequence[Lane]) -> Iterator[TensorBatch]:
    first, train = group[0], group[0].recipe.train
    batches = Batches(first.task, seed=train.seed, stream="train", examples=train.batch)
    end = max(lane.recipe.train.steps for lane in group)
    return iter_batches(batches, first=first.step, end=end, workers=train.workers)
