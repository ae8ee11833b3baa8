import pytest
import torch

from sculptor.mom.engine.engine import Engine, temperature_sampler
from sculptor.mom.models.modeling import MomForCausalLM
from sculptor.mom.models.packing import pack_batch
from tests.mom.helpers import MODEL, lively


@pytest.fixture
def model() -> MomForCausalLM:
    return lively(MomForCausalLM(MODEL))


def test_generating_equals_reading_it_all_again(model: MomForCausalLM) -> None:
    talk = Engine(model).start()
    prompt = [3, 1, 4, 1, 5]
    talk.feed(prompt)
    said = list(talk.generate(limit=9))
    logits, _ = model(pack_batch(torch.tensor([prompt + said])))
    assert logits.argmax(-1).tolist()[len(prompt) - 1 : -1] == said
    assert talk.tokens == 14


def test_a_retry_from_a_snapshot_leaves_no_trace(model: MomForCausalLM) -> None:
    talk = Engine(model).start()
    talk.feed([1, 2, 3])
    kept, size = talk.snapshot(), talk.state_bytes
    first = list(talk.generate(limit=6))
    talk.feed([9, 9, 9])
    talk.restore(kept)
    assert talk.tokens == 3
    other = talk.branch()
    other.feed([7])
    assert list(talk.generate(limit=6)) == first
    assert talk.state_bytes == other.state_bytes == size


def test_generation_stops_and_samples_repeatably(model: MomForCausalLM) -> None:
    def draw(stop: set[int]) -> list[int]:
        talk = Engine(model).start()
        talk.feed([5])
        return list(talk.generate(limit=8, stop=stop, sampler=temperature_sampler(2.0, seed=4)))

    whole = draw(set())
    assert len(whole) == 8
    assert draw({whole[3]}) == whole[: whole.index(whole[3]) + 1]
    assert draw(set()) == whole


def test_misuse_is_answered_with_the_mend(model: MomForCausalLM) -> None:
    with pytest.raises(ValueError, match=r"feed\(\) at least one"):
        next(Engine(model).start().generate(limit=1))
    with pytest.raises(ValueError, match="more than 0"):
        temperature_sampler(0.0, seed=1)
