"""Every error has the one envelope, the status of the table, and no key in it."""

from typing import Any

import orjson
import pytest
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from sculptor import errors
from sculptor.server.envelope import ApiError, ErrorFormatter, describe_validation
from sculptor.server.failures import CircuitOpen, ClientKeyRefused, UpstreamUnreachable

FORMATTER = ErrorFormatter(["our-own-upstream-secret", "x"])


def said(error: BaseException) -> tuple[int, dict[str, Any], dict[bytes, bytes]]:
    answer = FORMATTER.answer(error, request_id="req-1")
    envelope = orjson.loads(answer.body)
    assert list(envelope) == ["error"]
    assert set(envelope["error"]) == {"message", "type", "param", "code"}
    headers = dict(answer.headers)
    assert headers.pop(b"x-request-id") == b"req-1"
    assert headers.pop(b"content-type") == b"application/json"
    assert answer.body == FORMATTER.envelope(error)
    return answer.status, envelope["error"], headers


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (
            errors.InvalidMessage("bad", "messages[0]"),
            400,
            "invalid_request_error",
            "invalid_value",
        ),
        (errors.FragmentNotFound("f00000"), 404, "not_found_error", "fragment_not_found"),
        (errors.OperationNotFound("o"), 404, "not_found_error", "operation_not_found"),
        (errors.FragmentProtected("f", "pin"), 409, "conflict_error", "refused"),
        (errors.UndoRefused("o", ["p"]), 409, "conflict_error", "refused"),
        (errors.ToolError("EMPTY_RANGE", "m"), 400, "invalid_request_error", "empty_range"),
        (errors.StaleHead("l"), 409, "conflict_error", "session_busy"),
        (errors.StoreLocked("f"), 503, "overloaded_error", "store_unavailable"),
        (errors.StoreError("full"), 503, "overloaded_error", "store_unavailable"),
        (errors.StoreCorrupt("x"), 500, "server_error", "store_damaged"),
        (errors.UpstreamTimeout("idle", 1), 504, "timeout_error", "upstream_timeout"),
        (errors.UpstreamBroken("x"), 502, "upstream_error", "upstream_invalid_response"),
        (UpstreamUnreachable("x"), 502, "upstream_error", "upstream_unreachable"),
        (CircuitOpen(3), 503, "overloaded_error", "circuit_open"),
        (HTTPException(404), 404, "not_found_error", "not_found"),
        (HTTPException(405), 405, "invalid_request_error", "method_not_allowed"),
        (ApiError(413, "m"), 413, "request_too_large", None),
        (ApiError(418, "m"), 418, "invalid_request_error", None),
        (KeyError("secret"), 500, "server_error", "internal_error"),
    ],
)
def test_the_table(error: Exception, status: int, kind: str, code: str | None) -> None:
    got, envelope, _ = said(error)
    assert (got, envelope["type"], envelope["code"]) == (status, kind, code)


def test_what_went_wrong_inside_stays_inside() -> None:
    assert "secret" not in said(KeyError("secret"))[1]["message"]
    assert "x.db" not in said(errors.StoreCorrupt("x.db"))[1]["message"]


def upstream(status: int, body: Any, **headers: str) -> errors.UpstreamStatus:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    return errors.UpstreamStatus(status, data, {k.replace("_", "-"): v for k, v in headers.items()})


def test_an_upstreams_4xx_keeps_its_words() -> None:
    body = {"error": {"message": "too long", "type": "t", "param": "messages", "code": "c_l_e"}}
    assert said(upstream(400, body))[:2] == (400, body["error"])
    status, envelope, headers = said(
        upstream(429, body, retry_after="7", x_ratelimit_limit_requests="1", set_cookie="a=b")
    )
    assert (status, envelope["code"]) == (429, "c_l_e")
    assert headers == {b"retry-after": b"7", b"x-ratelimit-limit-requests": b"1"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": "plain"}, "plain"),
        ({"message": "flat", "object": "error", "code": 404}, "flat"),
        ({"detail": "fastapi"}, "fastapi"),
        ({"error": {"code": 400}}, "The upstream answered 400."),
        (b"<html>", "The upstream answered 400."),
        (b"[1]", "The upstream answered 400."),
        (b'{"error":[1]}', "The upstream answered 400."),
    ],
)
def test_error_bodies_of_every_form(body: Any, message: str) -> None:
    assert said(upstream(400, body))[1]["message"] == message


@pytest.mark.parametrize(
    ("status", "mine"), [(500, 502), (502, 502), (503, 503), (504, 504), (529, 503), (599, 502)]
)
def test_an_upstreams_5xx_becomes_a_gateways(status: int, mine: int) -> None:
    got, envelope, headers = said(upstream(status, b"<html>bad</html>", x_should_retry="false"))
    assert got == mine
    assert "html" not in envelope["message"]
    assert headers == {b"x-should-retry": b"false"}


@pytest.mark.parametrize("status", [401, 403])
def test_whose_credential_was_refused(status: int) -> None:
    body = {"error": {"message": "Incorrect API key provided: abc***", "code": "invalid_api_key"}}
    got, envelope, _ = said(upstream(status, body))
    assert (got, envelope["code"]) == (502, "upstream_auth")
    assert "abc" not in envelope["message"]
    theirs = ClientKeyRefused(status, orjson.dumps(body), {})
    assert said(theirs)[0] == status


def test_waits_are_told_in_both_units() -> None:
    _, _, headers = said(ApiError(429, "m", retry_after_s=1.5))
    assert headers == {b"retry-after": b"2", b"retry-after-ms": b"1500"}
    assert said(UpstreamUnreachable("x"))[2] == {b"x-should-retry": b"false"}


@pytest.mark.parametrize(
    "text",
    [
        "key sk-proj-abcDEF_123456 is bad",
        "got Bearer abc.def-ghi",
        "got bearer tok",
        "it was our-own-upstream-secret!",
        "sk-ant-api03-abcdef",
    ],
)
def test_no_key_leaves(text: str) -> None:
    for error in (ApiError(400, text, code=text), upstream(400, {"error": {"message": text}})):
        envelope = said(error)[1]
        for word in ("abc", "123456", "tok", "our-own", "ghi"):
            assert word not in envelope["message"]
            assert word not in (envelope["code"] or "")


def test_ordinary_words_stay() -> None:
    text = "The task-oriented desk-top risk-averse sk- x"
    assert said(ApiError(400, text))[1]["message"] == text


class _Body(BaseModel):
    model: str
    n: int = 1


def test_refusals_of_a_model_are_400() -> None:
    for value, param, code in (
        ({}, "model", "missing_required_parameter"),
        ({"model": "m", "n": "x"}, "n", "invalid_value"),
    ):
        with pytest.raises(ValidationError) as caught:
            _Body.model_validate(value)
        problems: Any = caught.value.errors()
        problems[0]["loc"] = ("body", *problems[0]["loc"])
        _, envelope, _ = said(describe_validation(problems))
        assert (envelope["param"], envelope["code"]) == (param, code)
    assert describe_validation([]).status == 400
