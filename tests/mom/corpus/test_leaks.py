"""The check finds what is planted, and nothing in the corpus."""

import orjson
import pytest

from sculptor.evals.registry import find_task
from sculptor.mom.recipes.corpus import FAMILIES, HELD_OUT, Mix, iter_texts, make_sample
from sculptor.mom.recipes.corpus.leaks import find_leaks, main
from sculptor.mom.recipes.corpus.rollout import texts_of

MIX = Mix(
    families=dict.fromkeys(sorted(FAMILIES.keys() - HELD_OUT), 1.0),
    chars={300: 1, 2_000: 2, 5_000: 1},
)


def test_the_corpus_holds_nothing_of_an_evaluation() -> None:
    instances = [i for n in range(150) for i in make_sample(21, n, mix=MIX).instances]
    assert find_leaks(texts_of(instances)) == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("and then the European robin sang", "name"),
        ("Ask Keziah Okonjo about it.", "name"),
        ("The Observatory on Mount Quillane was built to study the stars", "stretch"),
        ("I say Tirbo Malk is Ansa Perl's father. And so on.", "kinship"),
        ("For Tirbo Malk, Ansa Perl is not just a mother, but also a friend.", "kinship"),
    ],
)
def test_what_is_planted_is_found(text, kind) -> None:
    assert kind in {leak.kind for leak in find_leaks([text])}


@pytest.mark.parametrize("name", ["pi-llm", "tool-log", "ruler-own-niah-multikey-1", "mrcr"])
def test_every_evaluation_prompt_is_known(name) -> None:
    task = find_task(name)
    prompt = task.sample(task.draw(len(task) // 2 if name == "pi-llm" else 5)).messages[-1]
    assert find_leaks([str(prompt["content"])])


def test_plain_speech_is_no_leak() -> None:
    assert find_leaks(["What is the latest entry of the lower drawer? It is 17."]) == []


def test_the_program_reports(capsys) -> None:
    assert main(["--samples", "3", "--seed", "4"]) == 0
    assert orjson.loads(capsys.readouterr().out) == {"samples": 3, "leaks": []}


def test_a_tokenizer_is_given_contents_and_arguments() -> None:
    texts = list(iter_texts(0, samples=20, mix=Mix(tools=1.0, chars={4_000: 1})))
    assert any('"latest_per_query":true' in text for text in texts)
    assert any('{"results":' in text for text in texts)
