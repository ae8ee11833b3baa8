"""What an exam kept of each scene, and the figures made of it.

Turns of one scene hang together: the unit of every interval is the scene. Scenes are drawn anew
with all their turns (10,000 times); where all turns went alike and a draw tells nothing, the
interval is Wilson's, as if a scene were one turn.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from sculptor.evals.runs.records import RECORDS_FILE
from sculptor.evals.stats import RESAMPLES, wilson
from sculptor.mom.recipes.corpus import HELD_OUT

INTERVALS = "95 %, scenes resampled; Wilson over scenes where all turns went alike"
WRONG_KEPT = 60
_SHORT_CHARS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ExaminedTurn:
    """How one turn went."""

    right: bool
    calls: int
    refused: int
    wanted: str
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExaminedScene:
    """How one scene went; ``index`` is the sample it is of."""

    index: int
    family: str
    form: str
    chars: int
    turns: tuple[ExaminedTurn, ...]

    @property
    def right(self) -> int:
        """How many turns were answered as wanted."""
        return sum(turn.right for turn in self.turns)

    def to_line(self) -> bytes:
        """Return the scene as a line of a file."""
        return orjson.dumps(asdict(self))


def read_scenes(folder: Path) -> list[ExaminedScene]:
    """Return the scenes that all processes kept, each once, in order; torn lines count as none."""
    found = {scene.index: scene for scene in _iter_scenes(folder)}
    return [found[index] for index in sorted(found)]


def _iter_scenes(folder: Path) -> Iterator[ExaminedScene]:
    for path in sorted(folder.glob(f"*/{RECORDS_FILE}")):
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                value = orjson.loads(line)
                turns = tuple(ExaminedTurn(**turn) for turn in value.pop("turns"))
                yield ExaminedScene(**value, turns=turns)


def summarize(scenes: Sequence[ExaminedScene], *, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of an exam, and the first turns that went wrong."""
    trained = [scene for scene in scenes if scene.family not in HELD_OUT]
    turns = [turn for scene in scenes for turn in scene.turns]
    return {
        **about,
        "intervals": INTERVALS,
        "trained_families": share(trained),
        "with_tools": share([scene for scene in trained if scene.form == "tools"]),
        "direct": share([scene for scene in trained if scene.form == "direct"]),
        "under_1k_chars": share([scene for scene in trained if scene.chars < _SHORT_CHARS]),
        "calls": sum(turn.calls for turn in turns),
        "refused": sum(turn.refused for turn in turns),
        "families": {
            f"{family} {form}": share([s for s in scenes if (s.family, s.form) == (family, form)])
            for family in sorted({scene.family for scene in scenes})
            for form in ("direct", "tools")
        },
        "wrong": list(_wrong_turns(scenes))[:WRONG_KEPT],
    }


def _wrong_turns(scenes: Sequence[ExaminedScene]) -> Iterator[dict[str, object]]:
    for scene in scenes:
        about = {"family": scene.family, "form": scene.form, "chars": scene.chars}
        yield from (about | asdict(turn) for turn in scene.turns if not turn.right)


def share(scenes: Sequence[ExaminedScene]) -> dict[str, Any]:
    """Return how many turns were right, and the interval of that share over scenes."""
    right, n = sum(scene.right for scene in scenes), sum(len(scene.turns) for scene in scenes)
    return {
        "right": right,
        "n": n,
        "share": right / max(1, n),
        "interval": [round(bound, 4) for bound in _interval(scenes, right, n)],
        "scenes": len(scenes),
    }


def _interval(scenes: Sequence[ExaminedScene], right: int, n: int) -> tuple[float, float]:
    if not n:
        return 0.0, 1.0
    if right in (0, n):
        return wilson(len(scenes) if right else 0, len(scenes))
    counts = np.array([(scene.right, len(scene.turns)) for scene in scenes])
    picks = np.random.default_rng(0).integers(len(scenes), size=(RESAMPLES, len(scenes)))
    drawn = counts[picks].sum(axis=1)
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], (2.5, 97.5))
    return float(low), float(high)
