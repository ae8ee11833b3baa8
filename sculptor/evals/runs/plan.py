"""What a run is, apart from where and how fast it is made.

A plan fixes every sample: task, seed, limit, data, arms, model, scorer, budget. It is written once
into the run's folder; a later run into the same folder must have the same plan, but for a higher
limit, and only does what is missing. The endpoint, concurrency and executor may differ from one
sitting to the next.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import orjson

from sculptor.errors import EvalError
from sculptor.evals.arms import Mode, find_arms
from sculptor.evals.registry import find_task
from sculptor.evals.types import Task, check_scorer

PLAN_FILE = "plan.json"
_MAY_CHANGE = ("note", "limit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run's plan; ``budget_tokens`` of None matches budgets to the ``sculptor`` arm's view."""

    task: str
    arms: tuple[str, ...]
    model: str
    limit: int
    start: int = 0
    step: int = 1
    seed: int = 0
    scorer: str
    data: str | None = None
    budget_tokens: int | None = None
    admission: Mode = "auto"
    max_tokens: int | None = None
    temperature: float = 0.0
    note: str = ""

    @property
    def data_folder(self) -> Path | None:
        """The folder of data files, if there is one."""
        return Path(self.data) if self.data else None

    @property
    def indexes(self) -> range:
        """The numbers of the samples: ``limit`` of them from ``start``, every ``step``-th."""
        return range(self.start, self.start + self.limit * self.step, self.step)

    @property
    def full_score(self) -> float:
        """What a scorer gives a sample that is right in full: NeedleBench counts to 100."""
        return 100.0 if self.task.startswith("needlebench") else 1.0

    def load_task(self) -> Task:
        """Return the task with its data."""
        return find_task(self.task, self.data_folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where requests go, and how patiently."""

    base_url: str
    key: str = ""
    timeout_s: float = 600.0
    max_retries: int = 8
    cache: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One sample and the arms that have not answered it yet."""

    index: int
    arms: tuple[str, ...]
    matched_tokens: int | None = None


def make_plan(
    task: str,
    *,
    arms: Sequence[str],
    model: str,
    limit: int | None = None,
    start: int = 0,
    step: int = 1,
    seed: int = 0,
    scorer: str | None = None,
    data: Path | None = None,
    budget_tokens: int | None = None,
    admission: Mode = "auto",
    max_tokens: int | None = None,
    temperature: float = 0.0,
    note: str = "",
) -> Plan:
    """Return a checked plan; ``limit`` is one full run of the task by default.

    Raises:
        EvalError: a name is unknown, or a budget is needed and nothing gives it.
    """
    found, chosen = find_task(task, data), find_arms(arms)
    needing = [arm.name for arm in chosen if arm.needs_budget]
    if needing and budget_tokens is None and "sculptor" not in arms:
        raise EvalError(
            f"{needing[0]} needs a budget: give --budget TOKENS, or add --arm sculptor to match "
            "its views."
        )
    return Plan(
        task=found.name,
        arms=tuple(arm.name for arm in chosen),
        model=model,
        limit=len(found) if limit is None else limit,
        start=start,
        step=step,
        seed=seed,
        scorer=check_scorer(scorer, found.scorers),
        data=str(data.resolve()) if data else None,
        budget_tokens=budget_tokens,
        admission=admission,
        max_tokens=max_tokens,
        temperature=temperature,
        note=note,
    )


def load_plan(folder: Path) -> Plan:
    """Read a run's plan.

    Raises:
        EvalError: the folder holds none.
    """
    try:
        value = orjson.loads((folder / PLAN_FILE).read_bytes())
    except FileNotFoundError:
        raise EvalError(f"{folder} is no run: it has no {PLAN_FILE}.") from None
    known = {field.name for field in fields(Plan)}
    return Plan(**{**{k: v for k, v in value.items() if k in known}, "arms": tuple(value["arms"])})


def ensure_plan(folder: Path, plan: Plan) -> None:
    """Write the plan, or check that the folder's plan is the same.

    Raises:
        EvalError: another run lies there.
    """
    path = folder / PLAN_FILE
    if path.exists():
        there, wanted = asdict(load_plan(folder)), asdict(plan)
        other = [name for name in wanted if name not in _MAY_CHANGE and there[name] != wanted[name]]
        if other or plan.limit < there["limit"]:
            differing = ", ".join(f"{name} {there[name]!r}" for name in other or ["limit"])
            raise EvalError(
                f"{folder} holds another run ({differing}). Choose another --out, or delete it."
            )
    folder.mkdir(parents=True, exist_ok=True)
    made = path.with_suffix(".new")
    made.write_bytes(orjson.dumps(asdict(plan), option=orjson.OPT_INDENT_2) + b"\n")
    made.replace(path)
