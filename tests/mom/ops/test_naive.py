"""The oracle itself, against the published equations written as matrices."""

import torch

from sculptor.mom.ops.naive import naive_delta_rule, naive_step
from sculptor.mom.ops.rules import UpdateRule


def test_gated_delta_step_is_the_published_matrix_form() -> None:
    state, k, v, q = torch.randn(3, 2), torch.randn(3), torch.randn(2), torch.randn(3)
    beta, alpha = torch.tensor(0.7), torch.tensor(0.9)
    erased = alpha * (torch.eye(3) - beta * torch.outer(k, k)) @ state
    want = erased + beta * torch.outer(k, v)
    o, got = naive_step(
        state[None], q=q[None], k=k[None], v=v[None], g=alpha.log()[None], beta=beta[None],
        scale=0.5, erase=True,
    )  # fmt: skip
    torch.testing.assert_close(got[0], want)
    torch.testing.assert_close(o[0], 0.5 * q @ want)


def test_channel_decay_acts_on_the_rows_of_the_state() -> None:
    state, k, v = torch.randn(3, 2), torch.randn(3), torch.randn(2)
    a = torch.rand(3)
    _, got = naive_step(
        state[None], q=k[None], k=k[None], v=v[None], g=a.log()[None], beta=torch.ones(1),
        scale=1.0, erase=False,
    )  # fmt: skip
    torch.testing.assert_close(got[0], torch.diag(a) @ state + torch.outer(k, v))


def test_a_delta_write_replaces_the_value_under_its_key() -> None:
    keys = torch.eye(4)[:, None]
    values = torch.randn(4, 1, 3)
    k, v = torch.cat([keys, keys[1:2]]), torch.cat([values, torch.full((1, 1, 3), 9.0)])
    o, final = naive_delta_rule(
        q=k, k=k, v=v, g=None, beta=torch.ones(5, 1), cu_seqlens=torch.tensor([0, 5]),
        initial_state=torch.zeros(1, 1, 4, 3), scale=1.0, erase=True,
    )  # fmt: skip
    torch.testing.assert_close(o[4, 0], torch.full((3,), 9.0))
    torch.testing.assert_close(final[0, 0, 1], torch.full((3,), 9.0))
    torch.testing.assert_close(final[0, 0, 2], values[2, 0])


def test_every_rule_is_named_and_only_the_delta_rules_erase() -> None:
    assert {str(r) for r in UpdateRule} == {"linear", "retnet", "gla", "delta", "gated_delta"}
    assert {r for r in UpdateRule if r.erases} == {UpdateRule.DELTA, UpdateRule.GATED_DELTA}
