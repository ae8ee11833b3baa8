"""Launch settings worth a try: from the present one, one thing changed at a time."""

from dataclasses import replace
from typing import Any

Setting = Any
Case = Any
"""Those of `launches`, which is imported only once it is known if Triton's interpreter is on."""

TILES: dict[str, list[dict[str, int]]] = {
    "chunk_gram_kernel": [{"BK": 32}, {"BK": 128}],
    "chunk_uw_kernel": [{"BK": 32, "BV": 32}, {"BK": 128, "BV": 128}],
    "chunk_states_kernel": [{"BV": 16}, {"BV": 32}, {"BV": 64}, {"BV": 128}],
    "chunk_output_kernel": [{"BV": 32}, {"BV": 128}, {"BK": 32}],
    "local_gradient_kernel": [{"BV": 32}, {"BV": 128}],
    "met_states_kernel": [{"BK": 64}, {"BV": 128}, {"BK": 64, "BV": 128}],
    "state_gradient_kernel": [{"BV": 16}, {"BV": 32}, {"BV": 64}],
    "key_gradient_kernel": [{"BV": 32}, {"BV": 128}],
    "erase_gradient_kernel": [{"BK": 32, "BV": 32}, {"BK": 128, "BV": 128}],
    "grouped_linear_kernel": [{"BM": 64}, {"BN": 128}, {"BN": 64}, {"BD": 32}, {"BD": 128}],
    "grouped_weight_kernel": [{"BM": 32}, {"BM": 128}, {"BN": 128}, {"BD": 64}, {"BD": 128}],
    "sum_rows_kernel": [{"BT": 4}, {"BT": 16}, {"BD": 128}, {"BD": 512}],
    "heads_kernel": [{"TILES": 16}, {"TILES": 64}, {"AHEAD": 4}, {"TILES": 48, "AHEAD": 3}],
    "heads_gradient_kernel": [{"AHEAD": 1}, {"AHEAD": 3}],
    "invert_blocks_kernel": [],
}
"""Other tiles, a few at a time. How much a program of `heads_gradient_kernel` takes, and the key
tile of `key_gradient_kernel`, are the shapes of what they write: `_same_rows` has those it can."""


def candidates(kernel: str, present: Setting, case: Case, *, quick: bool) -> list[Setting]:
    """Return the present setting, then others; ``quick`` keeps one of each sort."""
    warps = [replace(present, warps=n) for n in (1, 2, 4, 8)]
    stages = [replace(present, stages=n) for n in (1, 2, 3, 4) if _pipelines(kernel, present, case)]
    other = [_with(present, tiles) for tiles in TILES[kernel] if _fits(tiles, case)]
    other += _same_rows(kernel, present)
    # Larger tiles may want more warps than the present ones.
    other += [replace(x, warps=12 - x.warps) for x in other if x.warps in (4, 8)]
    if quick:
        warps, stages, other = warps[:1], stages[:1], other[:1]
    found: list[Setting] = []
    for setting in (present, *warps, *stages, *other):
        if setting not in found:
            found.append(setting)
    return found


def described(setting: Setting) -> str:
    """Return a setting as a word."""
    tiles = " ".join(f"{k}{v}" for k, v in sorted(setting.tiles.items()))
    return f"w{setting.warps} s{setting.stages} {tiles}".strip()


def _pipelines(kernel: str, present: Setting, case: Case) -> bool:
    """Whether the kernel has a loop of more than one round, so that stages mean anything."""
    own = ("heads_kernel", "heads_gradient_kernel")  # say themselves how many rows are under way
    if kernel in ("invert_blocks_kernel", "sum_rows_kernel", *own):
        return False
    tiles = present.tiles
    if kernel == "met_states_kernel":
        return True
    if kernel == "local_gradient_kernel":
        return tiles["BV"] < case.second
    channels = tiles.get("BK", case.first) < case.first or tiles.get("BV", 0) < case.second
    return channels or "BK" not in tiles


def _fits(tiles: dict[str, int], case: Case) -> bool:
    """Whether tiles of key and value channels (no other kernels have such) stay within a head."""
    return tiles.get("BK", 0) <= case.first and tiles.get("BV", 0) <= case.second


def _with(present: Setting, tiles: dict[str, int]) -> Setting:
    return replace(present, tiles={**present.tiles, **tiles})


def _same_rows(kernel: str, present: Setting) -> list[Setting]:
    """Return tiles of another height over the same rows a program."""
    if kernel != "heads_gradient_kernel":
        return []
    rows = present.tiles["BT"] * present.tiles["TILES"]
    heights = [n for n in (present.tiles["BT"] // 2, present.tiles["BT"] * 2) if n]
    return [_with(present, {"BT": n, "TILES": rows // n}) for n in heights]
