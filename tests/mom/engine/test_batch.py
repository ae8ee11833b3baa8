from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from sculptor.mom.engine.batch import STEPS_PER_PIECE, STRIDE_TOKENS, Batch, Finish, Job, Request
from sculptor.mom.engine.cpu import CpuModel
from sculptor.mom.engine.repetition import CHECKED_EVERY, LEAST_REPEATED
from sculptor.mom.engine.sampling import Choice, Sampling
from sculptor.mom.engine.state import CpuState
from sculptor.mom.engine.turns import TurnStore
from tests.mom.engine.builders import random_tokens, random_weights
from tests.mom.helpers import MODEL

VOCAB = MODEL.vocab_size


class Counted(CpuModel):
    """The real runtime, which also tells how many tokens it was given to read."""

    def __init__(self) -> None:
        super().__init__(random_weights())
        self.prefilled: list[int] = []
        self.widths: list[int] = []

    def prefill(self, tokens: Sequence[int], state: CpuState):
        self.prefilled.append(len(tokens))
        return super().prefill(tokens, state)

    def step(self, tokens: Sequence[int], states: Sequence[CpuState]):
        self.widths.append(len(tokens))
        return super().step(tokens, states)


@dataclass(frozen=True)
class Rising:
    """Allows only tokens above the last one, and nothing after the greatest."""

    last: int = -1

    def allowed(self) -> NDArray[np.bool_]:
        return np.arange(VOCAB) > self.last

    def advance(self, token: int) -> "Rising":
        return Rising(token)


@dataclass(frozen=True)
class Circle:
    """Allows a few tokens only, in turn and for ever."""

    tokens: tuple[int, ...]

    def allowed(self) -> NDArray[np.bool_]:
        return np.arange(VOCAB) == self.tokens[0]

    def advance(self, token: int) -> "Circle":
        return Circle((*self.tokens[1:], token))


@pytest.fixture
def model() -> Counted:
    return Counted()


def make(model: CpuModel, *, width: int = 8, limit_bytes: int = 10**8) -> Batch[CpuState]:
    return Batch(model, turns=TurnStore(limit_bytes=limit_bytes), width=width)


def run(batch: Batch[CpuState], requests: Iterable[Request]) -> list[tuple[list[int], str]]:
    jobs = [batch.new_job(request) for request in requests]
    for job in jobs:
        batch.add(job)
    said: dict[Job[CpuState], list[int]] = {job: [] for job in jobs}
    ends: dict[Job[CpuState], Finish] = {}
    while batch.busy:
        for job, event in batch.advance():
            if isinstance(event, Choice):
                said[job].append(event.token)
            else:
                assert job not in ends
                ends[job] = event
    return [(said[job], ends[job].reason) for job in jobs]


def ask(seed: int, *, limit: int = 30, length: int = 0, **settings: object) -> Request:
    tokens = random_tokens(length or 5 + 7 * seed, seed=seed)
    sampling = Sampling(temperature=1.5 * (seed % 2), top_p=0.9, seed=seed)
    return Request(tokens=tokens, limit=limit, sampling=sampling, **settings)  # type: ignore[arg-type]


def test_a_conversation_is_the_same_in_any_company(model: Counted) -> None:
    requests = [ask(seed, limit=70 + seed, length=1 + 90 * seed) for seed in range(7)]
    alone = [run(make(model), [request])[0] for request in requests]
    model.widths.clear()
    for width in (3, 8):
        assert run(make(model, width=width), requests) == alone
    assert max(model.widths) == 7
    assert {reason for _, reason in alone} == {"length"}


def test_stop_tokens_end_it_and_are_told(model: Counted) -> None:
    ((whole, _),) = run(make(model), [ask(1)])
    ((cut, reason),) = run(make(model), [ask(1, stop={whole[4]})])
    assert cut == whole[: whole.index(whole[4]) + 1]
    assert reason == "stop"


def test_a_mask_is_obeyed_and_its_end_is_an_error_for_it_alone(model: Counted) -> None:
    (rising, reason), (other, other_reason) = run(make(model), [ask(1, mask=Rising()), ask(2)])
    assert rising == sorted(set(rising))
    assert reason == "error"
    assert (len(other), other_reason) == (30, "length")


def test_what_only_repeats_itself_ends_before_its_limit(model: Counted) -> None:
    circles = [ask(seed, limit=900, mask=Circle(tuple(range(3, 3 + 3 * seed)))) for seed in (1, 4)]
    other = ask(2, limit=300)
    alone = run(make(model), [other])
    *ended, beside = run(make(model), [*circles, other])
    assert [beside] == alone
    for period, (said, reason) in zip((3, 12), ended, strict=True):
        assert reason == "repetition"
        assert said == [*range(3, 3 + period)] * (len(said) // period) + said[: len(said) % period]
        assert 0 < len(said) - LEAST_REPEATED - period <= CHECKED_EVERY
    ((said, reason),) = run(make(model), [ask(1, limit=LEAST_REPEATED, mask=Circle((3,)))])
    assert (len(said), reason) == (LEAST_REPEATED, "length")


def test_what_the_prompt_repeats_is_no_repetition(model: Counted) -> None:
    request = Request(tokens=[3] * 400, limit=40, mask=Circle((3,)))
    ((said, reason),) = run(make(model), [request])
    assert (len(said), reason) == (40, "length")


def test_a_follow_up_reads_only_its_own_tokens(model: Counted) -> None:
    batch = make(model)
    first = ask(0, length=700)
    ((said, _),) = run(batch, [first])
    model.prefilled.clear()
    follow = Request(tokens=[*first.tokens, *said, 3, 4], limit=5)
    ((again, _),) = run(batch, [follow])
    assert sum(model.prefilled) == 3
    fresh = Counted()
    ((wanted, _),) = run(make(fresh), [follow])
    assert again == wanted


def test_the_same_prompt_again_reads_nothing(model: Counted) -> None:
    batch = make(model)
    ((first, _),) = run(batch, [ask(3)])
    model.prefilled.clear()
    job = batch.new_job(ask(3))
    batch.add(job)
    assert [e.token for _, e in batch.advance() if isinstance(e, Choice)] == first[:1]
    assert job.reused == len(job.request.tokens)
    assert model.prefilled == []


def test_a_prompt_changed_late_is_read_from_the_last_stride(model: Counted) -> None:
    batch = make(model)
    tokens = random_tokens(3 * STRIDE_TOKENS + 100)
    run(batch, [Request(tokens=tokens, limit=1)])
    model.prefilled.clear()
    run(batch, [Request(tokens=[*tokens[:-300], 1, 2], limit=1)])
    assert sum(model.prefilled) < STRIDE_TOKENS


def test_others_go_on_while_a_long_prompt_is_read(model: Counted) -> None:
    batch = make(model)
    quick, long = batch.new_job(ask(0, limit=200)), batch.new_job(ask(1, length=2_000))
    batch.add(quick)
    batch.advance()
    batch.add(long)
    before_long = 0
    while True:
        events = batch.advance()
        if any(job is long for job, _ in events):
            break
        before_long += sum(job is quick for job, _ in events)
    assert before_long >= 6 * STEPS_PER_PIECE


def test_rows_fill_sooner_where_pieces_are_read_more_often(model: Counted) -> None:
    def rounds_until_all_write(steps_per_piece: int) -> int:
        turns = TurnStore[CpuState](limit_bytes=1 << 24)
        batch = Batch(model, turns=turns, width=4, steps_per_piece=steps_per_piece)
        for seed in range(4):
            batch.add(batch.new_job(ask(seed, limit=200)))
        return next(number for number in range(100) if len(batch.advance()) == 4)

    assert rounds_until_all_write(1) == 3
    assert rounds_until_all_write(STEPS_PER_PIECE) == 3 * STEPS_PER_PIECE


def test_a_cancelled_conversation_frees_its_place(model: Counted) -> None:
    batch = make(model, width=1)
    jobs = [batch.new_job(ask(seed)) for seed in range(3)]
    for job in jobs:
        batch.add(job)
    batch.advance()
    jobs[0].cancelled = jobs[2].cancelled = True
    ends: dict[Job[CpuState], str] = {}
    while batch.busy:
        ends |= {job: e.reason for job, e in batch.advance() if isinstance(e, Finish)}
    assert [ends[job] for job in jobs] == ["cancelled", "length", "cancelled"]


def test_misuse_is_answered_with_the_mend(model: Counted) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        Request(tokens=[], limit=1)
    with pytest.raises(ValueError, match="limit is 0"):
        Request(tokens=[1], limit=0)
    with pytest.raises(ValueError, match="width is 0"):
        make(model, width=0)
    with pytest.raises(ValueError, match="from 0 to 18"):
        make(model).new_job(Request(tokens=[1, VOCAB], limit=1))
