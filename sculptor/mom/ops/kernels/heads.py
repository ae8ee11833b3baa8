# mypy: disallow-untyped-calls=False
# pyright: reportIndexIssue=false
"""`make_heads` on a GPU: one pass over the rows forward, no gathered or cut-out copies.

The gradient of the projection is written where it belongs, so nothing is put together afterwards,
and that of q goes from rows to tokens by a gather.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sculptor.mom.ops.heads import L2_EPS, Heads
from sculptor.mom.ops.kernels import heads_kernels as kernels
from sculptor.mom.ops.kernels.conv import next_tails, tail_gradient
from sculptor.mom.ops.kernels.grouped import sum_rows
from sculptor.mom.ops.kernels.launches import Case, launch, setting
from sculptor.mom.ops.kernels.sums import sum_parts
from sculptor.mom.ops.routing import RowPlan
from sculptor.mom.ops.segments import last_rows, locate_rows


def make_heads(
    rows: Tensor,
    *,
    tokens: Tensor,
    plan: RowPlan,
    convs: Sequence[Tensor],
    tails: Sequence[Tensor],
    heads: int,
    key_dim: int,
    value_dim: int,
    carries: bool = True,
) -> Heads:
    """Return what `sculptor.mom.ops.heads.make_heads` returns, q and k in the dtype of ``rows``."""
    tokens, rows = tokens.contiguous(), rows.contiguous()
    token = plan.token.int()  # an index of 32 bits takes fewer registers
    at = locate_rows(plan.cu_rows, rows=rows.shape[0])
    cut = rows.split([heads * key_dim, heads * value_dim], dim=1)
    weights = [w.float().contiguous() for w in convs]
    olds = [t.contiguous() for t in tails]
    q, k, v = _Heads.apply(
        rows, tokens, token, plan.row, plan.cu_rows, at.segment, at.place,
        (heads, key_dim, value_dim), *weights, *olds,
    )  # fmt: skip
    after: list[Tensor] = []
    if convs and carries:
        after.append(_gathered_tails(tokens, plan, olds[0]))
        after += [
            next_tails(x, tails=t, cu_seqlens=plan.cu_rows)
            for x, t in zip(cut, olds[1:], strict=True)
        ]
    return Heads(q=q, k=k, v=v, tails=tuple(after))


def _gathered_tails(tokens: Tensor, plan: RowPlan, tails: Tensor) -> Tensor:
    held = tails.shape[0] * tails.shape[1]
    index = last_rows(plan.cu_rows, width=tails.shape[1])
    new = tokens[plan.token[(index - held).clamp(min=0)]].to(tails.dtype)
    old = tails.flatten(0, 1)[index.clamp(max=held - 1)]
    return torch.where((index >= held).unsqueeze(2), new, old)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One of q, k and v: where its rows lie, how they are gathered and convolved."""

    x: Tensor
    source: Tensor | None
    weight: Tensor | None
    tails: Tensor | None
    dim: int
    unit: bool

    @property
    def width(self) -> int:
        """How many rows the convolution sees, 1 for none."""
        return 1 if self.weight is None else self.weight.shape[1]

    @property
    def case(self) -> Case:
        """What launch settings are chosen for."""
        return Case(self.dim, self.width, self.x.element_size() == 2)


class _Heads(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        tokens: Tensor,
        token: Tensor,
        row: Tensor,
        cu_rows: Tensor,
        segment: Tensor,
        place: Tensor,
        sizes: tuple[int, int, int],
        *convs: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        parts = _parts(rows, tokens, token, sizes, convs)
        q, k, v = (_forward(part, segment, place, heads=sizes[0]) for part in parts)
        ctx.save_for_backward(rows, tokens, token, row, cu_rows, segment, place, *convs)
        ctx.sizes = sizes
        return q, k, v

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows, tokens, token, row, cu_rows, segment, place, *convs = ctx.saved_tensors
        key_width, value_width = _widths(ctx.sizes)
        parts = _parts(rows, tokens, token, ctx.sizes, tuple(convs))
        drows, by_row = torch.empty_like(rows), tokens.new_empty(place.numel(), key_width)
        into = (by_row, drows[:, :key_width], drows[:, key_width : key_width + value_width])
        dweights: list[Tensor | None] = []
        dtails: list[Tensor | None] = []
        for i, (part, dy, dx) in enumerate(zip(parts, gradients, into, strict=True)):
            keeps = part.tails is not None and ctx.needs_input_grad[8 + 3 + i]
            dweight, dout = _backward(part, dy.contiguous(), dx, segment, place, keeps=keeps)
            if part.weight is None or part.tails is None:
                continue
            dweights.append(sum_parts(dweight).T)
            how = {"weight": part.weight, "tails": part.tails, "cu_seqlens": cu_rows}
            dtails.append(tail_gradient(dout, **how) if keeps else None)
        dtokens = sum_rows(by_row, row=row)
        return drows, dtokens, None, None, None, None, None, None, *dweights, *dtails


def _widths(sizes: tuple[int, int, int]) -> tuple[int, int]:
    heads, key_dim, value_dim = sizes
    return heads * key_dim, heads * value_dim


def _parts(
    rows: Tensor,
    tokens: Tensor,
    token: Tensor,
    sizes: tuple[int, int, int],
    convs: tuple[Tensor, ...],
) -> tuple[_Part, ...]:
    key_width, value_width = _widths(sizes)
    weights: Sequence[Tensor | None] = convs[:3] or (None,) * 3
    tails: Sequence[Tensor | None] = convs[3:] or (None,) * 3
    sources = (tokens, rows[:, :key_width], rows[:, key_width : key_width + value_width])
    return tuple(
        _Part(
            x=sources[i],
            source=token if i == 0 else None,
            weight=weights[i],
            tails=tails[i],
            dim=sizes[2] if i == 2 else sizes[1],
            unit=i < 2,
        )
        for i in range(3)
    )


def _forward(part: _Part, segment: Tensor, place: Tensor, *, heads: int) -> Tensor:
    y = torch.empty(place.numel(), heads, part.dim, dtype=part.x.dtype, device=part.x.device)
    launch(
        kernels.heads_kernel, _by_rows(place.numel(), heads), *_history(part, segment, place), y,
        part.x.stride(0), place.numel(), **_constants(part, heads), case=part.case,
    )  # fmt: skip
    return y


def _backward(
    part: _Part, dy: Tensor, dx: Tensor, segment: Tensor, place: Tensor, *, keeps: bool
) -> tuple[Tensor, Tensor]:
    """Write ``dx``; return the gradient of the weight in parts and, if it ``keeps`` it, ``dout``.

    That is the gradient of the convolution's output, at the first rows of each segment alone.
    """
    rows, heads, dim = dy.shape
    tiles = setting("heads_gradient_kernel", part.case).tiles
    # A program shares one sum for the taps over its rows.
    programs = -(-rows // (tiles["BT"] * tiles["TILES"]))
    dweight = dy.new_empty(programs, part.width, heads * dim, dtype=torch.float32)
    dout = dy.new_empty(rows, heads * dim) if keeps else dx
    launch(
        kernels.heads_gradient_kernel, (programs, heads), *_history(part, segment, place), dy, dx,
        dweight, dout, part.x.stride(0), dx.stride(0), rows, **_constants(part, heads),
        KEEPS=keeps, case=part.case,
    )  # fmt: skip
    return dweight, dout


def _history(part: _Part, segment: Tensor, place: Tensor) -> tuple[Tensor, ...]:
    """Return the rows with all that says which came before which; what is not used is a row."""
    unused = part.x
    return (
        part.x,
        unused if part.source is None else part.source,
        unused if part.weight is None else part.weight,
        unused if part.tails is None else part.tails,
        segment,
        place,
    )


def _constants(part: _Part, heads: int) -> dict[str, Any]:
    gathers = part.source is not None
    return {
        "H": heads, "D": part.dim, "W": part.width, "GATHERS": gathers, "UNIT": part.unit,
        "EPS": L2_EPS,
    }  # fmt: skip


def _by_rows(rows: int, heads: int) -> Any:
    return lambda chosen: (-(-rows // (chosen["BT"] * chosen["TILES"])), heads)
