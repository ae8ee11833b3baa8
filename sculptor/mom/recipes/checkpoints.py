"""The file that a run goes on from: weights, optimisers and step, replaced whole."""

import os
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

CHECKPOINT_FILE = "checkpoint.pt"
_PARTS = {"step", "model", "optimizers"}


def write_checkpoint(folder: Path, values: Mapping[str, object]) -> None:
    """Put a new checkpoint in the place of the last one; a kill leaves one of the two."""
    fresh = folder / f"{CHECKPOINT_FILE}.new"
    torch.save(dict(values), fresh)
    os.replace(fresh, folder / CHECKPOINT_FILE)


def read_checkpoint(folder: Path, *, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """Return a run's last checkpoint, or None where it has none.

    Raises:
        ValueError: the file is damaged.
    """
    path = folder / CHECKPOINT_FILE
    if not path.exists():
        return None
    try:
        kept = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, EOFError, LookupError, UnpicklingError):
        kept = None
    if not isinstance(kept, dict) or not kept.keys() >= _PARTS:
        raise ValueError(f"{path} is damaged and cannot be gone on from; remove it to begin anew.")
    return kept
