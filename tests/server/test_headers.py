"""Only listed headers cross."""

from sculptor.server.headers import clean_id, make_request_headers, read_headers, relay_headers


def test_request_headers_are_made_not_copied() -> None:
    client = {"authorization": "Bearer x", "cookie": "c", "accept": "a/b", "te": "trailers"}
    made = make_request_headers(client, request_id="r", authorization=None)
    assert made == {
        "accept-encoding": "identity",
        "user-agent": "sculptor",
        "x-request-id": "r",
        "content-type": "application/json",
        "accept": "a/b",
    }


def test_response_headers_pass_by_name() -> None:
    raw = [
        (b"X-RateLimit-Limit-Tokens", b"1"),
        (b"OpenAI-Processing-Ms", b"2"),
        (b"Retry-After", b"3"),
        (b"Set-Cookie", b"4"),
        (b"Server", b"5"),
        (b"Content-Encoding", b"gzip"),
        (b"Content-Length", b"6"),
        (b"Connection", b"close"),
        (b"Content-Type", b"audio/mpeg"),
    ]
    kept = [
        (b"x-ratelimit-limit-tokens", b"1"),
        (b"openai-processing-ms", b"2"),
        (b"retry-after", b"3"),
    ]
    assert relay_headers(raw) == kept
    assert relay_headers(raw, with_body=True) == [*kept, (b"content-type", b"audio/mpeg")]


def test_headers_of_a_request_read_as_text() -> None:
    raw = [(b"host", b"a"), (b"x", b"\xe9"), (b"host", b"b")]
    assert read_headers(raw) == {"host": "a", "x": "é"}


def test_ids_of_clients_are_logged_only_if_sane() -> None:
    assert clean_id("abc-1") == "abc-1"
    for bad in (None, "", "a\nb", "x" * 257):
        assert clean_id(bad) is None
