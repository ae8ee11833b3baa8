"""A stream tells which weights wrote it, as a whole answer does."""

from tests.server.mom.conftest import Serve
from tests.server.mom.test_wire import streamed, whole


def test_a_stream_ends_with_the_fingerprint_of_the_weights(serve: Serve) -> None:
    client = serve()
    told = whole(client)["system_fingerprint"]
    ending = [one for one in streamed(client) if not one["choices"]]
    ending += [
        one for one in streamed(client) if one["choices"] and one["choices"][0]["finish_reason"]
    ]
    assert [one.get("system_fingerprint") for one in ending] == [told, told]
