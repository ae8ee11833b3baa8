"""``sculptor sessions``: the same answers from a running server and from the file alone."""

import contextlib
import json
import os
import pty
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sculptor.cli.app import app
from sculptor.cli.tables import ago
from tests.cli.processes import COMMAND
from tests.server.managing import Managed, managed

pytestmark = pytest.mark.usefixtures("home")
runner = CliRunner()


@pytest.fixture
def file(home: Path) -> Path:
    return home / "store.sqlite3"


@pytest.fixture
def session(file: Path) -> str:
    """A session with three operations, in a file that nobody serves any more."""
    with managed(file=file) as server:
        return _sculpted(server)


@pytest.fixture
def other(file: Path, session: str) -> str:
    with managed(file=file) as server:
        return server.chat({"role": "user", "content": "Another conversation [bold]x[/bold]"})


def _sculpted(server: Managed, **headers: str) -> str:
    name = server.talk(**headers)
    ids = server.do(name, kind="fragment", size_tokens=800)["fragments"]
    server.do(name, kind="fold", fragment_ids=ids[:2], reason="stale")
    server.do(name, kind="pin", fragment_ids=ids[2:3])
    return name


def call(file: Path, *words: str, **options: object) -> Any:
    return runner.invoke(app, ["sessions", *words, "--store", str(file)], **options)  # type: ignore[arg-type]


def test_list(file: Path, session: str, other: str) -> None:
    rows = json.loads(call(file, "list", "--json").stdout)["sessions"]
    assert [row["id"] for row in rows] == [other, session]
    shown = call(file, "list").stdout
    assert session[:12] in shown
    assert "just now" in shown
    assert json.loads(call(file, "list", "--limit", "1", "--json").stdout)["sessions"] == rows[:1]


def test_no_store_is_no_sessions_and_stays_so(file: Path) -> None:
    told = call(file, "list")
    assert told.stdout == "No sessions yet.\n"
    assert told.stderr == f"There is no store at {file} yet.\n"
    assert json.loads(call(file, "list", "--json").stdout)["sessions"] == []
    done = call(file, "show", "last")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: There is no session 'last'")
    assert not file.exists()


def test_show(file: Path, session: str) -> None:
    shown = call(file, "show", session[:6]).stdout
    assert f"Session {session}" in shown
    for words in ("o3", "pin", "fold", "folded", "pinned by user", "Whale number 0", "answer"):
        assert words in shown
    value = json.loads(call(file, "show", session, "--json").stdout)
    assert [row["kind"] for row in value["operations"]] == ["pin", "fold", "fragment"]
    assert value["fragments"][0]["status"] == "folded"
    assert value["lanes"][0]["id"] == value["lane"]


def test_diff(file: Path, session: str) -> None:
    value = json.loads(call(file, "diff", session, "--json").stdout)
    (message,) = value["messages"]
    kinds = [stretch["kind"] for stretch in message["stretches"]]
    assert kinds[:2] == ["folded", "folded"]
    for width in ("80", "120"):
        shown = call(file, "diff", session, env={"COLUMNS": width}).stdout
        assert max(map(len, shown.splitlines())) <= int(width)
        assert "characters …]" in shown
        assert f"⟦{message['stretches'][0]['fragment']} folded" in shown
        assert "Whale number 30 is" not in shown
    assert "Whale number 30 is" in " ".join(call(file, "diff", session, "--whole").stdout.split())


def test_diff_of_what_is_unchanged(file: Path, other: str) -> None:
    assert call(file, "diff", other).stdout.startswith("Nothing is changed")


def test_undo(file: Path, session: str) -> None:
    refused = call(file, "undo", session, "o1")
    assert refused.exit_code == 1
    assert "later operations depend on it: o2" in refused.stderr
    assert refused.stderr.count("\n") == 1
    done = call(file, "undo", session, "o2")
    assert re.match(r"o2 is undone by o4: the view had [\d,]+ tokens", done.stdout)
    assert json.loads(call(file, "diff", session, "--json").stdout)["messages"] == []
    again = json.loads(call(file, "undo", session, "o4", "--json").stdout)
    assert again["operation"] == "o5"
    assert again["receipt"]["tokens_after"] < again["receipt"]["tokens_before"]


def test_undo_of_nothing_named_names_what_there_is(file: Path, session: str, other: str) -> None:
    asked = call(file, "undo", session)
    assert asked.exit_code == 1
    assert asked.stdout == ""
    assert asked.stderr.count("\n") == 1
    assert "such as o3. The newest are o3 (pin), o2 (fold), o1 (fragment);" in asked.stderr
    assert f"`sculptor sessions show {session}` lists all" in asked.stderr
    assert len(json.loads(call(file, "show", session, "--json").stdout)["operations"]) == 3
    nothing = call(file, "undo", other)
    assert nothing.exit_code == 1
    assert "no operations on this lane; there is nothing to undo" in nothing.stderr


def test_undo_without_a_session_says_where_to_find_one(file: Path) -> None:
    asked = call(file, "undo", env={"COLUMNS": "200"})
    assert asked.exit_code == 2
    assert "Missing argument 'SESSION'" in asked.stderr
    assert "`sculptor sessions list` shows the IDs" in asked.stderr
    shown = call(file, "undo", "--help", env={"COLUMNS": "200"}).stdout
    assert "Example: sculptor sessions undo last o3" in shown
    assert "`sculptor sessions show SESSION` lists them" in shown


def test_export(file: Path, session: str, home: Path) -> None:
    value = json.loads(call(file, "export", session).stdout)
    assert value["session"]["id"] == session
    page = home / "page.md"
    done = call(file, "export", "last", "--format", "markdown", "-o", str(page))
    assert done.stdout == ""
    assert f"to {page}" in done.stderr
    assert page.read_text(encoding="utf-8").startswith(f"# Session {session}\n")


def test_delete_asks_first(file: Path, session: str, other: str) -> None:
    refused = call(file, "delete", session)
    assert refused.exit_code == 1
    assert "--yes" in refused.stderr
    assert json.loads(call(file, "delete", session, "--yes", "--json").stdout)["deleted"]
    rows = json.loads(call(file, "list", "--json").stdout)["sessions"]
    assert [row["id"] for row in rows] == [other]
    assert call(file, "delete", other, "-y").stdout == f"Deleted session {other}.\n"


def test_deleting_takes_no_beginning_of_an_id(file: Path, session: str, other: str) -> None:
    for beginning in (session[:1], session[:4], session[:-1]):
        refused = call(file, "delete", beginning, "--yes")
        assert refused.exit_code == 1
        assert refused.stderr.startswith(f"Error: There is no session '{beginning}': give a whole")
        begin_so = [each for each in (other, session) if each.startswith(beginning)]
        assert refused.stderr.endswith(f" IDs that begin so: {', '.join(begin_so)}.\n")
    none = call(file, "delete", "zzz", "--yes")
    assert none.exit_code == 1
    assert none.stderr.endswith("or 'last'.\n")
    rows = json.loads(call(file, "list", "--json").stdout)["sessions"]
    assert [row["id"] for row in rows] == [other, session]
    assert call(file, "delete", "last", "--yes").stdout == f"Deleted session {other}.\n"


def test_of_many_ids_that_begin_so_the_newest_are_told(file: Path) -> None:
    with managed(file=file) as server:
        hello = {"role": "user", "content": "Hello"}
        for _ in range(161):  # of so many, eleven or more begin alike
            server.chat(hello)
    rows = json.loads(call(file, "list", "--json", "--limit", "1000").stdout)["sessions"]
    first = [row["id"][0] for row in rows]
    letter = max(first, key=first.count)
    told = call(file, "delete", letter, "--yes").stderr
    assert len(re.findall(rf"\b{letter}[0-9a-f]{{31}}\b", told)) == 10
    assert told.endswith(f" and {first.count(letter) - 10} more.\n")


def test_names_that_mean_none_or_several(file: Path, session: str) -> None:
    none = call(file, "show", "zzz")
    assert "There is no session 'zzz'" in none.stderr
    with managed(file=file) as server:
        for _ in range(17):  # of seventeen two begin alike
            server.talk()
    first = [row["id"][0] for row in json.loads(call(file, "list", "--json").stdout)["sessions"]]
    twice = next(letter for letter in first if first.count(letter) > 1)
    several = call(file, "show", twice)
    assert several.exit_code == 1
    assert f"sessions begin with '{twice}'" in several.stderr


@pytest.fixture
def named(file: Path) -> str:
    """A session that its client named "my run/3", with three operations; nobody serves it."""
    with managed(file=file) as server:
        return _sculpted(server, **{"x-session-id": "my run/3"})


def test_every_command_takes_the_name_that_a_client_gave(
    file: Path, session: str, named: str, home: Path
) -> None:
    assert named != session
    assert json.loads(call(file, "show", "my run/3", "--json").stdout)["id"] == named
    assert json.loads(call(file, "diff", "my run/3", "--json").stdout)["session"] == named
    assert f"`sculptor sessions show {named}`" in call(file, "undo", "my run/3").stderr
    assert "o3 is undone by o4" in call(file, "undo", "my run/3", "o3").stdout
    page = home / "page.json"
    assert call(file, "export", "my run/3", "-o", str(page)).exit_code == 0
    assert json.loads(page.read_text(encoding="utf-8"))["session"]["id"] == named
    assert f"delete session {named}." in call(file, "delete", "my run/3").stderr
    assert call(file, "delete", "my run/3", "--yes").stdout == f"Deleted session {named}.\n"
    rows = json.loads(call(file, "list", "--json").stdout)["sessions"]
    assert [row["id"] for row in rows] == [session]
    gone = call(file, "show", "my run/3")
    assert gone.exit_code == 1
    assert gone.stderr == (
        "Error: There is no session 'my run/3': give an ID or how it begins (`sculptor sessions "
        "list` shows them), or the name that its client gave it.\n"
    )


@pytest.mark.parametrize("name", ["ümlaut", "会话一", "长" * 400])
def test_a_name_in_any_letters_is_found(file: Path, session: str, name: str) -> None:
    with managed(file=file) as server:
        headers = {"x-session-id": name.encode()}
        body = {"model": "scripted", "messages": [{"role": "user", "content": "Hello"}]}
        answer = server.client.post("/v1/chat/completions", json=body, headers=headers)
        begun = answer.headers["x-session-id"]
        port = str(server.client.base_url.port)
        shown = call(file, "show", name, "--json", "--port", port)
        assert json.loads(shown.stdout)["id"] == begun
    assert json.loads(call(file, "show", name, "--json").stdout)["id"] == begun
    assert call(file, "delete", name, "--yes").stdout == f"Deleted session {begun}.\n"
    rows = json.loads(call(file, "list", "--json").stdout)["sessions"]
    assert [row["id"] for row in rows] == [session]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_name_is_found_by_the_bytes_of_either_encoding(
    file: Path, session: str, encoding: str
) -> None:
    with managed(file=file) as server:
        body = {"model": "scripted", "messages": [{"role": "user", "content": "Hello"}]}
        headers = {"x-session-id": "ümlaut".encode("latin-1")}
        answer = server.client.post("/v1/chat/completions", json=body, headers=headers)
    words = [*COMMAND, "sessions", "show", "ümlaut".encode(encoding), "--json"]
    done = subprocess.run([*words, "--store", str(file)], capture_output=True, check=True)
    assert json.loads(done.stdout)["id"] == answer.headers["x-session-id"] != session


def test_a_name_too_long_for_an_address_is_told(file: Path, session: str) -> None:
    done = call(file, "show", "长" * 10_000)
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: Too long a name to ask for")
    assert done.stderr.count("\n") == 1


def test_a_name_goes_before_the_beginning_of_an_id(file: Path, session: str) -> None:
    with managed(file=file) as server:
        other = server.chat({"role": "user", "content": "Hello"}, **{"x-session-id": session[:3]})
    assert json.loads(call(file, "show", session[:3], "--json").stdout)["id"] == other
    assert json.loads(call(file, "show", session[:4], "--json").stdout)["id"] == session


def test_a_name_of_two_sessions_asks_for_an_id(file: Path) -> None:
    with managed(file=file) as server:
        hello = {"role": "user", "content": "Hello"}
        ids = {server.chat(hello, **{name: "twice"}) for name in ("x-session-id", "thread-id")}
    asked = call(file, "export", "twice")
    assert asked.exit_code == 1
    assert "Several sessions were named 'twice'; give the ID of one" in asked.stderr
    assert ids == set(re.findall(r"\b[0-9a-f]{32}\b", asked.stderr))


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("name", ["", ".", "..", "../../healthz", "?", "%2E"])
def test_a_name_is_never_taken_for_a_path_or_for_any_session(file: Path, name: str) -> None:
    for words in (("show", name), ("delete", name, "--yes")):
        done = call(file, *words)
        assert done.exit_code == 1
        assert done.stderr.startswith(f"Error: There is no session '{name}'")
    assert len(json.loads(call(file, "list", "--json").stdout)["sessions"]) == 1


def test_a_running_server_is_asked(file: Path) -> None:
    with managed(file=file) as server:
        name = _sculpted(server)
        port = str(server.client.base_url.port)
        rows = json.loads(call(file, "list", "--json", "--port", port).stdout)["sessions"]
        assert [row["id"] for row in rows] == [name]
        assert call(file, "undo", name, "o3", "--port", port).exit_code == 0
        assert server.get(f"/{name}/operations")["operations"][0]["kind"] == "undo"
        called = server.chat({"role": "user", "content": "Hello"}, **{"x-session-id": "my run/3"})
        shown = call(file, "show", "my run/3", "--json", "--port", port)
        assert json.loads(shown.stdout)["id"] == called
        held = call(file, "list")
        assert held.exit_code == 1
        assert "does not answer at 127.0.0.1:1" in held.stderr
        assert "--port" in held.stderr


def test_a_file_that_is_named_is_meant_whatever_server_answers(
    file: Path, session: str, tmp_path: Path
) -> None:
    with managed(file=tmp_path / "other.sqlite3") as server:
        elsewhere = _sculpted(server)
        port = str(server.client.base_url.port)
        rows = json.loads(call(file, "list", "--json", "--port", port).stdout)["sessions"]
        assert [row["id"] for row in rows] == [session]
        assert call(file, "undo", "last", "o3", "--port", port).exit_code == 0
        kinds = [row["kind"] for row in server.get(f"/{elsewhere}/operations")["operations"]]
        assert "undo" not in kinds
        missing = call(tmp_path / "none.sqlite3", "list", "--port", port)
        assert missing.stdout == "No sessions yet.\n"
    undone = json.loads(call(file, "show", session, "--json").stdout)["operations"]
    assert undone[0]["kind"] == "undo"


def test_who_finds_nothing_is_told_where_that_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another port than the server's looks into the default store, which nobody named."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    kept = tmp_path / "sculptor" / "sculptor.sqlite3"
    words = ["sessions", "list", "--port"]
    with managed(file=tmp_path / "other.sqlite3") as server:
        port = str(server.client.base_url.port)
        there = runner.invoke(app, [*words, port])
    gone = runner.invoke(app, [*words, port])
    assert there.stdout == gone.stdout == "No sessions yet.\n"
    assert there.stderr == f"Asked the server at http://127.0.0.1:{port}.\n"
    told = f"No server answers at 127.0.0.1:{port}. There is no store at {kept} yet.\n"
    assert gone.stderr == told


def test_a_file_put_in_the_place_of_a_served_one_is_meant(
    file: Path, session: str, tmp_path: Path
) -> None:
    served = tmp_path / "served.sqlite3"
    with managed(file=served) as server:
        _sculpted(server)
        port = str(server.client.base_url.port)
        served.rename(tmp_path / "aside.sqlite3")
        file.rename(served)
        held = call(served, "list", "--json", "--port", port)
        assert held.exit_code == 1, held.stdout  # its name is the server's still
        assert f"does not answer at 127.0.0.1:{port}" in held.stderr


class TestTenants:
    """Keys of the settings say whose sessions are meant."""

    @pytest.fixture(autouse=True)
    def _keys(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SCULPTOR_KEYS", "ann=key-of-ann,bob=key-of-bob")

    @pytest.fixture
    def server(self, file: Path) -> Iterator[Managed]:
        keys = {"ann": "key-of-ann", "bob": "key-of-bob"}
        with managed(file=file, keys=keys) as made:
            yield made

    def test_over_a_server(self, file: Path, server: Managed) -> None:
        hers = server.chat({"role": "user", "content": "Hello"}, authorization="Bearer key-of-ann")
        port = str(server.client.base_url.port)
        asked = call(file, "list", "--json", "--tenant", "ann", "--port", port)
        assert [row["id"] for row in json.loads(asked.stdout)["sessions"]] == [hers]
        nobody = call(file, "list", "--json", "--tenant", "bob", "--port", port)
        assert json.loads(nobody.stdout)["sessions"] == []

    @pytest.mark.parametrize("keys", ["", "ann=key-of-another"])
    def test_a_server_that_knows_other_keys(
        self, file: Path, server: Managed, monkeypatch: pytest.MonkeyPatch, keys: str
    ) -> None:
        monkeypatch.setenv("SCULPTOR_KEYS", keys)
        refused = call(file, "list", "--port", str(server.client.base_url.port))
        assert refused.exit_code == 1
        assert "wants another key. Set SCULPTOR_KEYS (tenant=key)" in refused.stderr

    def test_a_name_means_the_session_of_the_tenant_that_asks(
        self, file: Path, server: Managed
    ) -> None:
        hello = {"role": "user", "content": "Hello"}
        port = str(server.client.base_url.port)
        ids = {}
        for tenant in ("ann", "bob"):
            headers = {"authorization": f"Bearer key-of-{tenant}", "x-session-id": "diary"}
            ids[tenant] = server.chat(hello, **headers)
            words = ["show", "diary", "--json", "--tenant", tenant, "--port", port]
            assert json.loads(call(file, *words).stdout)["id"] == ids[tenant]
        assert ids["ann"] != ids["bob"]
        assert call(file, "delete", "diary", "-y", "--tenant", "bob", "--port", port).exit_code == 0
        gone = call(file, "show", "diary", "--tenant", "bob", "--port", port)
        assert gone.exit_code == 1
        hers = call(file, "show", "diary", "--json", "--tenant", "ann", "--port", port)
        assert json.loads(hers.stdout)["id"] == ids["ann"]

    def test_over_the_file_alone(self, file: Path) -> None:
        keys = {"ann": "key-of-ann", "bob": "key-of-bob"}
        with managed(file=file, keys=keys) as server:
            hers = server.chat({"role": "user", "content": "Hi"}, authorization="Bearer key-of-ann")
        asked = call(file, "list", "--json", "--tenant", "ann")
        assert [row["id"] for row in json.loads(asked.stdout)["sessions"]] == [hers]
        nobody = call(file, "list", "--json", "--tenant", "bob")
        assert json.loads(nobody.stdout)["sessions"] == []

    def test_one_must_be_named(self, file: Path) -> None:
        done = call(file, "list")
        assert done.exit_code == 1
        assert done.stderr == "Error: Say whose sessions with --tenant: ann, bob.\n"

    def test_a_digest_opens_the_file_but_no_server(
        self, file: Path, server: Managed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SCULPTOR_KEYS", "ann=sha256:" + "0" * 64)
        port = str(server.client.base_url.port)
        refused = call(file, "list", "--port", port)
        assert refused.exit_code == 1
        assert "wants the key itself" in refused.stderr
        aside = file.with_name("aside.sqlite3")
        empty = call(aside, "list")
        assert empty.stdout == "No sessions yet.\n"
        assert empty.stderr == f"There is no store at {aside} yet.\n"

    def test_who_has_no_key_is_told(self, file: Path, server: Managed) -> None:
        port = str(server.client.base_url.port)
        refused = call(file, "list", "--tenant", "eve", "--port", port)
        assert "The settings hold no key of 'eve'" in refused.stderr


def test_times_are_told_as_people_do() -> None:
    assert ago(100.0, now=130.0) == "just now"
    assert ago(0.0, now=3 * 60 + 5) == "3 min ago"
    assert ago(0.0, now=5 * 3_600) == "5 h ago"
    assert ago(0.0, now=86_400 * 2.5) == "2 days ago"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", ago(0.0, now=86_400 * 400))


HOSTILE = "\x1b]0;owned\x07\x1b[2Jred\x9b31m \u202egnol\x7f\r"


@pytest.fixture
def hostile(file: Path) -> str:
    """A session whose text would work the terminal of who looks at it."""
    text = HOSTILE + "A line of a long story that is told here. " * 200
    with managed(file=file) as server:
        name = server.chat(
            {"role": "user", "content": text},
            {"role": "assistant", "content": "ok"},
            {"role": "user", "content": "go on"},
            **{"x-claude-code-agent-id": "[31magent"},
        )
        ids = server.do(name, kind="fragment", size_tokens=400)["fragments"]
        server.do(name, kind="fold", fragment_ids=ids[:1])
    return name


@pytest.mark.parametrize("words", [("show",), ("diff",), ("diff", "--whole")])
def test_text_never_works_the_terminal(file: Path, hostile: str, words: tuple[str, ...]) -> None:
    command, *flags = words
    shown = call(file, command, hostile, *flags, env={"COLUMNS": "200"}).stdout
    assert not set(shown) & set("\x1b\x07\x9b\x7f\r\u202e")
    assert "␛]0;owned␇␛[2Jred\\x9b31m \\u202egnol␡" in shown


def test_programs_get_the_text_as_it_is(file: Path, hostile: str) -> None:
    value = json.loads(call(file, "diff", hostile, "--json").stdout)
    assert value["messages"][0]["original"].startswith(HOSTILE)


def test_markdown_is_shown_on_a_terminal_and_written_elsewhere(file: Path, hostile: str) -> None:
    words = ["sessions", "export", hostile, "--format", "markdown", "--store", str(file)]
    piped = subprocess.run([*COMMAND, *words], capture_output=True, check=True)
    assert HOSTILE.encode() in piped.stdout
    ours, theirs = pty.openpty()
    with subprocess.Popen([*COMMAND, *words], stdout=theirs):
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal ends on Linux
            while read := os.read(ours, 65_536):
                shown += read
    os.close(ours)
    assert "␛]0;owned␇".encode() in shown
    assert b"\x1b" not in shown
