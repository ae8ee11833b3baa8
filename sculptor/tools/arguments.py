"""The arguments of each tool, as the schemas that models are shown and are held to.

The ``paper`` schemas are those of arXiv 2508.04664, Appendix F, in names, types, defaults and
limits. The ``full`` ones are the product's: the same tools, with lists, modes and ranges where one
call should do the work of thirty. Unknown properties are refused in both.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

PaperRole = Literal["user", "assistant", "all"]
FullRole = Literal["user", "assistant", "tool", "all"]
Mode = Literal["exact", "ignore_case", "regex", "fuzzy", "ranked", "semantic"]
Order = Literal["first", "last", "relevance"]
NotEmpty = Annotated[str, StringConstraints(min_length=1)]


class Arguments(BaseModel):
    """The root of all argument models."""

    model_config = ConfigDict(extra="forbid")

    @classmethod
    def schema_of(cls) -> dict[str, Any]:
        """Return the JSON schema, without the titles and nulls that only cost tokens."""
        raw = cls.model_json_schema()
        properties = {name: _plain(spec) for name, spec in raw.get("properties", {}).items()}
        schema: dict[str, Any] = {"type": "object", "properties": properties}
        if raw.get("required"):
            schema["required"] = raw["required"]
        return schema | {"additionalProperties": False}


def _plain(spec: dict[str, Any]) -> dict[str, Any]:
    options = [option for option in spec.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) == 1:
        spec = {**{key: value for key, value in spec.items() if key != "anyOf"}, **options[0]}
    return {
        key: value
        for key, value in spec.items()
        if key != "title" and not (key == "default" and value in (None, []))
    }


class PaperFragment(Arguments):
    """``fragment_context`` of the paper."""

    start_marker: str = Field(description="Text at which the range begins")
    end_marker: str = Field(description="Text at which the range ends")
    num_fragments: int = Field(5, ge=1, le=20, description="Number of pieces")
    role: PaperRole = Field("user", description="Whose messages are looked at")


class PaperFold(Arguments):
    """``fold_fragment`` of the paper."""

    fragment_id: str = Field(description="ID of the fragment to hide")


class PaperSummarize(Arguments):
    """``summarize_fragment`` of the paper."""

    fragment_id: str = Field(description="ID of the fragment to summarize")
    focus: str = Field(
        description="What the summary must keep, e.g. technical details, key decisions, "
        "action items, main points, problems, solutions"
    )


class PaperRestore(Arguments):
    """``restore_fragment`` of the paper."""

    fragment_id: str = Field(description="ID of the fragment to bring back")


class PaperSearch(Arguments):
    """``search_context`` of the paper."""

    query: str = Field(description="Exact text to find")
    role: PaperRole = Field("user", description="Whose messages are searched")
    max_results: int = Field(10, ge=1, le=50, description="Results at most")
    context_size: int = Field(200, ge=50, le=1000, description="Characters on each side")


class PaperDetail(Arguments):
    """``get_search_detail`` of the paper."""

    search_id: str = Field(description="ID from search_context")
    extended_context: int = Field(500, ge=100, le=2000, description="Characters on each side")


class FullFragment(Arguments):
    """``fragment_context`` of the product."""

    start_marker: str | None = Field(None, description="Exact text where the range begins")
    end_marker: str | None = Field(None, description="Exact text where it ends")
    role: FullRole = "all"
    num_fragments: int | None = Field(None, ge=1, le=100, description="Pieces a range (default 5)")
    size_tokens: int | None = Field(None, ge=50, le=100_000, description="Or tokens a piece")
    fold_except: list[int] | None = Field(
        None, description="Also fold all pieces but these: 1 first, -1 last"
    )


class Selection(Arguments):
    """Fragments chosen by name, by range, or all but the last ones."""

    fragment_ids: list[str] = Field(
        [], max_length=1000, description='IDs, ranges "f1a2b3..f4c5d6", or "all"'
    )


class FullFold(Selection):
    """``fold_fragment`` of the product."""

    keep_last: int | None = Field(None, ge=0, description="Fold all but the last n fragments")


class FullRestore(Selection):
    """``restore_fragment`` of the product."""


class FullSummarize(Selection):
    """``summarize_fragment`` of the product."""

    focus: NotEmpty = Field(description="What each summary must keep")


class FullSearch(Arguments):
    """``search_context`` of the product."""

    queries: list[NotEmpty] = Field(min_length=1, max_length=100)
    mode: Mode = "exact"
    role: FullRole = "all"
    max_results: int = Field(10, ge=1, le=50, description="Hits a query")
    context_size: int = Field(200, ge=50, le=1000, description="Characters on each side")
    order: Order | None = Field(None, description="Default: first; best first in loose modes")
    latest_per_query: bool = Field(False, description="Only each query's last occurrence")


class FullDetail(Arguments):
    """``get_search_detail`` of the product."""

    search_id: str
    extended_context: int = Field(500, ge=100, le=2000, description="Characters on each side")


class FullPin(Selection):
    """``pin_fragment`` of the product."""

    pinned: bool = Field(True, description="false releases")


class FullUndo(Arguments):
    """``undo`` of the product."""

    operation: str = Field(description="Operation ID from a receipt, e.g. o3")
