"""Tasks for Inspect's command line; ``-T name=…`` chooses any of ``sculptor eval list``.

inspect eval evals/inspect/tasks.py@sculptor -T name=pi-llm -T arm=sculptor -T limit=32
"""

from inspect_ai import Task, task

from sculptor.evals.inspect_tasks import inspect_task


@task
def sculptor(
    name: str = "pi-llm",
    arm: str = "plain",
    limit: int | None = None,
    seed: int = 0,
    scorer: str | None = None,
    budget_tokens: int | None = None,
    admission: str = "auto",
    data: str | None = None,
) -> Task:
    """One of our tasks, answered by one arm."""
    return inspect_task(
        name,
        arm=arm,
        limit=limit,
        seed=seed,
        scorer=scorer,
        budget_tokens=budget_tokens,
        admission=admission,
        data=data,
    )
