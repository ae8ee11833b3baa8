"""Our tasks as Inspect tasks (extra ``inspect``), for those who run and view evaluations there.

A thin adapter: samples, arms and scorers are ours, the log, the viewer and the model are Inspect's.
The model is any of Inspect's; for the tools let it talk to the proxy, for instance
``--model openai/NAME --model-base-url http://127.0.0.1:8484/v1``. The arm's mode goes along as the
header ``x-sculptor``.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sculptor.errors import EvalError
from sculptor.evals.arms import Arm, Mode, Situation, find_arms
from sculptor.evals.registry import find_task
from sculptor.evals.types import Message, Object, Sample, Task, check_scorer


def inspect_task(
    name: str,
    *,
    arm: str = "plain",
    limit: int | None = None,
    seed: int = 0,
    scorer: str | None = None,
    budget_tokens: int | None = None,
    admission: Mode = "auto",
    data: str | None = None,
) -> Any:
    """Return an ``inspect_ai.Task``: one of our tasks, answered by one arm.

    Raises:
        EvalError: a name is unknown, Inspect is not installed, or the arm needs a budget.
    """
    try:
        import inspect_ai
        from inspect_ai.dataset import MemoryDataset
    except ImportError as error:
        raise EvalError("Inspect is an extra: pip install 'sculptor-context[inspect]'.") from error
    task = find_task(name, Path(data) if data else None)
    (chosen,) = find_arms([arm])
    if chosen.needs_budget and budget_tokens is None:
        raise EvalError(f"{arm} needs budget_tokens.")
    situation = Situation(task=task.name, budget_tokens=budget_tokens, admission=admission)
    samples = list(_samples(task, range(len(task) if limit is None else limit), seed))
    return inspect_ai.Task(
        dataset=MemoryDataset(samples, name=f"{task.name}-{seed}"),
        solver=_solver(task, chosen, situation),
        scorer=_scorer(task, check_scorer(scorer, task.scorers)),
        name=f"{task.name}-{arm}",
        metadata={"arm": arm, "seed": seed, "budget_tokens": budget_tokens},
    )


def _samples(task: Task, indexes: range, seed: int) -> Iterator[Any]:
    from inspect_ai.dataset import Sample as InspectSample

    for index in indexes:
        sample = task.sample(task.draw(index, seed=seed))
        yield InspectSample(
            id=sample.id,
            input=[_chat_message(message) for message in sample.messages],
            target=str(sample.reference),
            metadata={"index": index, "seed": seed, "params": dict(sample.params)},
        )


def _rebuilt(task: Task, metadata: Mapping[str, Any]) -> Sample:
    return task.sample(task.draw(metadata["index"], seed=metadata["seed"]))


def _solver(task: Task, arm: Arm, situation: Situation) -> Any:
    from inspect_ai.model import ChatMessageAssistant
    from inspect_ai.solver import solver

    def arm_solver() -> Any:
        async def solve(state: Any, generate: Any) -> Any:
            del generate
            chat = _InspectChat(state)
            reply = await arm.solve(_rebuilt(task, state.metadata), chat, situation)
            if state.output.completion != reply:
                state.messages.append(ChatMessageAssistant(content=reply))
            return state

        return solve

    return solver(name=f"sculptor-{arm.name}")(arm_solver)()


class _InspectChat:
    """One sample's line to Inspect's model; the last answer becomes the sample's output."""

    def __init__(self, state: Any) -> None:
        self._state = state

    async def __call__(
        self, messages: Sequence[Message], *, tools: Sequence[Object] = (), mode: Mode = "off"
    ) -> str:
        from inspect_ai.model import GenerateConfig, get_model
        from inspect_ai.tool import ToolInfo

        functions: list[Any] = [tool["function"] for tool in tools]
        output = await get_model().generate(
            [_chat_message(message) for message in messages],
            tools=[ToolInfo(**function) for function in functions],
            config=GenerateConfig(temperature=0.0, extra_headers={"x-sculptor": mode}),
        )
        self._state.output = output
        text: str = output.completion
        return text


def _scorer(task: Task, name: str) -> Any:
    from inspect_ai.scorer import Score, mean, scorer, stderr

    def our_scorer() -> Any:
        async def score(state: Any, target: Any) -> Any:
            del target
            sample = _rebuilt(task, state.metadata)
            reply = state.output.completion
            found = task.score(reply, sample.reference, scorer=name, params=sample.params)
            value = math.nan if found.value is None else found.value
            return Score(value=value, answer=reply, metadata=dict(found.detail))

        return score

    return scorer(metrics=[mean(), stderr()], name=f"sculptor-{name}")(our_scorer)()


def _chat_message(message: Message) -> Any:
    from inspect_ai.model import (
        ChatMessageAssistant,
        ChatMessageSystem,
        ChatMessageTool,
        ChatMessageUser,
    )

    text = str(message.get("content") or "")
    match message["role"]:
        case "system":
            return ChatMessageSystem(content=text)
        case "assistant":
            return ChatMessageAssistant(content=text, tool_calls=_calls(message) or None)
        case "tool":
            return ChatMessageTool(content=text, tool_call_id=str(message["tool_call_id"]))
        case _:
            return ChatMessageUser(content=text)


def _calls(message: Message) -> list[Any]:
    import json

    from inspect_ai.tool import ToolCall

    calls: Any = message.get("tool_calls") or ()
    return [
        ToolCall(
            id=call["id"],
            function=call["function"]["name"],
            arguments=json.loads(call["function"]["arguments"]),
        )
        for call in calls
    ]
