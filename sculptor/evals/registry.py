"""All tasks by name.

Besides the exact names a few families are understood, so that a draw or a line to score can be
handed in without naming its suite: ``needlebench``, ``needlebench-v1``, ``needlebench-v2-atc``,
``needlebench-v2-single`` and so on.
"""

import difflib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from sculptor.errors import EvalError
from sculptor.evals.files import DataFiles
from sculptor.evals.types import Task


@lru_cache(maxsize=4)
def load_tasks(data: Path | None = None) -> Mapping[str, Task]:
    """Return every task by name; ``data`` is a folder of files in the upstream's schema."""
    from sculptor.evals.mrcr import Mrcr
    from sculptor.evals.needlebench.suites import needlebench_tasks
    from sculptor.evals.pi_llm.suites import pi_llm_tasks
    from sculptor.evals.ruler import ruler_tasks
    from sculptor.evals.tool_log import ToolLog

    files = DataFiles(data)
    tasks: list[Task] = [*pi_llm_tasks(files), *needlebench_tasks(files)]
    tasks += [Mrcr(files=files), *ruler_tasks(files), ToolLog(files=files)]
    return MappingProxyType({task.name: task for task in tasks})


def find_task(name: str, data: Path | None = None) -> Task:
    """Return the task of a name, or the one that stands for a family.

    Raises:
        EvalError: nothing is called so; the text lists close names.
    """
    tasks = load_tasks(data)
    wanted = _ALIASES.get(_plain(name), _plain(name))
    if wanted in tasks:
        return tasks[wanted]
    longer = [known for known in tasks if known.startswith(f"{wanted}-")]
    if longer:
        return tasks[next((known for known in longer if known.endswith("-32k")), longer[0])]
    close = difflib.get_close_matches(wanted, tasks, n=4, cutoff=0.4)
    hint = f" Did you mean {', '.join(close)}?" if close else ""
    raise EvalError(f"No task is called {name!r}.{hint} `sculptor eval list` shows all.")


_ALIASES = {
    "needlebench": "needlebench-v2-single-32k",
    "needle-bench": "needlebench-v2-single-32k",
    "atc": "needlebench-v2-atc",
    "mrcr": "mrcr-own",
    "pillm": "pi-llm",
    "pi-llm-updates": "pi-llm",
}
_SHORT = {"s-rt": "single", "srt": "single", "m-rt": "multi-retrieval", "mrt": "multi-retrieval"}
_SHORT |= {"m-rs": "multi-reasoning", "mrs": "multi-reasoning", "parallel": "multi-retrieval"}
_SHORT |= {"origin": "single"}


def _plain(name: str) -> str:
    plain = name.strip().lower().replace("_", "-").replace(" ", "-")
    for short, full in _SHORT.items():
        for version in ("v1", "v2"):
            plain = plain.replace(f"{version}-{short}", f"{version}-{full}")
    return plain.replace("exp-", "") if plain.startswith("pi-llm") else plain
