"""Training instances of a rollout whose context was edited while it ran.

After an edit the new view does not have the old one as its prefix, so a rollout is not one sequence
but several. The law, of arXiv 2508.04664 (section 3.2 and Algorithm 1): a rollout is cut at every
step that edits the context, and at its end; each completion carries loss in exactly one instance,
under the very view in which it was produced. Without it a policy is trained on tokens under
contexts that it never saw.

A rollout is cut as well wherever a view does not go on from the one before, whatever changed it.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import orjson

from sculptor.chat import Completed
from sculptor.context import Context
from sculptor.loop import BlockingModel, Event, Model, ModelRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStep:
    """One call of the model: the view it was sent, what it said, and whether that edited the view.

    ``view`` are the messages' bytes as sent; ``completion`` is the assistant message as produced.
    """

    view: tuple[bytes, ...]
    completion: bytes
    edits: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedSpan:
    """A completion that carries loss: its place in the instance, and the step that made it."""

    message: int
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingInstance:
    """One sequence of messages and which of them carry loss; all others are masked.

    Everything before a trained message is, byte for byte, the view under which it was produced.
    ``weight`` divides one rollout's loss among its instances, so that a rollout with many edits
    does not count for more than one without.
    """

    messages: tuple[bytes, ...]
    trained: tuple[TrainedSpan, ...]
    weight: float

    @property
    def mask(self) -> tuple[bool, ...]:
        """For each message, whether it carries loss."""
        places = {span.message for span in self.trained}
        return tuple(index in places for index in range(len(self.messages)))


def training_instances(trace: Sequence[RolloutStep]) -> list[TrainingInstance]:
    """Cut a rollout into training instances, each completion unmasked in exactly one of them.

    An instance ends with its last completion: the results that follow it would be masked, and no
    loss would stand on them.
    """
    cuts = [
        index + 1
        for index, (step, after) in enumerate(pairwise(trace))
        if step.edits or not _goes_on(step, after)
    ]
    borders = [0, *cuts, len(trace)] if trace else [0]
    segments = list(pairwise(borders))
    return [_instance(trace, start, end, 1 / len(segments)) for start, end in segments]


class Trace:
    """Gathers the steps of one rollout while it runs; give the loop one of its models."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._calls: list[tuple[ModelRequest, str, Completed]] = []

    def steps(self) -> list[RolloutStep]:
        """Return the rollout so far."""
        versions = [version for _, version, _ in self._calls[1:]] + [str(self._context.version)]
        return [
            RolloutStep(
                view=request.messages,
                completion=orjson.dumps(completed.message),
                edits=version != after,
            )
            for (request, version, completed), after in zip(self._calls, versions, strict=True)
        ]

    def blocking(self, model: BlockingModel) -> "TracedBlockingModel":
        """Return the model, its calls gathered here."""
        return TracedBlockingModel(model, self)

    def awaiting(self, model: Model) -> "TracedModel":
        """Return the model, its calls gathered here."""
        return TracedModel(model, self)

    def version(self) -> str:
        """Return the version in force."""
        return self._context.version

    def add(self, request: ModelRequest, version: str, completed: Completed) -> None:
        """Note a call that was made under ``version``."""
        self._calls.append((request, version, completed))


class TracedBlockingModel:
    """A model that blocks, with its calls gathered in a trace."""

    def __init__(self, model: BlockingModel, trace: Trace) -> None:
        self._model, self._trace = model, trace

    def stream(self, request: ModelRequest) -> Iterator[Event]:
        """Answer a request, piece by piece."""
        version = self._trace.version()
        for event in self._model.stream(request):
            if isinstance(event, Completed):
                self._trace.add(request, version, event)
            yield event


class TracedModel:
    """A model that is awaited, with its calls gathered in a trace."""

    def __init__(self, model: Model, trace: Trace) -> None:
        self._model, self._trace = model, trace

    async def stream(self, request: ModelRequest) -> AsyncIterator[Event]:
        """Answer a request, piece by piece."""
        version = self._trace.version()
        async for event in self._model.stream(request):
            if isinstance(event, Completed):
                self._trace.add(request, version, event)
            yield event


def _goes_on(step: RolloutStep, after: RolloutStep) -> bool:
    """Whether the next view is this one, the completion, and more."""
    length = len(step.view)
    return len(after.view) > length and after.view[:length] == step.view


def _instance(
    trace: Sequence[RolloutStep], start: int, end: int, weight: float
) -> TrainingInstance:
    last = trace[end - 1]
    spans = (TrainedSpan(message=len(trace[at].view), step=at) for at in range(start, end))
    return TrainingInstance(
        messages=(*last.view, last.completion), trained=tuple(spans), weight=weight
    )
