"""The texts that ship: balanced, unlike the examples, and nothing of the answer in the haystack."""

import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from itertools import product
from pathlib import Path

import pytest

from sculptor.errors import EvalError
from sculptor.evals.files import DICTIONARY, OWN_NAMES, OWN_NEEDLES, DataFiles
from sculptor.evals.filler import MIN_RECORD_TOKENS, FillerPool, grammar, open_pool, pool_name
from sculptor.evals.needlebench.kinship import GENERATIONS
from sculptor.evals.needlebench.needles import choose_parallel
from sculptor.evals.needlebench.wording import wording
from sculptor.tokens import encoding

ROOT = Path(__file__).parent.parent.parent
NEEDLES = [json.loads(line) for line in DataFiles().text(OWN_NEEDLES).splitlines()]
NAMES = {
    language: names.split(",")
    for language, names in json.loads(DataFiles().text(OWN_NAMES)).items()
}
KIN = (
    "parent son daughter child children kin family relative ancestor descendant brother sister "
    "uncle aunt cousin nephew niece grandson granddaughter"
)


def test_the_dictionary_is_the_authors() -> None:
    digest = hashlib.sha256(DataFiles().text(DICTIONARY).encode()).hexdigest()
    assert digest == "53386c85a198bed08a1171909de3bc1c6f424ddd3acee1fc4c63448468095253"


def test_the_files_are_what_the_word_lists_make() -> None:
    script = ROOT / "evals" / "make_data.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("language", ["English", "Chinese"])
def test_needles_are_balanced(language: str) -> None:
    records = [record for record in NEEDLES if record["language"] == language]
    assert len(records) == 144
    for name in ("arg1", "arg2"):
        counts = Counter(record[name] for record in records)
        assert len(counts) == 24
        assert set(counts.values()) == {6}
    keywords = {record["arg2"] for record in records}
    assert not [
        pair for pair in product(keywords, keywords) if pair[0] != pair[1] and pair[0] in pair[1]
    ]
    for record in records:
        assert record["arg2"] not in record["retrieval_question"]
        assert record["arg1"] in record["retrieval_question"]
        assert record["retrieval_question"].count("'") == 2


@pytest.mark.parametrize("language", ["English", "Chinese"])
@pytest.mark.parametrize("seed", range(5))
def test_twenty_needles_can_always_be_told_apart(language: str, seed: int) -> None:
    content = DataFiles().text(OWN_NEEDLES)
    chosen = choose_parallel(content, language=language, count=20, seed=seed)
    assert len({record["arg1"] for record in chosen}) == 20
    assert len({record["arg2"] for record in chosen}) == 20


def test_names_suffice_and_differ_from_the_examples() -> None:
    examples = " ".join(
        wording(version, language, name)
        for language in NAMES
        for version, name in (("v2", "atc_0"), ("v2", "atc_1"), ("v2", "atc_3"), ("v1", "atc_free"))
    )
    for language, names in NAMES.items():
        assert len(set(names)) == len(names) == 1024
        parts = set(names) if language == "Chinese" else {p for n in names for p in n.split()}
        assert not [part for part in parts if re.search(rf"\b{re.escape(part)}\b", examples)]
        assert not [name for name in names if name in examples]
    chinese = NAMES["Chinese"]
    assert {len(name) for name in chinese} == {3}


@pytest.mark.parametrize(("code", "language"), [("en", "English"), ("zh", "Chinese")])
def test_nothing_of_an_answer_is_in_the_filler(code: str, language: str) -> None:
    text = "\n".join(grammar(code).words()).lower()
    for record in NEEDLES:
        assert record["arg1"].lower() not in text
        assert record["arg2"].lower() not in text
    words = set(re.findall(r"\w+", text))
    assert not words & {part.lower() for name in NAMES["English"] for part in name.split()}
    assert not [name for name in NAMES[language] if name.lower() in text]
    assert not words & set(KIN.split())
    assert not [term for term in GENERATIONS["Chinese"] if term in text]
    assert not words & set(GENERATIONS["English"])


@pytest.mark.parametrize("code", ["en", "zh"])
def test_filler_is_varied_repeatable_and_long_enough(code: str) -> None:
    pool = FillerPool(language=code, count=40)
    texts = [pool.text(index) for index in range(40)]
    assert texts == [FillerPool(language=code, count=99).text(index) for index in range(40)]
    counts = [len(encoding("cl100k_base").encode_ordinary(text)) for text in texts]
    assert min(counts) >= MIN_RECORD_TOKENS
    sentences = re.split(r"(?<=[.。])\s*", " ".join(texts))
    assert len(set(sentences)) > 0.9 * len(sentences)
    assert not re.search(r"\{\w+\}|\b[Aa] [aeiou]", " ".join(texts))


def test_pool_names() -> None:
    assert pool_name("en", 160_000) == "sculptor_filler_en_160k.jsonl"
    assert pool_name("zh", 1) == "sculptor_filler_zh_1k.jsonl"
    pool = open_pool("sculptor_filler_zh_12k.jsonl")
    assert pool is not None
    assert len(pool) == 12
    assert open_pool("PaulGrahamEssays.jsonl") is None
    with pytest.raises(EvalError):
        open_pool("sculptor_filler_en_0k.jsonl")


def test_the_sixteen_blanks_of_the_chinese_challenge() -> None:
    lines = wording("v2", "Chinese", "atc_0").split("\n")
    assert lines[1] == " " * 16
    others = [wording("v2", language, f"atc_{kind}") for language in NAMES for kind in range(4)]
    blanks = [line for text in others for line in text.split("\n") if line != line.rstrip()]
    assert blanks == [" " * 16]


def test_data_folders_must_exist() -> None:
    with pytest.raises(EvalError, match="--data"):
        DataFiles(Path("nowhere"))
