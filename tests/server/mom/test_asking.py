from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sculptor.mom.engine.sampling import Sampling
from sculptor.server.envelope import ApiError
from sculptor.server.mom.asking import ANSWER_TOKENS, AskReader
from tests.server.mom.builders import TOKENIZER

READER = AskReader(TOKENIZER, window_tokens=16_384)
HELLO = [{"role": "user", "content": "hello"}]

NUMBERS = st.integers(-3, 2**53) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


def keyed(**likely: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects with some of these members, now and then with one that is anything else."""
    usual = st.fixed_dictionaries({}, optional=likely)
    odd = st.fixed_dictionaries({}, optional={key: it | JSON for key, it in likely.items()})
    return st.one_of(usual, usual, odd)


SCHEMAS = st.deferred(
    lambda: keyed(
        type=st.sampled_from(["object", "array", "string", "integer", "null", "robot"]),
        properties=st.dictionaries(st.text(max_size=4), SCHEMAS, max_size=2),
        required=st.lists(st.text(max_size=4), max_size=2),
        items=SCHEMAS,
        enum=st.lists(JSON, max_size=2),
        const=JSON,
        anyOf=st.lists(SCHEMAS, max_size=2),
        minimum=NUMBERS,
        maxItems=NUMBERS,
        maxLength=NUMBERS,
        pattern=st.text(max_size=5),
        additionalProperties=st.booleans(),
        **{"$ref": st.sampled_from(["#", "#/properties/a", "#/$defs/x", "http://x"])},
    )
)
FUNCTIONS = keyed(
    name=st.sampled_from(["knock", "fold_fragment", "a b", ""]),
    parameters=SCHEMAS,
    arguments=st.text(max_size=5),
)
CALLS = keyed(type=st.just("function"), function=FUNCTIONS, id=st.just("c1"))
TOOLS = CALLS | st.fixed_dictionaries(
    {
        "type": st.just("function"),
        "function": st.fixed_dictionaries(
            {"name": st.sampled_from(["knock", "fold_fragment", "a b"])},
            optional={"parameters": SCHEMAS},
        ),
    }
)
PARTS = keyed(type=st.sampled_from(["text", "image_url"]), text=st.text(max_size=9))
CONTENT = st.text(max_size=9) | st.lists(PARTS, min_size=1, max_size=2)
ROLES = st.sampled_from(["system", "user", "assistant", "tool", "function"])
MESSAGES = st.fixed_dictionaries(
    {"role": ROLES, "content": CONTENT},
    optional={"tool_calls": st.lists(CALLS, max_size=2), "tool_call_id": st.just("c1")},
) | keyed(role=ROLES, content=CONTENT, tool_calls=st.lists(CALLS, max_size=2))
FORMATS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["text", "json_object", "json_schema"]),
        "json_schema": st.fixed_dictionaries(
            {"name": st.just("door")}, optional={"schema": SCHEMAS}
        ),
    }
) | keyed(type=st.sampled_from(["text", "json_schema"]), json_schema=keyed(schema=SCHEMAS))
CHOICES = st.sampled_from(["auto", "none", "required"]) | TOOLS
DEEP = st.fixed_dictionaries(
    {"messages": st.lists(MESSAGES, max_size=3)},
    optional={
        "tools": st.lists(TOOLS, max_size=2),
        "tool_choice": CHOICES,
        "response_format": FORMATS,
    },
)
FLAT = st.fixed_dictionaries(
    {"messages": st.just(HELLO)},
    optional={
        "tools": JSON,
        "tool_choice": JSON,
        "response_format": JSON,
        "temperature": NUMBERS,
        "top_p": NUMBERS,
        "top_logprobs": NUMBERS,
        "logprobs": JSON,
        "seed": NUMBERS,
        "stop": JSON,
        "max_tokens": JSON,
        "max_completion_tokens": NUMBERS,
    },
)
BODIES = st.one_of(DEEP, DEEP, FLAT, JSON)


@settings(max_examples=300, deadline=None)
@given(BODIES)
def test_any_body_is_read_or_refused_with_words(body: Any) -> None:
    refused: ApiError | None = None
    try:
        ask = READER.read(orjson.dumps(body))
    except ApiError as error:
        refused = error
    if refused is None:
        assert ask.request.mask is not None
        assert ask.request.mask.allowed().any()
        assert ask.request.limit >= 1
    else:
        assert refused.status == 400
        assert refused.message.endswith(".")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", r"The body is empty; send a JSON object\."),
        (b"{", r"The body is not valid JSON: .* column 2 "),
        (b"[]", r"The body is JSON but not an object\."),
        (b"null", r"The body is JSON but not an object\."),
        (b'{"messages":1}', r"messages must be a list of objects\."),
        (b'{"messages":[1]}', r"messages must be a list of objects\."),
    ],
)
def test_what_is_no_request_is_refused(body: bytes, says: str) -> None:
    with pytest.raises(ApiError, match=f"^{says}"):
        READER.read(body)


def read(**fields: Any) -> Any:
    return READER.read(orjson.dumps({"messages": HELLO, **fields}))


def test_what_is_not_asked_has_a_default() -> None:
    ask = read()
    assert ask.request.limit == ANSWER_TOKENS
    assert (ask.stops, ask.logprobs) == ((), False)
    sampling = ask.request.sampling
    assert sampling == Sampling(seed=sampling.seed)
    assert read().request.sampling.seed != sampling.seed


def test_parameters_reach_the_engine() -> None:
    asked = {"temperature": 1, "top_p": 0, "seed": -1, "logprobs": True, "top_logprobs": 4}
    sampling = read(**asked).request.sampling
    assert (sampling.temperature, sampling.top, sampling.seed) == (1.0, 4, 2**64 - 1)
    assert 0 < sampling.top_p < 1e-6
    ask = read(max_tokens=3, max_completion_tokens=5)
    assert ask.limit == ask.request.limit == 5
    assert read(max_tokens=10**6).limit == 16_384, "no answer is longer than the window"
    assert read(stop="x").stops == ("x",)
    assert read(stop=["x", "y"]).stops == ("x", "y")


def test_the_grammar_of_tools_met_before_is_kept() -> None:
    tool = {"type": "function", "function": {"name": "knock"}}
    first = read(tools=[tool]).request.mask
    for number in range(6):
        read(tools=[{"type": "function", "function": {"name": f"tool{number}"}}])
        assert read(tools=[tool]).request.mask is first
    for number in range(8):
        read(tools=[{"type": "function", "function": {"name": f"tool{number}"}}])
    assert read(tools=[tool]).request.mask is not first
    assert read(tools=[tool], tool_choice="none").request.mask is not first
