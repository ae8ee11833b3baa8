"""What a search of the originals found, as values."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sculptor.context import Context as CoreContext
from sculptor.state import Status
from sculptor.tools import ToolAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchHit:
    """One place where a query was found.

    ``char`` counts code points in the original part; ``text`` is the excerpt around it, cut at no
    grapheme. ``hidden`` says how the view hides it, None where it is visible.
    """

    id: str
    query: str
    message: int
    role: str
    char: int
    text: str
    fragment: str | None = None
    hidden: Status | None = None


def read_hits(core: CoreContext, answer: ToolAnswer) -> tuple[SearchHit, ...]:
    """Return the hits of a search's answer, query by query."""
    return tuple(_hits(core, answer))


def _hits(core: CoreContext, answer: ToolAnswer) -> Iterator[SearchHit]:
    for row in answer["results"]:
        for hit in row["hits"]:
            yield SearchHit(
                id=hit["id"],
                query=row["query"],
                message=hit["message"],
                role=hit["role"],
                char=hit["char"],
                text=hit.get("text") or _found(core, hit),
                fragment=hit.get("fragment"),
                hidden=hit.get("hidden"),
            )


def _found(core: CoreContext, row: dict[str, Any]) -> str:
    """Return the found text itself, where the answer had no room for an excerpt."""
    hit = core.hits[row["id"]]
    index: int = row["message"]
    return core.messages[index].parts[hit.part].text[hit.start : hit.end]
