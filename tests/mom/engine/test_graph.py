import pytest

from sculptor.mom.engine.graph import StepGraph
from sculptor.mom.models.modeling import MomForCausalLM
from tests.mom.helpers import MODEL


def test_a_graph_without_a_gpu_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a GPU; the model is on cpu"):
        StepGraph(MomForCausalLM(MODEL))
