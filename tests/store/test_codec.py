import pytest
from hypothesis import given
from hypothesis import strategies as st

from sculptor.errors import StoreCorrupt
from sculptor.messages import MessageHash, make_message
from sculptor.store.codec import (
    dump_operation,
    load_operation,
    pack,
    pack_placed,
    searchable_texts,
    unpack,
    unpack_placed,
)

from .builders import random_line


@given(st.lists(st.binary()))
def test_byte_strings_come_back_as_they_went(blobs: list[bytes]) -> None:
    assert unpack(pack(blobs)) == tuple(blobs)


@given(st.lists(st.binary(), min_size=1), st.data())
def test_a_packed_list_cut_short_is_refused(blobs: list[bytes], data: st.DataObject) -> None:
    body = pack(blobs)
    borders = {len(pack(blobs[:count])) for count in range(len(blobs) + 1)}
    cut = data.draw(st.integers(0, len(body) - 1).filter(lambda at: at not in borders))
    with pytest.raises(StoreCorrupt, match="step"):
        unpack(body[:cut])


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.binary(min_size=16, max_size=16))))
def test_instructions_come_back_as_they_went(placed: list[tuple[int, MessageHash]]) -> None:
    body = pack_placed(placed)
    assert unpack_placed(body) == tuple(placed)
    with pytest.raises(StoreCorrupt, match="instructions"):
        unpack_placed(body + b"x")


@given(st.integers(0, 2**32))
def test_operations_come_back_as_they_went(seed: int) -> None:
    for made, _ in zip((each for each, _ in random_line(seed)), range(8), strict=False):
        again = load_operation(dump_operation(made))
        assert again == made
        assert again.version == made.version


@pytest.mark.parametrize("body", [None, b"", b"{}", b"[]", b'{"changes": 1}'])
def test_records_that_cannot_be_read_are_refused(body: bytes | None) -> None:
    with pytest.raises(StoreCorrupt, match="operation"):
        load_operation(body)


def test_only_texts_that_can_be_edited_are_searched() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    message = make_message("assistant", "I look", tool_calls=[call], reasoning="hm")
    assert searchable_texts(message.wire) == ["I look", "", ""]
    assert searchable_texts(b"not json") == []
    assert searchable_texts(b'{"role": "nobody"}') == []
