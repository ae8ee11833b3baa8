"""Each tool does what it says, and a wrong call changes nothing and is told what to do next."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sculptor.context import Context
from sculptor.messages import make_message
from sculptor.operations import Pin
from sculptor.store.protocol import RankedHit
from sculptor.tokens import TokenCounter
from sculptor.tools import NeedEmbeddings, NeedRanked, NeedSummaries, Summaries, toolset

COUNTER = TokenCounter()
STREAM = "; ".join(f"key{i % 7}: value{i}" for i in range(1200)) + "; "
PROSE = "\n\n".join(f"Paragraph {i} tells of mill {i} on the river Tamm." for i in range(200))
QUESTION = "What is the current value of key3?"


def make_context(*, inline: bool = False) -> Context:
    context = Context(seed=b"tools", counter=COUNTER, inline=inline)
    context.append(make_message("system", "Be brief."))
    context.append(make_message("user", STREAM))
    context.append(make_message("assistant", PROSE))
    call = {"id": "c", "type": "function", "function": {"name": "read", "arguments": "{}"}}
    context.append(make_message("assistant", "", tool_calls=[call]))
    context.append(make_message("tool", PROSE.replace("mill", "barn"), tool_call_id="c"))
    context.append(make_message("user", QUESTION))
    return context


def use(
    context: Context,
    name: str,
    answers: list[Any] | None = None,
    /,
    tools: Any = "full",
    **given: Any,
) -> dict[str, Any]:
    return use_text(context, name, json.dumps(given), answers, tools)


def use_text(
    context: Context, name: str, text: str, answers: list[Any] | None = None, tools: Any = "full"
) -> dict[str, Any]:
    work = toolset(tools).apply(context, name, text)
    reply: Any = None
    while True:
        try:
            need = work.send(reply)
        except StopIteration as stop:
            json.dumps(stop.value)
            return stop.value
        answer = (answers or []).pop(0)
        reply = answer(need) if callable(answer) else answer


def snapshot(context: Context) -> tuple[Any, ...]:
    return context.state, context.version, context.view()


def refused(context: Context, name: str, code: str, /, **given: Any) -> dict[str, Any]:
    before = snapshot(context)
    answer = use(context, name, **given)
    assert answer["error"] == code, answer
    assert answer["message"]
    assert snapshot(context) == before
    return answer


def test_the_schemas_of_the_paper() -> None:
    shown = {name: tool.arguments.schema_of() for name, tool in toolset("paper").tools.items()}
    assert list(shown) == [
        "fragment_context",
        "fold_fragment",
        "summarize_fragment",
        "restore_fragment",
        "search_context",
        "get_search_detail",
    ]
    assert all(schema["additionalProperties"] is False for schema in shown.values())
    cut = shown["fragment_context"]["properties"]
    assert {k: cut["num_fragments"][k] for k in ("type", "default", "minimum", "maximum")} == {
        "type": "integer",
        "default": 5,
        "minimum": 1,
        "maximum": 20,
    }
    assert shown["fragment_context"]["required"] == ["start_marker", "end_marker"]
    assert cut["role"]["enum"] == ["user", "assistant", "all"]
    assert cut["role"]["default"] == "user"
    search = shown["search_context"]["properties"]
    assert [search["max_results"][k] for k in ("default", "minimum", "maximum")] == [10, 1, 50]
    assert [search["context_size"][k] for k in ("default", "minimum", "maximum")] == [200, 50, 1000]
    wide = shown["get_search_detail"]["properties"]["extended_context"]
    assert [wide[k] for k in ("default", "minimum", "maximum")] == [500, 100, 2000]
    assert shown["summarize_fragment"]["required"] == ["fragment_id", "focus"]


def test_the_full_toolset_is_small() -> None:
    text = "[" + ",".join(wire.decode() for wire in toolset("full").wire) + "]"
    assert COUNTER.count(text) < 1200
    assert toolset("full").wire == tuple(
        json.dumps(tool.definition(), separators=(",", ":"), ensure_ascii=False).encode()
        for tool in toolset("full").tools.values()
    )


def test_without_markers_every_long_unprotected_message_is_cut() -> None:
    context = make_context()
    answer = use(context, "fragment_context", num_fragments=4)
    assert {row["message"] for row in answer["fragments"]} == {1, 2, 4}
    assert len(answer["fragments"]) == 12
    assert context.view().unchanged
    again = use(context, "fragment_context", num_fragments=9)
    assert [row["id"] for row in again["fragments"]] == [row["id"] for row in answer["fragments"]]
    assert again["new"] == 0
    only = use(make_context(), "fragment_context", role="tool", size_tokens=400)
    assert {row["message"] for row in only["fragments"]} == {4}
    assert all(row["tokens"] <= 480 for row in only["fragments"])


def test_cut_and_fold_in_one_call_says_which_last_values_are_hidden() -> None:
    context = make_context()
    answer = use(context, "fragment_context", role="user", num_fragments=10, fold_except=[1, 2])
    states = [row["state"] for row in answer["fragments"]]
    assert states == ["visible"] * 2 + ["folded"] * 2
    assert answer["others"] == 6
    assert [leaf.status for leaf in context.fragments()] == ["visible"] * 2 + ["folded"] * 8
    assert answer["last_value_hidden_keys"] == 7
    assert context.depth == 1
    use(context, "undo", operation="o1")
    assert context.view().unchanged


@pytest.mark.parametrize("kept", [[0], [11], [-11], [1, 12, 99]])
def test_a_piece_to_spare_must_be_one(kept: list[int]) -> None:
    context = make_context()
    answer = use(context, "fragment_context", role="user", num_fragments=10, fold_except=kept)
    assert answer["error"] == "INVALID_ARGUMENTS"
    wrong = ", ".join(str(number) for number in kept if number != 1)
    assert f"fold_except holds {wrong}; " in answer["message"]
    assert "1 to 10, or -1 (the last) to -10" in answer["message"]
    assert context.depth == 0
    assert not list(context.fragments())
    ends = use(context, "fragment_context", role="user", num_fragments=10, fold_except=[10, -10])
    assert ends["others"] == 6
    states = [leaf.status for leaf in context.fragments()]
    assert states == ["visible", *["folded"] * 8, "visible"]


def test_hiding_again_tells_of_what_this_call_did_alone() -> None:
    context = make_context()
    first = use(context, "fragment_context", role="user", num_fragments=6, fold_except=[-1])
    assert (len(first["fragments"]), first["others"], first["new"]) == (4, 2, 6)
    assert first["kept"] == [list(context.fragments())[-1].id]
    assert any(word.startswith("value") for word in first["now_hidden_only"])
    second = use(context, "fragment_context", role="all", num_fragments=2, fold_except=[-1])
    rows = second["fragments"]
    assert (len(rows), second["others"], second["new"], second["unchanged"]) == (4, 1, 4, 5)
    assert {row["message"] for row in rows} == {1, 2, 4}
    assert second["kept"] == [list(context.fragments())[-1].id]
    third = use(context, "fragment_context", role="all", fold_except=[-1])
    assert (third["changed"], third["fragments"], third["unchanged"]) == (False, [], 10)
    assert "others" not in third


def test_only_what_this_call_hid_is_told_as_hidden_now() -> None:
    context = make_context()
    use(context, "fragment_context", role="user", num_fragments=2, fold_except=[])
    answer = use(context, "fragment_context", role="all", num_fragments=1, fold_except=[])
    assert {row["message"] for row in answer["fragments"]} == {2, 4}
    assert not any(word.startswith(("key", "value")) for word in answer["now_hidden_only"])


def test_a_piece_cut_before_that_is_hidden_past_the_markers_is_told() -> None:
    alike = "⟦fabcde folded · 9 tokens⟧"
    context = Context(seed=b"tools", counter=COUNTER)
    context.append(make_message("assistant", f"{PROSE[:5000]} The log said {alike}. {PROSE}"))
    context.append(make_message("user", QUESTION))
    rows = use(context, "fragment_context", num_fragments=3)["fragments"]
    given = {"start_marker": "⟦fabcde folded", "end_marker": "tokens⟧", "fold_except": []}
    answer = use(context, "fragment_context", **given)
    wide = next(row for row in rows if row["chars"][0] < 5000 < row["chars"][1])
    assert [row["id"] for row in answer["fragments"]] == [wide["id"]]
    told = f"Cut before, so hidden whole with text outside the markers: {wide['id']}."
    assert answer["note"] == told
    again = use(context, "fragment_context", **given)
    assert (again["changed"], "note" in again) == (False, False)


def test_pieces_within_the_markers_are_hidden_without_a_note() -> None:
    context = make_context()
    given = {"start_marker": "key0: value0;", "end_marker": "value700;", "num_fragments": 2}
    use(context, "fragment_context", **given)
    answer = use(context, "fragment_context", **given, fold_except=[])
    assert [row["state"] for row in answer["fragments"]] == ["folded"] * 2
    assert "note" not in answer


def test_a_pinned_piece_is_neither_hidden_nor_called_spared() -> None:
    context = make_context()
    rows = use(context, "fragment_context", role="user", num_fragments=3)["fragments"]
    context.perform(Pin((rows[0]["id"],)), author="user")
    answer = use(context, "fragment_context", role="user", fold_except=[])
    assert [row["id"] for row in answer["fragments"]] == [row["id"] for row in rows[1:]]
    assert (answer["new"], answer["unchanged"]) == (0, 1)
    assert "kept" not in answer


def test_where_there_is_nothing_to_cut_no_number_is_wrong() -> None:
    context = Context(seed=b"tools", counter=COUNTER)
    context.append(make_message("user", QUESTION))
    answer = use(context, "fragment_context", fold_except=[1])
    assert answer["ok"]
    assert "nothing was cut" in answer["note"]


def test_pieces_of_other_roles_are_not_folded_along() -> None:
    context = make_context()
    tool = use(context, "fragment_context", role="tool", num_fragments=3)["fragments"]
    use(context, "fragment_context", role="user", num_fragments=2, fold_except=[])
    states = {leaf.id: leaf.status for leaf in context.fragments()}
    assert {states[row["id"]] for row in tool} == {"visible"}
    assert "folded" in states.values()


def test_paper_fragments_lie_between_the_markers() -> None:
    context = make_context()
    answer = use(
        context,
        "fragment_context",
        tools="paper",
        start_marker="key0: value0",
        end_marker="key6: value699",
        num_fragments=10,
    )
    rows = answer["fragments"]
    assert len(rows) == 10
    assert rows[0]["chars"][0] == 0
    assert STREAM[: rows[-1]["chars"][1]].endswith("key6: value699")
    assert all(len(row["id"]) == 6 and row["id"][0] == "f" for row in rows)
    folded = use(context, "fold_fragment", tools="paper", fragment_id=rows[0]["id"])
    assert folded["view_tokens"]["after"] < folded["view_tokens"]["before"]
    back = use(context, "restore_fragment", tools="paper", fragment_id=rows[0]["id"])
    assert back["ok"]
    assert context.view().unchanged
    overlap = use(
        context,
        "fragment_context",
        tools="paper",
        start_marker="key1: value1",
        end_marker="key2: value800",
    )
    assert overlap["error"] == "OVERLAP"
    assert overlap["fragments"]
    inside = use(
        context,
        "fragment_context",
        tools="paper",
        start_marker="key1: value1",
        end_marker="key4: value4;",
        num_fragments=2,
    )
    assert inside["ok"]
    gone = use(context, "fold_fragment", tools="paper", fragment_id=rows[0]["id"])
    assert gone["error"] == "SPLIT"
    assert set(gone["valid_ids"]) < {leaf.id for leaf in context.fragments()}


def test_markers_that_fail_are_explained() -> None:
    context = make_context()
    near = refused(
        context,
        "fragment_context",
        "START_NOT_FOUND",
        start_marker="Paragraf 7 tells",
        end_marker="x",
    )
    assert any("Paragraph" in text for text in near["nearest"])
    refused(
        context, "fragment_context", "END_NOT_FOUND", start_marker="key0", end_marker="zzz~~zzz~~"
    )
    refused(
        context,
        "fragment_context",
        "END_BEFORE_START",
        start_marker="key0: value700",
        end_marker="key1: value1;",
    )
    crossing = refused(
        context,
        "fragment_context",
        "CROSSES_MESSAGES",
        start_marker="key0: value0",
        end_marker="barn 3 on",
    )
    assert crossing["messages"] == [1, 4]
    refused(context, "fragment_context", "PROTECTED", start_marker="What is", end_marker="key3?")
    empty = use(context, "fragment_context", tools="paper", start_marker="", end_marker="x")
    assert empty["error"] == "EMPTY_RANGE"
    refused(context, "fragment_context", "INVALID_ARGUMENTS", start_marker="x")
    refused(context, "fragment_context", "INVALID_ARGUMENTS", num_fragments=3, size_tokens=300)
    several = use(context, "fragment_context", start_marker="key0", end_marker="value300")
    assert "occurs" in several["note"]


def test_wrong_calls_are_told_what_to_do() -> None:
    context = make_context()
    first = refused(context, "fold_fragment", "UNKNOWN_ID", fragment_ids=["f00000"])
    assert "fragment_context first" in first["hint"]
    use(context, "fragment_context")
    second = refused(context, "fold_fragment", "UNKNOWN_ID", fragment_ids=["f00000"])
    assert second["valid_ids"]
    refused(context, "fold_fragment", "INVALID_ARGUMENTS")
    refused(context, "fold_fragment", "INVALID_ARGUMENTS", fragment_ids=["all"], surprise=1)
    refused(context, "nonsense", "UNKNOWN_TOOL")
    refused(context, "undo", "UNKNOWN_OPERATION", operation="o99")
    refused(context, "get_search_detail", "UNKNOWN_SEARCH_ID", search_id="s00000")
    ids = second["valid_ids"]
    refused(context, "fold_fragment", "INVALID_RANGE", fragment_ids=[f"{ids[3]}..{ids[0]}"])
    assert use_text(context, "fold_fragment", "{oops")["error"] == "INVALID_ARGUMENTS"
    assert use_text(context, "fold_fragment", "[]")["error"] == "INVALID_ARGUMENTS"


def test_ranges_all_and_keep_last() -> None:
    context = make_context()
    ids = [row["id"] for row in use(context, "fragment_context", num_fragments=3)["fragments"]]
    answer = use(context, "fold_fragment", fragment_ids=[f"{ids[1]}..{ids[3]}"])
    assert answer["folded"] == ids[1:4]
    use(context, "restore_fragment", fragment_ids=["all"])
    assert context.view().unchanged
    kept = use(context, "fold_fragment", keep_last=2)
    assert kept["folded"] == ids[:-2]
    same = use(context, "fold_fragment", keep_last=2)
    assert same["changed"] is False


def test_pins_hold() -> None:
    context = make_context()
    ids = [row["id"] for row in use(context, "fragment_context", num_fragments=3)["fragments"]]
    use(context, "pin_fragment", fragment_ids=ids[:1])
    refused(context, "fold_fragment", "PROTECTED", fragment_ids=ids[:1])
    assert ids[0] not in use(context, "fold_fragment", fragment_ids=["all"])["folded"]
    use(context, "pin_fragment", fragment_ids=ids[:1], pinned=False)
    assert use(context, "fold_fragment", fragment_ids=ids[:1])["ok"]
    context.perform(Pin(places=(context.places[4],)), author="user")
    refused(context, "summarize_fragment", "PROTECTED", fragment_ids=[ids[-1]], focus="x")
    undone = refused(context, "undo", "UNDO_REFUSED", operation=f"o{context.depth}")
    assert "made by the user" in undone["message"]


def test_search_finds_hidden_text_and_says_so() -> None:
    context = make_context()
    use(context, "fragment_context", fold_except=[])
    answer = use(context, "search_context", queries=["mill 17 on", "barn 17 on", "nowhere~~~"])
    mill, barn, none = answer["results"]
    assert mill["hits"][0]["hidden"] == "folded"
    assert "mill 17" in mill["hits"][0]["text"]
    assert barn["hits"][0]["role"] == "tool"
    assert none["total"] == 0
    wide = use(context, "get_search_detail", search_id=mill["hits"][0]["id"], extended_context=1000)
    assert len(wide["text"]) > len(mill["hits"][0]["text"])
    assert PROSE[slice(*wide["chars"])] == wide["text"]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"queries": ["key3: "], "latest_per_query": True}, "value1193"),
        ({"queries": ["key3: "], "order": "last", "max_results": 2}, "value1193"),
        ({"queries": ["KEY3: VALUE3;"], "mode": "ignore_case"}, "value3"),
        ({"queries": [r"key3: value11\d\d"], "mode": "regex", "order": "last"}, "value1193"),
        ({"queries": ["Paragrahp 12 tells of mil 12"], "mode": "fuzzy"}, "mill 12"),
    ],
)
def test_search_modes_and_orders(given: dict[str, Any], found: str) -> None:
    answer = use(make_context(), "search_context", **given)
    row = answer["results"][0]
    assert found in row["hits"][0]["text"]
    assert row["total"] >= len(row["hits"])


def test_ranked_and_semantic_search_ask_for_what_they_need() -> None:
    context = make_context()
    at = PROSE.index("mill 9 ")

    def ranked(need: NeedRanked) -> list[RankedHit]:
        assert isinstance(need, NeedRanked)
        assert context.messages[2].hash in need.hashes
        return [RankedHit(context.messages[2].hash, 0, at, at + 6, 1.0)]

    row = use(context, "search_context", [ranked], queries=["mill"], mode="ranked")["results"][0]
    assert "mill 9 " in row["hits"][0]["text"]

    def embed(need: NeedEmbeddings) -> list[list[float]]:
        return [[float("mill" in text), 1.0] for text in need.texts]

    found = use(context, "search_context", [ranked, embed], queries=["mill"], mode="semantic")
    assert len(found["results"][0]["hits"]) > 1
    before = snapshot(context)
    missing = use(context, "search_context", [ranked, None], queries=["x"], mode="semantic")
    assert missing["error"] == "NO_EMBEDDER"
    assert snapshot(context) == before


def test_paper_search_is_exact_in_document_order() -> None:
    context = make_context()
    answer = use(context, "search_context", tools="paper", query="key3: ", max_results=3)
    assert answer["total"] == 171
    assert [hit["char"] for hit in answer["hits"]] == sorted(hit["char"] for hit in answer["hits"])
    assert use(context, "search_context", tools="paper", query="KEY3")["total"] == 0
    assert use(context, "search_context", tools="paper", query="")["total"] == 0


def test_one_answer_is_bounded() -> None:
    context = make_context()
    answer = use(
        context,
        "search_context",
        queries=[f"value{i}" for i in range(100)],
        max_results=50,
        context_size=1000,
    )
    assert len(json.dumps(answer)) < 900_000
    texts = sum(len(h.get("text", "")) for r in answer["results"] for h in r["hits"])
    assert texts < 100_000


def test_summaries_come_from_originals_and_short_ones_are_refused() -> None:
    context = make_context()
    rows = use(context, "fragment_context", role="assistant", num_fragments=2)["fragments"]
    name = rows[0]["id"]
    seen: list[str] = []

    def summarize(need: NeedSummaries) -> Summaries:
        seen.extend(job.text for job in need.jobs)
        texts = {job.fragment_id: "Mills by the Tamm." for job in need.jobs}
        return Summaries(texts, "m", "h", 77)

    answer = use(context, "summarize_fragment", [summarize], fragment_ids=[name], focus="places")
    assert answer["cost_tokens"] == 77
    use(context, "fold_fragment", fragment_ids=[name])
    use(context, "summarize_fragment", [summarize], fragment_ids=[name], focus="numbers")
    assert seen[0] == seen[1] == PROSE[: rows[0]["chars"][1]]
    assert "summary (focus: numbers)" in context.view().messages[2].decode()
    paper = use(
        context, "summarize_fragment", [summarize], tools="paper", fragment_id=name, focus="all"
    )
    assert paper["ok"]

    def talk(need: NeedSummaries) -> Summaries:
        return Summaries({need.jobs[0].fragment_id: need.jobs[0].text}, "m")

    before = snapshot(context)
    long = use(context, "summarize_fragment", [talk], fragment_ids=[rows[1]["id"]], focus="x")
    assert long["error"] == "NOT_SUMMARIZED"
    none = use(
        context,
        "summarize_fragment",
        [Summaries({}, "none")],
        fragment_ids=[rows[1]["id"]],
        focus="x",
    )
    assert none["error"] == "NOT_SUMMARIZED"
    assert snapshot(context) == before
    use(context, "fragment_context", role="user", size_tokens=100)
    small = next(leaf.id for leaf in context.fragments() if leaf.tokens < 200)
    short = use(context, "summarize_fragment", fragment_ids=[small], focus="x")
    assert "why" in short


def test_inline_markers_stand_around_fragments() -> None:
    context = make_context(inline=True)
    rows = use(
        context,
        "fragment_context",
        tools="paper",
        start_marker="key0: value0",
        end_marker="value1199; ",
    )["fragments"]
    text = json.loads(context.view().messages[1])["content"]
    assert text.count("⟦") == 2 * len(rows)
    assert f"⟦{rows[0]['id']}⟧ key0: value0" in text
    use(context, "fold_fragment", tools="paper", fragment_id=rows[0]["id"])
    assert f"⟦{rows[0]['id']} folded" in json.loads(context.view().messages[1])["content"]


NAMES = st.sampled_from(sorted(toolset("full").tools))
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["fragment_ids", "queries", "keep_last", "operation", "mode", "pinned"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(NAMES, JUNK)
def test_no_junk_makes_a_tool_crash(name: str, value: Any) -> None:
    context = make_context()
    use(context, "fragment_context")
    use_text(context, name, json.dumps(value), [[], None, Summaries({}, "none")])
    use(context, "restore_fragment", fragment_ids=["all"])
    assert [m.wire for m in context.messages] == list(context.view().messages)
