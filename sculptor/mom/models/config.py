"""The shape of a language model, as data that travels in a checkpoint's JSON.

No torch here: `sculptor mom info` reads a configuration without loading it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

from sculptor.mom.layers.config import ConvPlace, Gate, MixerConfig, Read
from sculptor.mom.ops.rules import UpdateRule


@dataclass(frozen=True, slots=True, kw_only=True)
class MomConfig:
    """A decoder of ``layers`` blocks: Mixture-of-Memories, or windowed attention where named.

    ``attention_layers`` counts from 0. ``window`` is how many tokens an attention layer sees, the
    current one included; it bounds the state. ``rope_base`` 0 means no positions at all.
    """

    vocab_size: int
    d_model: int
    layers: int
    mlp_width: int
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
    attention_layers: tuple[int, ...] = ()
    attention_heads: int = 4
    window: int = 256
    rope_base: float = 10_000.0
    tie_embeddings: bool = True
    norm_eps: float = 1e-6
    chunk: int = 64

    def __post_init__(self) -> None:
        outside = [i for i in self.attention_layers if not 0 <= i < self.layers]
        if outside:
            raise ValueError(
                f"attention_layers names {outside}; there are layers 0 to {self.layers - 1}."
            )
        if self.attention_layers and self.d_model % (2 * self.attention_heads):
            raise ValueError(
                f"d_model={self.d_model} must be a multiple of twice "
                f"attention_heads={self.attention_heads}."
            )
        if self.window < 1:
            raise ValueError(f"window is {self.window}; an attention layer sees at least 1 token.")
        _ = self.mixer

    @property
    def mixer(self) -> MixerConfig:
        """The configuration of every Mixture-of-Memories layer."""
        shared = {f.name for f in fields(MixerConfig)} & {f.name for f in fields(self)}
        return MixerConfig(**{name: getattr(self, name) for name in shared})

    @property
    def state_bytes(self) -> int:
        """Bytes one sequence's state takes, whatever its length."""
        mixers = self.layers - len(self.attention_layers)
        cache = 4 * 2 * self.window * self.d_model + 8
        return mixers * self.mixer.state_bytes + len(self.attention_layers) * cache

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return asdict(self) | {
            "rule": str(self.rule),
            "attention_layers": list(self.attention_layers),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> "MomConfig":
        """Read what `to_dict` wrote; an unknown or missing name is an error that says so."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"Unknown model settings: {', '.join(unknown)}.")
        try:
            config = cls(**values)  # type: ignore[arg-type]
        except TypeError as error:
            raise ValueError(f"The model settings are incomplete: {error}.") from error
        return replace(
            config,
            rule=UpdateRule(config.rule),
            attention_layers=tuple(config.attention_layers),
        )
