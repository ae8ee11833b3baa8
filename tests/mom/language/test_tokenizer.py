import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sculptor.mom.language.protocol import SPELLINGS, TEXT_OFFSET, Protocol
from sculptor.mom.language.tokenizer import Tokenizer, TokenizerError, load_tokenizer
from sculptor.mom.recipes.tokenizer import FIXED_STRINGS, PLAIN_WORDS

TOKENIZER = load_tokenizer()
HOSTILE = st.lists(
    st.sampled_from(
        [
            *(f"<{token.name}>" for token in Protocol),
            *(spelling.decode() for spelling in SPELLINGS.values()),
            *FIXED_STRINGS,
            *("<|im_start|>", "</s>", "\0", "⟦", "\\", '"', ",", " ", "\n", "Ā", "Ġ", "é", "🙂"),
        ]
    )
    | st.text(max_size=5)
).map("".join)


@given(st.binary())
def test_any_bytes_round_trip(data: bytes) -> None:
    assert TOKENIZER.decode_bytes(TOKENIZER.encode_bytes(data)) == data


@given(st.lists(st.binary(max_size=4) | st.text(max_size=4).map(str.encode)).map(b"".join))
def test_bytes_between_characters_round_trip(data: bytes) -> None:
    assert TOKENIZER.decode_bytes(TOKENIZER.encode_bytes(data)) == data


@given(HOSTILE)
def test_text_round_trips_and_never_makes_a_protocol_token(text: str) -> None:
    tokens = TOKENIZER.encode(text)
    assert TOKENIZER.decode(tokens) == text
    assert all(TEXT_OFFSET <= token < TOKENIZER.vocab_size for token in tokens)
    assert tokens == TOKENIZER.encode_bytes(text.encode())


@given(st.text(st.characters(codec="utf-8", exclude_categories=()), max_size=20), st.text())
def test_half_surrogates_become_bytes(text: str, more: str) -> None:
    half = f"{text}\ud83d{more}"
    expected = half.encode("utf-8", "surrogatepass")
    assert TOKENIZER.decode_bytes(TOKENIZER.encode(half)) == expected


@given(
    st.from_regex(r"[a-zA-Zéß]{1,12}", fullmatch=True).filter(lambda w: w not in PLAIN_WORDS),
    st.sampled_from(["", " ", "\n", ": ", "; ", "7", "(", "_", "-"]),
    st.sampled_from(["", " ", "\n", ":", ";", "7", ")", "_", "-"]),
)
def test_a_word_is_cut_in_the_same_way_wherever_it_stands(
    word: str, before: str, after: str
) -> None:
    alone = TOKENIZER.encode(word)
    within = TOKENIZER.encode(before + word + after)
    start = len(TOKENIZER.encode(before))
    assert within[start : start + len(alone)] == alone


@given(st.integers(min_value=0), st.sampled_from("+-*/=<>()_.!?"))
def test_each_digit_and_each_sign_is_a_token(number: int, sign: str) -> None:
    text = f"{sign}{number}{sign}"
    assert len(TOKENIZER.encode(text)) == len(text)


def test_words_of_grammar_take_their_spaces_and_leave_their_neighbours_as_they_are() -> None:
    neighbours = TOKENIZER.encode("keeper"), TOKENIZER.encode("gate")
    between = TOKENIZER.encode(" of ")
    assert len(between) == 1
    assert TOKENIZER.encode("keeper of gate") == neighbours[0] + between + neighbours[1]


def test_words_after_an_escaped_line_end_are_cut_like_others() -> None:
    inside = TOKENIZER.encode(r'{"text":"first\nnotable second"}')
    alone = TOKENIZER.encode("notable")
    at = next(index for index in range(len(inside)) if inside[index : index + len(alone)] == alone)
    assert TOKENIZER.token_bytes(inside[at - 1]) == rb"\n"


def test_brackets_of_markers_are_ordinary_single_tokens() -> None:
    assert [TOKENIZER.decode([token]) for token in TOKENIZER.encode("⟦f1⟧")] == [*"⟦f1⟧"]


def test_a_protocol_token_is_no_text() -> None:
    assert all(TOKENIZER.token_bytes(token) is None for token in Protocol)
    assert TOKENIZER.decode([Protocol.USER, *TOKENIZER.encode("hi"), Protocol.END]) == "hi"


def test_no_two_text_tokens_are_the_same_text() -> None:
    spelled = [TOKENIZER.token_bytes(token) for token in range(TEXT_OFFSET, TOKENIZER.vocab_size)]
    assert len(set(spelled)) == len(spelled)
    assert all(spelled)


def test_a_file_gives_the_same_tokenizer(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(TOKENIZER.to_json())
    again = load_tokenizer(path)
    assert again.encode("the same ⟦f1a2b3⟧ é") == TOKENIZER.encode("the same ⟦f1a2b3⟧ é")
    assert again.to_json() == TOKENIZER.to_json()


def test_a_tokenizer_can_be_sent_to_another_process() -> None:
    again: Tokenizer = pickle.loads(pickle.dumps(TOKENIZER))
    assert again.encode("one two") == TOKENIZER.encode("one two")


def test_the_shipped_tokenizer_is_small_and_made_once() -> None:
    assert len(TOKENIZER.to_json()) < 300_000
    assert load_tokenizer() is TOKENIZER
    assert TOKENIZER.vocab_size <= 4096


def test_a_missing_file_and_a_foreign_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"cannot read .*none\.json"):
        load_tokenizer(tmp_path / "none.json")
    foreign = tmp_path / "foreign.json"
    foreign.write_text('{"model": 1}')
    with pytest.raises(TokenizerError, match=r"foreign\.json holds no tokenizer"):
        load_tokenizer(foreign)
