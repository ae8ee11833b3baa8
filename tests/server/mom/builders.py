"""A tiny model with random weights on disk, and a runtime that recites, behind the real backend."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sculptor.mom.engine.weights import export_weights
from sculptor.mom.language.protocol import Protocol
from sculptor.mom.language.template import render_turn
from sculptor.mom.language.tokenizer import load_tokenizer
from sculptor.mom.models.config import MomConfig
from sculptor.mom.models.modeling import MomForCausalLM
from sculptor.server.mom.backend import MomBackend
from sculptor.server.mom.loading import LoadedModel, describe_model, load_model
from sculptor.server.mom.streams import Writer

TOKENIZER = load_tokenizer()
NAME = "tiny-mom"
WINDOW_TOKENS = 16_384


def write_weights(folder: Path, *, seed: int = 5) -> Path:
    """Export a model with random weights, lively enough that every token depends on the text."""
    config = MomConfig(
        vocab_size=TOKENIZER.vocab_size,
        d_model=16,
        layers=2,
        mlp_width=24,
        heads=2,
        key_dim=4,
        value_dim=6,
        attention_layers=(1,),
        attention_heads=2,
        window=16,
    )
    torch.manual_seed(seed)
    model = MomForCausalLM(config).float()
    tensors = {
        name: (tensor * 6 if tensor.dim() > 1 and "conv" not in name else tensor).numpy()
        for name, tensor in model.state_dict().items()
    }
    export_weights(folder, config, tensors, dtype="float16")
    describe_model(folder, tokenizer=TOKENIZER, name=NAME, window_tokens=WINDOW_TOKENS)
    return folder


Reply = Callable[[Sequence[int]], list[int]]
"""What a reciter writes after a prompt."""


def say(*messages: dict[str, Any]) -> Reply:
    """Return a reply that goes by how many turns of the assistant follow the newest user's."""
    turns = [render_turn(message, tokenizer=TOKENIZER) for message in messages]

    def reply(prompt: Sequence[int]) -> list[int]:
        since = list(prompt)[::-1].index(Protocol.USER)
        return turns[list(prompt[-since:]).count(Protocol.ASSISTANT) - 1]

    return reply


def text(content: str) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


_COUNTED = [token for number in range(10**4) for token in TOKENIZER.encode(f"{number}; ")]


def endless(prompt: object) -> list[int]:
    """Reply with more than anybody waits for, which does not repeat itself."""
    return _COUNTED


def calls(*named: tuple[str, str]) -> dict[str, Any]:
    listed = [{"function": {"name": name, "arguments": args}} for name, args in named]
    return {"role": "assistant", "content": None, "tool_calls": listed}


@dataclass(eq=False, slots=True)
class Read:
    """A conversation: all tokens read."""

    seen: list[int] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        return len(self.seen)

    @property
    def nbytes(self) -> int:
        return 64

    def copy(self) -> "Read":
        return Read(list(self.seen))


class Reciter:
    """A runtime that writes what it is told, token by token, whatever weights would say."""

    piece = 256
    vocab_size = TOKENIZER.vocab_size

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.read_tokens = 0
        self.steps = 0

    def new_state(self) -> Read:
        return Read()

    def prefill(self, tokens: Sequence[int], state: Read) -> np.ndarray:
        self.read_tokens += len(tokens)
        state.seen += tokens
        return self._logits(state)

    def step(self, tokens: Sequence[int], states: Sequence[Read]) -> np.ndarray:
        self.steps += 1
        for token, state in zip(tokens, states, strict=True):
            state.seen.append(token)
        return np.stack([self._logits(state) for state in states])

    def _logits(self, state: Read) -> np.ndarray:
        """Favour the next token of the reply to what stands up to the last open turn."""
        logits = np.zeros(self.vocab_size, np.float32)
        backwards = state.seen[::-1]
        if Protocol.ASSISTANT in backwards:
            written = backwards.index(Protocol.ASSISTANT)
            reply = self.reply(state.seen[: len(state.seen) - written])
            logits[reply[written] if written < len(reply) else Protocol.END] = 20
        return logits


def recite(runtime: Reciter, folder: Path) -> MomBackend:
    """Return the backend of the weights in ``folder``, with this runtime in place of theirs."""
    loaded: LoadedModel = load_model(folder)
    return MomBackend(loaded, Writer(runtime, memory_bytes=1 << 20, width=4))
