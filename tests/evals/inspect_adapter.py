"""Our tasks inside Inspect against the real proxy: the same scores as our own runner.

Inspect is an extra, so this is a program for an environment that has it and the server's
requirements: ``python -m tests.evals.inspect_adapter BASE_URL`` with a scripted proxy there.
"""

import math
import sys
import tempfile

from sculptor.evals.inspect_tasks import inspect_task


def main() -> None:
    from inspect_ai import eval as inspect_eval
    from inspect_ai.model import get_model

    model = get_model(
        "openai/scripted", base_url=f"{sys.argv[1]}/v1", api_key="none", responses_api=False
    )
    cases = [
        ("pi-llm-sculptor", "sculptor", 1.0),
        ("tool-log", "plain", 1.0),
        ("needlebench-sculptor", "sculptor-task", 100.0),
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name, arm, expected in cases:
            task = inspect_task(name, arm=arm, limit=4)
            (log,) = inspect_eval(task, model=model, log_dir=folder, display="none")
            assert log.status == "success", log.error
            means = {each.name: each.metrics["mean"].value for each in log.results.scores}
            assert len(log.samples) == 4
            assert all(math.isclose(value, expected) for value in means.values()), (name, means)
    print("Inspect and the runner agree")


if __name__ == "__main__":
    main()
