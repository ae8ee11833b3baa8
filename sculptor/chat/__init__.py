"""Chat completions on the wire: typed events, a reader that repairs, a writer that is strict."""

from sculptor.chat.calls import mint_call_id
from sculptor.chat.events import (
    CallKind,
    Completed,
    Delta,
    ExtraDelta,
    JsonObject,
    TextDelta,
    ToolCallDelta,
    Usage,
    read_usage,
)
from sculptor.chat.reader import ChunkReader, mend_finish_reason, parse_json, read_completion
from sculptor.chat.writer import DONE, ChunkWriter, format_completion, format_error_frame

__all__ = [
    "DONE",
    "CallKind",
    "ChunkReader",
    "ChunkWriter",
    "Completed",
    "Delta",
    "ExtraDelta",
    "JsonObject",
    "TextDelta",
    "ToolCallDelta",
    "Usage",
    "format_completion",
    "format_error_frame",
    "mend_finish_reason",
    "mint_call_id",
    "parse_json",
    "read_completion",
    "read_usage",
]
