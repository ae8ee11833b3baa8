"""A stream tells which weights wrote it, as a whole answer does."""

from tests.server.mom.conftest import Serve
from tests.server.mom.test_wire import streamed, whole


def test_every_chunk_of_a_stream_bears_the_fingerprint_of_the_weights(serve: Serve) -> None:
    client = serve()
    told = whole(client)["system_fingerprint"]
    chunks = streamed(client)
    assert len(chunks) > 2
    assert {one.get("system_fingerprint") for one in chunks} == {told}
