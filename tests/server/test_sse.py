"""The decoder gives the same frames however the bytes are cut, and follows the standard."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sculptor.errors import UpstreamBroken
from sculptor.server.sse import EventDecoder

lines = st.text(st.sampled_from('ab :{}"é漢🜁'), max_size=8)
line_ends = st.sampled_from(["\n", "\r\n", "\r"])


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A stream in one of the three line ends, with the payloads a reader must find in it."""
    end = draw(line_ends)
    text, payloads = "", []
    for _ in range(draw(st.integers(0, 5))):
        data = draw(st.lists(lines, max_size=3))
        space = draw(st.sampled_from([" ", ""]))
        frame = [f"data:{space}{' ' if not space and d[:1] == ' ' else ''}{d}" for d in data]
        for noise in draw(st.lists(st.sampled_from([":", ": ping", "event: x", "id: 1"]))):
            frame.insert(draw(st.integers(0, len(frame))), noise)
        if not frame:
            continue
        text += "".join(line + end for line in frame) + end * draw(st.integers(1, 3))
        if data:
            payloads.append("\n".join(data).encode())
    return text.encode(), payloads


def decode(pieces: list[bytes]) -> list[bytes]:
    decoder = EventDecoder()
    return [payload for piece in pieces for payload in decoder.feed(piece)] + decoder.close()


@given(stream=streams(), cuts=st.lists(st.integers(0, 400)))
def test_any_cut_gives_the_same_frames(stream: tuple[bytes, list[bytes]], cuts: list[int]) -> None:
    data, payloads = stream
    at = sorted(min(cut, len(data)) for cut in cuts)
    assert decode([data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)]) == payloads


@given(stream=streams())
def test_byte_by_byte_gives_the_same_frames(stream: tuple[bytes, list[bytes]]) -> None:
    data, payloads = stream
    assert decode([bytes([byte]) for byte in data]) == payloads


def test_a_frame_is_given_as_soon_as_it_is_whole() -> None:
    for end in (b"\n", b"\r\n", b"\r"):
        decoder = EventDecoder()
        assert decoder.feed(b"data: a" + end) == []
        assert decoder.feed(end) == [b"a"]
        assert decoder.feed(b"data: b" + end + end + b"data: c") == [b"b"]


def test_comments_are_not_content() -> None:
    decoder = EventDecoder()
    assert decoder.feed(b": PROCESSING\n\n:\n\n\n") == []
    assert not decoder.is_inside_frame
    assert decoder.feed(b": half a comm") == []
    assert not decoder.is_inside_frame
    assert decoder.feed(b"ent\n\ndata: {") == []
    assert decoder.is_inside_frame


def test_a_byte_order_mark_is_skipped() -> None:
    assert decode([b"\xef\xbb\xbfdata: a\n\n"]) == [b"a"]


def test_a_last_frame_without_its_empty_line_counts() -> None:
    assert decode([b"data: a\n\ndata: [DONE]"]) == [b"a", b"[DONE]"]
    assert decode([b"data: a\n\nevent: x"]) == [b"a"]


@pytest.mark.parametrize("pieces", [[b"data: " + b"x" * 200 + b"\n\n"], [b"data: x" * 5] * 9])
def test_a_frame_past_the_limit_is_refused(pieces: list[bytes]) -> None:
    decoder = EventDecoder(limit_bytes=100)
    with pytest.raises(UpstreamBroken, match="over 100 bytes"):
        [decoder.feed(piece) for piece in pieces]
