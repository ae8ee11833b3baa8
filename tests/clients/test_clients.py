"""Clients as they are published, unmodified, in front of the proxy, with tools of their own.

Each client set has an environment of its own; one run of its driver plays all scenarios against a
proxy of its own, and each test looks at one of them from both ends: what the client reports, and
what the upstream was asked.
"""

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from sculptor.server.run import serve_in_thread
from sculptor.server.settings import Settings
from sculptor.tools import toolset
from tests.clients.driving import CLOCK, LONG, WEATHER, WRONG_KEY
from tests.clients.environments import HERE, make, requirements
from tests.clients.scripts import ASIDE, OSLO, OSLO_TIME, PREAMBLE, scripted_upstream
from tests.server.openai_schemas import check
from tests.server.stub_upstream import StubUpstream

pytestmark = [pytest.mark.clients, pytest.mark.timeout(900)]

DRIVERS = {
    "openai2": "drive_openai.py",
    "openai3": "drive_openai.py",
    "langchain": "drive_langchain.py",
    "pydantic_ai": "drive_pydantic_ai.py",
    "agents": "drive_agents.py",
}
KEY = "sk-test-of-the-clients"
AT_A_TIME = 3
OURS = toolset("full").names


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Played:
    """One client's run: its report, and the bodies that reached the upstream, by model."""

    report: dict[str, Any]
    asked: dict[str, list[dict[str, Any]]]

    def __getitem__(self, scenario: str) -> dict[str, Any]:
        result = self.report[scenario]
        assert "raised" not in result, result["raised"]
        return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A client's run that may still be under way, and the upstream it speaks to."""

    report: Future[dict[str, Any]]
    upstream: StubUpstream


@pytest.fixture(scope="session")
def runs() -> Iterator[dict[str, Run]]:
    """All clients, each with a proxy of its own: one is installed while another runs."""
    with ThreadPoolExecutor(AT_A_TIME) as pool, ExitStack() as opened:
        made: dict[str, Run] = {}
        for name in sorted(DRIVERS):
            upstream = opened.enter_context(scripted_upstream())
            settings = Settings(
                port=0,
                store="memory",
                upstream=upstream.url,
                keys={"local": SecretStr(KEY)},
                drain_seconds=1,
            )
            url, stop = serve_in_thread(settings)
            opened.callback(stop)
            made[name] = Run(report=pool.submit(drive, name, url), upstream=upstream)
        yield made


@pytest.fixture(scope="session", params=sorted(DRIVERS))
def played(request: pytest.FixtureRequest, runs: dict[str, Run]) -> Played:
    run = runs[request.param]
    report = run.report.result()
    asked: dict[str, list[dict[str, Any]]] = {}
    for seen in run.upstream.seen:
        asked.setdefault(seen.value["model"], []).append(seen.value)
    return Played(report=report, asked=asked)


def drive(name: str, url: str) -> dict[str, Any]:
    """Run a client's driver with what a user would set, and nothing else of this environment."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    done = subprocess.run(
        [make(requirements()[name]), HERE / DRIVERS[name]],
        env={**kept, "OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": KEY},
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return orjson.loads(done.stdout)


def names_of(tools: list[dict[str, Any]]) -> list[str]:
    return [tool["function"]["name"] for tool in tools]


def test_every_requirements_file_has_a_driver_and_pins_everything() -> None:
    files = requirements()
    assert set(files) == set(DRIVERS)
    for file in files.values():
        assert all("==" in line for line in file.read_text().splitlines())


def test_plain(played: Played) -> None:
    told = played["plain"]
    assert told["text"] == "Hello, world."
    assert told["tokens"] > 7
    assert told.get("reason", "stop") == "stop"
    assert told.get("model", "plain") == "plain"
    assert told.get("request_id", True)
    assert "tools" not in played.asked["plain"][0]


def test_streamed(played: Played) -> None:
    told = played["streamed"]
    assert told["text"] == "Hello, streamed world."
    assert told["tokens"] > 7
    assert told.get("reason", "stop") == "stop"
    assert played.asked["streamed"][0]["stream"] is True


@pytest.mark.parametrize("scenario", ["parallel", "parallel_streamed"])
def test_two_client_tools_beside_ours(played: Played, scenario: str) -> None:
    told = played[scenario]
    assert told["ran"] == [["weather", OSLO], ["clock", OSLO_TIME]]
    assert told["text"] == f"{ASIDE}\n\nIt is -3 degrees and 12:30."
    assert told.get("reason", "stop") == "stop"
    first, second, third, fourth = played.asked[scenario]
    assert names_of(first["tools"])[:2] == ["weather", "clock"]
    assert set(names_of(first["tools"])[2:]) <= OURS
    assert all(body["tools"] == first["tools"] for body in (second, third, fourth))
    assert len(orjson.dumps(second)) < len(orjson.dumps(first)) / 2
    assert_joined(third["messages"])


def assert_joined(messages: list[dict[str, Any]]) -> None:
    """Hold the turn together: all four calls as the model made them, each with its result."""
    assert PREAMBLE in (messages[1]["content"] or "")
    mixed = next(m for m in messages if len(m.get("tool_calls") or ()) == 4)
    after = messages[messages.index(mixed) + 1 :]
    called = {call["id"]: call["function"]["name"] for call in mixed["tool_calls"]}
    assert list(called.values()) == ["search_context", "weather", "fold_fragment", "clock"]
    results = {called[m["tool_call_id"]]: m["content"] for m in after[:4]}
    assert "-3 degrees in Oslo" in str(results["weather"])
    assert "12:30 in Oslo, as 24h" in str(results["clock"])
    assert "is 35" in str(results["search_context"])


def test_forced_client_tool(played: Played) -> None:
    assert played["forced"]["ran"] == [["weather", OSLO]]
    asked = played.asked["forced"]
    assert len(asked) == 1
    choice = asked[0]["tool_choice"]
    assert choice == "required" or choice["function"]["name"] == "weather"
    names = names_of(asked[0]["tools"])
    assert names[0] == "weather"
    assert set(names) - {"weather", "clock"} == OURS


def test_refusals_reach_the_client_as_its_own_errors(played: Played) -> None:
    told = played["refused"]
    assert {name: error["status"] for name, error in told.items()} == {
        "refuse-400": 400,
        "refuse-401": 401,
        "refuse-429": 429,
    }
    assert "top_k is not known here." in told["refuse-400"]["message"]
    assert "Slow down." in told["refuse-429"]["message"]
    assert WRONG_KEY not in str(told)
    assert "refuse-401" not in played.asked
    kinds = ("BadRequestError", "AuthenticationError", "RateLimitError")
    for name, kind in zip(sorted(told), kinds, strict=True):
        assert {kind, "ModelHTTPError"} & set(told[name]["kinds"])


def test_a_long_managed_conversation(played: Played) -> None:
    assert played["managed"]["texts"] == ["It is 35.", "Yes, it is 35.", "It is 42."]
    asked = played.asked["managed"]
    assert [len(body["messages"]) for body in asked] == [1, 3, 5, 3, 5, 5]
    assert LONG in str(asked[0]["messages"][0]["content"])
    for body in asked[1:]:
        assert "folded" in str(body["messages"][0]["content"])
        assert len(orjson.dumps(body)) < len(orjson.dumps(asked[0])) / 2
        assert body["tools"] == asked[0]["tools"]
    assert set(names_of(asked[0]["tools"])) == OURS
    assert {WEATHER["function"]["name"], CLOCK["function"]["name"]}.isdisjoint(OURS)


def test_whatever_reached_the_upstream_was_a_valid_request(played: Played) -> None:
    for bodies in played.asked.values():
        for body in bodies:
            check("CreateChatCompletionRequest", body)
