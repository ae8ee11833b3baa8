# mypy: disallow-untyped-calls=False
# pyright: reportIndexIssue=false
"""`grouped_linear` on a GPU: rows gathered while they are read, no copy of the tokens."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sculptor.mom.ops.kernels import grouped_kernels as kernels
from sculptor.mom.ops.kernels.launches import Case, launch, setting
from sculptor.mom.ops.routing import RowPlan

_PROGRAMS, _LEAST_ROWS = 512, 4096
"""How many programs a gradient of the weights should have, and rows that are worth one more."""

COLUMN_STEP = 16
"""Columns are padded to a multiple of this, so that every row begins on a 16-byte border."""


def grouped_linear(x: Tensor, *, weight: Tensor, plan: RowPlan) -> Tensor:
    """Return what `sculptor.mom.ops.grouped.grouped_linear` returns."""
    return padded_grouped_linear(x, weight=weight, plan=plan)[:, : weight.shape[2]]


def padded_grouped_linear(x: Tensor, *, weight: Tensor, plan: RowPlan) -> Tensor:
    """Return `grouped_linear` with zero columns behind, up to a multiple of `COLUMN_STEP`."""
    weight = functional.pad(weight.to(x.dtype), (0, -weight.shape[2] % COLUMN_STEP))
    weight = weight.contiguous()
    out: Tensor = _GroupedLinear.apply(x.contiguous(), weight, plan.token, plan.row, plan.offsets)
    return out


def split_grouped_linear(
    x: Tensor, *, weight: Tensor, plan: RowPlan, widths: list[int]
) -> tuple[Tensor, Tensor]:
    """Return the first columns of `grouped_linear`, and the others."""
    rows, rest, _ = padded_grouped_linear(x, weight=weight, plan=plan).split(
        [*widths, -weight.shape[2] % COLUMN_STEP], dim=1
    )
    return rows.contiguous(), rest.contiguous()


class _GroupedLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, token: Tensor, row: Tensor, offsets: Tensor
    ) -> Tensor:
        ctx.save_for_backward(x, weight, token, row, offsets)
        return _apply(x, weight, source=token, offsets=offsets)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, token, row, offsets = ctx.saved_tensors
        dy = gradients[0].contiguous()
        by_row = _apply(dy, weight, source=None, offsets=offsets)
        dx = sum_rows(by_row, row=row)
        groups, inner, columns = weight.shape
        case = Case(inner, columns, x.element_size() == 2)
        tiles = setting("grouped_weight_kernel", case).tiles
        programs = -(-inner // tiles["BD"]) * -(-columns // tiles["BN"]) * groups
        parts = _parts(programs, rows=dy.shape[0])

        def grid(chosen: dict[str, Any]) -> tuple[int, int, int]:
            return -(-inner // chosen["BD"]), -(-columns // chosen["BN"]), groups * parts

        dweight = torch.empty(parts, *weight.shape, dtype=torch.float32, device=x.device)
        launch(
            kernels.grouped_weight_kernel, grid, x, dy, dweight, token, offsets, D=inner,
            C=columns, G=groups, PARTS=parts, PRECISION=_precision(x), case=case,
        )  # fmt: skip
        return dx, dweight.sum(0).to(weight.dtype), None, None, None


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
    return max(1, min(-(-_PROGRAMS // programs), rows // _LEAST_ROWS))


def _precision(x: Tensor) -> str:
    return "tf32x3" if x.is_cuda else "ieee"
