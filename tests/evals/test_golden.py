"""Prompts and scores against figures made with a transcription of the original programs.

``golden_prompts.json`` holds draws with the hash of the prompt and the reference the original's
steps give for them, ``golden_scores.json`` replies of every kind with the originals' scores.
"""

import hashlib
import json
from pathlib import Path

import pytest

from sculptor.evals.registry import find_task
from sculptor.evals.types import Json, Object

HERE = Path(__file__).parent
PROMPTS = json.loads((HERE / "golden_prompts.json").read_text(encoding="utf-8"))
SCORES = json.loads((HERE / "golden_scores.json").read_text(encoding="utf-8"))


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@pytest.mark.parametrize("case", PROMPTS["pi_llm"], ids=lambda case: case["draw"]["seed"])
def test_pi_llm_prompt(case: dict[str, Object]) -> None:
    sample = find_task("pi-llm").sample(case["draw"])
    assert digest(str(sample.messages[0]["content"])) == case["sha256"]
    assert digest(json.dumps(sample.reference, ensure_ascii=False)) == case["reference"]


@pytest.mark.parametrize("number", range(len(PROMPTS["needlebench"])))
def test_needlebench_prompt(number: int) -> None:
    case = PROMPTS["needlebench"][number]
    sample = find_task("needlebench").sample(case["draw"])
    assert sample.reference == case["reference"]
    assert digest(str(sample.messages[0]["content"])) == case["sha256"]


@pytest.mark.parametrize("scorer", ["original", "opencompass", "corrected"])
@pytest.mark.parametrize("case", SCORES["pi_llm"], ids=lambda case: case["name"])
def test_pi_llm_score(case: dict[str, Json], scorer: str) -> None:
    score = find_task("pi-llm").score(str(case["reply"]), SCORES["truth"], scorer=scorer)
    assert score.value == case[scorer]


@pytest.mark.parametrize("case", SCORES["pi_llm"], ids=lambda case: case["name"])
def test_pi_llm_dictionary_score(case: dict[str, Json]) -> None:
    params: Object = {"answer_format": "dict"}
    reply = str(case["reply"])
    score = find_task("pi-llm").score(reply, SCORES["truth"], scorer="original", params=params)
    assert score.value == case["dict"]


@pytest.mark.parametrize("number", range(len(SCORES["needlebench"])))
def test_needlebench_score(number: int) -> None:
    case = SCORES["needlebench"][number]
    params = {"task": case["kind"], "version": case["version"], "use_trim": case.get("trim", False)}
    task = find_task("needlebench")
    for scorer, expected in (("original", case["score"]), ("corrected", case["corrected"])):
        score = task.score(case["reply"], case["reference"], scorer=scorer, params=params)
        assert score.value == expected, scorer
