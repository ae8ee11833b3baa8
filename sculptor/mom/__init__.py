"""A language model whose sequence mixing is a Mixture of Memories, and what trains it.

`ops` are functions over tensors, `layers` modules, `models` the language model, `engine` what
runs it turn by turn; these four import nothing of the rest of the package. `recipes` holds tasks
and training. Importing this module loads nothing: every name below is fetched at first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sculptor.mom.engine.engine import Engine
    from sculptor.mom.layers.config import MixerConfig
    from sculptor.mom.layers.mixer import Mixer
    from sculptor.mom.models.config import MomConfig
    from sculptor.mom.models.modeling import MomForCausalLM, MomModel
    from sculptor.mom.models.state import MomState
    from sculptor.mom.ops.rules import UpdateRule

_HOMES = {
    "Engine": "sculptor.mom.engine.engine",
    "Mixer": "sculptor.mom.layers.mixer",
    "MixerConfig": "sculptor.mom.layers.config",
    "MomConfig": "sculptor.mom.models.config",
    "MomForCausalLM": "sculptor.mom.models.modeling",
    "MomModel": "sculptor.mom.models.modeling",
    "MomState": "sculptor.mom.models.state",
    "UpdateRule": "sculptor.mom.ops.rules",
}

__all__ = [
    "Engine",
    "Mixer",
    "MixerConfig",
    "MomConfig",
    "MomForCausalLM",
    "MomModel",
    "MomState",
    "UpdateRule",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
