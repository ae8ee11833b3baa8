"""When a circuit opens, and what closes it again."""

import pytest

from sculptor.server.circuit import Circuit, CircuitSettings
from sculptor.server.failures import CircuitOpen


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def opened(circuit: Circuit) -> bool:
    try:
        circuit.enter()
    except CircuitOpen:
        return True
    return False


def test_ten_failures_in_a_row_open_it() -> None:
    circuit = Circuit(clock=Clock())
    for _ in range(9):
        circuit.failure()
    circuit.success()
    for _ in range(9):
        circuit.failure()
    assert not opened(circuit)
    circuit.failure()
    assert opened(circuit)
    assert circuit.is_open


def test_half_of_twenty_in_a_minute_open_it() -> None:
    circuit = Circuit(clock=Clock())
    for _ in range(9):
        circuit.failure()
        circuit.success()
    circuit.success()
    assert not opened(circuit)
    circuit.failure()
    assert opened(circuit)


def test_old_failures_are_forgotten() -> None:
    clock = Clock()
    circuit = Circuit(clock=clock)
    for _ in range(9):
        circuit.failure()
    circuit.success()
    clock.now += 61
    for _ in range(10):
        circuit.success()
    for _ in range(9):
        circuit.failure()
    assert not opened(circuit)
    circuit.failure()
    assert opened(circuit), "ten of the last twenty"


def test_one_probe_decides() -> None:
    clock = Clock()
    circuit = Circuit(CircuitSettings(consecutive_failures=1, open_s=30), clock=clock)
    circuit.failure()
    with pytest.raises(CircuitOpen) as caught:
        circuit.enter()
    assert caught.value.retry_after_s == 30
    clock.now += 30
    circuit.enter()
    assert opened(circuit), "only one probe"
    circuit.failure()
    clock.now += 29
    assert opened(circuit), "a failed probe opens it for as long again"
    clock.now += 1
    circuit.enter()
    circuit.abandon()
    circuit.enter()
    circuit.success()
    assert not circuit.is_open
    circuit.failure()
    assert circuit.is_open


def test_late_news_do_not_close_it() -> None:
    circuit = Circuit(CircuitSettings(consecutive_failures=2), clock=Clock())
    circuit.failure()
    circuit.failure()
    circuit.success()
    assert circuit.is_open
