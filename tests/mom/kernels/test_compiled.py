"""What the interpreter cannot show: kernels compile for a card where an argument is 1.

Triton makes such an argument a constant, which has no methods of a tensor.
"""

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")

_COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from sculptor.mom.ops.kernels import routing_kernels

pointers = {name: "*i64" for name in ("index", "base", "row", "token", "memory")}
constants = {"tokens": 1, "blocks": 1, "M": 4, "TOP": 2, "SHARED": 1, "BT": 128}
signature = pointers | {name: "constexpr" for name in constants}
source = ASTSource(fn=routing_kernels.place_kernel, signature=signature, constexprs=constants)
print(len(triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["cubin"]))
"""


def test_the_placing_of_rows_compiles_for_a_card_where_there_is_one_token(tmp_path) -> None:
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    env["TRITON_CACHE_DIR"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", _COMPILE], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 1_000
