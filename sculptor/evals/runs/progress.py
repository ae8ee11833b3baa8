"""What a run has done so far, and a table of it that stays up to date on a terminal."""

import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from sculptor.evals.runs.plan import Plan
from sculptor.evals.runs.runner import Finished

_REFRESH_S = 0.5
_MOST_REASONS = 3
_REASON_CHARS = 300
"""An upstream's words may be a whole page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Money per million tokens; cached input costs the input's price unless given."""

    input: float = 0.0
    cached: float | None = None
    output: float = 0.0

    def cost(self, *, input_tokens: int, cached_tokens: int, output_tokens: int) -> float:
        """Return what these tokens cost; cached tokens are part of the input."""
        cached = self.input if self.cached is None else self.cached
        fresh = input_tokens - cached_tokens
        return (
            fresh * self.input + cached_tokens * cached + output_tokens * self.output
        ) / 1_000_000

    @property
    def are_given(self) -> bool:
        """Whether there is anything to reckon with."""
        return bool(self.input or self.output)


@dataclass(slots=True, kw_only=True)
class Tally:
    """One arm's sums."""

    done: int = 0
    failed: int = 0
    scored: int = 0
    score: float = 0.0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0

    def add(self, finished: Finished) -> None:
        """Count one sample."""
        totals = finished.totals
        self.input_tokens += totals.input_tokens
        self.cached_tokens += totals.cached_tokens
        self.output_tokens += totals.output_tokens
        if finished.error is not None:
            self.failed += 1
            return
        self.done += 1
        if finished.score is not None:
            self.scored += 1
            self.score += finished.score


@dataclass(slots=True)
class Progress:
    """All arms' sums, and a live table of them while entered."""

    plan: Plan
    prices: Prices
    console: Console
    tallies: dict[str, Tally] = field(init=False)
    _live: Live | None = None
    _shown: float = 0.0
    _started: float = 0.0
    _before: int = 0
    _reasons: dict[str, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tallies = {arm: Tally() for arm in self.plan.arms}
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        live = Live(self.table(), console=self.console, auto_refresh=False)
        live.__enter__()
        self._live = live
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.update(self.table(), refresh=True)
            self._live.__exit__(kind, error, trace)
            if not self.console.is_terminal:
                self.console.print()  # rich ends the last table only on a terminal

    def __call__(self, finished: Finished) -> None:
        """Count one finished sample."""
        self.tallies[finished.arm].add(finished)
        self._before += not finished.line
        self._note(finished.error)
        now = time.monotonic()
        if self._live is not None and now - self._shown >= _REFRESH_S:
            self._shown = now
            self._live.update(self.table(), refresh=True)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why samples failed, a line each: the last few that differ, the newest at the end."""
        return tuple(self._reasons)

    @property
    def left_s(self) -> float | None:
        """Seconds until the end at this sitting's pace."""
        done = sum(tally.done for tally in self.tallies.values())
        left = self.plan.limit * len(self.tallies) - done
        here = done - self._before
        return (time.monotonic() - self._started) * left / here if here > 0 else None

    def table(self) -> Table:
        """Return the sums as a table."""
        left = "" if self.left_s is None else f", {_duration(self.left_s)} left"
        table = Table(title=f"{self.plan.task} · {self.plan.model}{left}", title_justify="left")
        names = ["arm", "done", "failed", "accuracy", "input", "cached", "output"]
        for name in [*names, *(["cost"] if self.prices.are_given else [])]:
            table.add_column(name, justify="left" if name == "arm" else "right")
        for arm, tally in self.tallies.items():
            table.add_row(arm, *self._cells(tally))
        return table

    def _note(self, error: str | None) -> None:
        if error is None:
            return
        reason = _shorten(" ".join(error.split()), _REASON_CHARS)
        self._reasons.pop(reason, None)
        self._reasons[reason] = None
        if len(self._reasons) > _MOST_REASONS:
            del self._reasons[next(iter(self._reasons))]

    def _cells(self, tally: Tally) -> list[str]:
        full = self.plan.full_score * tally.scored
        cells = [
            f"{tally.done:,}/{self.plan.limit:,}",
            str(tally.failed),
            f"{100 * tally.score / full:.1f} % (n={tally.scored:,})" if tally.scored else "–",
            f"{tally.input_tokens:,}",
            f"{tally.cached_tokens:,}",
            f"{tally.output_tokens:,}",
        ]
        if self.prices.are_given:
            cost = self.prices.cost(
                input_tokens=tally.input_tokens,
                cached_tokens=tally.cached_tokens,
                output_tokens=tally.output_tokens,
            )
            cells.append(f"{cost:,.4f}")
        return cells


def _shorten(text: str, chars: int) -> str:
    """Return a text, or the beginning of one that is longer."""
    return text if len(text) <= chars else f"{text[: chars - 1]}…"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
