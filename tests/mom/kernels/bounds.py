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
from torch.overrides import TorchFunctionMode
from triton.runtime import interpreter

GARBAGE_INDEX = 2**30
_TRITON = str(Path(triton.__file__).parent)
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
    seen, builder = Seen(), interpreter.InterpreterBuilder
    arguments: dict[int, Argument] = {}
    patched: list[tuple[Any, str, Any]] = []

    def patch(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        original = getattr(owner, name)
        patched.append((owner, name, original))
        setattr(owner, name, make(original))

    def taking_arguments(original: Any) -> Any:
        def take(self: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
            kernel = self.fn.__name__
            seen.launches[kernel] = seen.launches.get(kernel, 0) + 1
            args, kwargs = original(self, args, kwargs)
            arguments.clear()
            for name, value in [*zip(self.arg_names, args, strict=False), *kwargs.items()]:
                if isinstance(value, Tensor):
                    arguments[id(value)] = Argument.of(value, kernel=kernel, name=name)
            return args, kwargs

        return take

    def naming(original: Any) -> Any:
        def convert(value: Any) -> Any:
            made = original(value)
            if id(value) in arguments:
                made.handle.set_attr("argument", arguments[id(value)])
            return made

        return convert

    def keeping(original: Any) -> Any:
        def move(self: Any, *parts: Any) -> Any:
            made = original(self, *parts)
            for part in parts:
                if isinstance(part, interpreter.TensorHandle) and "argument" in part.attr:
                    made.set_attr("argument", part.attr["argument"])
            return made

        return move

    def look(pointers: Any, mask: Any, does: str) -> None:
        live = pointers.data[np.broadcast_to(mask.data.astype(bool), pointers.data.shape)]
        seen.places += live.size
        if live.size:
            pointers.attr["argument"].check(live, does=does)

    def loading(original: Any) -> Any:
        def load(self: Any, pointers: Any, mask: Any, *rest: Any) -> Any:
            look(pointers, mask, "reads")
            return original(self, pointers, mask, *rest)

        return load

    def storing(original: Any) -> Any:
        def store(self: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
            look(pointers, mask, "writes")
            return original(self, pointers, value, mask, *rest)

        return store

    def refusing(original: Any) -> Any:
        def refuse(self: Any, *_: Any) -> Any:
            raise NotImplementedError(f"{original.__name__} is not checked; teach `bounds` of it.")

        return refuse

    patch(interpreter.GridExecutor, "_init_args_hst", taking_arguments)
    patch(interpreter, "_implicit_cvt", naming)
    patch(builder, "create_masked_load", loading)
    patch(builder, "create_masked_store", storing)
    for name in (f"create_{move}" for move in _MOVES):
        patch(builder, name, keeping)
    for name in ("atomic_cas", "atomic_rmw", "make_block_ptr", "make_tensor_descriptor"):
        patch(builder, f"create_{name}", refusing)
    try:
        if garbage:
            with _Garbage():
                yield seen
        else:
            yield seen
    finally:
        for owner, name, original in reversed(patched):
            setattr(owner, name, original)


class _Garbage(TorchFunctionMode):
    """Fills what is allocated without a value; on a card nothing says what lies there."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **kwargs or {})
        if func in (torch.empty, torch.empty_like, torch.empty_strided, Tensor.new_empty):
            with torch.no_grad():
                made.fill_(torch.nan if made.is_floating_point() else GARBAGE_INDEX)
        return made


def _line(frame: FrameType | None) -> str:
    """Return file and line of the kernel that ``frame`` was called from."""
    own = (__file__, _TRITON)
    while frame is not None and frame.f_code.co_filename.startswith(own):
        frame = frame.f_back
    return "?" if frame is None else f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
