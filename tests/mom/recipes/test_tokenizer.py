from pathlib import Path

import pytest

from sculptor.mom.language.protocol import TEXT_OFFSET
from sculptor.mom.language.tokenizer import load_tokenizer
from sculptor.mom.recipes import tokenizer as recipe
from sculptor.mom.recipes.tokenizer import FIXED_STRINGS, own_words, train_tokenizer

TEXTS = ["the quick otter swims", "the slow otter sleeps", "the otter"] * 3


def test_the_same_texts_give_the_same_tokenizer() -> None:
    first, second = (train_tokenizer(TEXTS, vocab_size=900) for _ in range(2))
    assert first.to_json() == second.to_json()
    assert first.vocab_size <= 900


def test_words_of_many_texts_become_tokens_and_those_of_one_text_do_not() -> None:
    repeated = "zyxwv " * 1000
    made = train_tokenizer([*TEXTS, repeated], vocab_size=1200)
    assert len(made.encode("otter")) == 1
    assert len(made.encode("zyxwv")) > 1


def test_the_words_of_the_product_are_tokens_whatever_the_texts_hold() -> None:
    made = train_tokenizer([], vocab_size=1500)
    assert [word for word in own_words() if len(made.encode(word)) > 1] == []
    assert [text for text in FIXED_STRINGS if len(made.encode(text)) > 1] == []


def test_the_words_of_the_product_are_tokens_of_the_shipped_file() -> None:
    shipped = load_tokenizer()
    assert [word for word in own_words() if len(shipped.encode(word)) > 1] == []
    assert [text for text in FIXED_STRINGS if len(shipped.encode(text)) > 1] == []


def test_a_vocabulary_without_room_is_refused() -> None:
    least = TEXT_OFFSET + len(FIXED_STRINGS) + 256
    with pytest.raises(ValueError, match=f"needs at least {least}"):
        train_tokenizer(TEXTS, vocab_size=300)
    assert train_tokenizer([], vocab_size=least).vocab_size == least


def test_the_program_writes_a_file_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recipe, "_SAMPLES", 3)
    target = tmp_path / "tokenizer.json"
    recipe.main([str(target)])
    made = load_tokenizer(target)
    assert made.decode(made.encode("a line")) == "a line"
    assert f"{made.vocab_size} ids" in capsys.readouterr().out
