"""Runs the Triton kernels on a CPU with Triton's own interpreter, where Triton is installed."""

import os
from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("triton") else ["test_*.py"]
os.environ["TRITON_INTERPRET"] = "1"


def _teach_interpreter_numpy() -> None:
    """Let a kernel loop to a loaded bound; NumPy 2.4 makes no int of a 1-element array."""
    from triton.runtime import interpreter

    original = interpreter._patch_lang_tensor

    def patched(tensor, scope):
        original(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    interpreter._patch_lang_tensor = patched


if find_spec("triton"):
    _teach_interpreter_numpy()
