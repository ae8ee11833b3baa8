"""One request of a wrapped client, from its arguments to what is told of its answer.

It is decided here whether the tools are offered, as the proxy decides it: ``auto`` offers them once
the view reaches the admission threshold, and from then on in the whole conversation. Where the
request asks for something the loop cannot honour they stand down, and the view is sent without
them. If the context layer cannot work, the request goes out as the program made it.
"""

import logging
import re
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal, get_args

import orjson

from sculptor.context import Context
from sculptor.errors import ContextError, SettingsError
from sculptor.loop import (
    Budget,
    ClientRequest,
    MessageCache,
    Surroundings,
    Turn,
    check_request,
    fold_to_fit,
    model_request,
    pass_through,
    read_request,
    run_turn,
    told_context,
    view_room,
)
from sculptor.loop.refusal import REFUSED, ToolRefusals, speaks_of_tools
from sculptor.loop.turn import Effect
from sculptor.messages import parse_message
from sculptor.sdk.conversations import Conversation, Conversations
from sculptor.sdk.local import surroundings
from sculptor.sdk.models import EDITED, TRANSPORT, SummaryRequest
from sculptor.sdk.wire import to_wire
from sculptor.summaries import Summarizer, SummaryJob, format_jobs, output_limit
from sculptor.terms import Embedder
from sculptor.tokens import TokenCounter
from sculptor.tools import ToolsetName, toolset

Mode = Literal["off", "auto", "on"]

ADMISSION_TOKENS = 4_096
HEADER = "x-sculptor"
_SHRINK = 0.7
_WINDOW = re.compile(r"maximum context length (?:is|of) (\d+)")
_log = logging.getLogger("sculptor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a wrapped client offers the tools; times are in seconds.

    ``window_tokens`` is the model's window: a longer view is folded to fit. Unknown (None), a view
    is folded after the upstream said that it is too long. ``summarizer`` None: the model that
    answers also summarizes.
    """

    mode: Mode = "auto"
    toolset: ToolsetName = "full"
    inline: bool = False
    admission_tokens: int = ADMISSION_TOKENS
    window_tokens: int | None = None
    budget: Budget = field(default_factory=Budget)
    ledger: bool = True
    summarizer: Summarizer | None = None
    embedder: Embedder | None = None

    def __post_init__(self) -> None:
        checked_mode(self.mode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """A request that goes out without the loop; ``arguments`` are those of ``create``.

    ``status`` says what became of the tools and why, where that is not what was asked for.
    """

    arguments: dict[str, Any]
    status: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request that the loop answers; ``learned``: its upstream said that it takes no tools."""

    request: ClientRequest
    conversation: Conversation
    arguments: dict[str, Any]
    surroundings: Surroundings
    options: Options
    status: str = "tools-on"
    learned: bool = False

    @property
    def has_tools(self) -> bool:
        """Whether ours go out with it."""
        return self.status != REFUSED

    @property
    def name(self) -> tuple[bytes, str]:
        """Under what it is remembered that the tools were refused."""
        return self.conversation.context.seed, self.request.model

    def turn(self) -> Generator[Effect, Any, Turn]:
        """Begin the turn that answers the request."""
        if not self.has_tools:
            view = self.conversation.context.view()
            call = model_request(self.request, None if view.unchanged else view.messages)
            return pass_through(call, view.tokens)
        return run_turn(
            self.conversation.context,
            self.request,
            toolset(self.options.toolset),
            budget=self.options.budget,
            show_ledger=self.options.ledger,
            clock=time.monotonic,
        )

    def without_tools(self, refusal: bytes = b"") -> "Exchange":
        """Return the same without our tools and what they said.

        The upstream did take them where it called some, and beside a program's own ours may be
        too many: neither is worth remembering.
        """
        context = self.conversation.context
        is_first = not context.open_steps() and not self.request.client_tools
        context.steps = []
        return replace(self, status=REFUSED, learned=is_first and speaks_of_tools(refusal))

    def shrink(self, complaint: str) -> bool:
        """Fold what an upstream called too long; whether that made it shorter."""
        context = self.conversation.context
        told = _WINDOW.search(complaint)
        limit = int(context.tokens * _SHRINK)
        if told:
            limit = min(limit, _room(int(told[1]), self.request, context))
        return bool(fold_to_fit(context, limit))

    def summary_request(self, jobs: Sequence[SummaryJob]) -> SummaryRequest:
        """Return the request by which the answering model writes summaries."""
        messages = format_jobs(jobs)
        limit = "max_tokens" if "max_tokens" in self.arguments else "max_completion_tokens"
        value = {
            "model": self.request.model,
            "messages": messages,
            "temperature": 0,
            limit: output_limit(jobs),
        }
        wires = tuple(orjson.dumps(message) for message in messages)
        return SummaryRequest(
            body=orjson.dumps(value), messages=wires, tools=(), value=value, stream=False
        )


class Sculpting:
    """What all requests of one wrapped client share: its options and its conversations."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.conversations = Conversations()
        self._messages, self._lock = MessageCache(), threading.Lock()
        self._refusals = ToolRefusals()
        offered = toolset(options.toolset)
        self._names, self._wires = offered.names, offered.wire

    def open(self, arguments: Mapping[str, Any]) -> Plain | Exchange:
        """Decide how a request is answered.

        Raises:
            SettingsError: ``sculptor`` or the header asks for an unknown mode.
        """
        mode, cleaned = self._mode(arguments)
        if mode == "off" or _is_raw(cleaned):
            return Plain(arguments=cleaned)
        try:
            return self._opened(mode, cleaned)
        except ContextError as error:
            _log.info("The request goes out as it was made: %s", error)
        except Exception:
            _log.warning("The context layer stands aside for this request.", exc_info=True)
        return Plain(arguments=cleaned, status="bypassed")

    def close(self, exchange: Exchange, turn: Turn) -> None:
        """Keep what is in force after an answer, and whether the tools were refused."""
        if exchange.learned:
            self._refusals.note(exchange.name)
        message = turn.answer.message
        answer = parse_message(orjson.dumps(message), message)
        self.conversations.keep(exchange.conversation, answer, turn.mixed)

    def _opened(self, mode: Mode, arguments: dict[str, Any]) -> Plain | Exchange:
        arguments = {key: item for key, item in arguments.items() if not _is_omitted(item)}
        request = self._read(arguments)
        if request is None:
            return Plain(arguments=arguments, status="tools-off; reason=extra_body")
        conversation = self.conversations.open(
            request.messages, _counter(request.model), inline=self.options.inline
        )
        context = conversation.context
        # By what came, not by what is shown: what is folded to fit has to be within reach.
        reached = context.tokens >= self.options.admission_tokens
        reason = _stand_down(request, self._names)
        if self.options.window_tokens is not None:
            room = _room(self.options.window_tokens, request, context)
            own = context.counter.count_parts(wire.decode() for wire in self._wires)
            # Where the tools would take half of the room, the view needs it more.
            fits = 2 * own <= room
            reason = reason or (None if fits else "window")
            reached |= bool(fold_to_fit(context, room - own if fits else room))
        offered = mode == "on" or conversation.admitted or reached
        if offered and (reason is None or (reason == "tool_choice" and request.forwards_choice)):
            exchange = Exchange(
                request=request,
                conversation=conversation,
                arguments=arguments,
                surroundings=surroundings(
                    lambda: {message.hash: message.wire for message in context.messages},
                    summarizer=self.options.summarizer,
                    embedder=self.options.embedder,
                ),
                options=self.options,
            )
            return exchange.without_tools() if exchange.name in self._refusals else exchange
        view = context.view()
        if not view.unchanged:
            shown = model_request(request, view.messages).messages
            arguments["messages"] = [orjson.loads(wire) for wire in shown]
        status = f"tools-off; reason={reason}" if offered else ""
        return Plain(arguments=arguments, status=status)

    def _read(self, arguments: dict[str, Any]) -> ClientRequest | None:
        extra = arguments.get("extra_body")
        if isinstance(extra, Mapping) and not extra.keys().isdisjoint((*EDITED, "n")):
            return None
        body = {key: item for key, item in arguments.items() if key not in TRANSPORT}
        return check_request(self._parsed(to_wire(body, where="the request")))

    def _parsed(self, body: bytes) -> ClientRequest:
        with self._lock:
            return read_request(body, self._messages)

    def _mode(self, arguments: Mapping[str, Any]) -> tuple[Mode, dict[str, Any]]:
        """Return the mode asked for, and the arguments without the asking."""
        cleaned = dict(arguments)
        if isinstance(cleaned.get("messages"), Iterator):
            cleaned["messages"] = list(cleaned["messages"])
        asked = cleaned.pop("sculptor", None)
        headers = cleaned.get("extra_headers")
        if isinstance(headers, Mapping):
            kept = {name: item for name, item in headers.items() if name.lower() != HEADER}
            told = [item for name, item in headers.items() if name.lower() == HEADER]
            if told:
                asked = asked or told[-1]
                cleaned["extra_headers"] = kept
        return checked_mode(asked) if asked else self.options.mode, cleaned


def told_extension(exchange: Exchange, turn: Turn) -> dict[str, Any]:
    """Return ``x_context``: what the turn did, and what it was billed call by call."""
    told = told_context(turn, exchange.conversation.context)
    return {"x_context": {"status": exchange.status, **told}}


def checked_mode(mode: str) -> Mode:
    """Return the mode, or raise SettingsError where there is no such one."""
    for known in get_args(Mode):
        if mode == known:
            return known  # type: ignore[no-any-return]  # get_args forgets what it was asked
    raise SettingsError(f"sculptor is {mode!r}; it must be off, auto or on.")


def _stand_down(request: ClientRequest, names: frozenset[str]) -> str | None:
    legacy = any(request.value.get(key) for key in ("functions", "function_call"))
    return "functions" if legacy else request.stand_down(names)


def _room(window_tokens: int, request: ClientRequest, context: Context) -> int:
    """Return the tokens a view may have in a window, room for the answer and the tools left."""
    beside = context.counter.count(request.tools_text)
    return view_room(window_tokens, request, beside_tokens=beside)


def _is_raw(arguments: Mapping[str, Any]) -> bool:
    """Whether the program asks for the raw response, which the loop has none of."""
    headers = arguments.get("extra_headers")
    return isinstance(headers, Mapping) and any(
        name.lower() == "x-stainless-raw-response" for name in headers
    )


def _is_omitted(value: object) -> bool:
    return type(value).__name__ in ("NotGiven", "Omit")


@lru_cache(maxsize=16)
def _counter(model: str) -> TokenCounter:
    return TokenCounter.for_model(model)
