"""What a tool may need from outside while it works.

Tools are generators: they yield a need and get its answer sent back, so that the same code serves a
server that awaits and a program that blocks. Most tools need nothing and never yield.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from sculptor.messages import MessageHash
from sculptor.summaries import SummaryJob


@dataclass(frozen=True, slots=True)
class NeedSummaries:
    """Summaries for these jobs; answered by a ``Summaries``."""

    jobs: tuple[SummaryJob, ...]


@dataclass(frozen=True, slots=True)
class Summaries:
    """Texts by fragment ID (those that could not be made are missing), and what they cost."""

    texts: dict[str, str]
    model: str
    prompt_hash: str = ""
    cost_tokens: int = 0


@dataclass(frozen=True, slots=True)
class NeedRanked:
    """Passages of these messages ranked for a query; answered by a list of ``RankedHit``."""

    hashes: tuple[MessageHash, ...]
    query: str
    limit: int


@dataclass(frozen=True, slots=True)
class NeedEmbeddings:
    """Vectors for texts; answered by a list of vectors, or None where no embedder is configured."""

    texts: tuple[str, ...]


Need = NeedSummaries | NeedRanked | NeedEmbeddings
ToolAnswer = dict[str, Any]
"""JSON values: what the model reads as the tool's result."""

Work = Generator[Need, Any, ToolAnswer]
