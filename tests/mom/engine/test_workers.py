import threading
from functools import partial

import pytest

from sculptor.mom.engine.workers import Workers, default_threads


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 3, 200])
def test_every_task_is_run_once(threads: int, count: int) -> None:
    done: list[int] = []
    workers = Workers(threads)
    for _ in range(3):
        workers.run([partial(done.append, i) for i in range(count)])
    assert sorted(done) == sorted([*range(count)] * 3)


def test_two_threads_work_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=60)
    Workers(2).run([meeting.wait, meeting.wait])


def test_an_error_is_raised_when_all_have_ended() -> None:
    for order in (1, -1):
        begun, raised, done = threading.Event(), threading.Event(), list[str]()

        def fail(begun=begun, raised=raised) -> None:
            begun.wait(60)
            raised.set()
            raise KeyError("broken")

        def go_on(begun=begun, raised=raised, done=done) -> None:
            begun.set()
            raised.wait(60)
            threading.Event().wait(0.2)  # at work still when the error is there
            done.append("ended")

        with pytest.raises(KeyError, match="broken"):
            Workers(2).run([fail, go_on][::order])
        assert done == ["ended"]


def test_at_least_one_thread_is_needed() -> None:
    assert 1 <= default_threads() <= 4
    with pytest.raises(ValueError, match="threads is 0"):
        Workers(0)
