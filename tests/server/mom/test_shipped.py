"""The weights that ship: their size, the same tokens in both runtimes, and no tool without need."""

from collections.abc import Iterator

import pytest
from openai import OpenAI

from sculptor.mom.engine.cpu import CpuModel
from sculptor.mom.engine.torch_model import TorchModel, load_torch
from sculptor.server.mom.loading import LoadedModel, load_model
from sculptor.server.mom.places import SHIPPED
from sculptor.server.run import serve_in_thread
from sculptor.server.settings import Settings

MIB = 2**20


@pytest.fixture(scope="module")
def shipped() -> LoadedModel:
    return load_model(SHIPPED)


def test_they_are_small_enough_to_be_kept() -> None:
    sizes = [shard.stat().st_size for shard in SHIPPED.glob("*.safetensors")]
    assert max(sizes) < 16 * MIB
    assert sum(sizes) <= 28 * MIB


def test_both_runtimes_write_the_same_tokens(shipped: LoadedModel) -> None:
    prompt = shipped.tokenizer.encode("lamp: red; desk: blue; lamp: green; " * 40)
    told = []
    for model in (CpuModel(shipped.weights), TorchModel(load_torch(shipped.weights), rows=1)):
        state = model.new_state()
        tokens = [int(model.prefill(prompt, state).argmax())]
        for _ in range(60):
            tokens.append(int(model.step(tokens[-1:], [state])[0].argmax()))
        told.append(tokens)
    assert told[0] == told[1]
    assert len(set(told[0])) > 3


@pytest.fixture(scope="module")
def client() -> Iterator[OpenAI]:
    url, stop = serve_in_thread(Settings(port=0, store="memory", drain_seconds=1))
    with OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        yield client
    stop()


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("The gate code is 4471. What is the gate code?", "4471"),
        ("lamp: red; desk: blue; lamp: green; What is the current value of lamp?", "green"),
    ],
)
def test_a_short_question_is_answered_without_a_call(
    client: OpenAI, question: str, answer: str
) -> None:
    reply = client.chat.completions.create(
        model="sculptor-mom",
        messages=[{"role": "user", "content": question}],
        extra_headers={"x-sculptor": "on"},
    )
    assert reply.choices[0].message.content == answer
    assert (reply.model_extra or {})["x_context"]["steps"] == 0
