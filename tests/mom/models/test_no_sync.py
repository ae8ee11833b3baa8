"""Nothing waits for the device.

Tensors of the meta device hold no values and take the path of a GPU: any read of a value on the
host, an `.item()`, a boolean index, a split by sizes, is an error, in forward and in backward.
"""

import pytest
import torch

from sculptor.mom.models.config import MomConfig
from sculptor.mom.models.modeling import MomForCausalLM
from sculptor.mom.models.packing import pack_batch
from tests.mom.helpers import MODEL, VARIANTS


@pytest.mark.parametrize("config", VARIANTS, ids=["before", "memory", "dense", "keyed", "hybrid"])
def test_a_training_step_reads_nothing_on_the_host(config: MomConfig) -> None:
    with torch.device("meta"):
        model = MomForCausalLM(config)
        tokens, mask = torch.zeros(2, 9, dtype=torch.int64), torch.ones(2, 9, dtype=torch.bool)
        parts = model.loss(
            pack_batch(tokens, mask=mask), targets=tokens.flatten(), weights=torch.ones(18),
            balance_weight=0.01,
        )  # fmt: skip
        parts.total.backward()
        assert parts.total.device.type == "meta"
        assert all(p.grad is not None for p in model.parameters())


def test_a_continuation_reads_nothing_on_the_host() -> None:
    with torch.device("meta"):
        model = MomForCausalLM(MODEL)
        state = model.new_state(2)
        logits, output = model(pack_batch(torch.zeros(2, 3, dtype=torch.int64)), state=state)
        assert logits.shape == (6, 19)
        assert output.state.nbytes == state.nbytes
