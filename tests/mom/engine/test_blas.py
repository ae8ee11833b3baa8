import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from sculptor.mom.engine import blas
from sculptor.mom.engine.bench import MODEL_B, random_weights
from sculptor.mom.engine.cpu import CpuModel

WIDE = replace(MODEL_B, vocab_size=600, layers=2)


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


def test_the_threads_of_blas_change_no_bit_of_an_answer(two_threads: None) -> None:
    model = CpuModel(random_weights(WIDE))
    tokens = np.random.default_rng(0).integers(600, size=300).tolist()

    def answer() -> np.ndarray:
        state = model.new_state()
        return np.stack([model.prefill(tokens, state), *model.step([3], [state])])

    wanted = answer()
    found = blas._find()
    assert found is not None
    found[1](1)
    assert np.array_equal(answer(), wanted)
    found[1](2)
