"""States as records of tensors whose first axis is the sequence.

`TensorRecord` gives every state the same few verbs: copy, pick sequences, detach, count bytes,
write back in place. A field is a tensor or a tuple of tensors, or of records.
"""

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Self, cast

import torch
from torch import Tensor


class TensorRecord:
    """Base of the state dataclasses; the verbs act on every tensor of a record."""

    __slots__ = ()

    def tensors(self) -> Iterator[Tensor]:
        """Yield every tensor, in the order of the fields."""
        for field in fields(self):  # type: ignore[arg-type]
            yield from _leaves(getattr(self, field.name))

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Return a record of the same shape with ``change`` applied to every tensor."""
        changed = {
            field.name: _mapped(getattr(self, field.name), change)
            for field in fields(self)  # type: ignore[arg-type]
        }
        return type(self)(**changed)

    def snapshot(self) -> Self:
        """Return a copy that later steps cannot touch."""
        return self.map(lambda x: x.detach().clone())

    def select(self, index: Tensor) -> Self:
        """Return the sequences at ``index``; an index given twice makes a branch."""
        return self.map(lambda x: x[index])

    def restore(self, snapshot: Self) -> None:
        """Write ``snapshot`` back into these very tensors, as a captured CUDA graph needs."""
        with torch.no_grad():
            for mine, theirs in zip(self.tensors(), snapshot.tensors(), strict=True):
                mine.copy_(theirs)

    @property
    def nbytes(self) -> int:
        """Bytes held by all tensors."""
        return sum(x.numel() * x.element_size() for x in self.tensors())


def _leaves(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, TensorRecord):
        yield from value.tensors()
    else:
        for item in cast("tuple[object, ...]", value):
            yield from _leaves(item)


def _mapped(value: object, change: Callable[[Tensor], Tensor]) -> object:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, TensorRecord):
        return value.map(change)
    return tuple(_mapped(item, change) for item in cast("tuple[object, ...]", value))
