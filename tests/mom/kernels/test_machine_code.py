"""What the assembler makes of narrow heads for an H200: nothing is read that was never written."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.mom.kernels.machine_code import reads_unwritten

pytest.importorskip("triton")

FAULTY = """
        /*0430*/                   ULDC.64 UR8, c[0x0][0x230] ;
        /*0440*/                   UMOV UR11, 0x80000020 ;
        /*0450*/                   UMOV UR10, UR8 ;
        /*0460*/                   UIADD3 UR14, UP0, UR23, 0x40, URZ ;
        /*0470*/                   UIADD3.X UR15, UR9, -0x7fffffe0, URZ, UP0, !UPT ;
        /*0480*/                   HGMMA.64x32x16.F32.BF16 R24, R56, gdesc[UR8].tnspB, RZ, !UPT ;
        /*0490*/                   HGMMA.64x32x16.F32.BF16 R24, R60, gdesc[UR12].tnspB, R24 ;
        /*04a0*/                   HGMMA.64x32x16.F32.BF16 R24, gdesc[UR12].tnspB, R24, gsb0 ;
        /*04b0*/                   UMOV UR23, URZ ;
        /*04c0*/                   EXIT ;
"""
"""As in `chunk_uw_kernel` of heads 32 wide in chunks of 64 rows: UR23 for UR8."""

LOOP = """
        /*0000*/                   UMOV UR4, 0x400 ;
        /*0010*/                   BRA `(.L_x_1) ;
.L_x_0:
        /*0020*/                   LDS R3, [R2+UR6+0x10] ;
        /*0030*/              @!P0 EXIT ;
.L_x_1:
        /*0040*/                   R2UR UP0, UR6, R5 ;
        /*0050*/               @P1 BRA `(.L_x_0) ;
        /*0060*/                   EXIT ;
"""


def test_a_descriptor_of_what_was_never_written_is_found() -> None:
    assert reads_unwritten(FAULTY) == [
        "UIADD3 UR14, UP0, UR23, 0x40, URZ",
        "HGMMA.64x32x16.F32.BF16 R24, gdesc[UR12].tnspB, R24, gsb0",
    ]


def test_what_another_path_wrote_before_counts() -> None:
    assert reads_unwritten(LOOP) == []
    elsewhere = LOOP.replace("UR6, R5", "UR7, R5")
    assert reads_unwritten(elsewhere) == ["LDS R3, [R2+UR6+0x10]"]


def _tell(tmp_path, *arguments: str) -> list[dict[str, Any]]:
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.mom.kernels.machine_code", *arguments, "--dtypes", "bf16"],
        env=env | {"TRITON_CACHE_DIR": str(tmp_path)}, cwd=Path(__file__).parents[3],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_heads_of_the_recall_study_need_no_descriptors(tmp_path) -> None:
    """Widths 32 x 32, and those of the arm with one wide memory."""
    told = _tell(tmp_path, "32x32", "32x64", "--heads", "5")
    assert len({line["kernel"] for line in told}) == 10
    assert [line for line in told if line["wgmma"] or line["unwritten"]] == []


def test_in_chunks_of_64_rows_they_would_read_what_was_never_written(tmp_path) -> None:
    """Where this fails a newer assembler is mended, and `chunk_rows` may go once a card agrees."""
    told = _tell(tmp_path, "32x32", "--chunk", "64", "--forward")
    assert {line["kernel"] for line in told if line["unwritten"]} == {"chunk_uw_kernel"}
