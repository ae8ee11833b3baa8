import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sculptor.messages import MessageHash, wire_hash
from sculptor.store import ranked
from sculptor.store.ranked import RankedIndex

FILLER = "Plain sentences about the weather, the garden and the road follow one another here. "
TEXTS = {
    "decision": ["We decided to migrate the billing database to PostgreSQL next week."],
    "weather": [FILLER * 3],
    "long": [f"{FILLER * 40}The needle is a copper kettle in the attic. {FILLER * 40}"],
    "chinese": ["北京大学在北京。数据库迁移的决定。"],
    "korean": ["데이터베이스를 옮기기로 결정했다"],
    "parts": ["", "first part of two", "the second part speaks of zebras"],
    "code": ["def getUserName(self): return self.user_name"],
    "empty": ["", "⟦⟧ — !?"],
}
HASHES = {name: wire_hash(name.encode()) for name in TEXTS}


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    opened = sqlite3.connect(":memory:", isolation_level=None)
    yield opened
    opened.close()


@pytest.fixture
def index(connection: sqlite3.Connection) -> RankedIndex:
    made = RankedIndex(connection)
    made.create()
    for name, texts in TEXTS.items():
        made.add("local", HASHES[name], texts)
    return made


def found(index: RankedIndex, query: str, **options: object) -> list[str]:
    names = {value: name for name, value in HASHES.items()}
    hits = index.search("local", query, hashes=list(HASHES.values()), **options)  # type: ignore[arg-type]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    return [names[hit.hash] for hit in hits]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("when do we MIGRATE the database?", "decision"),
        ("kettle attic", "long"),
        ("大学", "chinese"),
        ("京", "chinese"),
        ("迁", "chinese"),
        ("定", "chinese"),
        ("데이터베이스", "korean"),
        ("user name", "code"),
        ("getusername", "code"),
        ("zebras", "parts"),
    ],
)
def test_words_find_their_message(index: RankedIndex, query: str, name: str) -> None:
    assert found(index, query)[0] == name


def test_more_and_rarer_words_rank_higher(index: RankedIndex) -> None:
    names = found(index, "the weather, and the billing database")
    assert names[0] == "decision"
    assert {"weather", "long"} <= set(names)
    assert len(names) == len(set(names))
    assert found(index, "the", limit=1) == found(index, "the")[:1]


def test_a_hit_is_the_passage_that_answers(index: RankedIndex) -> None:
    (hit,) = index.search("local", "copper kettle", hashes=[HASHES["long"]])
    passage = TEXTS["long"][hit.part][hit.start : hit.end]
    assert "copper kettle in the attic" in passage
    assert len(passage) <= ranked.PASSAGE_BYTES
    (hit,) = index.search("local", "zebras", hashes=[HASHES["parts"]])
    assert (hit.part, hit.start) == (2, 0)
    assert hit.score > 0


def test_only_the_messages_asked_for_are_found(index: RankedIndex) -> None:
    assert index.search("local", "weather", hashes=[HASHES["chinese"]]) == []
    assert index.search("local", "weather", hashes=[]) == []
    assert index.search("local", "weather", hashes=list(HASHES.values()), limit=0) == []


def test_tenants_never_meet(index: RankedIndex) -> None:
    before = index.search("local", "billing database", hashes=list(HASHES.values()))
    secret = wire_hash(b"secret")
    for number in range(12):
        index.add(f"tenant {number}", secret, ["the billing database of another"])
        index.add(f"tenant {number}", HASHES["decision"], ["something else entirely"])
    hits = index.search("local", "billing database", hashes=[*HASHES.values(), secret])
    assert [hit._replace(score=0) for hit in hits] == [hit._replace(score=0) for hit in before]
    assert (
        index.search("tenant 1", "billing", hashes=[secret, HASHES["decision"]])[0].hash == secret
    )
    assert index.search("tenant 1", "migrate", hashes=list(HASHES.values())) == []
    assert index.search("tenant 1", "1_migrate", hashes=list(HASHES.values())) == []
    assert index.search("nobody", "billing", hashes=[secret]) == []


@pytest.mark.parametrize(
    "query",
    [
        *('"', "' OR 1=1 --", "NEAR(a b)", "terms : x", "a* AND (b", "^the", "-", "*", ""),
        *("{}[]", "\x00", "\ud800", "NOT", "ranked_terms", "⟦f1a2b3⟧", "a" * 100_000),
    ],
)
def test_no_query_is_syntax(index: RankedIndex, query: str) -> None:
    assert isinstance(found(index, query), list)


@given(st.text(max_size=80))
@settings(deadline=None, max_examples=200)
def test_any_text_can_be_indexed_found_and_removed(text: str) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    index = RankedIndex(connection)
    index.create()
    name = wire_hash(b"any")
    index.add("local", name, [text])
    hits = index.search("local", text, hashes=[name])
    assert len(hits) == (1 if ranked.terms(text) else 0)
    assert all(0 <= hit.start < hit.end <= len(text) for hit in hits)
    index.remove("local", [name])
    assert index.search("local", text, hashes=[name]) == []
    connection.execute("INSERT INTO ranked_terms (ranked_terms) VALUES ('integrity-check')")
    assert connection.execute("SELECT count(*) FROM ranked_vocabulary").fetchone() == (0,)
    connection.close()


def test_a_long_query_is_told_by_its_rarest_words(index: RankedIndex) -> None:
    query = FILLER * 5 + "sentences that nobody wrote " * 5 + "copper kettle"
    assert found(index, query)[0] == "long"
    unknown = " ".join(f"unknown{number}" for number in range(50))
    assert found(index, unknown) == []


def test_messages_are_indexed_once_and_when_first_needed(
    connection: sqlite3.Connection, index: RankedIndex
) -> None:
    loaded: list[MessageHash] = []

    def load(name: MessageHash) -> list[str]:
        loaded.append(name)
        return ["a late message about walruses"]

    late = wire_hash(b"late")
    wanted = [HASHES["empty"], late, HASHES["long"], late]
    assert index.missing("local", wanted) == [late]
    index.ensure("local", wanted, load)
    index.ensure("local", wanted, load)
    index.add("local", late, ["not read again: it is named by its content"])
    assert loaded == [late]
    assert index.search("local", "walruses", hashes=wanted)[0].hash == late
    assert index.missing("other", [late]) == [late]
    many = [wire_hash(str(number).encode()) for number in range(1_200)]
    assert index.missing("local", [*many, late]) == many


def test_removed_messages_are_gone_and_can_come_back(index: RankedIndex) -> None:
    gone = HASHES["decision"]
    index.add("other", gone, TEXTS["decision"])
    index.remove("local", [gone, wire_hash(b"never there")])
    assert "decision" not in found(index, "billing database")
    assert index.search("other", "billing", hashes=[gone])
    index.add("local", gone, TEXTS["decision"])
    assert found(index, "billing database")[0] == "decision"


def test_the_transaction_is_the_callers(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    connection = sqlite3.connect(path, isolation_level=None)
    index = RankedIndex(connection)
    index.create()
    connection.execute("BEGIN")
    index.add("local", HASHES["weather"], TEXTS["weather"])
    connection.execute("ROLLBACK")
    assert index.missing("local", [HASHES["weather"]]) == [HASHES["weather"]]
    index.add("local", HASHES["weather"], TEXTS["weather"])
    connection.execute("VACUUM")
    connection.close()
    again = sqlite3.connect(path, isolation_level=None)
    assert RankedIndex(again).search("local", "garden", hashes=[HASHES["weather"]])
    again.close()


@pytest.mark.parametrize(
    "text",
    [
        "👨‍👩‍👧" * 2_000,
        "\U0001f1e9\U0001f1ea" * 3_000,
        "a" + "\u0301" * 5_000,
        "क्षि" * 3_000,
        "x" * 9_000,
    ],
    ids=["families", "flags", "marks", "conjuncts", "letter"],
)
def test_passages_of_hostile_texts_cover_them(text: str) -> None:
    size = ranked.PASSAGE_BYTES * len(text) // len(text.encode())
    at = 0
    while at < len(text):
        end = ranked._passage_end(text, at, size)
        assert end > at
        assert ranked.snap(text, end, up=False, floor=at) == end
        at = end
    assert at == len(text)
