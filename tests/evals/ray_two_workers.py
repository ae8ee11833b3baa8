"""The comparison of executors with Ray in place of the process pool, on two local workers.

Ray is an extra, so this is a program for an environment that has it:
``python -m tests.evals.ray_two_workers``; it fails where Ray is missing.
"""

import tempfile
from pathlib import Path

from sculptor.evals.runs.executors import find_executor
from tests.evals.test_executors import run_twice


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        run_twice(Path(folder), find_executor("ray", workers=2, concurrency=4))
    print("two Ray workers and one process got the same results")


if __name__ == "__main__":
    main()
