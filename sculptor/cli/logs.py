"""Logs on standard error: for people where it is a terminal, one JSON object a line elsewhere."""

import logging
import sys
from typing import Any

import orjson
import structlog

_ID_CHARS = 8
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


_TRACEBACKS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=20)
)


def configure_logs(level: str, *, for_good: bool = False) -> None:
    """Send the server's own log, and warnings of its libraries, to standard error.

    ``for_good``: it is not configured again in this process, so loggers need not look.
    """
    is_terminal = sys.stderr.isatty()
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(
            fmt="%H:%M:%S" if is_terminal else "iso", utc=not is_terminal
        ),
    ]
    shown: list[structlog.typing.Processor] = (
        [
            _for_people,
            # Frame locals hold keys and conversations; they are never shown.
            structlog.dev.ConsoleRenderer(
                pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
            ),
        ]
        if is_terminal
        else [_TRACEBACKS, structlog.processors.JSONRenderer(_dump)]
    )
    structlog.configure(
        processors=[*shared, *shown],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=for_good,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *shown],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=max(_LEVELS[level], logging.WARNING), handlers=[handler], force=True)


def _for_people(
    logger: object, method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Make a request one short line, and its id short enough to compare by eye."""
    del logger, method
    if event.get("event") == "request":
        told = (event.pop(name, "") for name in ("method", "path", "status", "ms"))
        event["event"] = "{} {} {} {} ms".format(*told)
    if isinstance(event.get("request_id"), str):
        event["request_id"] = event["request_id"][:_ID_CHARS]
    return event


def _dump(value: Any, **options: Any) -> str:
    return orjson.dumps(value, default=options.get("default", str)).decode()
