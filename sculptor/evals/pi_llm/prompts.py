"""The PI-LLM prompt, byte for byte the original's, missing spaces included."""

from collections.abc import Mapping, Sequence

from sculptor.evals.pi_llm.forgetting import Forgetting, fake_turn
from sculptor.evals.pi_llm.options import Options

_UPDATE = {
    "colon": "{key}: {value}; ",
    "hyphen": "{key} - {value}; ",
    "equal": "{key} = {value}; ",
    "wordy": "update the value of {key} by setting it to {value}; ",
}


def build_prompt(
    tracked_keys: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    *,
    options: Options,
    forget_keys: Sequence[str] = (),
) -> str:
    """Return the user message: instruction, update stream, question."""
    forgetting = Forgetting.parse(options.prompt_forgetting)
    instruction = _instruction(tracked_keys)
    question = _question(tracked_keys, options) + forgetting.question()
    stream = _stream(
        tracked_keys,
        pairs,
        options=options,
        forgetting=forgetting,
        forget_keys=forget_keys,
        texts=(instruction, question),
    )
    return f"{instruction}\n\nThe text stream starts on the next line.\n {stream}\n\n{question}"


def final_values(
    tracked_keys: Sequence[str], pairs: Sequence[tuple[str, str]]
) -> Mapping[str, str | None]:
    """Return the last value of every tracked key, in the order of the keys."""
    values: dict[str, str | None] = dict.fromkeys(tracked_keys)
    values.update((key, value) for key, value in pairs if key in values)
    return values


def _instruction(keys: Sequence[str]) -> str:
    return (
        "As my secretary, I need you to carefully read a text stream where the values of multiple "
        f"keys are being continuously updated.The {len(keys)} keys to track include "
        f"{', '.join(keys)}. I will ask you to identify the value of each key later."
    )


def _question(keys: Sequence[str], options: Options) -> str:
    probe, extra = options.probe_target, options.extra_output_format
    succinct = extra == "succinct"
    text = f"What are the {probe} value of each key ({', '.join(keys)}) you are tracking? "
    text += "Format your response as: " if succinct else "End your response with: "
    if options.answer_format == "verbal":
        text += f"'The {probe} value of <key> is <value>.'"
    else:
        text += (
            f"'The {probe} key-value pairs are: {{<key>: <value>, ...}}' (similar to a Python "
            "dictionary, but without quotation marks around strings)"
            "Ensure that you report each key exactly once in the dictionary."
        )
    if extra == "redundantIntegrity":
        text += (
            f"Provide the exact {probe} value string without modification or breaking it into "
            "pieces."
        )
    if succinct:
        text += "No extra text should be included in the response apart from what is requested."
    return text


def _stream(
    tracked_keys: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    *,
    options: Options,
    forgetting: Forgetting,
    forget_keys: Sequence[str],
    texts: tuple[str, str],
) -> str:
    update = _UPDATE[options.prompt_updating.split("_")[0]]
    updates = max(options.n_tracked_updates, options.n_untracked_updates)
    places = forgetting.places([key for key, _ in pairs], forget_keys, updates=updates)
    values: dict[str, str | None] = dict.fromkeys(tracked_keys)
    pieces = []
    for place, (key, value) in enumerate(pairs):
        if place in places:
            turn = fake_turn(
                values,
                instruction=texts[0],
                question=texts[1],
                probe=options.probe_target,
                family=options.model_family,
            )
            pieces.append(forgetting.text(key, chat_turn=turn))
        pieces.append(update.format(key=key, value=value))
        if key in values:
            values[key] = value
    return "".join(pieces)
