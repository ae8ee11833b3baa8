import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sculptor.errors import EvalError
from sculptor.evals.files import DataFiles
from sculptor.evals.needlebench.haystack import (
    cut_haystack,
    encode,
    insert_chain,
    insert_parallel,
    insert_single,
    shuffled_order,
)

POOL = "sculptor_filler_en_3k.jsonl"


def test_shuffles_stack_up() -> None:
    order = list(range(9))
    for counter in range(4):
        random.seed(counter)
        random.shuffle(order)
        assert shuffled_order(9, counter) == tuple(order)


@given(st.lists(st.integers(0, 9), max_size=40), st.floats(0, 100))
def test_a_single_needle_lies_at_its_depth(haystack: list[int], depth: float) -> None:
    found = insert_single(haystack, [77, 78], depth)
    place = int(len(haystack) * (depth / 100))
    assert found[place : place + 2] == [77, 78]
    assert found[:place] + found[place + 2 :] == haystack


@given(
    st.integers(0, 60),
    st.lists(st.tuples(st.integers(0, 100), st.integers(1, 5)), max_size=6).map(sorted),
)
def test_parallel_needles_leave_the_haystack_in_order(
    size: int, needles: list[tuple[int, int]]
) -> None:
    tokens = [[1000 + number] * length for number, (_, length) in enumerate(needles)]
    found = insert_parallel(list(range(size)), tokens, [depth for depth, _ in needles])
    assert [token for token in found if token < 1000] == list(range(size))
    inserted = [token for token in found if token >= 1000]
    assert inserted == [token for needle in tokens for token in needle]


def test_chain_places_count_earlier_needles_twice() -> None:
    found = insert_chain(list(range(100)), [[-1] * 5, [-2] * 3], 40, 10)
    assert found.index(-1) == 40
    assert found.index(-2) == 40 + 5 + 10 + 5


def test_chain_places_past_the_end_append() -> None:
    found = insert_chain(list(range(10)), [[-1], [-2], [-3]], 100, 10)
    assert found == [*range(10), -1, -2, -3]


@pytest.mark.parametrize("tokens", [0, 1, 999, 2500])
def test_a_haystack_has_exactly_the_tokens_asked_for(tokens: int) -> None:
    cut = cut_haystack(POOL, DataFiles(), counter=2, tokens=tokens, allow_short=False)
    assert len(cut) == tokens


def test_no_haystack_is_silently_short() -> None:
    with pytest.raises(EvalError, match="10,000 are asked for"):
        cut_haystack(POOL, DataFiles(), counter=0, tokens=10_000, allow_short=False)
    short = cut_haystack(POOL, DataFiles(), counter=0, tokens=10_000, allow_short=True)
    assert 3000 <= len(short) < 10_000


def test_files_of_the_upstreams_schema(tmp_path: Path) -> None:
    lines = [json.dumps({"title": "t", "text": text}) for text in ("one two", "three\u2028four")]
    (tmp_path / "essays.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    cut = cut_haystack("essays.jsonl", DataFiles(tmp_path), counter=0, tokens=2, allow_short=True)
    assert cut in (encode("one two")[:2], encode("three\u2028four")[:2])


@pytest.mark.parametrize("content", ["not json\n", '{"body": "x"}\n', '{"text": 3}\n'])
def test_broken_files_are_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "broken.jsonl").write_text(content, encoding="utf-8")
    with pytest.raises(EvalError, match=r"broken\.jsonl"):
        cut_haystack("broken.jsonl", DataFiles(tmp_path), counter=0, tokens=5, allow_short=True)


def test_missing_files_are_named() -> None:
    with pytest.raises(EvalError, match="--data DIR"):
        cut_haystack("zh_finance.jsonl", DataFiles(), counter=0, tokens=5, allow_short=False)
