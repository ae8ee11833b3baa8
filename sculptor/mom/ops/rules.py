"""The update rules by name, as points of one family.

Every rule is ``S <- diag(a) S``, ``e = beta (v - erase * k S)``, ``S <- S + k^T e``,
``o = scale * q S``. A rule says where the decay ``a`` comes from, whether the write strength
``beta`` is learned, and whether the old value under the key is erased. Gated delta is the default
of Mixture-of-Memories (arXiv 2502.13685, Table 1).
"""

from enum import StrEnum
from typing import Literal

Decay = Literal["none", "constant", "head", "channel"]


class UpdateRule(StrEnum):
    """How a memory takes in one token."""

    LINEAR = "linear"
    RETNET = "retnet"
    GLA = "gla"
    DELTA = "delta"
    GATED_DELTA = "gated_delta"

    @property
    def decay(self) -> Decay:
        """Where the decay comes from: nowhere, a constant per head, a gate per head or channel."""
        return _DECAY[self]

    @property
    def erases(self) -> bool:
        """Whether the value read under the key is removed before the new one is written."""
        return self in (UpdateRule.DELTA, UpdateRule.GATED_DELTA)

    @property
    def learns_beta(self) -> bool:
        """Whether the write strength is a projection of the token; otherwise it is one."""
        return self.erases


_DECAY: dict[UpdateRule, Decay] = {
    UpdateRule.LINEAR: "none",
    UpdateRule.RETNET: "constant",
    UpdateRule.GLA: "channel",
    UpdateRule.DELTA: "none",
    UpdateRule.GATED_DELTA: "head",
}
