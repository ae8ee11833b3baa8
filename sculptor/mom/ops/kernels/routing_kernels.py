# mypy: ignore-errors
# pyright: reportMissingImports=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
"""Laying out routed rows by a scan: count per block, place by rank, find the buckets.

``base [M * blocks + 1]`` is the scan of the counts, memory-major, so one number holds both where a
memory's group begins and how many of its rows lie in earlier blocks.
"""

import triton
import triton.language as tl


@triton.jit
def count_kernel(
    index, counts, tokens, blocks,
    M: tl.constexpr, TOP: tl.constexpr, BT: tl.constexpr,
):  # fmt: skip
    """Write how many tokens of a block picked each memory: ``counts [M, blocks]``."""
    block = tl.program_id(0)
    n = block * BT + tl.arange(0, BT)
    for m in tl.static_range(M):
        hits = tl.zeros([BT], dtype=tl.int32)
        for slot in tl.static_range(TOP):
            picked = tl.load(index + n.to(tl.int64) * TOP + slot, mask=n < tokens, other=-1)
            hits += (picked == m).to(tl.int32)
        tl.store(counts + m * blocks + block, tl.sum(hits).to(tl.int64))


@triton.jit
def place_kernel(
    index, base, row, token, memory, tokens, blocks,
    M: tl.constexpr, TOP: tl.constexpr, SHARED: tl.constexpr, BT: tl.constexpr,
):  # fmt: skip
    """Give each pick of a block its row: ``row [N, slots]`` and its inverse."""
    block = tl.program_id(0)
    n = block * BT + tl.arange(0, BT)
    inside = n < tokens
    wide = n.to(tl.int64)
    for m in tl.static_range(M):
        hits = tl.zeros([BT], dtype=tl.int32)
        for slot in tl.static_range(TOP):
            picked = tl.load(index + wide * TOP + slot, mask=inside, other=-1)
            hits += (picked == m).to(tl.int32)
        here = tl.load(base + m * blocks + block) + tl.cumsum(hits) - 1
        for slot in tl.static_range(TOP):
            picked = tl.load(index + wide * TOP + slot, mask=inside, other=-1)
            tl.store(row + wide * (TOP + SHARED) + slot, here, mask=picked == m)
        tl.store(token + here, wide, mask=hits > 0)
        tl.store(memory + here, tl.zeros([BT], dtype=tl.int64) + m, mask=hits > 0)
    if SHARED:
        # A single token is a constant to the compiler, without a width of its own.
        here = tl.zeros([BT], dtype=tl.int64) + tokens
        here = here * TOP + wide
        tl.store(row + wide * (TOP + SHARED) + TOP, here, mask=inside)
        tl.store(token + here, wide, mask=inside)
        tl.store(memory + here, tl.zeros([BT], dtype=tl.int64) + M, mask=inside)


@triton.jit
def bucket_kernel(
    index, base, cu_seqlens, cu_rows, tokens, blocks, sequences,
    TOP: tl.constexpr, BT: tl.constexpr,
):  # fmt: skip
    """Write where the bucket of a sequence and memory begins."""
    s, m = tl.program_id(0), tl.program_id(1)
    first = tl.load(cu_seqlens + s)
    block = first // BT
    n = block * BT + tl.arange(0, BT)
    before = tl.zeros([BT], dtype=tl.int32)
    for slot in tl.static_range(TOP):
        picked = tl.load(index + n * TOP + slot, mask=n < tl.minimum(first, tokens), other=-1)
        before += (picked == m).to(tl.int32)
    begin = tl.load(base + m * blocks + block) + tl.sum(before)
    tl.store(cu_rows + m * sequences + s, begin)
