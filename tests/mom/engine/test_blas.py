import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from sculptor.mom.engine import blas
from sculptor.mom.engine.bench import MODEL_B, random_weights
from sculptor.mom.engine.cpu import CpuModel
from sculptor.mom.engine.workers import Task, Workers

SMALL = replace(MODEL_B, vocab_size=30, layers=1)


@pytest.fixture
def two_threads() -> Iterator[None]:
    """OpenBLAS at two threads, which is what it takes on two cores; needs numpy's own wheel."""
    found = blas._find()
    assert found is not None, "numpy was not installed from its wheel"
    get, put = found
    before = get()
    put(2)
    yield
    assert get() == 2
    put(before)


def count() -> int:
    found = blas._find()
    return found[0]() if found else 0


def test_one_thread_inside_and_as_many_as_before_outside(two_threads: None) -> None:
    with blas.one_thread():
        with blas.one_thread():
            assert count() == 1
        assert count() == 1
    assert count() == 2
    with pytest.raises(KeyError), blas.one_thread():
        raise KeyError
    assert count() == 2


def test_threads_that_overlap_leave_it_as_it_was(two_threads: None) -> None:
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with blas.one_thread():
            inside.set()
            leave.wait(60)

    other = threading.Thread(target=stay)
    with blas.one_thread():
        other.start()
        inside.wait(60)
    assert count() == 1
    leave.set()
    other.join()
    assert count() == 2


class Watching(Workers):
    """Real workers, which also tell how many threads BLAS might use."""

    def __init__(self) -> None:
        super().__init__(2)
        self.seen: list[int] = []

    def run(self, tasks: Sequence[Task]) -> None:
        self.seen.append(count())
        super().run(tasks)


def test_the_engine_computes_with_one_thread_of_blas(two_threads: None) -> None:
    model = CpuModel(random_weights(SMALL))
    workers = model._workers = Watching()
    model.prefill([1, 2, 3], model.new_state())
    assert set(workers.seen) == {1}
    assert count() == 2
