import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sculptor.mom.ops.balance import balance_loss
from sculptor.mom.ops.grouped import _by_choice, _by_group
from sculptor.mom.ops.routing import Route, count_load, plan_rows, route
from tests.mom.helpers import offsets


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=4),
    st.integers(1, 5),
    st.booleans(),
    st.data(),
)
def test_the_plan_is_a_stable_sort_by_memory(lengths, memories, shared, data) -> None:
    top_k = data.draw(st.integers(1, memories))
    tokens = sum(lengths)
    index = torch.stack([torch.randperm(memories)[:top_k] for _ in range(tokens)] or [])\
        if tokens else torch.zeros(0, top_k, dtype=torch.int64)  # fmt: skip
    cu = offsets(lengths)
    plan = plan_rows(index, cu_seqlens=cu, memories=memories, shared=shared)
    wanted = []
    for m in range(memories + shared):
        for s in range(len(lengths)):
            inside = range(int(cu[s]), int(cu[s + 1]))
            wanted.append([t for t in inside if m == memories or m in index[t].tolist()])
    assert plan.token.tolist() == [t for bucket in wanted for t in bucket]
    assert plan.cu_rows.diff().tolist() == [len(bucket) for bucket in wanted]
    assert plan.token[plan.row].tolist() == [[t] * (top_k + shared) for t in range(tokens)]
    assert plan.memory[plan.row][:, :top_k].tolist() == index.tolist()
    assert (
        plan.offsets.diff().tolist()
        == torch.bincount(plan.memory, minlength=memories + shared).tolist()
    )


def test_both_ways_of_the_grouped_map_agree_with_gradients() -> None:
    index = torch.tensor([[0, 2], [2, 1], [0, 1], [2, 0]])
    plan = plan_rows(index, cu_seqlens=offsets([4]), memories=3, shared=True)
    results = []
    for way in (_by_group, _by_choice):
        torch.manual_seed(0)
        x = torch.randn(4, 5, requires_grad=True)
        weight = torch.randn(4, 5, 7, requires_grad=True)
        y = way(x, weight, plan)
        y.square().sum().backward()
        results.append((y, x.grad, weight.grad))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_weights_are_the_best_probabilities_renormalised() -> None:
    x, weight = torch.randn(6, 5), torch.randn(4, 5, requires_grad=True)
    got = route(x, weight=weight, top_k=2)
    torch.testing.assert_close(got.weights.sum(1), torch.ones(6))
    ratio = got.probabilities.gather(1, got.index)
    torch.testing.assert_close(got.weights[:, 0] / got.weights[:, 1], ratio[:, 0] / ratio[:, 1])
    assert (got.weights[:, 0] >= got.weights[:, 1]).all()
    got.weights[:, 0].sum().backward()
    assert weight.grad.abs().sum() > 0


def _fixed_route(probabilities: torch.Tensor) -> Route:
    best, index = probabilities.topk(1, dim=-1)
    return Route(probabilities=probabilities, index=index, weights=best)


def test_balance_is_k_at_balance_and_per_layer() -> None:
    even = torch.full((8, 4), 0.25)
    index = torch.stack([torch.tensor([i % 4, (i + 1) % 4]) for i in range(8)])
    flat = Route(probabilities=even, index=index, weights=torch.full((8, 2), 0.5))
    torch.testing.assert_close(balance_loss([flat]), torch.tensor(2.0))
    left = _fixed_route(torch.tensor([[0.99, 0.01]]).repeat(6, 1))
    right = _fixed_route(torch.tensor([[0.01, 0.99]]).repeat(6, 1))
    assert balance_loss([left, right]) > 1.9  # opposite collapse in two layers is still collapse


def test_padding_does_not_count_for_balance() -> None:
    probabilities = torch.rand(6, 3).softmax(-1)
    whole = _fixed_route(probabilities[:4])
    padded = _fixed_route(probabilities)
    valid = torch.arange(6) < 4
    torch.testing.assert_close(balance_loss([padded], valid=valid), balance_loss([whole]))


def test_load_counts_picks() -> None:
    index = torch.tensor([[0, 2], [2, 1], [0, 2]])
    assert count_load(index, memories=4).tolist() == [2, 1, 3, 0]
