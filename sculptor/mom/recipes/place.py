"""Where a process trains: its device, its place among others, and what they share."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where this process stands: its device, and its rank among ``world`` processes."""

    device: torch.device
    rank: int = 0
    world: int = 1


def find_place() -> Place:
    """Return where this process stands; starts `torch.distributed` if a launcher set it up."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    on_gpu = torch.cuda.is_available()
    if world == 1:
        return Place(device=torch.device("cuda" if on_gpu else "cpu"))
    dist.init_process_group("nccl" if on_gpu else "gloo")
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)  # kernels are launched on the current one
    return Place(device=device, rank=dist.get_rank(), world=world)


def average_gradients(model: nn.Module, *, world: int) -> None:
    """Give every process the mean of all their gradients."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None and p.numel()]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat.div_(world)
    parts = torch.split(flat, [g.numel() for g in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def is_any(value: bool, *, place: Place) -> bool:
    """Whether it is so for any process; all of them hear the same."""
    found = torch.tensor(float(value), device=place.device)
    if place.world > 1:
        dist.all_reduce(found)
    return bool(found)


@contextmanager
def alone_in(folder: Path, *, place: Place) -> Iterator[None]:
    """Hold a run's folder while the block runs; the first of several processes does it for all.

    Raises:
        ValueError: another process trains there.
    """
    if place.rank:
        yield
        return
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(
                f"Another process trains in {folder}; wait for it, or name another folder."
            ) from None
        yield
