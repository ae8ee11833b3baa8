"""Which headers cross the proxy, in both directions: what is on a list, and nothing else.

To the upstream go our own credential, the body's type, and ids for tracing; never a header set of
the client's. To the client go rate limits, processing times and waits; never cookies, the server's
name, lengths and encodings of a body that we write anew, or anything of one hop only.
"""

from collections.abc import Iterable, Mapping

RawHeaders = list[tuple[bytes, bytes]]

_RELAYED_REQUEST = ("accept", "traceparent")
_RELAYED = frozenset(
    {
        b"openai-processing-ms",
        b"openai-version",
        b"retry-after",
        b"retry-after-ms",
        b"x-should-retry",
    }
)
_RELAYED_PREFIXES = (b"x-ratelimit-", b"anthropic-ratelimit-")
_BODY = frozenset({b"content-type", b"content-disposition", b"content-language", b"content-range"})
_REQUEST_ID_LIMIT = 256


def make_request_headers(
    client: Mapping[str, str],
    *,
    request_id: str,
    authorization: str | None,
    content_type: str | None = "application/json",
) -> dict[str, str]:
    """Return the headers to send upstream, built from an allow-list.

    ``client`` maps lower-case names to values. Bodies are asked for unencoded: they are read here
    and written anew, and inflating them would cost more than a local network saves.
    """
    headers = {
        "accept-encoding": "identity",
        "user-agent": "sculptor",
        "x-request-id": request_id,
    }
    if content_type is not None:
        headers["content-type"] = content_type
    if authorization is not None:
        headers["authorization"] = authorization
    for name in _RELAYED_REQUEST:
        value = client.get(name)
        if value is not None:
            headers[name] = value
    return headers


def is_relayed(name: bytes) -> bool:
    """Tell whether the client may see an upstream's header; the name is in lower case."""
    return name in _RELAYED or name.startswith(_RELAYED_PREFIXES)


def relay_headers(raw: Iterable[tuple[bytes, bytes]], *, with_body: bool = False) -> RawHeaders:
    """Return those of an upstream's headers that the client may see, names in lower case.

    ``with_body`` adds what describes the body, for bodies that are relayed untouched.
    """
    kept = []
    for name, value in raw:
        lower = name.lower()
        if is_relayed(lower) or (with_body and lower in _BODY):
            kept.append((lower, value))
    return kept


def read_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return ASGI headers as a plain dict of lower-case names; the first of equal names counts."""
    headers: dict[str, str] = {}
    for name, value in raw:
        headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return headers


def clean_id(value: str | None) -> str | None:
    """Return a client's id where it is fit for a log line: printable and of moderate length."""
    if not value or len(value) > _REQUEST_ID_LIMIT or not value.isprintable():
        return None
    return value
