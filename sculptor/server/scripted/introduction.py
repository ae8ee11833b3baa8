"""What is left for an ordinary message: saying what this program is, and how to attach a model."""

import orjson

from sculptor.server.scripted.prompt import Prompt
from sculptor.server.scripted.reply import Reply
from sculptor.server.scripted.samples import sample_asked
from sculptor.server.scripted.spelled_calls import tell_results

INTRODUCTION = (
    "This is Sculptor's scripted backend, a program with fixed rules for tests and demonstrations "
    "and not a language model. To attach a model, start the server with "
    "`sculptor serve --upstream URL --upstream-key-env NAME`."
)


def introduce(prompt: Prompt) -> Reply:
    """Tell what the turn's tools answered; without such, what this program is.

    A response format that the request demands is kept to.

    Raises:
        ApiError: its schema cannot be.
    """
    shape = prompt.response_format
    if shape.get("type") == "json_schema":
        schema = (shape.get("json_schema") or {}).get("schema") or {}
        where = "response_format.json_schema.schema"
        return Reply(text=_to_json(sample_asked(schema, where, code="invalid_json_schema")))
    text = tell_results(prompt) if prompt.results else INTRODUCTION
    if shape.get("type") == "json_object":
        return Reply(text=_to_json({"message": text}))
    return Reply(text=text)


def _to_json(value: object) -> str:
    return orjson.dumps(value).decode()
