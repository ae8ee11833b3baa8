"""The evaluations of a run: a line each in ``metrics.jsonl``, and the plot drawn of them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from sculptor.mom.recipes.plot import line_plot

METRICS_FILE = "metrics.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """Exact matches ``right`` of ``asked`` questions, and the share of each memory by layer."""

    right: int
    asked: int
    load: list[list[float]]

    @property
    def accuracy(self) -> float:
        """Share of questions answered exactly."""
        return self.right / self.asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Score(Recalled):
    """The same on unseen examples, with the cross-entropy."""

    entropy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsLine:
    """One line of ``metrics.jsonl``: after ``step`` steps, how training stands."""

    step: int
    loss: float
    balance: float
    gradient_norm: float
    rate: float
    tokens_per_s: float
    score: Score


def write_line(folder: Path, line: MetricsLine) -> None:
    """Add an evaluation to a run's folder and draw its plot anew."""
    with (folder / METRICS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(line)) + "\n")
    write_plot(folder)


def read_metrics(folder: Path) -> list[MetricsLine]:
    """Return the evaluations of a run, first to last."""
    rows = map(json.loads, _lines(folder))
    return [MetricsLine(**row | {"score": Score(**row["score"])}) for row in rows]


def write_plot(folder: Path) -> None:
    """Draw accuracy and loss over the steps into ``plot.svg``."""
    lines = read_metrics(folder)
    series = {
        "exact match": [(float(line.step), line.score.accuracy) for line in lines],
        "loss": [(float(line.step), line.score.entropy) for line in lines],
    }
    svg = line_plot(series, title=folder.name, x_label="step", y_label="")
    (folder / "plot.svg").write_text(svg, encoding="utf-8")


def drop_lines_after(folder: Path, *, step: int) -> None:
    """Drop the evaluations of a run after a step."""
    kept = [line for line in _lines(folder) if json.loads(line)["step"] <= step]
    fresh = folder / f"{METRICS_FILE}.new"
    fresh.write_text("".join(kept), encoding="utf-8")
    fresh.replace(folder / METRICS_FILE)


def _lines(folder: Path) -> list[str]:
    """Return a run's lines; one that a kill left torn is none."""
    path = folder / METRICS_FILE
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
