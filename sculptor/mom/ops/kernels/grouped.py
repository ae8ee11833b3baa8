# mypy: disallow-untyped-calls=False
# pyright: reportIndexIssue=false
"""`grouped_linear` on a GPU: rows gathered while they are read, no copy of the tokens."""

from typing import Any

import torch
from torch import Tensor
from triton import next_power_of_2

from sculptor.mom.ops.kernels import grouped_kernels as kernels
from sculptor.mom.ops.kernels.launches import MULTIPROCESSORS, Case, launch, setting
from sculptor.mom.ops.routing import RowPlan

_ENOUGH, _PROGRAMS, _LEAST_ROWS = 2 * MULTIPROCESSORS, 512, 4096
"""Two programs a multiprocessor, with which a gradient of the weights needs no parts; how many it
should have with parts, which are added up in one more pass; rows that are worth one more."""

_ROWS = 128
"""Rows, or tokens, of a program that moves few columns."""


def grouped_linear(x: Tensor, *, weight: Tensor, plan: RowPlan, wide: int) -> tuple[Tensor, Tensor]:
    """Return the first ``wide`` columns of `sculptor.mom.ops.grouped.grouped_linear`, and the rest.

    The rest are few: a tile of their own would be mostly empty, so they are made of every token for
    every memory, and picked.
    """
    how = plan.token, plan.memory, plan.row, plan.offsets, wide
    out: tuple[Tensor, Tensor] = _GroupedLinear.apply(x.contiguous(), weight, *how)
    return out


class _GroupedLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        token: Tensor,
        memory: Tensor,
        row: Tensor,
        offsets: Tensor,
        wide: int,
    ) -> tuple[Tensor, Tensor]:
        groups, inner, columns = weight.shape
        # Copies, so that rows begin on borders of 128 bytes: an eighth of the product's time.
        main = x.new_empty(groups, inner, wide).copy_(weight[:, :, :wide])
        few = x.new_empty(inner, groups, columns - wide)
        few.copy_(weight[:, :, wide:].transpose(0, 1))
        rows = _apply(x, main, source=token, offsets=offsets)
        with torch.autocast(x.device.type, enabled=False):
            every = x @ few.flatten(1)
        rest = _picked(every, token, memory, width=columns - wide)
        ctx.save_for_backward(x, main, few, token, memory, row, offsets)
        ctx.set_materialize_grads(False)
        ctx.dtype = weight.dtype
        return rows, rest

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        x, main, few, token, memory, row, offsets = ctx.saved_tensors
        inner, groups, narrow = few.shape
        wide, rows = main.shape[2], token.numel()
        drows, drest = gradients
        drows = x.new_zeros(rows, wide) if drows is None else drows.contiguous()
        drest = x.new_zeros(rows, narrow) if drest is None else drest.contiguous()
        by_row = _apply(drows, main, source=None, offsets=offsets)
        dx = sum_rows(by_row, row=row)
        dweight = torch.empty(groups, inner, wide + narrow, dtype=ctx.dtype, device=x.device)
        _weight_gradient(x, drows, token, offsets, into=dweight)
        if narrow:
            dfew = _spread(drest, row, memory, groups=groups)
            dx.addmm_(dfew, few.flatten(1).t())
            dweight[:, :, wide:] = (x.t() @ dfew).view(few.shape).transpose(0, 1)
        return dx, dweight, None, None, None, None, None


def _weight_gradient(
    x: Tensor, dy: Tensor, token: Tensor, offsets: Tensor, *, into: Tensor
) -> None:
    """Write the gradient of the weights into the first columns of ``into [G, d, C]``."""
    (groups, inner, _), columns = into.shape, dy.shape[1]
    case = Case(inner, columns, x.element_size() == 2)
    tiles = setting("grouped_weight_kernel", case).tiles
    programs = -(-inner // tiles["BD"]) * -(-columns // tiles["BN"]) * groups
    parts = _parts(programs, rows=dy.shape[0])

    def grid(chosen: dict[str, Any]) -> tuple[int, int, int]:
        return -(-inner // chosen["BD"]), -(-columns // chosen["BN"]), groups * parts

    sums = into
    if parts > 1:
        sums = torch.empty(parts, groups, inner, columns, dtype=torch.float32, device=x.device)
    launch(
        kernels.grouped_weight_kernel, grid, x, dy, sums, token, offsets, D=inner, C=columns,
        STRIDE=sums.shape[-1], G=groups, PARTS=parts, PRECISION=_precision(x), case=case,
    )  # fmt: skip
    if parts > 1:
        torch.sum(sums, 0, out=into[:, :, :columns])


def _picked(every: Tensor, token: Tensor, memory: Tensor, *, width: int) -> Tensor:
    """Return ``[R, width]``: what a row's memory has of its token in ``every [N, G * width]``."""
    out = every.new_empty(token.numel(), width)
    if width:
        kernels.pick_kernel[(-(-token.numel() // _ROWS),)](
            every, token, memory, out, token.numel(), every.shape[1],
            X=width, BX=next_power_of_2(width), BT=_ROWS,
        )  # fmt: skip
    return out


def _spread(rest: Tensor, row: Tensor, memory: Tensor, *, groups: int) -> Tensor:
    """Return ``[N, G * X]``: rows ``rest [R, X]`` put where `_picked` took them; zero elsewhere."""
    (tokens, slots), width = row.shape, rest.shape[1]
    out = rest.new_empty(tokens, groups * width)
    kernels.spread_kernel[(-(-tokens // _ROWS),)](
        rest, row, memory, out, tokens,
        G=groups, SLOTS=slots, X=width, BX=next_power_of_2(width), BT=_ROWS,
    )  # fmt: skip
    return out


def sum_rows(rows: Tensor, *, row: Tensor) -> Tensor:
    """Return ``[N, C]``: the sum of each token's rows of ``rows [R, C]``; ``row [N, slots]``."""
    (tokens, slots), inner = row.shape, rows.shape[1]
    out = torch.empty(tokens, inner, dtype=rows.dtype, device=rows.device)

    def grid(chosen: dict[str, Any]) -> tuple[int, int]:
        return -(-tokens // chosen["BT"]), -(-inner // chosen["BD"])

    launch(
        kernels.sum_rows_kernel, grid, rows, row, out, tokens, D=inner, SLOTS=slots,
        case=Case(inner, slots, rows.element_size() == 2),
    )  # fmt: skip
    return out


def _apply(x: Tensor, weight: Tensor, *, source: Tensor | None, offsets: Tensor) -> Tensor:
    """Multiply gathered rows by their group's matrix, or rows as they lie by its transpose."""
    groups, inner, columns = weight.shape
    gathers = source is not None
    rows = x.shape[0] if source is None else source.numel()
    if not gathers:
        inner, columns = columns, inner
    y = torch.empty(rows, columns, dtype=x.dtype, device=x.device)

    def grid(chosen: dict[str, Any]) -> tuple[int, int]:
        return -(-columns // chosen["BN"]), -(-rows // chosen["BM"]) + groups

    launch(
        kernels.grouped_linear_kernel, grid, x, weight, y, x if source is None else source,
        offsets, D=inner, C=columns, G=groups, GATHERS=gathers, TRANSPOSED=not gathers,
        PRECISION=_precision(x), case=Case(inner, columns, x.element_size() == 2),
    )  # fmt: skip
    return y


def _parts(programs: int, *, rows: int) -> int:
    """Return how many programs share the rows of one tile of a weight: enough to fill a card."""
    if programs >= _ENOUGH:
        return 1
    return max(1, min(-(-_PROGRAMS // programs), rows // _LEAST_ROWS))


def _precision(x: Tensor) -> str:
    return "tf32x3" if x.is_cuda else "ieee"
