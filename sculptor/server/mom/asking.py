"""A request's body, read into what the engine is to do.

What a request may not ask is answered with 400 and the parameter's name: parts that are no text, a
schema that nothing satisfies, numbers out of range. Penalties, ``logit_bias`` and ``n`` are read
over: one answer comes, chosen by ``temperature``, ``top_p`` and ``seed`` alone.
Without a temperature the likeliest token is taken each time, since this model is made for work on
a context and not for variety.
"""

import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import orjson

from sculptor.mom.engine.batch import Request
from sculptor.mom.engine.sampling import Sampling
from sculptor.mom.language.contradictions import contradiction
from sculptor.mom.language.grammar import Grammar, GrammarError, GrammarState
from sculptor.mom.language.protocol import Protocol
from sculptor.mom.language.sizes import count_named
from sculptor.mom.language.template import render_prompt
from sculptor.mom.language.tokenizer import Tokenizer
from sculptor.server.envelope import ApiError
from sculptor.server.request_rules import objects_of, parse_request, refusal, stops_of, too_deep

ANSWER_TOKENS = 1_024
"""The most an answer may take where the request sets no limit."""

CALL_TOKENS = 1_024
"""What calls that the client does not see may take besides."""

MOST_NAMED = 10_000
"""How many values and properties the schemas of a request may name: a grammar of so many takes a
second to write by, and whoever else is served waits for it."""

_MOST_TEMPERATURE = 2.0
_MOST_TOP = 20
_LEAST_TOP_P = 1e-9
_KEPT_GRAMMARS = 8
_SEED_BITS = 63

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What the engine reads and how it writes, and what the answer needs besides.

    ``limit`` binds what the client is to see, in tokens; ``request.limit`` all that is written.
    """

    request: Request
    limit: int
    stops: tuple[str, ...]
    logprobs: bool


class AskReader:
    """Reads bodies; keeps the grammars of tools and schemas met before, with their masks.

    No answer is longer than the model's window, whatever limit a body sets.
    """

    def __init__(self, tokenizer: Tokenizer, *, window_tokens: int) -> None:
        self._tokenizer, self._window = tokenizer, window_tokens
        # Strings of JSON begin and end there: within one, saying the same things over is no form.
        self._borders = frozenset(
            token
            for token in range(tokenizer.vocab_size)
            if b'"' in (tokenizer.token_bytes(token) or b"")
        )
        self._grammars: OrderedDict[bytes, GrammarState] = OrderedDict()
        self._lock = Lock()

    def read(self, body: bytes, *, owner: str = "", hidden: bool = False) -> Ask:
        """Return what a body asks; ``owner`` names whose earlier turns may be gone on from.

        ``hidden``: some of its tools are the loop's, whose calls the client does not see.

        Raises:
            ApiError: the body is no chat completion request, or a parameter cannot be used.
        """
        value = parse_request(body, text_only=True)
        tools = objects_of(value, "tools") if value.get("tools") else []
        logprobs = _logprobs(value)
        limit = min(_limit(value), self._window)
        mask = self._mask(value, tools)  # first: it refuses what is nested too deep to be rendered
        request = Request(
            tokens=render_prompt(value["messages"], tools=tools, tokenizer=self._tokenizer),
            limit=limit + (CALL_TOKENS if hidden else 0),
            stop=(Protocol.END,),
            sampling=_sampling(value, logprobs=logprobs),
            mask=mask,
            borders=self._borders,
            owner=owner,
        )
        return Ask(request=request, limit=limit, stops=stops_of(value), logprobs=logprobs)

    def _mask(self, value: Body, tools: Sequence[Body]) -> GrammarState:
        """Return the start of the grammar that the request declares."""
        wanted = value.get("response_format")
        choice, parallel = value.get("tool_choice"), value.get("parallel_tool_calls") is not False
        key = orjson.dumps([tools, choice, wanted, parallel])
        with self._lock:
            found = self._grammars.get(key)
            if found is None:
                found = self._grammars[key] = self._compile(tools, choice, wanted, parallel)
            self._grammars.move_to_end(key)
            while len(self._grammars) > _KEPT_GRAMMARS:
                self._grammars.popitem(last=False)
        return found

    def _compile(
        self, tools: Sequence[Body], choice: object, wanted: Body | None, parallel: bool
    ) -> GrammarState:
        try:
            _check_schemas(tools, wanted)
            grammar = Grammar(
                self._tokenizer,
                tools=tools,
                tool_choice=choice,
                response_format=wanted,
                parallel=parallel,
            )
        except GrammarError as error:
            raise ApiError(400, f"{error}.", code="invalid_value", param="tool_choice") from None
        except RecursionError:
            raise too_deep("tools" if wanted is None else "response_format") from None
        return grammar.start()


def _check_schemas(tools: Sequence[Body], wanted: Body | None) -> None:
    """Refuse a schema that leaves the model nothing to write; raises ``ApiError``."""
    for index, tool in enumerate(tools):
        parameters = tool["function"].get("parameters")
        if isinstance(parameters, dict):
            found = contradiction({"type": "object", **parameters})
            where = f"tools[{index}].function.parameters"
            _refuse_found(found, where, code="invalid_function_parameters")
    _refuse_many([tool["function"].get("parameters") for tool in tools], "tools")
    if wanted is not None and wanted["type"] == "json_schema":
        schema, where = wanted["json_schema"].get("schema"), "response_format.json_schema.schema"
        _refuse_found(contradiction(schema), where, code="invalid_json_schema")
        _refuse_many(schema, where)


def _refuse_found(found: str | None, where: str, *, code: str) -> None:
    if found:
        problem = f"is one that nothing satisfies, because of {found}; mend it or leave it out"
        raise refusal(where, problem, code=code)


def _refuse_many(schemas: object, where: str) -> None:
    """Refuse schemas that name more values and properties than a grammar is made of."""
    named = count_named(schemas)
    if named > MOST_NAMED:
        problem = f"names {named:,} values and properties; {MOST_NAMED:,} at most"
        raise refusal(where, problem)


def _logprobs(value: Body) -> bool:
    asked = value.get("logprobs")
    if asked is not None and not isinstance(asked, bool):
        raise refusal("logprobs", "must be true or false")
    return bool(asked)


def _limit(value: Body) -> int:
    asked = (value.get(name) for name in ("max_completion_tokens", "max_tokens"))
    return next((limit for limit in asked if limit is not None), ANSWER_TOKENS)


def _sampling(value: Body, *, logprobs: bool) -> Sampling:
    temperature = _number(value, "temperature", most=_MOST_TEMPERATURE, default=0.0)
    top_p = _number(value, "top_p", most=1.0, default=1.0)
    top = value.get("top_logprobs") or 0
    if not isinstance(top, int) or isinstance(top, bool) or not 0 <= top <= _MOST_TOP:
        raise refusal("top_logprobs", f"must be a whole number from 0 to {_MOST_TOP}")
    if top and not logprobs:
        raise refusal("top_logprobs", "needs logprobs to be true")
    return Sampling(
        temperature=temperature, top_p=max(top_p, _LEAST_TOP_P), seed=_seed(value), top=top
    )


def _seed(value: Body) -> int:
    seed = value.get("seed")
    if seed is None:
        return secrets.randbits(_SEED_BITS)
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise refusal("seed", "must be a whole number")
    return seed % 2**64


def _number(value: Body, name: str, *, most: float, default: float) -> float:
    number = value.get(name)
    if number is None:
        return default
    if not isinstance(number, int | float) or isinstance(number, bool) or not 0 <= number <= most:
        raise refusal(name, f"must be a number from 0 to {most:g}")
    return float(number)
