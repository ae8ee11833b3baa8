"""Each completion carries loss once, under the very view in which it was produced."""

import hashlib
import random
import subprocess
import sys

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sculptor.mom.recipes.corpus import (
    FAMILIES,
    Call,
    Mix,
    Move,
    Sample,
    Scene,
    Turn,
    make_sample,
    samples,
)
from sculptor.mom.recipes.corpus.rollout import play
from sculptor.mom.recipes.corpus.samples import iter_samples
from sculptor.mom.recipes.corpus.scene import one_answer, say, user
from sculptor.sdk.context import Context

MIX = Mix(chars={300: 1, 3_500: 2, 10_000: 1})


def _whole(messages) -> list[bytes]:
    return [orjson.dumps(message, option=orjson.OPT_SORT_KEYS) for message in messages]


def _trained_places(sample: Sample) -> list[tuple[list[bytes], bytes]]:
    """Return what stands before each trained message, and the message."""
    found = []
    for instance in sample.instances:
        messages = _whole(instance.messages)
        found += [(messages[:at], messages[at]) for at in instance.trained]
    return found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.integers(0, 10**6))
def test_every_completion_is_trained_once_under_its_own_view(seed, index) -> None:
    sample = make_sample(seed, index, mix=MIX)
    wanted = [
        (
            _whole(orjson.loads(message) for message in step.view),
            _whole([orjson.loads(step.completion)])[0],
        )
        for number, step in enumerate(sample.played.steps)
        if number not in sample.played.planted
    ]
    assert sorted(_trained_places(sample)) == sorted(wanted)
    assert wanted
    for instance in sample.instances:
        assert all(instance.messages[at]["role"] == "assistant" for at in instance.trained)


@pytest.mark.parametrize("call", samples._PLANTED, ids=str)
@pytest.mark.parametrize("family", ["needles", "chat"])
def test_planted_mistakes_are_answered_and_never_trained(family, call) -> None:
    right = FAMILIES[family](random.Random(3), chars=600)
    scene = samples._with_mistake(right, call)
    played, clean = (play(one, form="tools", seed=5) for one in (scene, right))
    (number,) = played.planted
    wrong = orjson.loads(played.steps[number].completion)
    (made,) = wrong["tool_calls"]
    assert made["function"]["name"] == call.name
    after = [orjson.loads(message) for message in played.steps[number + 1].view]
    assert "error" in orjson.loads(after[after.index(wrong) + 1]["content"])
    trained = [i.messages[at]["content"] for i in played.instances for at in i.trained]
    assert trained == [i.messages[at]["content"] for i in clean.instances for at in i.trained]
    assert any(wrong in instance.messages for instance in played.instances)


def test_mistakes_are_planted_by_their_share_where_tools_are_at_hand(monkeypatch) -> None:
    mix = Mix(families={"needles": 1}, chars={600: 1}, tools=0.5)
    for share, wanted in ((0.0, 0), (1.0, 1)):
        monkeypatch.setattr(samples, "_PLANTED_SHARE", share)
        drawn = [make_sample(3, index, mix=mix) for index in range(12)]
        assert {sample.form for sample in drawn} == {"direct", "tools"}
        for sample in drawn:
            assert len(sample.played.planted) == (wanted if sample.form == "tools" else 0)


def test_views_are_those_of_the_product() -> None:
    """The same calls made by hand in a context give the same messages."""
    text = "Every drawer was labelled anew by the porter of the lower yard. " * 60

    def script():
        yield Move(calls=(Call(name="fragment_context", arguments={"fold_except": [-1]}),))
        yield Move(text="Done.")

    scene = one_answer(
        "requests", [user(text), *_read(), user("Hide it.")], direct="", tools=script
    )
    played = play(scene, form="tools", seed=5)
    context = Context(seed=(5).to_bytes(8, "big"))
    context.extend([user(text), *_read(), user("Hide it.")])
    assert played.steps[0].view == context.wire(ledger=True)
    call = orjson.loads(played.steps[0].completion)
    result = context.apply(call["tool_calls"][0])
    context.extend([call, result])
    assert played.steps[1].view == context.wire(ledger=True)
    assert b"folded" in played.steps[1].view[0]
    assert [len(instance.trained) for instance in played.instances] == [1, 1]
    tools = [tool["function"]["name"] for tool in played.instances[0].tools]
    assert tools[0] == "fragment_context"
    assert "search_context" in tools


def _read() -> list[dict[str, str]]:
    return [{"role": "assistant", "content": "Read."}]


def test_a_long_conversation_is_folded_beforehand_as_the_proxy_does() -> None:
    text = "The western siding was shut after the audit, for want of a better place. " * 200
    scene = one_answer("needles", [user(text), *_read(), user("So?")], direct="So.")
    played = play(scene, form="tools", seed=1, window=800)
    (view,) = (step.view for step in played.steps)
    assert b"folded" in view[0]
    assert b"[context ledger" in view[-1]
    whole = play(scene, form="tools", seed=1)
    assert b"folded" not in whole.steps[0].view[0]


def test_an_unplanned_refusal_is_an_error_of_the_scene() -> None:
    def script():
        yield Move(calls=(Call(name="fold_fragment", arguments={"fragment_ids": ["f00000"]}),))
        yield Move(text="Done.")

    turn = Turn(said=(user("Hide it."),), direct=say(""), tools=script)
    with pytest.raises(ValueError, match="UNKNOWN_ID"):
        play(Scene(family="requests", turns=(turn,)), form="tools", seed=0)


DIGEST = """
import hashlib, orjson
from sculptor.mom.recipes.corpus import Mix, make_sample
digest = hashlib.sha256()
for index in range(12):
    for instance in make_sample(11, index, mix=Mix()).instances:
        digest.update(orjson.dumps([instance.messages, instance.trained, instance.tools]))
print(digest.hexdigest())
"""


def test_a_sample_follows_from_seed_and_index_alone() -> None:
    digest = hashlib.sha256()
    for index in range(12):
        for instance in make_sample(11, index, mix=Mix()).instances:
            digest.update(orjson.dumps([instance.messages, instance.trained, instance.tools]))
    run = subprocess.run(
        [sys.executable, "-c", DIGEST],
        env={"PYTHONHASHSEED": "77", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == digest.hexdigest()


def test_workers_can_share_a_stream_of_samples() -> None:
    mix = Mix(families={"chat": 1}, chars={200: 1})
    every = [next(iter_samples(2, mix=mix, start=at)).played for at in range(4)]
    second = iter_samples(2, mix=mix, start=1, step=2)
    assert [next(second).played, next(second).played] == [every[1], every[3]]
    assert every[0] != every[1]


def test_a_mix_says_what_is_wrong_with_it() -> None:
    with pytest.raises(ValueError, match=r"No family is called \['poems'\]"):
        Mix(families={"poems": 1.0})
    with pytest.raises(ValueError, match="at least 1 character"):
        Mix(chars={})
    with pytest.raises(ValueError, match="more than 0"):
        Mix(families=dict.fromkeys(FAMILIES, 0.0))


def test_some_conversations_have_a_system_text_and_idle_client_tools() -> None:
    mix = Mix(families={"needles": 1}, chars={200: 1}, tools=0.5)
    samples = [make_sample(6, index, mix=mix) for index in range(80)]
    firsts = [sample.instances[0] for sample in samples]
    system = sum(instance.messages[0]["role"] == "system" for instance in firsts)
    ours = {tool["function"]["name"] for tool in Context().tools()}
    idle = 0
    for sample, instance in zip(samples, firsts, strict=True):
        names = [tool["function"]["name"] for tool in instance.tools]
        theirs = [name for name in names if name not in ours]
        idle += bool(theirs)
        assert names[: len(theirs)] == theirs  # the client's come first, as the proxy has them
        assert (len(names) > len(theirs)) == (sample.form == "tools")
    assert 5 < system < 40
    assert 2 < idle < 30
