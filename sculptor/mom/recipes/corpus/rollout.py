"""Playing a scene through the product's own context, and cutting it into training instances.

Views are what ``Context`` renders and results what its tools answer, byte for byte and in the order
in which the loop has them; only call IDs are written here, so that the same seed gives the same
bytes. An instance ends wherever the next
view does not go on from the one before, so every completion stands exactly once under the view in
which it was produced (arXiv 2508.04664, Algorithm 1).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from sculptor.loop.overflow import fold_to_fit
from sculptor.loop.turn import PREAMBLE_GAP
from sculptor.mom.recipes.corpus.scene import Call, Form, Move, Scene, Turn, Wire
from sculptor.sdk.context import Context
from sculptor.sdk.snapshots import RolloutStep, training_instances


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One sequence of messages, the tools offered, and which messages carry loss."""

    messages: tuple[Wire, ...]
    tools: tuple[Wire, ...]
    trained: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A played scene: every call of the model in order, which were planted, and the instances."""

    steps: tuple[RolloutStep, ...]
    planted: frozenset[int]
    instances: tuple[Instance, ...]


def play(
    scene: Scene, *, form: Form, seed: int, ledger: bool = True, window: int | None = None
) -> Played:
    """Play a scene to its end.

    ``window`` (in o200k tokens) has the product fold what is over it beforehand, as its proxy does.
    Refused calls that no scene planned are an error of the scene's author.

    Raises:
        ValueError: a call that was not planted was refused.
    """
    player = _Player(scene, form=form, seed=seed, ledger=ledger, window=window)
    for turn in scene.turns:
        player.play_turn(turn)
    planted = frozenset(player.planted)
    tools = tuple(player.tools)
    return Played(
        steps=tuple(player.steps),
        planted=planted,
        instances=tuple(_instances(player.steps, planted, tools)),
    )


def texts_of(instances: Iterable[Instance]) -> Iterator[str]:
    """Yield every text of instances: contents, and the arguments of calls."""
    for instance in instances:
        for message in instance.messages:
            content = message.get("content")
            if isinstance(content, str):
                yield content
            for part in content if isinstance(content, list) else ():
                yield str(part.get("text", ""))
            for call in message.get("tool_calls") or ():
                yield str(call["function"]["arguments"])


@dataclass(slots=True)
class _Texts:
    """What the model said in one turn: the client sees the pieces joined."""

    pieces: list[str] = field(default_factory=list)

    def visible(self) -> str:
        """Return the pieces as the client sees them."""
        return PREAMBLE_GAP.join(piece for piece in self.pieces if piece)


class _Player:
    """One scene in play."""

    def __init__(
        self, scene: Scene, *, form: Form, seed: int, ledger: bool, window: int | None
    ) -> None:
        self._context = Context(seed=seed.to_bytes(8, "big"), clock=lambda: 0.0)
        self._form, self._ledger = form, ledger
        self._window = window if form == "tools" and scene.foldable else None
        self.tools = [*scene.tools, *(self._context.tools() if form == "tools" else ())]
        self.steps: list[RolloutStep] = []
        self.planted: set[int] = set()
        self._calls = 0
        self._open: list[str] = []

    def play_turn(self, turn: Turn) -> None:
        """Take in what the client says, then follow the policy to the turn's end."""
        for message in turn.said:
            self._append(message)
        for name, result in zip(self._open, turn.results, strict=True):
            self._append({"role": "tool", "tool_call_id": name, "content": result})
        self._open = []
        if self._window is not None and not self.steps:
            fold_to_fit(self._context.core, self._window)
        self._follow(turn)

    def _follow(self, turn: Turn) -> None:
        script = (turn.tools if self._form == "tools" else turn.direct)()
        texts = _Texts()
        move = next(script)
        while True:
            if move.only_over and self._shown_bytes() <= move.only_over:
                move = script.send(())
                continue
            own = bool(move.calls) and all(self._is_ours(call) for call in move.calls)
            texts.pieces.append(move.text)
            message = self._noted(move)
            if not own:
                self._end_turn(message, texts)
                return
            results = [self._context.apply(call) for call in message["tool_calls"]]
            self._append(message)
            for result in results:
                self._append(result)
            calls = zip(message["tool_calls"], results, strict=True)
            move = script.send([_answer(call, result, move) for call, result in calls])

    def _shown_bytes(self) -> int:
        return sum(map(len, self._context.wire()))

    def _is_ours(self, call: Call) -> bool:
        return self._context.is_internal(wire_call("", call))

    def _noted(self, move: Move) -> dict[str, Any]:
        """Return a move as the message the model produced, noted under the present view."""
        message: dict[str, Any] = {"role": "assistant", "content": move.text or None}
        if move.calls:
            message["tool_calls"] = [wire_call(self._name(), call) for call in move.calls]
        if move.planted:
            self.planted.add(len(self.steps))
        view = self._context.wire(ledger=self._ledger and self._form == "tools")
        self.steps.append(RolloutStep(view=view, completion=orjson.dumps(message)))
        return message

    def _name(self) -> str:
        self._calls += 1
        return f"call_{self._calls:04d}"

    def _end_turn(self, message: dict[str, Any], texts: _Texts) -> None:
        """Put the turn's answer in the conversation as the client saw it."""
        calls = message.get("tool_calls") or ()
        self._open = [call["id"] for call in calls]
        self._append(message | {"content": texts.visible() or message["content"]})

    def _append(self, message: Wire) -> None:
        self._context.append(dict(message))


def _answer(call: Wire, result: Wire, move: Move) -> Mapping[str, Any]:
    answer: Mapping[str, Any] = orjson.loads(result["content"])
    if "error" in answer and not move.planted:
        raise ValueError(f"{call['function']} was refused: {answer}")
    return answer


def wire_call(name: str, call: Call) -> dict[str, Any]:
    """Return a call as a message carries it."""
    arguments = orjson.dumps(call.arguments).decode()
    return {
        "id": name,
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }


def _instances(
    steps: Sequence[RolloutStep], planted: frozenset[int], tools: tuple[Wire, ...]
) -> Iterator[Instance]:
    for cut in training_instances(steps):
        trained = tuple(span.message for span in cut.trained if span.step not in planted)
        if trained:
            messages = tuple(orjson.loads(message) for message in cut.messages)
            yield Instance(messages=messages, tools=tools, trained=trained)
