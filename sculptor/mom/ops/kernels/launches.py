"""How every tuned kernel is launched: warps, stages and tile sizes, as data.

`DEFAULTS` are rules made from compiler reports; what `tune.py` and `tune_pass.py` of
`evals/recipes/mom` measure on a card goes into `MEASURED` and wins. Settings are fixed, so a first
step costs no search.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

MULTIPROCESSORS = 132
"""Those of an H200."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Warps, pipeline stages and the kernel's own tile constants by name.

    ``registers`` bounds those of a thread, 0 leaves them to the compiler.
    """

    warps: int = 4
    stages: int = 3
    tiles: Mapping[str, int] = field(default_factory=dict)
    registers: int = 0

    def options(self) -> dict[str, int]:
        """Return what Triton takes at a launch."""
        bound = {"maxnreg": self.registers} if self.registers else {}
        return {**self.tiles, "num_warps": self.warps, "num_stages": self.stages, **bound}


@dataclass(frozen=True, slots=True)
class Case:
    """What a setting is chosen for: a kernel's two widths, and if its rows are 16-bit.

    The widths are key and value of a head for the delta rule, inner and columns for grouped
    products, a head's width and that of the convolution for heads. ``few`` serial chains do not
    fill a card, which then waits for the longest: smaller tiles make its steps shorter.
    """

    first: int
    second: int
    short: bool
    few: bool = False


MEASURED: dict[tuple[str, Case], Setting] = {
    ("erase_gradient_kernel", Case(64, 64, True)): Setting(tiles={"BK": 32, "BV": 32}),
    ("grouped_weight_kernel", Case(384, 768, True)): Setting(
        tiles={"BM": 64, "BN": 128, "BD": 128}
    ),
    ("grouped_linear_kernel", Case(384, 768, True)): Setting(
        warps=8, tiles={"BM": 128, "BN": 128, "BD": 64}
    ),
    ("grouped_linear_kernel", Case(768, 384, True)): Setting(
        tiles={"BM": 128, "BN": 128, "BD": 64}
    ),
    ("chunk_states_kernel", Case(128, 128, True)): Setting(tiles={"BV": 64}),
    ("state_gradient_kernel", Case(128, 128, True)): Setting(tiles={"BV": 64}),
    ("chunk_output_kernel", Case(128, 128, True)): Setting(tiles={"BK": 64, "BV": 128}),
    ("state_gradient_kernel", Case(128, 128, True, few=True)): Setting(tiles={"BV": 32}),
    ("met_states_kernel", Case(128, 128, True, few=True)): Setting(tiles={"BK": 64, "BV": 64}),
    ("erase_gradient_kernel", Case(128, 128, True)): Setting(stages=4, tiles={"BK": 32, "BV": 32}),
    ("key_gradient_kernel", Case(128, 128, True)): Setting(tiles={"BK": 64, "BV": 64}),
    ("grouped_weight_kernel", Case(512, 1024, True)): Setting(
        tiles={"BM": 64, "BN": 128, "BD": 128}
    ),
    ("grouped_linear_kernel", Case(512, 1024, True)): Setting(
        warps=8, tiles={"BM": 128, "BN": 128, "BD": 64}
    ),
    ("chunk_states_kernel", Case(256, 256, True)): Setting(warps=8, stages=2, tiles={"BV": 64}),
    ("chunk_output_kernel", Case(256, 256, True)): Setting(stages=2, tiles={"BK": 64, "BV": 128}),
    ("erase_gradient_kernel", Case(256, 256, True)): Setting(stages=4, tiles={"BK": 64, "BV": 64}),
    ("grouped_weight_kernel", Case(1024, 2048, True)): Setting(
        warps=8, stages=2, tiles={"BM": 128, "BN": 256, "BD": 128}
    ),
    ("grouped_linear_kernel", Case(2048, 1024, True)): Setting(
        warps=8, stages=4, tiles={"BM": 128, "BN": 256, "BD": 64}
    ),
}
"""What a card has shown to be best, by kernel and case: 2 to 28 % of each kernel's time."""


def setting(kernel: str, case: Case) -> Setting:
    """Return how a kernel is launched."""
    usual = (kernel, replace(case, few=False))
    return MEASURED.get((kernel, case)) or MEASURED.get(usual) or DEFAULTS[kernel](case)


def launch(kernel: Any, grid: Any, *arguments: Any, case: Case, **constants: Any) -> None:
    """Launch over ``grid``, which may be a function of the constants and tiles."""
    kernel[grid](*arguments, **constants, **setting(kernel.__name__, case).options())


def chunk_rows(case: Case) -> int:
    """Return how many rows of the delta rule make a chunk: 64, or 32 where a head is narrow.

    Products of 64 rows go through descriptors of shared memory (wgmma). Where a tile of them is 16
    or 32 wide, the assembler in Triton 3.6 (ptxas 12.8.93) may reckon a descriptor from a register
    that nothing wrote, and the multiprocessor reads wherever that points: an illegal access in
    `chunk_uw_kernel` on an H200. Products of 32 rows have no descriptors. 12.9.86, which Triton
    brings for Blackwell, is right. `tests/mom/kernels/test_machine_code.py` holds this, and an H200
    ran heads of 16 and 32 within the bounds since (`evals/recipes/mom/narrow.py`).
    """
    return 32 if _is_narrow(case) else 64


def _is_narrow(case: Case) -> bool:
    return min(case.first, case.second) < 64


def _by_key(case: Case) -> Setting:
    return Setting(tiles={"BK": min(64, case.first)})


def _by_value(case: Case) -> Setting:
    return Setting(tiles={"BV": min(64, case.second)})


def _by_both(case: Case) -> Setting:
    return Setting(tiles={"BK": min(64, case.first), "BV": min(64, case.second)})


def _key_gradient(case: Case) -> Setting:
    """Two programs share a multiprocessor's registers: with four warps, at 128 with eight too.

    Eight warps have nothing to share out in narrow tiles.
    """
    warps = 4 if _is_narrow(case) or (case.short and case.first != 128) else 8
    return Setting(warps=warps, tiles=_by_both(case).tiles)


def _erase_gradient(case: Case) -> Setting:
    """Four warps keep a row's sums within a warp, and two programs on a multiprocessor."""
    return Setting(warps=4 if case.short or _is_narrow(case) else 8, tiles=_by_both(case).tiles)


def _states(case: Case) -> Setting:
    """Narrow tiles where keys are wide, to stay in registers and, in fp32, in 227 KB."""
    tile = min(32 if case.first > 64 else 64, case.second)
    if not case.short:
        tile = min(16, tile) if case.first > 128 else tile
        # Eight warps over fp32 tiles this narrow read outside their memory (Triton 3.6, sm_90): the
        # fault of `chunk_rows` again.
        return Setting(stages=1, tiles={"BV": tile})
    if case.first > 128:
        return Setting(warps=8, stages=2, tiles={"BV": tile})
    return Setting(tiles={"BV": tile})


def _met_states(case: Case) -> Setting:
    """Small tiles: several programs on a multiprocessor wait for one another's stores."""
    tiles = (128, 64) if case.short else (64, 32)
    stages = 3 if case.short else 1
    return Setting(
        stages=stages, tiles={"BK": min(tiles[0], case.first), "BV": min(tiles[1], case.second)}
    )


def _grouped_linear(case: Case) -> Setting:
    wide = 256 if case.short and case.second > 256 else 128
    return Setting(warps=8, tiles={"BM": 128, "BN": wide, "BD": 64 if case.short else 32})


def _grouped_weight(case: Case) -> Setting:
    wide = case.short and case.second > 256
    tiles = {"BM": 64, "BN": 256 if wide else 128, "BD": 128 if wide else 64}
    return Setting(warps=8, stages=3 if case.short else 2, tiles=tiles)


def _heads(case: Case) -> Setting:
    if not case.short:
        return Setting(tiles={"BT": max(1, 1024 // case.first), "TILES": 8, "AHEAD": 2})
    return Setting(warps=1, tiles={"BT": max(1, 256 // case.first), "TILES": 32, "AHEAD": 2})


def _heads_gradient(case: Case) -> Setting:
    """Long runs of rows: fewer sums to add up, fewer rows that are read for another run only.

    One warp shares no sum of a row with another: a fifth to a third faster than four at width 256
    on a card. Bounds of 168 and 128 registers spill nothing (a few where tails get a gradient, at
    64 and less), and let 12 and 16 warps share a multiprocessor.
    """
    if not case.short:
        runs = 32 if case.first > 64 else 16
        return Setting(tiles={"BT": max(1, 1024 // case.first), "TILES": runs, "AHEAD": 2})
    tiles = {"BT": max(1, 128 // case.first), "TILES": 64, "AHEAD": 2}
    return Setting(warps=1, tiles=tiles, registers=168 if case.first > 128 else 128)


DEFAULTS: dict[str, Callable[[Case], Setting]] = {
    "chunk_gram_kernel": _by_key,
    "invert_blocks_kernel": lambda case: Setting(warps=1),
    "chunk_uw_kernel": _by_both,
    "chunk_states_kernel": _states,
    "chunk_output_kernel": _by_both,
    "local_gradient_kernel": _by_value,
    "met_states_kernel": _met_states,
    "state_gradient_kernel": _states,
    "key_gradient_kernel": _key_gradient,
    "erase_gradient_kernel": _erase_gradient,
    "grouped_linear_kernel": _grouped_linear,
    "grouped_weight_kernel": _grouped_weight,
    "sum_rows_kernel": lambda case: Setting(tiles={"BT": 8, "BD": 256}),
    "heads_kernel": _heads,
    "heads_gradient_kernel": _heads_gradient,
}
"""The rule for each kernel, until a card says better."""
