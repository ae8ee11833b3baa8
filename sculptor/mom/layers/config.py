"""What a Mixture-of-Memories layer is made of; no torch here, so it can be read cheaply."""

from dataclasses import dataclass
from typing import Literal

from sculptor.mom.ops.rules import UpdateRule

ConvPlace = Literal["memory", "before"]
"""``memory``: q, k and v are convolved among the tokens of one memory, as published.
``before``: the layer's input is convolved once, in original order, before routing."""

Read = Literal["routed", "dense", "keyed"]
"""``routed``: a token reads the memories it wrote. ``dense``: it reads every memory, weighted by
the router's probabilities, and writes the picked ones. ``keyed``: one router over keys picks the
memories to write by the token's key, and those to read by its query, so that a query finds what was
written under the same key; the key is the shared memory's."""

Gate = Literal["swish", "sigmoid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MixerConfig:
    """One layer: ``memories`` routed memories, ``top_k`` picked per token, maybe a shared one.

    A memory's state is ``heads`` matrices of ``key_dim x value_dim``. ``beta_max`` is 1, or 2 to
    let an erase flip the sign of what is stored.
    """

    d_model: int
    heads: int
    key_dim: int
    value_dim: int
    memories: int = 4
    top_k: int = 2
    shared: bool = True
    rule: UpdateRule = UpdateRule.GATED_DELTA
    conv: ConvPlace = "before"
    conv_width: int = 4
    read: Read = "routed"
    gate: Gate = "swish"
    beta_max: float = 1.0
    norm_eps: float = 1e-6
    chunk: int = 64

    def __post_init__(self) -> None:
        if not 0 <= self.top_k <= self.memories:
            raise ValueError(
                f"top_k is {self.top_k}; choose it between 0 and memories={self.memories}."
            )
        if self.groups == 0 or (self.memories and not self.top_k):
            raise ValueError("No memory would ever be written; set shared=true or top_k above 0.")
        if self.reads_all and self.conv == "memory":
            raise ValueError(
                f'read="{self.read}" needs conv="before": a memory\'s own convolution has no '
                "history of the tokens that only read it."
            )
        if self.read == "keyed" and not self.shared:
            raise ValueError(
                'read="keyed" needs shared=true: the shared memory\'s keys are routed by.'
            )
        if self.conv_width < 2:
            raise ValueError(f"conv_width is {self.conv_width}; it must be at least 2.")

    @property
    def groups(self) -> int:
        """How many states a sequence has: the routed memories and the shared one."""
        return self.memories + int(self.shared)

    @property
    def reads_all(self) -> bool:
        """Whether a token has a row in every memory, written or not."""
        return self.read != "routed"

    @property
    def slots(self) -> int:
        """How many rows a token makes."""
        picked = self.memories if self.reads_all else self.top_k
        return picked + int(self.shared)

    @property
    def key_width(self) -> int:
        """Channels of q and of k over all heads."""
        return self.heads * self.key_dim

    @property
    def value_width(self) -> int:
        """Channels of v over all heads."""
        return self.heads * self.value_dim

    @property
    def state_bytes(self) -> int:
        """Bytes of one sequence's recurrent state in fp32, convolution tails included."""
        matrices = self.groups * self.heads * self.key_dim * self.value_dim
        before = self.d_model
        per_memory = self.groups * (2 * self.key_width + self.value_width)
        tails = (self.conv_width - 1) * (before if self.conv == "before" else per_memory)
        return 4 * (matrices + tails)
