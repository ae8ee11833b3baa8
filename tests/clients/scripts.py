"""What the model behind the proxy says in each scenario; the request's model name tells which."""

from typing import Any

import orjson
from aiohttp import web

from tests.server.stub_upstream import Answer, Message, StubUpstream, call, say

PREAMBLE = "Looking."
ASIDE = "Now asking."
OSLO = {"city": "Oslo"}
OSLO_TIME = {"city": "Oslo", "format": "24h"}
FOLD_MOST = ("fragment_context", {"num_fragments": 8, "fold_except": [-1]})
SEARCH = ("search_context", {"queries": ["item 5 is"]})
_MOST_REQUESTS = 60


def refuse_as_invalid(_: dict[str, Any]) -> Message:
    raise web.HTTPBadRequest(
        content_type="application/json",
        text=_error("top_k is not known here.", "invalid_request_error", "unsupported_parameter"),
    )


def refuse_for_a_minute(_: dict[str, Any]) -> Message:
    raise web.HTTPTooManyRequests(
        content_type="application/json",
        headers={"retry-after": "60"},
        text=_error("Slow down.", "rate_limit_error", "rate_limit_exceeded"),
    )


def _error(message: str, kind: str, code: str) -> str:
    error = {"message": message, "type": kind, "param": None, "code": code}
    return orjson.dumps({"error": error}).decode()


def travel() -> list[Answer]:
    """Fold; then two client calls between two of ours; then search; then the answer."""
    return [
        call(FOLD_MOST, text=PREAMBLE),
        call(SEARCH, ("weather", OSLO), ("fold_fragment", {"keep_last": 1}), ("clock", OSLO_TIME)),
        call(SEARCH, text=ASIDE),
        say("It is -3 degrees and 12:30."),
    ]


def scripts() -> dict[str, list[Answer]]:
    return {
        "plain": [say("Hello, world.")],
        "streamed": [say("Hello, streamed world.")],
        "parallel": travel(),
        "parallel_streamed": travel(),
        "forced": [call(("weather", OSLO))],
        "refuse-400": [refuse_as_invalid],
        "refuse-429": [refuse_for_a_minute],
        "managed": [
            call(FOLD_MOST),
            call(SEARCH),
            say("It is 35."),
            call(SEARCH),
            say("Yes, it is 35."),
            say("It is 42."),
        ],
    }


def scripted_upstream() -> StubUpstream:
    """Return an upstream that plays every scenario once, in whatever order they are asked."""
    left = scripts()
    return StubUpstream(answers=[lambda body: left[body["model"]].pop(0)(body)] * _MOST_REQUESTS)
