"""The options of a PI-LLM case, under the original program's names.

The defaults are those every shipped configuration of the original uses. ``from_fields`` reads them
from a draw; what a draw leaves out has its default.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sculptor.errors import EvalError
from sculptor.evals.fields import Fields
from sculptor.evals.types import Json

_MANY = 100_000
UPDATE_STYLES = ("colon", "hyphen", "equal", "wordy")
ANSWER_FORMATS = ("verbal", "dict")
OUTPUT_FORMATS = ("redundant", "redundantIntegrity", "succinct")
VALUE_STYLES = (
    "none",
    "strip",
    "cap",
    "cap-strip",
    "hyphen-strip",
    "underscore-strip",
    "hyphen-cap-strip",
    "underscore-cap-strip",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything but chance that decides a PI-LLM case."""

    n_tracked_keys: int = 46
    n_untracked_keys: int = 0
    n_tracked_updates: int = 4
    n_untracked_updates: int = 0
    random_update: bool = True
    balanced_sample: bool = True
    sample_replacement: bool = False
    probe_target: str = "current"
    prompt_updating: str = "colon"
    prompt_forgetting: str = "none"
    answer_format: str = "verbal"
    extra_output_format: str = "redundant"
    len_item: int = 1
    len_item_style: str = "none"
    model_family: str = "gpt"

    def __post_init__(self) -> None:
        _check("prompt_updating", self.prompt_updating.split("_")[0], UPDATE_STYLES)
        _check("answer format", self.answer_format, ANSWER_FORMATS)
        if not self.extra_output_format.startswith("redundant"):
            _check("output format", self.extra_output_format, OUTPUT_FORMATS)
        _check("len_item_style", self.len_item_style, VALUE_STYLES)
        for name in ("n_tracked_keys", "n_tracked_updates", "len_item"):
            if getattr(self, name) < 1:
                raise EvalError(f"{name} must be at least 1.")

    @classmethod
    def from_fields(cls, fields: Fields) -> "Options":
        """Read the options out of a draw."""
        answer, extra = _response_format(fields)
        length, style = _lengthen_item(fields)
        tracked = fields.number("n_tracked_keys", "tracked_count", "n_keys", default=46, most=_MANY)
        updates = fields.number("n_tracked_updates", "n_updates", default=4, most=_MANY)
        return cls(
            n_tracked_keys=tracked,
            n_untracked_keys=_untracked(fields, tracked),
            n_tracked_updates=updates,
            n_untracked_updates=fields.number("n_untracked_updates", default=0, most=_MANY),
            random_update=fields.flag("random_update", "randomize", "random_order", default=True),
            balanced_sample=fields.flag("balanced_sample", default=True),
            sample_replacement=fields.flag("sample_replacement", default=False),
            probe_target=fields.text("probe_target", "probe", default="current"),
            prompt_updating=fields.text(
                "prompt_updating", "update_style", "updating", default="colon"
            ),
            prompt_forgetting=fields.text("prompt_forgetting", "forgetting", default="none"),
            answer_format=answer,
            extra_output_format=extra,
            len_item=length,
            len_item_style=style,
            model_family=fields.text("model_family", default="gpt"),
        )

    def to_json(self) -> Mapping[str, Json]:
        """Return the options as a draw carries them."""
        return {name: getattr(self, name) for name in self.__slots__}


def _check(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise EvalError(f"Unknown {what} {value!r}; known: {', '.join(known)}.")


def _response_format(fields: Fields) -> tuple[str, str]:
    """Return (answer, extra): two fields, or the original's ``verbal_redundant`` in one.

    In the one-field form the original takes ``succinct`` where the second half is missing.
    """
    joined = fields.text("response_format", default="")
    answer, _, extra = joined.partition("_")
    answer = fields.text("answer_format", default=answer or "verbal")
    missing = "succinct" if joined else "redundant"
    extra = fields.text(
        "extra_output_format", "output_format", default=extra.split("_")[0] or missing
    )
    return answer, extra


def _lengthen_item(fields: Fields) -> tuple[int, str]:
    """Return (rounds, style) from ``lengthen_item`` (``40_cap-strip``) or from two fields."""
    joined = fields.text("lengthen_item", default="deprecated")
    if joined != "deprecated":
        rounds, _, style = joined.partition("_")
        return Fields({"lengthen_item": rounds}).number(
            "lengthen_item", most=_MANY
        ), style or "none"
    length = fields.number("len_item", "value_length", "rounds", "n_rounds", default=1, most=_MANY)
    return length, fields.text("len_item_style", "value_style", "concat_style", default="none")


def _untracked(fields: Fields, tracked: int) -> int:
    total = fields.number("n_total_keys", default=0, most=_MANY)
    untracked = fields.number("n_untracked_keys", default=0, most=_MANY)
    if total and not untracked:
        if total < tracked:
            raise EvalError(f"n_total_keys ({total}) is less than n_tracked_keys ({tracked}).")
        return total - tracked
    return untracked
