"""Answers that a strict parser refuses: nothing of them is lost but what JSON cannot say."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sculptor.chat import ChunkReader, Completed, Delta, TextDelta, parse_json, read_completion
from sculptor.chat.loose import LooseObject, mend_text, read_loosely
from sculptor.errors import UpstreamBroken


def chunk(delta: str, finish: str = "null", more: str = "") -> bytes:
    choice = f'{{"index":0,"delta":{delta},"finish_reason":{finish}{more}}}'
    return b'{"id":"c","model":"m","choices":[%b]}' % choice.encode()


def read(*chunks: bytes, done: bool = True) -> tuple[list[Delta], Completed]:
    reader = ChunkReader()
    deltas = [delta for each in chunks for delta in reader.feed(parse_json(each))]
    if done:
        deltas += reader.done()
    return deltas, reader.complete()


STOP = chunk("{}", '"stop"')


@pytest.mark.parametrize(
    ("literal", "read_as"),
    [
        (b"NaN", None),
        (b"-Infinity", None),
        (b"1e400", None),
        (b"9" * 400, None),
        (b'"a\\ud800b"', "a\ufffdb"),
        (b'{"\\udc00":[{"x":NaN}]}', {"\ufffd": [{"x": None}]}),
        (b'["\\ud83d\\ude00",18446744073709551617,-5,1.5]', ["😀", 2.0**64, -5, 1.5]),
    ],
)
def test_what_json_cannot_say_is_mended(literal: bytes, read_as: object) -> None:
    value = parse_json(b'{"bad":NaN,"a":%b}' % literal)
    assert isinstance(value, LooseObject)
    assert value == {"bad": None, "a": read_as}
    assert orjson.loads(orjson.dumps(value)) == value


def test_a_byte_order_mark_is_no_error() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a":1}') == {"a": 1}


@pytest.mark.parametrize(
    "garbage", [b"[NaN]", b"NaN", b'{"a":"\xff\\ud800"}', b'{"a":NaN' + b"[" * 9_999, b'{"a":nan}']
)
def test_what_no_reader_takes_stays_an_error(garbage: bytes) -> None:
    with pytest.raises(UpstreamBroken):
        parse_json(garbage)


@given(st.text(st.characters(), max_size=8))
def test_mended_text_can_be_written_and_whole_text_stays(text: str) -> None:
    assert mend_text(text) == text
    halves = text.encode("utf-16-le").decode("utf-16-le")
    assert mend_text("\ud83d" + halves).encode()
    assert mend_text(halves + "\ude00").encode()


def test_a_whole_answer_keeps_all_but_the_half() -> None:
    body = read_loosely(
        b'{"id":"c","model":"m","x":NaN,"usage":{"prompt_tokens":Infinity,"completion_tokens":2},'
        b'"choices":[{"message":{"content":"a\\ud800b","reasoning":"\\udfff"},'
        b'"finish_reason":"length"}]}'
    )
    assert body is not None
    done = read_completion(body)
    assert done.message == {"role": "assistant", "content": "a\ufffdb", "reasoning": "\ufffd"}
    assert done.finish_reason == "length"
    assert done.usage is not None
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (0, 2)


def test_halves_in_two_chunks_are_one_character() -> None:
    deltas, done = read(
        chunk(r'{"content":"a\ud83d"}'),
        chunk('{"content":""}'),
        chunk(r'{"content":"\ude00b"}'),
        STOP,
    )
    assert deltas == [TextDelta(text="a"), TextDelta(text="😀b")]
    assert done.message["content"] == "a😀b"


def test_so_they_are_in_each_field_for_itself() -> None:
    function = '{"name":"f","arguments":"{\\"q\\":\\"\\ud83d"}'
    begun = f'"tool_calls":[{{"index":0,"id":"x","function":{function}}}]'
    ended = r'"tool_calls":[{"index":0,"function":{"arguments":"\ude02\"}"}}]'
    _, done = read(
        chunk(r'{"content":"1\ud83d","reasoning":"2\ud83d",' + begun + "}"),
        chunk(r'{"content":"\ude00","reasoning":"\ude01",' + ended + "}"),
        STOP,
    )
    assert (done.message["content"], done.message["reasoning"]) == ("1😀", "2😁")
    assert done.tool_calls[0]["function"]["arguments"] == '{"q":"😂"}'


@pytest.mark.parametrize(
    ("chunks", "said"),
    [
        ([chunk(r'{"content":"a\ud83d"}'), chunk('{"content":"b"}'), STOP], ["a", "\ufffdb"]),
        ([chunk(r'{"content":"a\ude00"}'), chunk('{"content":"b"}'), STOP], ["a\ufffd", "b"]),
        ([chunk(r'{"content":"a\ud83d"}'), STOP], ["a", "\ufffd"]),
        ([chunk(r'{"content":"a\ud83d"}', '"length"')], ["a", "\ufffd"]),
        ([chunk(r'{"content":"a\ud83d"}')], ["a", "\ufffd"]),
    ],
    ids=["no mate", "second half alone", "at the end", "with the end", "no finish_reason"],
)
def test_a_half_that_stays_alone_is_replaced(chunks: list[bytes], said: list[str]) -> None:
    deltas, done = read(*chunks)
    assert deltas == [TextDelta(text=text) for text in said]
    assert done.message["content"] == "".join(said)


def test_a_number_that_is_none_stands_beside_the_text_as_null() -> None:
    more = r',"logprobs":{"content":[{"token":"\ud83d","logprob":-Infinity}]}'
    deltas, done = read(chunk('{"content":"x"}', more=more), STOP)
    row = {"token": "\ufffd", "logprob": None}
    assert deltas == [TextDelta(text="x", choice={"logprobs": {"content": [row]}})]
    assert done.choice == {"logprobs": {"content": [row]}}


def test_other_choices_do_not_mix_with_the_first() -> None:
    both = (
        b'{"choices":[{"index":1,"delta":{"content":"z\\ud83d"}},'
        b'{"index":0,"delta":{"content":"a\\ud83d"}}]}'
    )
    deltas, _ = read(both, chunk(r'{"content":"\ude00"}'), STOP)
    assert deltas == [TextDelta(text="a"), TextDelta(text="😀")]
