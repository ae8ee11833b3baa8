"""The OpenAPI document on file is the application's, and real answers are what it says."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sculptor.server.document import make_document
from tests.server.managing import managed

FILE = Path(__file__).parents[2] / "server" / "openapi.json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    value: dict[str, Any] = json.loads(make_document())
    return value


def test_the_file_is_exported_from_the_application() -> None:
    assert FILE.read_bytes() == make_document(), "run: python -m sculptor.server.document server"


def test_all_routes_are_told_with_their_errors(document: dict[str, Any]) -> None:
    paths = document["paths"]
    assert {"/v1/chat/completions", "/api/sessions", "/healthz", "/readyz", "/metrics"} <= set(
        paths
    )
    for path, methods in paths.items():
        for operation in methods.values():
            assert "422" not in operation["responses"], path
            if path.startswith("/api"):
                assert operation["responses"]["4XX"]
                assert operation["description"].endswith(".")


def test_answers_are_what_the_document_says(document: dict[str, Any]) -> None:
    with managed() as server:
        session = server.talk()
        made = server.do(session, kind="fragment")
        order = {"kind": "fold", "fragment_ids": made["fragments"][:1]}
        query = {"queries": ["Whale number 7", "nothing at all"], "max_results": 1}
        calls: list[tuple[str, str, Any]] = [
            ("post", "/operations", order),
            ("post", "/search", query),
            *(("get", path, None) for path in ("", "/view", "/diff", "/fragments", "/operations")),
            ("delete", "", None),
        ]
        for method, path, body in calls:
            url = f"/api/sessions/{session}{path}"
            answer = server.client.request(method, url, json=body)
            assert answer.status_code == 200, answer.text
            _validate(document, f"/api/sessions/{{session_id}}{path}", method, "200", answer.json())
        gone = server.client.get(f"/api/sessions/{session}")
        _validate(document, "/api/sessions/{session_id}", "get", "4XX", gone.json())
        listed = server.client.get("/api/sessions")
        _validate(document, "/api/sessions", "get", "200", listed.json())


def _validate(document: dict[str, Any], path: str, method: str, status: str, value: Any) -> None:
    told = document["paths"][path][method]["responses"][status]
    schema = told["content"]["application/json"]["schema"]
    jsonschema.validate(value, {**schema, "components": document["components"]})
