import pytest

from sculptor.errors import EvalError
from sculptor.evals.pi_llm.forgetting import Forgetting, fake_turn

STREAM = ["a", "b", "a", "c", "b", "a", "c", "b", "c"]


def places(setting: str, keys: list[str], updates: int = 3) -> list[int]:
    return sorted(Forgetting.parse(setting).places(STREAM, keys, updates=updates))


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        ("each", [2, 5]),
        ("even", [0, 5]),
        ("odd", [2]),
        ("0", [0]),
        ("2", [5]),
        ("-1", [5]),
        ("1/2", [5]),
        ("0.3", [2]),
        ("9", []),
    ],
)
def test_positions_count_the_keys_own_updates(position: str, expected: list[int]) -> None:
    assert places(f"forget_full_{position}", ["a"]) == expected


def test_stream_positions_take_each_keys_nearest_update() -> None:
    assert places("forget_full_[4]", ["a", "c"]) == [3, 5]
    assert places("forget_half_[-1]", ["a", "b"]) == [5, 7]
    assert places("sayreset_none_[3]", []) == [3]
    assert places("sayreset_none_[99]", []) == []


@pytest.mark.parametrize(("setting", "count"), [("none", 0), ("forget_half", 2), ("fwdattend", 1)])
def test_how_many_keys_are_drawn(setting: str, count: int) -> None:
    assert Forgetting.parse(setting).count(5) == count


@pytest.mark.parametrize(
    "setting",
    ["nonsense", "sayreset_half", "forget_most", "forget_full_1_loud", "a_b_c_d_e"],
)
def test_unknown_settings_are_refused(setting: str) -> None:
    with pytest.raises(EvalError):
        Forgetting.parse(setting)


@pytest.mark.parametrize("position", ["3", "1.5", "0.0", "half", "[x]"])
def test_positions_that_name_no_update_are_refused(position: str) -> None:
    with pytest.raises(EvalError):
        places(f"forget_full_{position}", ["a"])


def test_a_mode_without_text_cannot_be_placed() -> None:
    with pytest.raises(EvalError, match="meditation"):
        Forgetting.parse("meditation_none_[3]").text("a", chat_turn="")


def test_the_fake_turn_lists_the_values_so_far() -> None:
    text = fake_turn(
        {"a": "x", "b": None}, instruction="Do it.", question="What?", probe="last", family="gemini"
    )
    assert '"role": "model"' in text
    assert "The last value of a is x. \nThe last value of b is None." in text
    assert text.endswith("Do it.\n")
