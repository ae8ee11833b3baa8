"""Models with random weights, on both runtimes, that several of these tests share."""

import numpy as np
import torch

from sculptor.mom.engine.cpu import CpuModel
from sculptor.mom.engine.torch_model import load_torch
from sculptor.mom.engine.weights import Dtype, Weights, pack_weights
from sculptor.mom.models.config import MomConfig
from sculptor.mom.models.modeling import MomForCausalLM
from tests.mom.helpers import MODEL, lively


def random_weights(config: MomConfig = MODEL, *, dtype: Dtype = "float32") -> Weights:
    torch.manual_seed(7)
    model = lively(MomForCausalLM(config))
    tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    return pack_weights(config, tensors, dtype=dtype)


def both(weights: Weights) -> tuple[CpuModel, MomForCausalLM]:
    """The two runtimes in double precision, over the very same numbers."""
    return CpuModel(weights, dtype=np.float64), load_torch(weights, dtype=torch.float64)


def random_tokens(count: int, *, seed: int = 0, vocab: int = MODEL.vocab_size) -> list[int]:
    return np.random.default_rng(seed).integers(vocab, size=count).tolist()
