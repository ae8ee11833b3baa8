"""The acceptance list for whole models, hybrid ones included."""

from dataclasses import replace

import pytest
import torch

from sculptor.mom.models.config import MomConfig
from sculptor.mom.models.modeling import MomForCausalLM, count_active, count_parameters
from sculptor.mom.models.packing import pack_batch, pack_documents
from tests.mom.helpers import MODEL, VARIANTS, lively, offsets

each_variant = pytest.mark.parametrize(
    "config", VARIANTS, ids=["before", "memory", "dense", "keyed", "hybrid"]
)


def _model(config: MomConfig) -> MomForCausalLM:
    return lively(MomForCausalLM(config))


def _run(model, tokens, *, mask=None, state=None):
    packed = pack_batch(tokens, mask=mask)
    logits, output = model(packed, state=state)
    return logits[packed.row], output.state


def _same(one, two) -> None:
    for a, b in zip(one.tensors(), two.tensors(), strict=True):
        torch.testing.assert_close(a, b)


@each_variant
@pytest.mark.parametrize("training", [True, False])
def test_later_tokens_change_no_earlier_logits(config: MomConfig, training: bool) -> None:
    model = _model(config).train(training)
    tokens = torch.randint(19, (2, 17))
    other = tokens.clone()
    other[0, 11] = (other[0, 11] + 1) % 19
    one, two = _run(model, tokens)[0], _run(model, other)[0]
    torch.testing.assert_close(one[0, :11], two[0, :11])
    torch.testing.assert_close(one[1], two[1])
    assert not torch.allclose(one[0, 11:], two[0, 11:])


@each_variant
def test_prefill_pieces_and_steps_agree(config: MomConfig) -> None:
    model = _model(config)
    tokens = torch.randint(19, (2, 13))
    whole, end = _run(model, tokens)
    for cuts in ([13], [1, 12], [10, 3], [0, 13], [1] * 13, [2, 5, 6]):
        state, parts = model.new_state(2), []
        for piece in tokens.split(cuts, dim=1):
            logits, state = _run(model, piece, state=state)
            parts.append(logits)
        torch.testing.assert_close(torch.cat(parts, dim=1), whole)
        _same(state, end)


@each_variant
def test_padding_on_any_side_changes_nothing(config: MomConfig) -> None:
    model = _model(config)
    short, long = torch.randint(19, (4,)), torch.randint(19, (9,))
    tokens = torch.randint(19, (3, 9))
    mask = torch.zeros(3, 9, dtype=torch.bool)
    tokens[0, 5:], mask[0, 5:] = short, True
    tokens[1], mask[1] = long, True
    tokens[2, [0, 2, 3, 7]], mask[2, [0, 2, 3, 7]] = short, True
    got, state = _run(model, tokens, mask=mask)
    alone, short_state = _run(model, short[None])
    torch.testing.assert_close(got[0, 5:], alone[0])
    torch.testing.assert_close(got[2][mask[2]], alone[0])
    torch.testing.assert_close(got[1], _run(model, long[None])[0][0])
    _same(state.select(torch.tensor([0])), short_state)
    more, _ = _run(model, short[None].repeat(3, 1), mask=mask[:, [5, 6, 0, 8]], state=state)
    assert more.isfinite().all()


@each_variant
def test_packed_documents_equal_separate_ones_with_gradients(config: MomConfig) -> None:
    model = _model(config).train()
    lengths = [6, 1, 0, 10]
    tokens = torch.randint(19, (17,))
    packed = pack_documents(tokens, cu_seqlens=offsets(lengths))
    logits, _ = model(packed)
    probe = torch.randn_like(logits)
    (logits * probe).sum().backward()
    together = {n: p.grad.clone() for n, p in model.named_parameters()}
    model.zero_grad()
    cu = offsets(lengths)
    for i in (0, 1, 3):
        part = slice(int(cu[i]), int(cu[i + 1]))
        alone, _ = _run(model, tokens[None, part])
        torch.testing.assert_close(logits[part], alone[0])
        (alone[0] * probe[part]).sum().backward()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(together[name], weight.grad)


def test_the_loss_weighs_and_balances() -> None:
    model = _model(replace(MODEL, attention_layers=()))
    packed = pack_batch(torch.randint(19, (2, 8)))
    targets, weights = torch.randint(19, (16,)), torch.zeros(16)
    weights[3] = 1.0
    parts = model.loss(packed, targets=targets, weights=weights, balance_weight=0.1)
    logits, _ = model(packed)
    want = torch.nn.functional.cross_entropy(logits[3:4], targets[3:4])
    torch.testing.assert_close(parts.cross_entropy, want)
    assert parts.balance > 1.5
    torch.testing.assert_close(parts.total, want + 0.1 * parts.balance)


def test_the_state_never_grows() -> None:
    model = MomForCausalLM(MODEL)
    state = model.new_state(1)
    size = state.nbytes
    for length in (1, 40, 3):
        _, state = _run(model, torch.randint(19, (1, length)), state=state)
        assert state.nbytes == size
    assert MomForCausalLM(MODEL).float().new_state(1).nbytes == MODEL.state_bytes


def test_snapshot_restore_and_branch_at_a_turn() -> None:
    model = _model(MODEL)
    _, state = _run(model, torch.randint(19, (1, 7)))
    kept = state.snapshot()
    question = torch.randint(19, (1, 4))
    first, moved = _run(model, question, state=state)
    moved.restore(kept)
    again, _ = _run(model, question, state=moved)
    torch.testing.assert_close(again, first)
    two = kept.branch(2)
    both, _ = _run(model, torch.cat([question, question.flip(1)]), state=two)
    torch.testing.assert_close(both[0], first[0])
    assert not torch.allclose(both[1], first[0])


def test_a_state_of_another_batch_is_refused() -> None:
    model = MomForCausalLM(MODEL)
    with pytest.raises(ValueError, match="holds 3 sequences, the batch 1"):
        _run(model, torch.randint(19, (1, 4)), state=model.new_state(3))


def test_bf16_activations_over_single_weights_stay_close() -> None:
    torch.set_default_dtype(torch.float32)
    config = replace(MODEL, attention_layers=(2,))
    exact = MomForCausalLM(config)
    half = MomForCausalLM(config, compute_dtype=torch.bfloat16)
    half.load_state_dict(exact.state_dict())
    tokens = torch.randint(19, (2, 12))
    one, two = _run(exact, tokens)[0], _run(half, tokens)[0]
    assert two.dtype == torch.float32
    assert (one - two).norm() / one.norm() < 0.05


def test_active_parameters_leave_out_unpicked_memories() -> None:
    model = MomForCausalLM(replace(MODEL, attention_layers=()))
    memory = model.model.blocks[0].mixer.memory[0].numel()
    assert count_parameters(model) - count_active(model) == 3 * 2 * memory


def test_config_survives_json_and_refuses_nonsense() -> None:
    assert MomConfig.from_dict(MODEL.to_dict()) == MODEL
    with pytest.raises(ValueError, match="Unknown model settings: colour"):
        MomConfig.from_dict(MODEL.to_dict() | {"colour": 1})
    with pytest.raises(ValueError, match="incomplete"):
        MomConfig.from_dict({"d_model": 4})
    with pytest.raises(ValueError, match="layers 0 to 2"):
        replace(MODEL, attention_layers=(3,))


def test_matrices_kept_in_bf16_step_as_a_cast_model_does() -> None:
    torch.set_default_dtype(torch.float32)
    models = [lively(MomForCausalLM(MODEL, compute_dtype=torch.bfloat16)) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    models[1].store_matrices(torch.bfloat16)
    kept = {n for n, p in models[1].named_parameters() if p.dtype == torch.float32}
    assert {"model.blocks.0.mixer.router", "model.norm.weight"} <= kept
    assert "model.embedding" not in kept
    states = [model.new_state(2) for model in models]
    for token in (3, 1, 4):
        one, two = (
            m.step(torch.tensor([token, 5]), state=s) for m, s in zip(models, states, strict=True)
        )
        torch.testing.assert_close(two, one)
