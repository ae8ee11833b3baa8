"""The API's documentation as one page with nothing to load: it works where no network is."""

from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --line: #8883; --dim: #888; --mark: #2563eb; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
section { border: 1px solid var(--line); border-radius: 8px; padding: .6rem 1rem; margin: .6rem 0; }
code, pre { font: 13px/1.45 ui-monospace, monospace; }
pre { overflow-x: auto; background: var(--line); padding: .6rem; border-radius: 6px; }
.method { font-weight: 700; color: var(--mark); margin-right: .6rem; }
.dim { color: var(--dim); } table { border-collapse: collapse; }
td { padding: .15rem .9rem .15rem 0; vertical-align: top; }
"""

OPENAI_PATHS: dict[str, Any] = {
    "/v1/chat/completions": {
        "post": {
            "tags": ["openai"],
            "summary": "Answer a conversation; the model may work on its own context meanwhile.",
            "description": "OpenAI's chat completions, streamed or not. Unknown fields are kept. "
            "Headers: x-sculptor (off, auto, on) says when the tools are offered; x-session-id "
            "names the conversation. Answers carry x-session-id and x-context-status.",
            "responses": {"200": {"description": "A chat completion, or a stream of its chunks."}},
        }
    },
    "/v1/models": {
        "get": {
            "tags": ["openai"],
            "summary": "List the models.",
            "responses": {"200": {"description": "The upstream's list, or the embedded model."}},
        }
    },
    "/v1/embeddings": {
        "post": {
            "tags": ["openai"],
            "summary": "Relayed to the upstream untouched, like every other /v1 path.",
            "responses": {"200": {"description": "The upstream's answer."}},
        }
    },
}


def render_page(document: dict[str, Any], base_url: str) -> str:
    """Return the page for an OpenAPI document."""
    groups: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tag = (operation.get("tags") or ["other"])[0]
            groups.setdefault(tag, []).append(_operation(document, path, method, operation))
    body = "".join(f"<h2>{escape(tag)}</h2>{''.join(rows)}" for tag, rows in groups.items())
    start = (
        f"<p>Point any OpenAI client here: <code>OPENAI_BASE_URL={escape(base_url)}/v1</code>. "
        '<span class="dim">The same as JSON: <a href="/openapi.json">/openapi.json</a></span></p>'
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Sculptor API</title><style>{_STYLE}</style><h1>Sculptor API</h1>{start}{body}"
    )


def _operation(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> str:
    about = operation.get("description") or ""
    summary = operation.get("summary") or ""
    rows = "".join(_parameter(item) for item in operation.get("parameters") or [])
    table = f"<table>{rows}</table>" if rows else ""
    fields = _body(document, operation)
    return (
        f'<section><span class="method">{escape(method.upper())}</span><code>{escape(path)}</code>'
        f"<div>{escape(about or summary)}</div>{table}{fields}</section>"
    )


def _parameter(item: dict[str, Any]) -> str:
    schema = item.get("schema") or {}
    default = f", default {schema['default']}" if schema.get("default") is not None else ""
    kind = f"{item['in']}, {_kind(schema)}{default}"
    about = escape(item.get("description") or "")
    return (
        f"<tr><td><code>{escape(item['name'])}</code></td>"
        f'<td class="dim">{escape(kind)}</td><td>{about}</td></tr>'
    )


def _body(document: dict[str, Any], operation: dict[str, Any]) -> str:
    content = (operation.get("requestBody") or {}).get("content") or {}
    schema = (content.get("application/json") or {}).get("schema") or {}
    name = str(schema.get("$ref") or "").rpartition("/")[2]
    found = document.get("components", {}).get("schemas", {}).get(name)
    if not found:
        return ""
    lines = []
    for key, spec in (found.get("properties") or {}).items():
        need = " (required)" if key in found.get("required", ()) else ""
        lines.append(f"{key}: {_kind(spec)}{need}  {spec.get('description') or ''}".rstrip())
    return f'<div class="dim">JSON body</div><pre>{escape(chr(10).join(lines))}</pre>'


def _kind(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " | ".join(_kind(option) for option in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items') or {})}"
    return str(schema.get("type") or str(schema.get("$ref") or "any").rpartition("/")[2])
