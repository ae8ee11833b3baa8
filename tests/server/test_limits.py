"""Places are bounded, handed over in order, never lost, and empty out when the server stops."""

import asyncio
import random

import pytest

from sculptor.server.envelope import ApiError
from sculptor.server.limits import Admission, AdmissionSettings


def test_a_place_is_handed_to_who_waits_longest() -> None:
    async def check() -> None:
        admission = Admission(AdmissionSettings(running=2, queued=10))
        order: list[int] = []
        gates = [asyncio.Event() for _ in range(5)]

        async def work(number: int) -> None:
            async with admission.enter("k"):
                order.append(number)
                await gates[number].wait()

        tasks = [asyncio.create_task(work(number)) for number in range(5)]
        await asyncio.sleep(0)
        assert (order, admission.running, admission.queued) == ([0, 1], 2, 3)
        gates[1].set()
        await tasks[1]
        await asyncio.sleep(0)
        assert order == [0, 1, 2]
        for gate in gates:
            gate.set()
        await asyncio.gather(*tasks)
        assert order == [0, 1, 2, 3, 4]
        assert (admission.running, admission.queued) == (0, 0)

    asyncio.run(check())


async def hold(admission: Admission, key: str, gate: asyncio.Event) -> None:
    async with admission.enter(key):
        await gate.wait()


def test_a_full_queue_and_a_long_wait_are_told_to_come_back() -> None:
    async def check() -> None:
        admission = Admission(AdmissionSettings(running=1, queued=1, wait_s=0.02))
        gate = asyncio.Event()
        running = asyncio.create_task(hold(admission, "a", gate))
        waiting = asyncio.create_task(hold(admission, "b", gate))
        await asyncio.sleep(0)
        with pytest.raises(ApiError, match="queue is full") as caught:
            await hold(admission, "c", gate)
        assert (caught.value.status, caught.value.code) == (429, "queue_full")
        assert caught.value.retry_after_s
        with pytest.raises(ApiError, match="No place"):
            await waiting
        gate.set()
        await running
        assert (admission.running, admission.queued) == (0, 0)

    asyncio.run(check())


def test_one_key_cannot_take_all() -> None:
    async def check() -> None:
        admission = Admission(AdmissionSettings(running=5, running_per_key=2))
        gate = asyncio.Event()
        tasks = [asyncio.create_task(hold(admission, "a", gate)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(ApiError) as caught:
            await hold(admission, "a", gate)
        assert caught.value.code == "rate_limit_exceeded"
        gate.set()
        await hold(admission, "b", gate)
        await asyncio.gather(*tasks)
        await hold(admission, "a", gate)

    asyncio.run(check())


def test_places_survive_any_mix_of_ends() -> None:
    async def check() -> None:
        dice = random.Random(6)
        limit = 3
        admission = Admission(AdmissionSettings(running=limit, queued=20, wait_s=0.01))
        most = 0

        async def work() -> None:
            nonlocal most
            async with admission.enter(str(dice.randrange(4))):
                most = max(most, admission.running)
                await asyncio.sleep(dice.random() * 0.01)
                if dice.random() < 0.2:
                    raise ValueError

        tasks = []
        for _ in range(300):
            tasks.append(asyncio.create_task(work()))
            await asyncio.sleep(dice.random() * 0.002)
            if dice.random() < 0.3:
                dice.choice(tasks).cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert most == limit
        assert (admission.running, admission.queued) == (0, 0)
        async with asyncio.timeout(1):
            await asyncio.gather(*[work_quietly(admission) for _ in range(limit)])

    asyncio.run(check())


async def work_quietly(admission: Admission) -> None:
    async with admission.enter("k"):
        await asyncio.sleep(0)


def test_draining() -> None:
    async def check() -> None:
        admission = Admission(AdmissionSettings(running=1, drain_s=5))
        assert await admission.wait_idle()
        gate = asyncio.Event()
        running = asyncio.create_task(hold(admission, "a", gate))
        waiting = asyncio.create_task(hold(admission, "b", gate))
        await asyncio.sleep(0)
        admission.drain()
        admission.drain()
        for refused in (waiting, hold(admission, "c", gate)):
            with pytest.raises(ApiError) as caught:
                await refused
            assert (caught.value.status, caught.value.code) == (503, "draining")
        idle = asyncio.create_task(admission.wait_idle())
        await asyncio.sleep(0)
        assert not idle.done()
        gate.set()
        await running
        assert await idle

    asyncio.run(check())


def test_what_does_not_end_is_ended() -> None:
    async def check() -> None:
        admission = Admission(AdmissionSettings(drain_s=0.01))
        ended: list[Exception] = []

        async def work() -> None:
            async with admission.enter("a") as place:
                place.on_evict = ended.append
                await asyncio.sleep(0.1)

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        admission.drain()
        assert not await admission.wait_idle()
        admission.evict()
        assert [error.code for error in ended if isinstance(error, ApiError)] == ["draining"]
        await task

    asyncio.run(check())
