# mypy: disallow-untyped-calls=False
"""The serial passes over the states that chunks meet, and over the gradients of these."""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from sculptor.mom.ops.kernels import walk_kernels as kernels
from sculptor.mom.ops.kernels.launches import Case, launch
from sculptor.mom.ops.kernels.pieces import Cut, join


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Shapes of a call; ``precision`` is that of products of fp32 tiles.

    ``piece`` is how many rows the serial pass takes at a time, 0 for whole segments, ``steps`` how
    many pieces the longest segment can have. ``heads_at_once`` share the memory for the states
    that chunks meet, which is kept from no pass to another. ``few``: see `Case`.
    """

    heads: int
    heads_at_once: int
    key_dim: int
    value_dim: int
    chunk: int
    short: bool
    precision: str
    piece: int
    steps: int
    few: bool

    @property
    def case(self) -> Case:
        """What launch settings are chosen for."""
        return Case(self.key_dim, self.value_dim, self.short)

    def walk_case(self, width: int) -> Case:
        """Return the same for a serial pass over states ``width`` wide."""
        return Case(self.key_dim, width, self.short, self.few)

    @property
    def state_shape(self) -> tuple[int, int, int]:
        """``[H, K, V]``."""
        return self.heads, self.key_dim, self.value_dim


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """What a serial pass runs over: a `Cut`, each piece's first chunk, the number of chunks."""

    cut: Cut
    chunk: Tensor
    chunks: int

    @classmethod
    def of(cls, cu_seqlens: Tensor, *, chunks: Cut, rows: int, plan: Plan) -> Self:
        """Cut the segments as ``plan`` says."""
        count = chunks.begin.numel()
        if not plan.piece:
            segment = torch.arange(cu_seqlens.numel() - 1, device=cu_seqlens.device)
            whole = Cut(
                begin=cu_seqlens[:-1],
                end=cu_seqlens[1:],
                segment=segment,
                first=segment,
                count=torch.ones_like(segment),
            )
            return cls(cut=whole, chunk=chunks.first, chunks=count)
        cut = Cut.of(cu_seqlens, rows=rows, size=plan.piece)
        inside = (cut.begin - cu_seqlens[cut.segment]) // plan.chunk
        return cls(cut=cut, chunk=chunks.first[cut.segment] + inside, chunks=count)

    @property
    def count(self) -> int:
        """How many there are."""
        return self.cut.begin.numel()

    def states_buffer(self, plan: Plan, *, like: Tensor) -> Tensor:
        """Return room for what the chunks of some heads meet, in the dtype of ``like``."""
        shape = (self.chunks, plan.heads_at_once, plan.key_dim, plan.value_dim)
        return like.new_empty(shape)

    def last(self, ends: Tensor, *, empty: Tensor | None) -> Tensor:
        """Return what each segment ends with; ``empty`` is what those without rows keep."""
        if empty is None:
            return ends
        cut = self.cut
        return torch.where(_filled(cut), ends[(cut.first + cut.count - 1).clamp(min=0)], empty)

    def first(self, starts: Tensor, *, empty: Tensor | None) -> Tensor:
        """Return what belongs to the first piece of each segment."""
        if empty is None:
            return starts
        cut = self.cut
        return torch.where(_filled(cut), starts[cut.first.clamp(max=self.count - 1)], empty)


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """The pass over the states, first chunk to last; it writes ``y``. ``rows``: ``k u w total``."""

    rows: tuple[Tensor, ...]
    y: Tensor
    pieces: Pieces
    plan: Plan

    def first_states(self, state: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """Return the pieces' maps, if there are any, and the states they begin with, None: zero."""
        plan, pieces = self.plan, self.pieces
        if not plan.piece:
            return None, state
        assert state is not None
        step_map = state.new_empty(pieces.count, plan.heads, plan.key_dim, plan.key_dim)
        rest = state.new_empty(pieces.count, *plan.state_shape)
        self.run("map", None, step_map)
        self.run("rest", None, rest)
        steps = plan.steps
        return step_map, join(step_map, rest, state=state, cut=pieces.cut, steps=steps, back=False)

    def run(
        self,
        kind: str,
        begin: Tensor | None,
        end: Tensor | None,
        *,
        states: Tensor | None = None,
        head: int = 0,
        count: int = 0,
    ) -> None:
        """Launch for ``count`` heads from ``head`` on, all by default; None begins at zero."""
        plan, pieces, unused = self.plan, self.pieces, self.y
        width = plan.key_dim if kind == "map" else plan.value_dim
        heads = count or plan.heads

        def grid(chosen: dict[str, Any]) -> tuple[int]:
            return (width // chosen["BV"] * heads * pieces.count,)

        launch(
            kernels.chunk_states_kernel, grid, *self.rows, unused if begin is None else begin,
            unused if end is None else end, unused if states is None else states, self.y,
            pieces.cut.begin, pieces.cut.end, pieces.chunk, head, heads,
            H=plan.heads, HS=plan.heads_at_once, K=plan.key_dim, V=width, C=plan.chunk, KIND=kind,
            EMPTY=begin is None, KEEPS=end is not None, PRECISION=plan.precision,
            case=plan.walk_case(width),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkBack:
    """The pass over the states' gradients; ``rows`` are ``q k w do dy total``."""

    rows: tuple[Tensor, ...]
    y: Tensor
    scale: float
    pieces: Pieces
    plan: Plan

    def meet(self, begin: Tensor | None, *, states: Tensor, head: int, count: int) -> None:
        """Write into ``states`` what chunks met, for ``count`` heads from ``head`` on."""
        plan, pieces = self.plan, self.pieces

        def grid(chosen: dict[str, Any]) -> tuple[int]:
            tiles = plan.key_dim // chosen["BK"] * (plan.value_dim // chosen["BV"])
            return (tiles * count * pieces.count,)

        _, k, _, _, _, total = self.rows
        launch(
            kernels.met_states_kernel, grid, k, self.y, total,
            self.y if begin is None else begin, states, pieces.cut.begin, pieces.cut.end,
            pieces.chunk, head, count, H=plan.heads, HS=plan.heads_at_once, K=plan.key_dim,
            V=plan.value_dim, C=plan.chunk, EMPTY=begin is None, PRECISION=plan.precision,
            case=plan.walk_case(plan.value_dim),
        )  # fmt: skip

    def last_states(self, dfinal: Tensor | None, step_map: Tensor | None) -> Tensor | None:
        """Return the gradient of the state that each piece ends with, None: zero."""
        if step_map is None:
            return dfinal
        assert dfinal is not None
        cut, steps = self.pieces.cut, self.plan.steps
        rest = dfinal.new_empty(self.pieces.count, *self.plan.state_shape)
        self.run("rest", None, rest)
        return join(step_map.mT, rest, state=dfinal, cut=cut, steps=steps, back=True)

    def run(
        self,
        kind: str,
        begin: Tensor | None,
        end: Tensor | None,
        *,
        dstates: Tensor | None = None,
        head: int = 0,
        count: int = 0,
    ) -> None:
        """Launch for ``count`` heads from ``head`` on, all by default; None begins at zero."""
        plan, pieces, unused = self.plan, self.pieces, self.rows[0]
        heads = count or plan.heads

        def grid(chosen: dict[str, Any]) -> tuple[int]:
            return (plan.value_dim // chosen["BV"] * heads * pieces.count,)

        launch(
            kernels.state_gradient_kernel, grid, *self.rows,
            unused if begin is None else begin, unused if end is None else end,
            unused if dstates is None else dstates, pieces.cut.begin, pieces.cut.end, pieces.chunk,
            self.scale, head, heads, H=plan.heads, HS=plan.heads_at_once, K=plan.key_dim,
            V=plan.value_dim, C=plan.chunk, KIND=kind, EMPTY=begin is None, KEEPS=end is not None,
            PRECISION=plan.precision, case=plan.walk_case(plan.value_dim),
        )  # fmt: skip


def _filled(cut: Cut) -> Tensor:
    return (cut.count > 0).view(-1, 1, 1, 1)
