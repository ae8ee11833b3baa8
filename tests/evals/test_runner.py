import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sculptor.errors import EvalError
from sculptor.evals.registry import find_task
from sculptor.evals.runs.plan import Endpoint, Plan, load_plan, make_plan
from sculptor.evals.runs.records import RECORDS_FILE, RecordFile, iter_records
from sculptor.evals.runs.results import read_run
from sculptor.evals.runs.runner import LocalExecutor, run_plan
from tests.evals.mock_upstream import MockUpstream, Reply, say

TASK = "needlebench-v2-atc"


def plan_of(limit: int = 6, **changes: Any) -> Plan:
    return make_plan(TASK, arms=["plain"], model="m", limit=limit, **changes)


def lines_of(folder: Path) -> list[dict[str, Any]]:
    text = (folder / RECORDS_FILE).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def right_reply(body: Any, answers: dict[str, str]) -> Reply:
    return say(f"\\boxed{{{answers[body['messages'][-1]['content']]}}}")


def answers_of(plan: Plan) -> dict[str, str]:
    task = find_task(plan.task)
    samples = [task.sample(task.draw(index, seed=plan.seed)) for index in plan.indexes]
    return {str(each.messages[-1]["content"]): str(each.reference) for each in samples}


def test_each_sample_is_sent_once_scored_and_traced(tmp_path: Path) -> None:
    plan = plan_of()
    answers = answers_of(plan)
    with MockUpstream(lambda body, headers: right_reply(body, answers)) as upstream:
        failed = run_plan(plan, Endpoint(base_url=upstream.url), tmp_path)
    assert failed == 0
    assert len(upstream.bodies) == 6
    lines = lines_of(tmp_path)
    assert sorted(line["index"] for line in lines) == list(range(6))
    assert {line["score"] for line in lines} == {100.0}
    trace = lines[0]["trace"][0]
    assert trace["request"]["messages"] == [{"$sample": 0}]
    assert trace["request"]["model"] == "m"
    assert trace["answer"]["usage"]["prompt_tokens"] == 10
    assert lines[0]["totals"]["input_tokens"] == 10
    result = read_run(tmp_path).arms["plain"]
    assert result.total.n == result.total.scored == 6
    assert result.total.accuracy is not None
    assert result.total.accuracy.mean == 1.0


def test_a_resumed_run_sends_only_what_is_missing(tmp_path: Path) -> None:
    with MockUpstream(lambda body, headers: say("x")) as upstream:
        endpoint = Endpoint(base_url=upstream.url)
        run_plan(plan_of(4), endpoint, tmp_path)
        run_plan(plan_of(4), endpoint, tmp_path)
        assert len(upstream.bodies) == 4
        run_plan(plan_of(9), endpoint, tmp_path)
    contents = Counter(json.dumps(body) for body in upstream.bodies)
    assert len(contents) == 9
    assert set(contents.values()) == {1}
    assert load_plan(tmp_path).limit == 9


def test_a_torn_last_line_is_cut_off_and_done_again(tmp_path: Path) -> None:
    with MockUpstream(lambda body, headers: say("x")) as upstream:
        endpoint = Endpoint(base_url=upstream.url)
        run_plan(plan_of(5), endpoint, tmp_path)
        path = tmp_path / RECORDS_FILE
        whole = path.read_bytes()
        torn = whole[: len(whole) - 150_000 if len(whole) > 300_000 else -40]
        path.write_bytes(torn)
        missing = 5 - torn.count(b"\n")
        run_plan(plan_of(5), endpoint, tmp_path)
    assert len(upstream.bodies) == 5 + missing
    assert sorted(record.index for record in iter_records(tmp_path)) == list(range(5))


def test_another_plan_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with MockUpstream(lambda body, headers: say("x")) as upstream:
        endpoint = Endpoint(base_url=upstream.url)
        run_plan(plan_of(3), endpoint, tmp_path)
        for other in (plan_of(3, seed=1), plan_of(3, scorer="corrected"), plan_of(2)):
            with pytest.raises(EvalError, match="another run"):
                run_plan(other, endpoint, tmp_path)
    assert len(upstream.bodies) == 3


def test_two_runners_never_share_a_folder(tmp_path: Path) -> None:
    with RecordFile(tmp_path), pytest.raises(EvalError, match="Another run is writing"):
        run_plan(plan_of(1), Endpoint(base_url="http://127.0.0.1:9"), tmp_path)


def test_429_is_sent_again_after_the_time_told(tmp_path: Path) -> None:
    seen: list[float] = []

    def answer(body: Any, headers: Any) -> Reply:
        seen.append(time.monotonic())
        return (429, {"retry-after": "0.4"}, b"{}") if len(seen) < 3 else say("x")

    with MockUpstream(answer) as upstream:
        assert run_plan(plan_of(1), Endpoint(base_url=upstream.url), tmp_path) == 0
    assert len(seen) == 3
    assert min(b - a for a, b in pairwise(seen)) >= 0.4
    assert lines_of(tmp_path)[0]["trace"][0]["sendings"] == 3


def test_a_refused_sample_is_recorded_and_tried_again_later(tmp_path: Path) -> None:
    broken = True

    def answer(body: Any, headers: Any) -> Reply:
        return (400, {}, b"no such model") if broken else say("x")

    with MockUpstream(answer) as upstream:
        endpoint = Endpoint(base_url=upstream.url)
        assert run_plan(plan_of(2), endpoint, tmp_path) == 2
        assert "no such model" in lines_of(tmp_path)[0]["error"]
        assert read_run(tmp_path).arms == {}
        broken = False
        assert run_plan(plan_of(2), endpoint, tmp_path) == 0
    result = read_run(tmp_path).arms["plain"]
    assert (result.total.n, result.failed) == (2, 0)


def test_cached_answers_are_not_sent_again(tmp_path: Path) -> None:
    with MockUpstream(lambda body, headers: say("x", prompt_tokens=77)) as upstream:
        endpoint = Endpoint(base_url=upstream.url, cache=str(tmp_path / "cache"))
        run_plan(plan_of(3), endpoint, tmp_path / "a")
        run_plan(plan_of(3), endpoint, tmp_path / "b")
    assert len(upstream.bodies) == 3
    assert lines_of(tmp_path / "b")[0]["totals"]["input_tokens"] == 77


def test_start_and_step_choose_the_samples(tmp_path: Path) -> None:
    with MockUpstream(lambda body, headers: say("x")) as upstream:
        run_plan(plan_of(3, start=1, step=4), Endpoint(base_url=upstream.url), tmp_path)
    assert sorted(record.index for record in iter_records(tmp_path)) == [1, 5, 9]


def test_concurrency_is_bounded_and_used(tmp_path: Path) -> None:
    running, most, lock = 0, 0, threading.Lock()

    def answer(body: Any, headers: Any) -> Reply:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.03)
        with lock:
            running -= 1
        return say("x")

    with MockUpstream(answer) as upstream:
        executor = LocalExecutor(concurrency=3)
        run_plan(plan_of(12), Endpoint(base_url=upstream.url), tmp_path, executor=executor)
    assert 2 <= most <= 3


SCRIPT = """
import signal
import sys
from pathlib import Path
from sculptor.evals.runs.plan import Endpoint, make_plan
from sculptor.evals.runs.runner import run_plan
# A shell that runs the tests in the background leaves SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
plan = make_plan("needlebench-v2-atc", arms=["plain"], model="m", limit=40)
run_plan(plan, Endpoint(base_url=sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, sent: signal.Signals) -> None:
    reached, gone = threading.Event(), threading.Event()
    second = Counter[bool]()

    def answer(body: Any, headers: Any) -> Reply:
        second[headers["authorization"] == "Bearer second"] += 1
        if len(upstream.bodies) >= 15:
            reached.set()
            gone.wait(30)  # so that the child cannot finish before it is stopped
        return say("x")

    with MockUpstream(answer) as upstream:
        command = [sys.executable, "-c", SCRIPT, upstream.url, str(tmp_path)]
        child = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ})
        assert reached.wait(60)
        child.send_signal(sent)
        child.communicate(timeout=30)
        gone.set()
        assert child.returncode != 0
        finished = {record.index for record in iter_records(tmp_path)}
        assert 0 < len(finished) < 40
        endpoint = Endpoint(base_url=upstream.url, key="second")
        assert run_plan(plan_of(40), endpoint, tmp_path) == 0
    assert second[True] == 40 - len(finished)
    assert sorted(record.index for record in iter_records(tmp_path)) == list(range(40))


def test_the_same_samples_in_any_order(tmp_path: Path) -> None:
    with MockUpstream(lambda body, headers: say("x")) as upstream:
        endpoint = Endpoint(base_url=upstream.url)
        for name, concurrency in (("a", 1), ("b", 5)):
            executor = LocalExecutor(concurrency=concurrency)
            run_plan(plan_of(10), endpoint, tmp_path / name, executor=executor)
    ids = [{r.index: r.id for r in iter_records(tmp_path / name)} for name in ("a", "b")]
    assert ids[0] == ids[1]


def test_a_budget_must_come_from_somewhere() -> None:
    with pytest.raises(EvalError, match="--budget"):
        make_plan(TASK, arms=["plain", "bm25-rag"], model="m")
    with pytest.raises(EvalError, match="choose from"):
        make_plan(TASK, arms=["plan"], model="m")
    made = make_plan(TASK, arms=["bm25-rag", "sculptor", "plain"], model="m")
    assert made.arms == ("sculptor", "plain", "bm25-rag")
    assert replace(made, limit=3).indexes == range(3)
