"""The management API: what it shows is what is stored, and what it does stands in the log."""

import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from sculptor.errors import StaleHead
from sculptor.store import MemoryStore
from sculptor.store.records import MoveHead, Record, TenantId
from tests.server.managing import LONG, Managed, error_of, managed


@pytest.fixture(scope="module")
def server() -> Iterator[Managed]:
    with managed() as made:
        yield made


@pytest.fixture
def session(server: Managed) -> str:
    return server.talk()


def test_sessions_are_listed_last_used_first_and_in_pages(server: Managed) -> None:
    first, second = server.talk(), server.talk()
    rows = server.get("")["sessions"]
    assert [row["id"] for row in rows[:2]] == [second, first]
    assert rows[0]["messages"] == 4  # system text is no part of the tree
    assert server.get("", limit=1, offset=1)["sessions"] == [rows[1]]
    assert error_of(server.client.get("/api/sessions?limit=0"), 400)["param"] == "limit"


def test_whole_numbers_past_what_a_store_counts_are_refused(server: Managed, session: str) -> None:
    assert server.get("", offset=2**53 - 1)["sessions"] == []
    for path, param, value in (
        ("", "offset", 2**53),
        ("", "offset", 10**22),
        ("", "offset", -1),
        ("", "limit", 10**22),
        (f"/{session}/operations", "limit", 10**22),
    ):
        answer = server.client.get(f"/api/sessions{path}", params={param: str(value)})
        assert error_of(answer, 400)["param"] == param
    asked = {"kind": "pin", "messages": [10**22]}
    answer = server.client.post(f"/api/sessions/{session}/operations", json=asked)
    assert 400 <= answer.status_code < 500, answer.text


def test_a_session_shows_its_lanes_and_its_cost(server: Managed, session: str) -> None:
    shown = server.get(f"/{session}")
    (lane,) = shown["lanes"]
    assert lane["operations"] == 0
    (usage,) = shown["usage"]
    assert usage["purpose"] == "answer"
    assert usage["calls"] == 1
    assert usage["prompt_tokens"] > 2_000


def test_the_view_of_an_untouched_session_is_the_clients_own_bytes(server: Managed) -> None:
    wire = b'{"role" :"user","content":"caf\\u00e9 1e3","x":1.50,"n":12345678901234567890}'
    session = server.chat(wire)
    answer = server.client.get(f"/api/sessions/{session}/view")
    assert wire in answer.content
    assert answer.json()["unchanged"] is True
    assert answer.json()["tokens"] == answer.json()["original_tokens"]


def test_fold_and_restore_by_a_person(server: Managed, session: str) -> None:
    before = server.client.get(f"/api/sessions/{session}/view").content
    cut = server.do(session, kind="fragment", size_tokens=500)
    assert cut["operation"] == "o1"
    assert len(cut["fragments"]) > 3
    folded = server.do(session, kind="fold", fragment_ids=cut["fragments"][1:], reason="stale")
    assert folded["fragments"] == cut["fragments"][1:]
    receipt = folded["receipt"]
    assert receipt["tokens_after"] < receipt["tokens_before"] / 2
    assert receipt["first_changed"] == 1
    rows = server.get(f"/{session}/fragments")["fragments"]
    assert [row["status"] for row in rows] == ["visible", *["folded"] * (len(rows) - 1)]
    assert rows[0]["starts"].startswith("Whale number 0")
    view = server.get(f"/{session}/view")
    assert not view["unchanged"]
    assert view["messages"][0]["content"] == "Be brief."
    assert f"⟦{cut['fragments'][1]} folded" in view["messages"][1]["content"]
    (undone, made) = server.get(f"/{session}/operations")["operations"]
    assert (undone["kind"], undone["author"], undone["reason"]) == ("fold", "user", "stale")
    assert made["fragments"] == cut["fragments"]
    assert server.do(session, kind="restore", fragment_ids=["all"])["fragments"]
    after = server.client.get(f"/api/sessions/{session}/view").json()
    assert after["messages"] == orjson.loads(before)["messages"]


def test_the_next_request_of_the_client_has_what_a_person_did(server: Managed) -> None:
    messages = [
        {"role": "user", "content": "Next. " + LONG},
        {"role": "assistant", "content": "Noted."},
        {"role": "user", "content": "Thanks."},
    ]
    session = server.chat(*messages)
    server.do(session, kind="fold", fragment_ids=server.do(session, kind="fragment")["fragments"])
    answer = server.get(f"/{session}/view")["messages"][-1]
    again = server.chat(*messages, answer, {"role": "user", "content": "And now?"})
    assert again == session
    view = server.get(f"/{session}/view")
    assert len(view["messages"]) == 6
    assert view["messages"][0]["content"].startswith("⟦f")
    assert view["tokens"] < view["original_tokens"] / 2


def test_undo_names_what_stands_in_its_way(server: Managed, session: str) -> None:
    ids = server.do(session, kind="fragment")["fragments"]
    server.do(session, kind="fold", fragment_ids=[ids[0]])
    error = error_of(server.try_to(session, kind="undo", operation="o1"), 409)
    assert error["code"] == "undo_refused"
    assert error["blockers"] == ["o2"]
    assert server.do(session, kind="undo", operation="o2")["operation"] == "o3"
    assert server.get(f"/{session}/view")["unchanged"]
    assert error_of(server.try_to(session, kind="undo", operation="o9"), 404)["code"] == (
        "operation_not_found"
    )


def test_pins_of_messages_and_fragments(server: Managed, session: str) -> None:
    ids = server.do(session, kind="fragment")["fragments"]
    server.do(session, kind="pin", messages=[1])
    refused = error_of(server.try_to(session, kind="fold", fragment_ids=ids), 409)
    assert "pinned by the user" in refused["message"]
    server.do(session, kind="unpin", messages=[-4])
    server.do(session, kind="pin", fragment_ids=[ids[0]])
    assert server.get(f"/{session}/fragments")["fragments"][0]["pinned_by"] == "user"
    error_of(server.try_to(session, kind="fold", fragment_ids=[ids[0]]), 409)
    server.do(session, kind="unpin", fragment_ids=[ids[0]])
    assert server.do(session, kind="fold", fragment_ids=ids)["operation"] == "o6"
    assert server.do(session, kind="fold", fragment_ids=ids)["operation"] == ""


def test_cutting_names_what_is_cut_already_and_refuses_what_is_protected(
    server: Managed, session: str
) -> None:
    made = server.do(session, kind="fragment", messages=[1], num_fragments=3)
    assert len(made["fragments"]) == 3
    again = server.do(session, kind="fragment", messages=[1])
    assert again["fragments"] == made["fragments"]
    assert again["receipt"]["undo"] == ""
    error = error_of(server.try_to(session, kind="fragment", messages=[0]), 409)
    assert "system text" in error["message"]
    error = error_of(server.try_to(session, kind="fragment", messages=[9]), 400)
    assert "the conversation has 5" in error["message"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"kind": "melt"}, "kind"),
        ({"kind": "fold"}, "fold needs fragment_ids"),
        ({"kind": "pin"}, "pin needs fragment_ids or messages"),
        ({"kind": "undo"}, "e.g. o3"),
        ({"kind": "fragment", "num_fragments": 2, "size_tokens": 9}, "not both"),
        ({"kind": "fragment", "size_tokens": 0}, "size_tokens"),
        ({"kind": "fold", "fragment_ids": ["f00000..f11111", ""]}, "fragment_ids"),
        ({"kind": "fold", "fragment_ids": ["all"], "colour": "red"}, "colour"),
    ],
)
def test_a_wrong_order_is_refused_in_words(
    server: Managed, session: str, body: dict[str, object], words: str
) -> None:
    error = error_of(server.try_to(session, **body), 400)
    assert words in error["message"]
    assert "Value error" not in error["message"]
    assert not server.get(f"/{session}/operations")["operations"]


def test_what_is_not_there_is_404(server: Managed, session: str) -> None:
    assert error_of(server.client.get("/api/sessions/none"), 404)["code"] == "session_not_found"
    error = error_of(server.client.get(f"/api/sessions/{session}/view?lane=none"), 404)
    assert error["code"] == "lane_not_found"
    error = error_of(server.try_to(session, kind="fold", fragment_ids=["f00000"]), 404)
    assert error["code"] == "fragment_not_found"
    assert error_of(server.client.get("/api/nothing"), 404)["code"] == "not_found"


def test_a_wrong_method_is_told_the_right_ones(server: Managed, session: str) -> None:
    for method, path, allowed in (
        ("PUT", "/api/sessions", "GET"),
        ("PUT", f"/api/sessions/{session}/operations", "GET, POST"),
        ("POST", f"/api/sessions/{session}", "DELETE, GET"),
        ("GET", f"/api/sessions/{session}/search", "POST"),
        ("POST", "/healthz", "GET"),
        ("POST", "/", "GET, HEAD"),
        ("GET", "/v1/chat/completions", "POST"),
        ("GET", "/chat/completions", "POST"),
        ("POST", "/v1/models", "GET, HEAD"),
    ):
        wrong = server.client.request(method, path)
        error = error_of(wrong, 405)
        assert wrong.headers["allow"] == allowed, path
        assert error["code"] == "method_not_allowed"
        assert error["message"] == f"{path} takes {allowed}, not {method}."


def test_a_body_that_is_no_json_is_told_where(server: Managed, session: str) -> None:
    path = f"/api/sessions/{session}/search"
    json = {"content-type": "application/json"}
    bad = error_of(server.client.post(path, content=b'{"queries": nonsense}', headers=json), 400)
    assert bad["code"] == "invalid_json"
    assert bad["message"] == "The body is not valid JSON: Expecting value (character 12)."
    plain = error_of(server.client.post(path, content=b"{nonsense"), 400)
    assert "sent as content-type: application/json" in plain["message"]
    listed = error_of(server.client.post(path, json=["x"]), 400)
    assert "must be a JSON object" in listed["message"]


def test_search_finds_hidden_text_and_says_so(server: Managed, session: str) -> None:
    ids = server.do(session, kind="fragment", messages=[1], num_fragments=4)["fragments"]
    server.do(session, kind="fold", fragment_ids=ids[:1])
    body = {"queries": ["Whale number 3 is", "whale NUMBER 199", "no such words"], "max_results": 2}
    exact = server.client.post(f"/api/sessions/{session}/search", json=body).json()["results"]
    assert [row["total"] for row in exact] == [1, 0, 0]
    (hit,) = exact[0]["hits"]
    assert (hit["message"], hit["fragment"], hit["hidden"]) == (1, ids[0], "folded")
    assert "Whale number 3 is" in hit["text"]
    assert exact[1]["nearest"] or exact[1]["hint"]
    for mode, count in (("ignore_case", 1), ("regex", 0), ("fuzzy", 1), ("ranked", 1)):
        asked = {"queries": ["whale NUMBER 199"], "mode": mode, "max_results": 1}
        answer = server.client.post(f"/api/sessions/{session}/search", json=asked).json()
        assert len(answer["results"][0]["hits"]) == count, mode
    bad = {"queries": ["(a"], "mode": "regex"}
    answer = server.client.post(f"/api/sessions/{session}/search", json=bad)
    assert error_of(answer, 400)["code"] == "bad_pattern"
    assert not server.get(f"/{session}/operations")["operations"][2:]


def test_tenants_never_see_each_other() -> None:
    with managed(keys={"ann": "key-of-ann", "bob": "key-of-bob"}) as server:
        ann = {"authorization": "Bearer key-of-ann"}
        bob = {"authorization": "Bearer key-of-bob"}
        hers = server.chat({"role": "user", "content": "Hello there"}, **ann)
        his = server.chat({"role": "user", "content": "Hello there"}, **bob)
        assert hers != his
        rows = server.client.get("/api/sessions", headers=bob).json()["sessions"]
        assert [row["id"] for row in rows] == [his]
        for path in ("", "/view", "/diff", "/fragments", "/operations", "/export"):
            url = f"/api/sessions/{hers}{path}"
            error_of(server.client.get(url, headers=bob), 404)
            assert server.client.get(url, headers=ann).status_code == 200
        order = {"kind": "pin", "messages": [0]}
        url = f"/api/sessions/{hers}/operations"
        error_of(server.client.post(url, json=order, headers=bob), 404)
        error_of(server.client.delete(f"/api/sessions/{hers}", headers=bob), 404)
        query = {"queries": ["Hello"]}
        url = f"/api/sessions/{hers}/search"
        error_of(server.client.post(url, json=query, headers=bob), 404)
        assert error_of(server.client.get("/api/sessions"), 401)["code"] == "invalid_api_key"


NAMINGS: list[tuple[str, dict[str, str], dict[str, Any]]] = [
    ("of our own", {"x-session-id": "of our own"}, {}),
    ("harness", {"x-claude-code-session-id": "harness"}, {}),
    ("thread", {"thread-id": "thread"}, {}),
    ("field", {}, {"session_id": "field"}),
    ("told", {}, {"metadata": {"session_id": "told"}}),
    ("talk", {}, {"metadata": {"conversation_id": "talk"}}),
    ("inside", {}, {"metadata": {"user_id": "user_x_account_y_session_inside"}}),
]


def named(server: Managed, headers: dict[str, str], **fields: Any) -> str:
    """Begin a session as a client that names it does; return the session."""
    body = {"model": "scripted", "messages": [{"role": "user", "content": LONG}], **fields}
    answer = server.client.post("/v1/chat/completions", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-session-id"]


@pytest.mark.parametrize(("name", "headers", "fields"), NAMINGS, ids=[each[0] for each in NAMINGS])
def test_a_session_answers_to_the_name_its_client_gave_it(
    server: Managed, name: str, headers: dict[str, str], fields: dict[str, Any]
) -> None:
    session = named(server, headers, **fields)
    assert session != name
    assert server.get(f"/{name}")["id"] == session
    done = server.do(name, kind="fragment", messages=[0], size_tokens=800)
    assert done["session"] == session
    for path in ("view", "diff", "fragments", "operations"):
        assert server.get(f"/{name}/{path}")["session"] == session
    assert server.get(f"/{name}/export")["session"]["id"] == session
    found = server.client.post(f"/api/sessions/{name}/search", json={"queries": ["krill"]})
    assert found.json()["session"] == session
    gone = server.client.delete(f"/api/sessions/{name}")
    assert gone.json() == {"id": session, "deleted": True}
    error = error_of(server.client.get(f"/api/sessions/{name}"), 404)
    assert error["code"] == "session_not_found"
    assert error["message"].endswith("give its ID, or the name that its client gave it.")


def test_a_name_that_several_sessions_bear_asks_for_an_id(server: Managed) -> None:
    one = named(server, {"x-session-id": "twice"})
    other = named(server, {"session-id": "twice"})
    assert one != other
    error = error_of(server.client.delete("/api/sessions/twice"), 409)
    assert error["code"] == "session_ambiguous"
    assert {one, other} == set(re.findall(r"\w{32}", error["message"]))
    assert server.get(f"/{one}")["id"] == one
    assert server.get(f"/{other}")["id"] == other


def test_an_id_is_itself_whatever_a_client_calls_its_session(server: Managed) -> None:
    session = server.talk()
    other = named(server, {"session-id": session})
    assert other != session
    assert server.get(f"/{session}")["id"] == session


def test_the_name_of_another_tenants_session_is_no_name() -> None:
    with managed(keys={"ann": "key-of-ann", "bob": "key-of-bob"}) as server:
        ann = {"authorization": "Bearer key-of-ann"}
        bob = {"authorization": "Bearer key-of-bob"}
        hers = named(server, {**ann, "x-session-id": "diary"})
        for path in ("", "/view", "/diff", "/fragments", "/operations", "/export"):
            url = f"/api/sessions/diary{path}"
            error_of(server.client.get(url, headers=bob), 404)
            assert server.client.get(url, headers=ann).status_code == 200
        error_of(server.client.delete("/api/sessions/diary", headers=bob), 404)
        his = named(server, {**bob, "x-session-id": "diary"})
        assert his != hers
        for headers, session in ((ann, hers), (bob, his)):
            shown = server.client.get("/api/sessions/diary", headers=headers)
            assert shown.json()["id"] == session
        server.client.delete("/api/sessions/diary", headers=bob)
        assert server.client.get("/api/sessions/diary", headers=ann).json()["id"] == hers


def test_the_docs_open_in_a_browser_which_has_no_key() -> None:
    with managed(keys={"ann": "key-of-ann"}) as server:
        for path in ("/", "/healthz", "/readyz", "/docs", "/openapi.json"):
            assert server.client.get(path).status_code == 200, path
        for path in ("/metrics", "/v1/models", "/api/sessions", "/docs/", "/nothing"):
            assert error_of(server.client.get(path), 401)["code"] == "invalid_api_key"


def test_deleting_takes_one_session_and_nothing_of_others(server: Managed) -> None:
    question = {"role": "user", "content": "Shared words. " + LONG}
    first, second = server.chat(question), server.chat(question)
    assert first != second
    gone = server.client.delete(f"/api/sessions/{first}")
    assert gone.json() == {"id": first, "deleted": True}
    error_of(server.client.get(f"/api/sessions/{first}"), 404)
    error_of(server.client.delete(f"/api/sessions/{first}"), 404)
    assert server.get(f"/{second}/view")["messages"][0] == question
    assert server.store.verify() == []


def test_a_deleted_session_is_no_more_known_to_its_client(server: Managed) -> None:
    question = {"role": "user", "content": "Only once. " + LONG}
    session = server.chat(question)
    answer = server.get(f"/{session}/view")["messages"][-1]
    server.client.delete(f"/api/sessions/{session}")
    again = server.chat(question, answer, {"role": "user", "content": "Go on"})
    assert again != session
    assert server.get(f"/{again}/view")["unchanged"]


class _MovingStore(MemoryStore):
    """A store in which somebody else is quicker, so many times."""

    late = 0

    def write(self, records: "list[Record]") -> "Future[None]":  # type: ignore[override]
        moves = [record for record in records if isinstance(record, MoveHead)]
        if moves and self.late:
            self.late -= 1
            failed: Future[None] = Future()
            failed.set_exception(StaleHead(moves[0].lane.id))
            return failed
        return super().write(records)


def test_a_lane_that_moved_is_read_again_once() -> None:
    store = _MovingStore()
    with managed(store) as server:
        session = server.talk()
        store.late = 1
        assert server.do(session, kind="fragment")["operation"] == "o1"
        store.late = 2
        error = error_of(server.try_to(session, kind="pin", messages=[1]), 409)
        assert error["code"] == "session_busy"
        assert len(server.get(f"/{session}/operations")["operations"]) == 1


def test_of_orders_given_at_once_each_that_is_acknowledged_stands(server: Managed) -> None:
    session = server.talk()
    ids = server.do(session, kind="fragment", messages=[1], num_fragments=8)["fragments"]
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda i: server.try_to(session, kind="fold", fragment_ids=[i]), ids)
        )
    assert {answer.status_code for answer in answers} <= {200, 409}
    done = [name for name, answer in zip(ids, answers, strict=True) if answer.status_code == 200]
    rows = server.get(f"/{session}/fragments")["fragments"]
    assert [row["id"] for row in rows if row["status"] == "folded"] == done
    assert len(server.get(f"/{session}/operations")["operations"]) == 1 + len(done)


class _BrokenStore(MemoryStore):
    def sessions(self, tenant: TenantId, *, limit: int = 100, offset: int = 0) -> "list[object]":  # type: ignore[override]
        raise RuntimeError("secret inside")


def test_what_breaks_inside_is_one_envelope_and_one_line() -> None:
    with managed(_BrokenStore()) as server, capture_logs() as lines:
        error = error_of(server.client.get("/api/sessions"), 500)
        assert error["code"] == "internal_error"
        assert "secret" not in error["message"]
    assert [line["event"] for line in lines] == ["request.failed", "request"]


def test_pages_of_other_origins_may_not_use_it(server: Managed, session: str) -> None:
    headers = {"origin": "https://evil.example"}
    answer = server.client.delete(f"/api/sessions/{session}", headers=headers)
    assert error_of(answer, 403)["code"] == "origin_not_allowed"
    answer = server.client.get("/api/sessions", headers={"host": "evil.example"})
    assert error_of(answer, 403)["code"] == "host_not_allowed"
    assert server.get(f"/{session}")["id"] == session
