"""Training from a recipe: one process or several, cut anywhere and resumed to the same numbers.

A run is a folder: ``recipe.json``, ``metrics.jsonl``, ``plot.svg`` and ``checkpoint.pt``. What
step ``i`` does depends on the weights, the optimisers and ``i`` alone, so a run that was cut goes
on from its last checkpoint as if nothing had happened; lines written after it are dropped.
"""

import json
import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sculptor.mom.engine.weights import WeightsError, load_weights
from sculptor.mom.models.modeling import LossParts, MomForCausalLM
from sculptor.mom.ops.routing import count_load
from sculptor.mom.recipes.captured import CapturedStep
from sculptor.mom.recipes.checkpoints import read_checkpoint, write_checkpoint
from sculptor.mom.recipes.data import Batches, TensorBatch, iter_batches
from sculptor.mom.recipes.metrics import MetricsLine, Score, drop_lines_after, write_line
from sculptor.mom.recipes.optim import load_states, make_optimizers, rate_at
from sculptor.mom.recipes.place import Place, alone_in, average_gradients, is_any
from sculptor.mom.recipes.recipe import Recipe
from sculptor.mom.recipes.tasks import task_from_dict

_LOOK_EVERY = 20
"""Steps between two looks at the clock and the loss."""


Tell = Callable[[str], None]


@dataclass(slots=True)
class _Pace:
    """Tokens since a run began, or went on."""

    began: float = field(default_factory=time.perf_counter)
    tokens: int = 0

    @property
    def tokens_per_s(self) -> float:
        """How many tokens a second it was, the start included."""
        return self.tokens / (time.perf_counter() - self.began)

    def told(self, loss: Tensor) -> str:
        """Return how it goes, as a line tells it."""
        return f"loss {float(loss.detach()):.3f}, {self.tokens_per_s:,.0f} tokens/s"


class Trainer:
    """Holds a run's model, optimisers and step; `run` carries it to the end."""

    def __init__(self, recipe: Recipe, *, folder: Path, place: Place) -> None:
        self.recipe, self.folder, self.place = recipe, folder, place
        self.task = task_from_dict(recipe.task)
        if self.task.vocab_size > recipe.model.vocab_size:
            raise ValueError(
                f"The task uses {self.task.vocab_size} tokens; "
                f"model.vocab_size is {recipe.model.vocab_size}."
            )
        weights, compute = _dtypes(recipe.train.dtype)
        torch.manual_seed(recipe.train.seed)
        model = MomForCausalLM(recipe.model, compute_dtype=compute)
        if recipe.train.init:
            _begin_from(model, Path(recipe.train.init))
        self.model = model.to(device=place.device, dtype=weights)
        self.optimizers = make_optimizers(self.model, recipe.train)
        self.step = 0
        self._exams: dict[int, TensorBatch] = {}
        self._load()
        self._captured = None
        if place.device.type == "cuda" and place.world == 1:
            self._captured = CapturedStep(self._work, model=self.model, optimizers=self.optimizers)

    def run(
        self,
        *,
        until: int | None = None,
        seconds: float = math.inf,
        tell: Tell | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> MetricsLine | None:
        """Train up to step ``until`` (default: the recipe's end) and return the last evaluation.

        A checkpoint is written every ``save_every`` steps and where the run stops. It does so
        early at a multiple of `_LOOK_EVERY` steps once ``seconds`` are over, and after any step
        (with several processes at such a multiple) once ``stop`` says so. ``tell`` hears how it
        goes, as often as one looks.

        Raises:
            ValueError: another process trains in this folder.
            FloatingPointError: the loss or the gradient is no number any more.
        """
        settings = self.recipe.train
        end = settings.steps if until is None else min(until, settings.steps)
        pace, last = _Pace(), None
        deadline = pace.began + seconds
        batches = iter_batches(
            self._stream("train"), first=self.step, end=end, workers=settings.workers
        )
        with alone_in(self.folder, place=self.place), closing(batches):
            if not self.place.rank:  # of steps that are made again
                drop_lines_after(self.folder, step=self.step)
            for batch in batches:
                parts, norm = self._one_step(batch.to(self.place.device))
                self.step += 1
                pace.tokens += batch.tokens.numel() * self.place.world
                if self.step % settings.eval_every == 0 or self.step == settings.steps:
                    last = self._evaluated(parts, norm, pace)
                over = self._is_over(deadline, stop)
                saves = over or self.step % settings.save_every == 0 or self.step == end
                if saves or self.step % _LOOK_EVERY == 0:
                    self._check(parts.cross_entropy, norm)
                    if tell:
                        tell(f"step {self.step} of {end}, {pace.told(parts.cross_entropy)}")
                if saves:
                    self._save()
                if over:
                    break
        return last

    def _evaluated(self, parts: LossParts, norm: Tensor, pace: "_Pace") -> MetricsLine:
        """Evaluate, and write how training stands."""
        line = MetricsLine(
            step=self.step,
            loss=float(parts.cross_entropy.detach()),
            balance=float(parts.balance.detach()),
            gradient_norm=float(norm),
            rate=rate_at(self.step - 1, self.recipe.train),
            tokens_per_s=round(pace.tokens_per_s, 1),
            score=self.evaluate(),
        )
        if not self.place.rank:
            write_line(self.folder, line)
        return line

    def _is_over(self, deadline: float, stop: Callable[[], bool] | None) -> bool:
        """Whether to stop after this step; several processes agree on it when they look."""
        asked = bool(stop and stop())
        if asked and self.place.world == 1:
            return True
        looks = self.step % _LOOK_EVERY == 0
        return looks and is_any(asked or time.perf_counter() > deadline, place=self.place)

    def _check(self, loss: Tensor, norm: Tensor) -> None:
        """Refuse to go on, and to save, after a loss or a gradient that is no number."""
        if not (math.isfinite(float(loss.detach())) and math.isfinite(float(norm))):
            raise FloatingPointError(
                f"The loss is no number any more at step {self.step}; begin anew at a lower "
                "train.rate, or go on from the last checkpoint."
            )

    def _one_step(self, batch: TensorBatch) -> tuple[LossParts, Tensor]:
        rate = rate_at(self.step, self.recipe.train)
        if self._captured:
            return self._captured(batch.levelled(), rate=rate)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        return self._work(batch)

    def _work(self, batch: TensorBatch) -> tuple[LossParts, Tensor]:
        settings = self.recipe.train
        self.model.train()
        parts = self.model.loss(
            batch.packed(),
            targets=batch.targets,
            weights=batch.weights,
            asked=batch.asked,
            balance_weight=settings.balance_weight,
        )
        total = parts.total
        if self.place.world > 1:
            total = total + (self._say(batch.weights) - 1) * parts.cross_entropy
        torch.autograd.backward(total)
        if self.place.world > 1:
            average_gradients(self.model, world=self.place.world)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        return parts, norm

    def _say(self, weights: Tensor) -> Tensor:
        """Return by what this process's mean counts, so that every token counts the same."""
        whole = weights.sum()
        dist.all_reduce(whole)
        return weights.sum() * self.place.world / whole.clamp(min=1e-9)

    @torch.inference_mode()
    def evaluate(self, *, batches: int | None = None) -> Score:
        """Score the model on the first ``batches`` batches of the eval stream."""
        self.model.eval()
        right, asked, entropy = 0, 0, 0.0
        loads: list[Tensor] = []
        for i in range(batches or self.recipe.train.eval_batches):
            batch = self._exam(i)
            output = self.model.model(batch.packed())
            logits, target = (
                self.model.logits(output.hidden[batch.asked]),
                batch.targets[batch.asked],
            )
            right += int((logits.argmax(-1) == target).sum())
            asked += target.numel()
            entropy += float(nn.functional.cross_entropy(logits, target, reduction="sum"))
            memories = self.recipe.model.memories
            loads.append(
                torch.stack([count_load(r.index, memories=memories) for r in output.routes])
                if output.routes
                else torch.zeros(0, 0)
            )
        total = torch.stack(loads).sum(0).double()
        share = total / total.sum(-1, keepdim=True).clamp(min=1)
        return Score(
            right=right,
            asked=asked,
            entropy=entropy / asked,
            load=[[round(x, 4) for x in layer] for layer in share.tolist()],
        )

    def _exam(self, index: int) -> TensorBatch:
        """Return a batch of the eval stream, on this device; drawn once."""
        if index not in self._exams:
            batch = self._stream("eval", alone=True)[index]
            self._exams[index] = batch.to(self.place.device)
        return self._exams[index]

    def _stream(self, stream: str, *, alone: bool = False) -> Batches:
        return Batches(
            self.task,
            seed=self.recipe.train.seed,
            stream="train" if stream == "train" else "eval",
            examples=self.recipe.train.batch,
            rank=0 if alone else self.place.rank,
            world=1 if alone else self.place.world,
        )

    def _save(self) -> None:
        if self.place.rank:
            return
        write_checkpoint(
            self.folder,
            {
                "step": self.step,
                "model": self.model.state_dict(),
                "optimizers": [o.state_dict() for o in self.optimizers],
            },
        )

    def _load(self) -> None:
        wanted = json.dumps(self.recipe.to_dict(), indent=1, sort_keys=True)
        told = self.folder / "recipe.json"
        if told.exists():
            if _what_counts(told.read_text(encoding="utf-8")) != _what_counts(wanted):
                raise ValueError(
                    f"{self.folder} holds a run of another recipe; name another folder or empty it."
                )
        elif self.place.rank == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            fresh = told.with_suffix(".new")
            fresh.write_text(wanted, encoding="utf-8")
            fresh.replace(told)
        kept = read_checkpoint(self.folder, device=self.place.device)
        if kept is not None:
            self.model.load_state_dict(kept["model"])
            load_states(self.optimizers, kept["optimizers"])
            self.step = kept["step"]


def _what_counts(recipe: str) -> dict[str, object]:
    """Return a recipe without what changes nothing but the time: how many workers draw data."""
    try:
        values: dict[str, object] = json.loads(recipe)
    except ValueError:
        return {}  # damaged: no run's
    train = values.get("train")
    if not isinstance(train, dict):
        return {}
    return values | {"train": {name: x for name, x in train.items() if name != "workers"}}


def _begin_from(model: MomForCausalLM, folder: Path) -> None:
    try:
        weights = load_weights(folder)
    except WeightsError as error:
        raise ValueError(f"train.init: {error}") from error
    if weights.config != model.config:
        raise ValueError(f"train.init: the weights in {folder} are of another shape of model.")
    model.load_state_dict({n: torch.from_numpy(weights.tensor(n)) for n in weights.names()})


def _dtypes(name: str) -> tuple[torch.dtype, torch.dtype | None]:
    if name == "bfloat16":
        return torch.float32, torch.bfloat16
    return getattr(torch, name), None
