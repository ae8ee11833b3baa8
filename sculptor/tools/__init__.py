"""The tools by which a model works on its own context: toolsets ``paper`` and ``full``."""

from sculptor.tools.needs import (
    Need,
    NeedEmbeddings,
    NeedRanked,
    NeedSummaries,
    Summaries,
    ToolAnswer,
    Work,
)
from sculptor.tools.registry import Tool, Toolset, ToolsetName, answer_to_text, toolset

__all__ = [
    "Need",
    "NeedEmbeddings",
    "NeedRanked",
    "NeedSummaries",
    "Summaries",
    "Tool",
    "ToolAnswer",
    "Toolset",
    "ToolsetName",
    "Work",
    "answer_to_text",
    "toolset",
]
