"""What the interpreter cannot show: that kernels compile for a card, and how large they get.

Triton makes a constant of an argument that is 1, which then has no methods of a tensor; and it
writes out every round of a loop over constants.
"""

import os
import subprocess
import sys
from pathlib import Path

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


_SPREAD = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from sculptor.mom.ops.kernels import grouped_kernels

pointers = {"rest": "*bf16", "place": "*i64", "memory": "*i64", "out": "*bf16", "tokens": "i32"}
constants = {"G": 17, "SLOTS": 17, "X": 8, "BX": 8, "BT": 128}
signature = pointers | {name: "constexpr" for name in constants}
source = ASTSource(fn=grouped_kernels.spread_kernel, signature=signature, constexprs=constants)
print(len(triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["cubin"]))
"""


def test_many_memories_read_densely_do_not_write_out_every_pair_of_them(tmp_path) -> None:
    """17 memories and as many slots once made 1.7 MB, in minutes."""
    assert _size(_SPREAD, tmp_path) < 250_000


def test_the_placing_of_rows_compiles_for_a_card_where_there_is_one_token(tmp_path) -> None:
    assert _size(_COMPILE, tmp_path) > 1_000


def _size(program: str, cache: Path) -> int:
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    env["TRITON_CACHE_DIR"] = str(cache)
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout)
