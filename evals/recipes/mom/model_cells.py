"""What is asked of a model: cells, their samples, and the order in which these are answered.

A cell is one arm of one task. Samples of a task visit its settings in turn, so the first of them
cover all settings; where only a part of a task is wanted, the numbers of the others are left out.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from sculptor.errors import EvalError
from sculptor.evals.registry import find_task


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One arm of one task; ``names`` are the parameters that vary, ``settings`` how many sets.

    ``worth`` says how much sooner than others its samples come. ``english`` takes the English
    half of a task that has two.
    """

    task: str
    arm: str
    names: tuple[str, ...]
    settings: int
    worth: float = 1.0
    english: bool = False

    @property
    def name(self) -> str:
        """Its name on the command line, and its folder's."""
        return f"{self.task}:{self.arm}"


@dataclass(frozen=True, slots=True, order=True)
class Job:
    """One sample of one cell."""

    cell: str
    index: int


_NEEDLES = ("length", "num_needles")
_REASONING = "needlebench-v2-multi-reasoning"


def _both(
    task: str, names: tuple[str, ...], settings: int, *, tools: float, plain: float, **more: bool
) -> list[Cell]:
    worths = {"sculptor": tools, "plain": plain}
    return [
        Cell(task=task, arm=arm, names=names, settings=settings, worth=worth, **more)
        for arm, worth in worths.items()
    ]


CELLS = {
    cell.name: cell
    for cell in (
        *_both("pi-llm-sculptor", ("n_updates",), 7, tools=8, plain=3),
        *_both("needlebench-sculptor", _NEEDLES, 20, tools=8, plain=3),
        *_both("tool-log", ("log_lines",), 3, tools=8, plain=3),
        *_both(f"{_REASONING}-128k", _NEEDLES, 32, tools=3, plain=1, english=True),
        *_both(f"{_REASONING}-4k", _NEEDLES, 16, tools=3, plain=1, english=True),
        *_both(f"{_REASONING}-8k", _NEEDLES, 32, tools=1, plain=1, english=True),
        *_both(f"{_REASONING}-32k", _NEEDLES, 36, tools=1, plain=1, english=True),
        *_both("pi-llm-long", ("n_updates",), 3, tools=2, plain=1),
        *_both("ruler-own-vt", ("length",), 6, tools=2, plain=1),
        *_both("ruler-own-niah-multikey-1", ("length",), 6, tools=2, plain=1),
        *_both("ruler-own-niah-multikey-2", ("length",), 6, tools=2, plain=1),
        *_both("ruler-own-niah-multikey-3", ("length",), 6, tools=2, plain=1),
    )
}


def chosen_cells(names: Sequence[str], n: int) -> dict[Cell, int]:
    """Return how many samples a setting are wanted of each cell.

    ``names`` are those of cells or tasks, all of them for none; one with ``=20`` behind it has
    that number instead of ``n``.

    Raises:
        EvalError: a name is unknown, or what is behind it is no number of samples.
    """
    wanted = {name: count for name, _, count in (given.partition("=") for given in names)}
    unknown = [n for n in wanted if not any(n in (c.name, c.task) for c in CELLS.values())]
    if unknown:
        raise EvalError(f"No cell {', '.join(unknown)}; there are {', '.join(CELLS)}.")
    if odd := [f"{name}={count}" for name, count in wanted.items() if not _is_count(count)]:
        raise EvalError(f"No number of samples: {', '.join(odd)}. Write CELL=20, or CELL alone.")
    chosen = {}
    for cell in CELLS.values():
        name = cell.name if cell.name in wanted else cell.task
        if name in wanted or not wanted:
            chosen[cell] = int(wanted.get(name) or n)
    return chosen


def _is_count(text: str) -> bool:
    return not text or (text.isascii() and text.isdigit() and int(text) > 0)


def indexes_of(cell: Cell, n: int) -> list[int]:
    """Return the numbers of ``n`` samples of each setting; a task may be drawn past its length."""
    if not cell.english:
        return list(range(cell.settings * n))
    return list(_english(cell, n))


def _english(cell: Cell, n: int) -> Iterator[int]:
    """Yield numbers until every setting has its samples, whatever depths they fall on."""
    task, taken = find_task(cell.task), Counter[tuple[object, ...]]()
    for index in count():
        if sum(taken.values()) == cell.settings * n:
            return
        draw = task.draw(index)
        setting = tuple(draw[name] for name in cell.names)
        if draw["language"] == "English" and taken[setting] < n:
            taken[setting] += 1
            yield index


def jobs_of(counts: Mapping[Cell, int], *, done: Collection[Job]) -> list[Job]:
    """Return what is still to do, so mixed that a cut leaves every cell a part.

    A cell worth twice as much is done at twice the pace.
    """
    ranked: list[tuple[float, Job]] = []
    for cell, n in counts.items():
        numbers = indexes_of(cell, n)
        for at, index in enumerate(numbers, 1):
            job = Job(cell.name, index)
            if job not in done:
                ranked.append((at / len(numbers) / cell.worth, job))
    return [job for _, job in sorted(ranked)]
