import random
import subprocess
import sys
from array import array
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import pytest
import tiktoken_ext.openai_public as published
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from sculptor import tokens
from sculptor.errors import SettingsError
from sculptor.tokens import (
    UNKNOWN_TOKENIZER_FACTOR,
    Calibration,
    TokenCounter,
    encoding,
    encoding_name,
)

ENCODINGS = ("o200k_base", "cl100k_base")
AWKWARD = "héllo 👨‍👩‍👧 世界 क्षि <|endoftext|>\r\n\U0001f1e9\U0001f1ea e\u0301 Straße 각"


@pytest.mark.parametrize("name", ENCODINGS)
def test_definition_is_the_published_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected: dict[str, str] = {}

    def remember(url: str, expected_hash: str) -> dict[bytes, int]:
        expected["sha256"] = expected_hash
        return {}

    monkeypatch.setattr(published, "load_tiktoken_bpe", remember)
    definition = published.ENCODING_CONSTRUCTORS[name]()
    built = encoding(name)
    assert built._pat_str == definition["pat_str"]
    assert built._special_tokens == definition["special_tokens"]
    assert tokens._DEFINITIONS[name].sha256 == expected["sha256"]


def test_known_counts() -> None:
    assert encoding("o200k_base").encode_ordinary("hello world") == [24912, 2375]
    assert encoding("cl100k_base").encode_ordinary("hello world") == [15339, 1917]
    assert TokenCounter().count("hello world") == 2
    assert TokenCounter().count("") == 0


def test_unknown_encoding_says_which_are_known() -> None:
    with pytest.raises(SettingsError, match="o200k_base, cl100k_base"):
        encoding("p50k_base")
    with pytest.raises(SettingsError, match="o200k_base, cl100k_base"):
        TokenCounter(encoding="p50k_base")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="above zero"):
        TokenCounter(factor=0)


def test_a_changed_rank_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "tiktoken"
    folder.mkdir(parents=True)
    shipped = files("sculptor").joinpath("data", "tiktoken", "cl100k_base.tiktoken").read_bytes()
    (folder / "cl100k_base.tiktoken").write_bytes(shipped.replace(b"IQ== 0", b"IQ== 7", 1))
    monkeypatch.setattr(tokens, "files", lambda package: tmp_path)
    with pytest.raises(SettingsError, match="not the file that was shipped"):
        tokens._read_ranks("cl100k_base", tokens._DEFINITIONS["cl100k_base"].sha256)
    with pytest.raises(SettingsError, match="missing"):
        tokens._read_ranks("o200k_base", tokens._DEFINITIONS["o200k_base"].sha256)


def test_import_is_cheap_and_needs_no_network() -> None:
    code = """
import socket, sys
def refuse(*args, **kwargs):
    raise AssertionError("no network at any time")
socket.socket.connect = socket.getaddrinfo = refuse
import sculptor.tokens
print([m for m in ("tiktoken", "regex", "numpy", "requests") if m in sys.modules])
print(sculptor.tokens.TokenCounter().count("hello world"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "2"]


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o", "o200k_base"),
        ("gpt-4o-mini-2024-07-18", "o200k_base"),
        ("openai/gpt-5.1", "o200k_base"),
        ("o3-mini", "o200k_base"),
        ("gpt-4.1-nano", "o200k_base"),
        ("GPT-4-turbo", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("qwen3-8b", None),
        ("o1000", None),
        ("", None),
    ],
)
def test_encoding_of_a_model(model: str, name: str | None) -> None:
    assert encoding_name(model) == name
    counter = TokenCounter.for_model(model)
    assert counter.encoding == (name or "o200k_base")
    assert counter.factor == (1.0 if name else UNKNOWN_TOKENIZER_FACTOR)


@pytest.mark.parametrize("name", ENCODINGS)
def test_special_token_text_is_ordinary_text(name: str) -> None:
    counter = TokenCounter(encoding=name)  # type: ignore[arg-type]
    assert counter.count("<|endoftext|>") > 3
    assert len(counter.offsets("<|endoftext|>")) == counter.count("<|endoftext|>")


@given(st.text(max_size=200))
@settings(deadline=None)
def test_short_text_counts_as_the_library_counts(text: str) -> None:
    assert TokenCounter().count(text) == len(encoding("o200k_base").encode_ordinary(text))


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=80))
@settings(deadline=None)
def test_offsets_are_those_of_the_library(text: str) -> None:
    library = encoding("o200k_base")
    _, expected = library.decode_with_offsets(library.encode_ordinary(text))
    assert list(TokenCounter().offsets(text)) == expected


def test_offsets_of_split_characters_repeat() -> None:
    offsets = TokenCounter().offsets("𒀀𒀁")
    assert offsets == array("Q", sorted(offsets))
    assert set(offsets) == {0, 1}
    assert len(offsets) > 2


def test_lone_surrogates_count_and_keep_their_places() -> None:
    text = "a\ud83d\ude00b\ud800"
    offsets = TokenCounter().offsets(text)
    assert len(offsets) == TokenCounter().count(text)
    assert offsets[-1] == len(text) - 1


RUNS = {
    "one letter": "a" * 400_000,
    "spaces": " " * 1_100_000,
    "line ends": "\n" * 300_000,
    "punctuation": "!" * 300_000,
    "no space between": "的一是不了人我在有他" * 30_000,
    "letters": "".join(random.Random(2).choices("abcdefghijklmnop", k=300_000)),
    "base64": b64encode(random.Random(1).randbytes(300_000)).decode(),
    "separators that Python calls spaces": "\x1c!" * 150_000,
}


@pytest.mark.parametrize("kind", RUNS)
@pytest.mark.parametrize("name", ENCODINGS)
def test_runs_without_split_points_stay_linear(kind: str, name: str) -> None:
    text = RUNS[kind]
    assert max(map(len, tokens._stretches(text))) < 2 * tokens._STRETCH_CHARS
    counter = TokenCounter(encoding=name)  # type: ignore[arg-type]
    whole, part = counter.count(text), counter.count(text[: len(text) // 10])
    assert part * 9.8 < whole < part * 10.2
    offsets = counter.offsets(text)
    assert len(offsets) == whole
    assert offsets[-1] < len(text)


def test_ordinary_text_is_never_split() -> None:
    text = "The quick brown fox, 42 of them; " * 5_000
    assert tokens._stretches(text) == [text]
    assert TokenCounter().count(text) == len(encoding("o200k_base").encode_ordinary(text))


def test_factor_rounds_up_and_shares_the_cache() -> None:
    counter = TokenCounter()
    text = AWKWARD * 50
    raw = counter.count(text)
    scaled = counter.with_factor(1.5)
    assert scaled.count(text) == -(-raw * 3 // 2)
    assert scaled.count(text, key=b"k") == scaled.count("other", key=b"k")
    assert counter.count_parts([text, "", text]) == 2 * raw
    assert TokenCounter(factor=1.1).scaled(100) == 110


def test_a_key_is_trusted_and_kept_apart_by_encoding() -> None:
    first = TokenCounter()
    assert first.count(AWKWARD, key=b"1") == first.count("never read", key=b"1")
    cl = TokenCounter(encoding="cl100k_base", _cache=first._cache)
    assert cl.count("hello", key=b"1") == 1


def test_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_CACHE_ENTRIES", 3)
    counter = TokenCounter()
    for number in range(10):
        counter.count(f"text {number}")
    assert len(counter._cache._counts) == 3


def test_threads_agree() -> None:
    counter = TokenCounter()
    texts = [f"{AWKWARD} {number % 7}" for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(counter.count, texts))
    assert counts == [TokenCounter().count(text) for text in texts]


def test_calibration_follows_the_reports() -> None:
    calibration = Calibration()
    assert calibration.factor == 1.0
    calibration = calibration.observe(10_000, reported_tokens=12_000)
    assert calibration.factor == pytest.approx(1.2)
    for _ in range(100):
        calibration = calibration.observe(10_000, reported_tokens=11_000)
    assert calibration.factor == pytest.approx(1.1, abs=0.01)


@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(-5, 10**7))))
@settings(deadline=None)
def test_calibration_stays_within_bounds(reports: list[tuple[int, int]]) -> None:
    calibration = Calibration()
    for raw, reported in reports:
        calibration = calibration.observe(raw, reported_tokens=reported)
    assert 0.95 <= calibration.factor <= 4.5


def test_short_requests_do_not_move_the_calibration() -> None:
    assert Calibration().observe(100, reported_tokens=300) == Calibration()
    assert Calibration().observe(10_000, reported_tokens=0) == Calibration()


def test_a_model_of_ones_own_is_counted_with_its_tokenizer(tmp_path: Path) -> None:
    local = tmp_path / "tokenizer.json"
    local.write_text(word_tokenizer())
    counter = TokenCounter(encoding=str(local))
    assert counter.count("one two three") == 3
    assert counter.count("") == 0
    assert list(counter.offsets("eins 二 drei")) == [0, 5, 7]
    long = "word " * 20_000
    assert counter.count(long) == 20_000
    assert counter.with_factor(1.5).count("one two") == 3


def test_a_tokenizer_file_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        TokenCounter(encoding=str(tmp_path / "none.json")).count("text")
    wrong = tmp_path / "wrong.json"
    wrong.write_text("[]")
    with pytest.raises(SettingsError, match=r"is no tokenizer\.json"):
        TokenCounter(encoding=str(wrong)).count("text")


def word_tokenizer() -> str:
    """Return a tokenizer.json that makes each word a token."""
    tokenizer = Tokenizer(WordLevel({"unknown": 0}, unk_token="unknown"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.enable_truncation(8)
    return str(tokenizer.to_str())
