"""The arms by name."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from sculptor.errors import EvalError
from sculptor.evals.arms.condensing import Bm25Rag, WholeContextSummary
from sculptor.evals.arms.direct import Plain, WithTools
from sculptor.evals.arms.shortening import ObservationMasking, TruncateMiddle
from sculptor.evals.arms.types import Arm, Chat, Mode, Situation

__all__ = ["ARMS", "Arm", "Chat", "Mode", "Situation", "find_arms"]

_ALL: Sequence[Arm] = (
    Plain(),
    WithTools(),
    WithTools("sculptor-task", "the context tools under the task's own prompt", task_prompt=True),
    WithTools("sculptor-split", "as sculptor, the question in a message of its own", splits=True),
    TruncateMiddle(),
    ObservationMasking(),
    WholeContextSummary(),
    Bm25Rag(),
)
ARMS: Mapping[str, Arm] = MappingProxyType({arm.name: arm for arm in _ALL})


def find_arms(names: Sequence[str]) -> Sequence[Arm]:
    """Return the arms of these names, each once, those first whose view others are matched to.

    Raises:
        EvalError: a name is unknown, or there is none.
    """
    unknown = [name for name in names if name not in ARMS]
    if unknown or not names:
        what = f"No arm is called {unknown[0]!r}" if unknown else "Name at least one arm"
        raise EvalError(f"{what}; choose from: {', '.join(ARMS)}.")
    arms = [ARMS[name] for name in dict.fromkeys(names)]
    return sorted(arms, key=lambda arm: arm.needs_budget)
