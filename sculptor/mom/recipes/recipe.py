"""A training run as data: a TOML file with the tables ``model``, ``task`` and ``train``."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from sculptor.mom.models.config import MomConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How to train. ``batch`` counts examples over all processes.

    The rate warms up over ``warmup`` steps, then falls along ``schedule`` to ``final_rate`` times
    ``rate``. ``muon`` applies to matrices inside the blocks, AdamW to the rest. ``init`` names a
    folder of exported weights to begin from, with fresh optimisers.
    """

    steps: int
    batch: int
    rate: float
    seed: int = 0
    optimizer: Literal["adamw", "muon"] = "adamw"
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup: int = 100
    final_rate: float = 0.1
    weight_decay: float = 0.1
    clip: float = 1.0
    balance_weight: float = 0.01
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    workers: int = 0
    eval_every: int = 200
    eval_batches: int = 4
    save_every: int = 500
    init: str = ""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "workers", "eval_every", "eval_batches", "save_every"):
            if not isinstance(getattr(self, name), int):
                raise ValueError(f"train.{name} is {getattr(self, name)!r}; give a whole number.")
        for name in ("steps", "batch", "eval_every", "eval_batches", "save_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"train.{name} is {getattr(self, name)}; it must be at least 1.")
        if self.workers < 0:
            raise ValueError(f"train.workers is {self.workers}; 0 draws data in this process.")
        choices = {
            "optimizer": ("adamw", "muon"),
            "schedule": ("linear", "cosine", "constant"),
            "dtype": ("float32", "bfloat16", "float64"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"train.{name} is {getattr(self, name)!r}; choose {', '.join(allowed)}."
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The model, the task's table as it stands in the file, and how to train."""

    model: MomConfig
    task: Mapping[str, object]
    train: TrainSettings

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {
            "model": self.model.to_dict(),
            "task": dict(self.task),
            "train": asdict(self.train),
        }


def load_recipe(path: Path) -> Recipe:
    """Read a recipe file; a mistake in it is a ValueError that names the file."""
    try:
        return recipe_from_dict(tomllib.loads(path.read_text(encoding="utf-8")))
    except (ValueError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error


def recipe_from_dict(values: Mapping[str, object]) -> Recipe:
    """Build a recipe from its three tables."""
    tables = {}
    for name in ("model", "task", "train"):
        table = values.get(name)
        if not isinstance(table, Mapping):
            raise ValueError(f"The table [{name}] is missing.")
        tables[name] = table
    unknown = sorted(set(tables["train"]) - {f.name for f in fields(TrainSettings)})
    if unknown:
        raise ValueError(f"Unknown settings in [train]: {', '.join(unknown)}.")
    try:
        train = TrainSettings(**tables["train"])
    except TypeError as error:
        raise ValueError(f"[train] is incomplete: {error}.") from error
    return Recipe(model=MomConfig.from_dict(tables["model"]), task=tables["task"], train=train)
