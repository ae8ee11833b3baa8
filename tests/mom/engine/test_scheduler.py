import asyncio
import threading
from collections.abc import Iterator, Sequence

import pytest

from sculptor.mom.engine.batch import Batch, Finish, Request
from sculptor.mom.engine.cpu import CpuModel
from sculptor.mom.engine.sampling import Choice
from sculptor.mom.engine.scheduler import GenerationError, Scheduler
from sculptor.mom.engine.state import CpuState
from sculptor.mom.engine.turns import TurnStore
from tests.mom.engine.builders import random_tokens, random_weights

FOREVER = 10**9


class Fragile(CpuModel):
    """The real runtime, which fails in a step when told to."""

    broken = False

    def step(self, tokens: Sequence[int], states: Sequence[CpuState]):
        if self.broken:
            raise MemoryError("no room")
        return super().step(tokens, states)


@pytest.fixture
def model() -> Fragile:
    return Fragile(random_weights())


@pytest.fixture
def scheduler(model: Fragile) -> Iterator[Scheduler[CpuState]]:
    with Scheduler(Batch(model, turns=TurnStore(limit_bytes=10**8), width=3)) as running:
        yield running


def ask(seed: int, *, limit: int = 20) -> Request:
    return Request(tokens=random_tokens(10 + seed, seed=seed), limit=limit)


def test_threads_get_what_they_would_get_alone(scheduler: Scheduler[CpuState]) -> None:
    alone = [[c.token for c in scheduler.submit(ask(seed))] for seed in range(5)]
    got: dict[int, list[int]] = {}

    def write(seed: int) -> None:
        generation = scheduler.submit(ask(seed))
        got[seed] = [choice.token for choice in generation]
        assert generation.finish == Finish(reason="length")
        assert generation.reused == 10 + seed

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [got[seed] for seed in range(5)] == alone


def test_leaving_an_iterator_frees_the_place(scheduler: Scheduler[CpuState]) -> None:
    endless = [scheduler.submit(ask(seed, limit=FOREVER)) for seed in range(3)]
    for generation in endless:
        for _ in generation:
            break
    assert len(list(scheduler.submit(ask(4)))) == 20


def test_an_event_loop_reads_and_leaves(scheduler: Scheduler[CpuState]) -> None:
    async def read(seed: int, limit: int) -> list[int]:
        return [choice.token async for choice in scheduler.stream(ask(seed, limit=limit))]

    async def leave() -> int:
        stream = scheduler.stream(ask(9, limit=FOREVER))
        async for choice in stream:
            await stream.aclose()
            return choice.token
        raise AssertionError

    async def main() -> list[list[int]]:
        await asyncio.gather(*(leave() for _ in range(4)))
        return await asyncio.gather(*(read(seed, 20) for seed in range(4)))

    together = asyncio.run(main())
    assert together == [[c.token for c in scheduler.submit(ask(seed))] for seed in range(4)]


def test_a_failure_is_told_to_all_and_the_next_succeeds(
    scheduler: Scheduler[CpuState], model: Fragile
) -> None:
    running = [iter(scheduler.submit(ask(seed, limit=FOREVER))) for seed in range(2)]
    for tokens in running:
        next(tokens)
    model.broken = True
    for tokens in running:
        with pytest.raises(GenerationError, match="Writing stopped: no room"):
            list(tokens)
    model.broken = False
    assert len(list(scheduler.submit(ask(1)))) == 20


def test_a_listener_that_fails_ends_only_its_own(scheduler: Scheduler[CpuState]) -> None:
    heard: list[Choice | Finish] = []

    def listen(event: Choice | Finish) -> None:
        heard.append(event)
        raise RuntimeError("Event loop is closed")

    scheduler.submit(ask(1, limit=FOREVER), listener=listen)
    assert len(list(scheduler.submit(ask(2, limit=50)))) == 50
    assert isinstance(heard[0], Choice)
    assert heard[-1] == Finish(reason="cancelled")
    assert len(heard) < 10


def test_closing_ends_everyone_and_refuses_more(model: Fragile) -> None:
    scheduler = Scheduler(Batch(model, turns=TurnStore(limit_bytes=0)))
    generation = scheduler.submit(ask(1, limit=FOREVER))
    tokens = iter(generation)
    next(tokens)
    scheduler.close()
    assert len(list(tokens)) < FOREVER
    assert generation.finish == Finish(reason="cancelled")
    with pytest.raises(RuntimeError, match="closed; make another"):
        scheduler.submit(ask(1))
