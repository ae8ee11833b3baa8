"""Runs the Triton kernels on a CPU with Triton's own interpreter, where Triton is installed."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("triton") else ["test_*.py"]

if find_spec("triton"):
    from sculptor.mom.ops.kernels.interpreter import switch_on

    switch_on()
