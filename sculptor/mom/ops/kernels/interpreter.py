# mypy: ignore-errors
"""Runs the kernels on a CPU, in Triton's own interpreter, for tests and trials without a card.

Three things of it are mended: NumPy 2.4 makes no int of an array of one element, which a loop to a
loaded bound needs; bf16 numbers are kept as bits, and were multiplied as such; and fp32 was cut
off to bf16 where a card rounds to the nearest.
"""

import os

import numpy as np

Bits = np.ndarray


def switch_on() -> None:
    """Let kernels run in the interpreter; call this before any of them is imported."""
    os.environ["TRITON_INTERPRET"] = "1"
    import triton.language as tl
    from triton.runtime import interpreter

    if interpreter._patch_lang_tensor.__name__ == "patch_tensor":
        return
    original, convert = interpreter._patch_lang_tensor, interpreter._convert_float
    multiply = interpreter.InterpreterBuilder.create_dot

    def patch_tensor(tensor, scope):
        original(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    def convert_float(x, source, target, rounding):
        if (source, target) == (tl.float32, tl.bfloat16):
            return _rounded(x)
        if (source, target) == (tl.bfloat16, tl.float32):
            return _widened(x)
        return convert(x, source, target, rounding)

    def dot(self, a, b, *rest):
        return multiply(self, wide(a), wide(b), *rest)

    def wide(x):
        if x.dtype.scalar != tl.bfloat16:
            return x
        return interpreter.TensorHandle(_widened(x.data), tl.float32)

    interpreter._patch_lang_tensor = patch_tensor
    interpreter._convert_float = convert_float
    interpreter.InterpreterBuilder.create_dot = dot


def _widened(x: Bits) -> Bits:
    return (x.astype(np.uint32) << 16).view(np.float32)


def _rounded(x: Bits) -> Bits:
    bits = np.ascontiguousarray(x).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
