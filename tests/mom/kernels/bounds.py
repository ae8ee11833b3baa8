"""Checks every address a kernel touches in the interpreter, and fills fresh memory with garbage.

Under `checked` a place that is read or written must belong to the tensor whose pointer it was
reckoned from: not merely to memory that some tensor owns, as a card would ask. A strided view does
not own what lies between its rows. Fresh memory holds no zeros but what no index and no number may
be, so what was never written shows as an address out of bounds or as a result that is no number.
Not seen: what the compiler makes of a kernel, and programs that race.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
import triton
from torch import Tensor
from triton.runtime import interpreter

GARBAGE_INDEX = 2**30
_TRITON = str(Path(triton.__file__).parent)
_UNKNOWN = ("atomic_cas", "atomic_rmw", "make_block_ptr", "make_tensor_descriptor")
_MOVES = ("addptr", "splat", "unsplat", "broadcast", "expand_dims", "trans", "reshape", "bitcast")


@dataclass(frozen=True, slots=True, eq=False)
class Argument:
    """A tensor that a launch was given; ``owned`` says which elements from the first on are its."""

    kernel: str
    name: str
    begin: int
    size: int
    owned: np.ndarray

    @classmethod
    def of(cls, tensor: Tensor, *, kernel: str, name: str) -> "Argument":
        """Note where ``tensor`` lies."""
        extent = 0
        if tensor.numel():
            steps = zip(tensor.shape, tensor.stride(), strict=True)
            extent = 1 + sum((length - 1) * stride for length, stride in steps)
        owned = torch.zeros(extent, dtype=torch.bool)
        owned.as_strided(tensor.shape, tensor.stride()).fill_(True)
        size = tensor.element_size()
        return cls(kernel, name, tensor.data_ptr(), size, owned.numpy())

    def check(self, addresses: np.ndarray, *, does: str) -> None:
        """Raise where one of ``addresses`` is not an element of this tensor."""
        offset, rest = np.divmod(addresses.astype(np.int64) - self.begin, self.size)
        within = (offset >= 0) & (offset < len(self.owned)) & (rest == 0)
        wrong = ~within
        wrong[within] = ~self.owned[offset[within]]
        if wrong.any():
            first = int(offset[wrong].flat[0])
            x, y, z = interpreter.interpreter_builder.grid_idx
            raise OutOfBounds(
                f"{self.kernel} {does} {self.name}[{first}] of {int(self.owned.sum())} elements "
                f"within {len(self.owned)} ({int(wrong.sum())} such places of {wrong.size}), "
                f"{_line(sys._getframe(1))}, program ({x}, {y}, {z})"
            )


class OutOfBounds(AssertionError):
    """A kernel touched what its pointer does not own; says kernel, argument, offset and line."""


@dataclass(slots=True)
class Seen:
    """What ran under `checked`: launches of each kernel, places looked at."""

    launches: dict[str, int] = field(default_factory=dict)
    places: int = 0


@contextmanager
def checked(*, garbage: bool = True) -> Iterator[Seen]:
    """Check all that kernels read and write meanwhile; with ``garbage`` in fresh memory."""
    checks, builder = _Checks(), interpreter.InterpreterBuilder
    wraps: list[tuple[Any, str, Callable[[Any], Any]]] = [
        (interpreter.GridExecutor, "_init_args_hst", checks.taking_arguments),
        (interpreter, "_implicit_cvt", checks.naming),
        (builder, "create_masked_load", checks.loading),
        (builder, "create_masked_store", checks.storing),
        *((builder, f"create_{name}", _keeping) for name in _MOVES),
        *((builder, f"create_{name}", _refusing) for name in _UNKNOWN),
    ]
    if garbage:
        # A mode of torch would do, but none is on while gradients are made.
        fresh = (torch, "empty"), (torch, "empty_like"), (Tensor, "new_empty")
        wraps += [(owner, name, _filling) for owner, name in fresh]
    before = [(owner, name, vars(owner).get(name)) for owner, name, _ in wraps]
    for owner, name, wrap in wraps:
        setattr(owner, name, wrap(getattr(owner, name)))
    try:
        yield checks.seen
    finally:
        for owner, name, original in before:
            if original is None:  # what it inherits
                delattr(owner, name)
            else:
                setattr(owner, name, original)


class _Checks:
    """Wraps what the interpreter launches, loads and stores by; pointers know their tensor."""

    def __init__(self) -> None:
        self.seen = Seen()
        self._arguments: dict[int, Argument] = {}

    def taking_arguments(self, original: Any) -> Any:
        def take(executor: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
            kernel, seen = executor.fn.__name__, self.seen.launches
            seen[kernel] = seen.get(kernel, 0) + 1
            args, kwargs = original(executor, args, kwargs)
            named = [*zip(executor.arg_names, args, strict=False), *kwargs.items()]
            self._arguments = {
                id(value): Argument.of(value, kernel=kernel, name=name)
                for name, value in named
                if isinstance(value, Tensor)
            }
            return args, kwargs

        return take

    def naming(self, original: Any) -> Any:
        def convert(value: Any) -> Any:
            made = original(value)
            if id(value) in self._arguments:
                made.handle.set_attr("argument", self._arguments[id(value)])
            return made

        return convert

    def loading(self, original: Any) -> Any:
        def load(builder: Any, pointers: Any, mask: Any, *rest: Any) -> Any:
            self._look(pointers, mask, "reads")
            return original(builder, pointers, mask, *rest)

        return load

    def storing(self, original: Any) -> Any:
        def store(builder: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
            self._look(pointers, mask, "writes")
            return original(builder, pointers, value, mask, *rest)

        return store

    def _look(self, pointers: Any, mask: Any, does: str) -> None:
        live = pointers.data[np.broadcast_to(mask.data.astype(bool), pointers.data.shape)]
        self.seen.places += live.size
        if live.size:
            pointers.attr["argument"].check(live, does=does)


def _keeping(original: Any) -> Any:
    """Hand on whose pointer it is."""

    def move(builder: Any, *parts: Any) -> Any:
        made = original(builder, *parts)
        for part in parts:
            if isinstance(part, interpreter.TensorHandle) and "argument" in part.attr:
                made.set_attr("argument", part.attr["argument"])
        return made

    return move


def _refusing(original: Any) -> Any:
    def refuse(*_: Any) -> Any:
        raise NotImplementedError(f"{original.__name__} is not checked; teach `bounds` of it.")

    return refuse


def _filling(original: Any) -> Any:
    def allocate(*args: Any, **kwargs: Any) -> Tensor:
        made: Tensor = original(*args, **kwargs)
        with torch.no_grad():
            return made.fill_(torch.nan if made.is_floating_point() else GARBAGE_INDEX)

    return allocate


def _line(frame: FrameType | None) -> str:
    """Return file and line of the kernel that ``frame`` was called from."""
    own = (__file__, _TRITON)
    while frame is not None and frame.f_code.co_filename.startswith(own):
        frame = frame.f_back
    return "?" if frame is None else f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
