"""Answering one sample by one arm: every request and every operation goes into the record.

In a trace, a message that is one of the sample's own is written as ``{"$sample": i}``: the sample
itself follows from the plan and the index, so a record says everything and stays small.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import orjson

from sculptor.errors import EvalError
from sculptor.evals.arms import Arm, Mode, Situation
from sculptor.evals.runs.client import Answer, ChatClient
from sculptor.evals.runs.plan import Plan
from sculptor.evals.runs.records import Totals
from sculptor.evals.types import Message, Object, Sample, Task

_HIDDEN = frozenset({"folded", "summarized"})


class RecordedChat:
    """One sample's line to the model; ``totals`` and ``trace`` tell what went over it."""

    def __init__(self, client: ChatClient, plan: Plan, sample: Sample) -> None:
        self._client, self._plan = client, plan
        self._own = {id(message): at for at, message in enumerate(sample.messages)}
        self._answers: list[Answer] = []
        self._tool_calls: Counter[str] = Counter()
        self._hidden, self._restored = set[str](), set[str]()
        self.trace: list[Mapping[str, Any]] = []

    async def __call__(
        self, messages: Sequence[Message], *, tools: Sequence[Object] = (), mode: Mode = "off"
    ) -> str:
        """Send one request and return the text answered."""
        body: dict[str, Any] = {
            "model": self._plan.model,
            "messages": list(messages),
            "temperature": self._plan.temperature,
        }
        if tools:
            body["tools"] = list(tools)
        if self._plan.max_tokens is not None:
            body["max_tokens"] = self._plan.max_tokens
        answer = await self._client.chat(body, mode=mode)
        stored = await self._client.session(answer)
        self._answers.append(answer)
        self._count(stored)
        self.trace.append(
            {
                "mode": mode,
                "request": {**body, "messages": [self._brief(each) for each in messages]},
                "answer": answer.body,
                "status": answer.status,
                "session": answer.session,
                "seconds": round(answer.seconds, 4),
                "sendings": answer.sendings,
                "operations": _rows(stored, "operations"),
                "steps": _rows(stored, "steps"),
            }
        )
        return answer.text

    @property
    def totals(self) -> Totals:
        """The sums over all requests so far."""
        billed = [row for answer in self._answers for row in answer.billed]
        return Totals(
            requests=len(self._answers),
            calls=len(billed),
            input_tokens=sum(row.input_tokens for row in billed),
            cached_tokens=sum(row.cached_tokens for row in billed),
            output_tokens=sum(row.output_tokens for row in billed),
            first_tokens=billed[0].input_tokens if billed else 0,
            last_tokens=billed[-1].input_tokens if billed else 0,
            hidden=len(self._hidden),
            restored=len(self._restored),
            tool_calls=dict(self._tool_calls),
            seconds=round(sum(answer.seconds for answer in self._answers), 4),
        )

    def _brief(self, message: Message) -> Message:
        at = self._own.get(id(message))
        return message if at is None else {"$sample": at}

    def _count(self, stored: Mapping[str, Any]) -> None:
        for step in _rows(stored, "steps"):
            self._tool_calls.update(_called(step.get("messages") or ()))
        for operation in _rows(stored, "operations"):
            for _, before, after in operation.get("changes") or ():
                was, now = _is_hidden(before), _is_hidden(after)
                if now and not was:
                    self._hidden.add(after["id"])
                if was and not now and after is not None:
                    self._restored.add(after["id"])


async def solve(
    task: Task,
    sample: Sample,
    arm: Arm,
    *,
    index: int,
    plan: Plan,
    client: ChatClient,
    budget: int | None,
) -> tuple[bytes, Totals, float | None, str | None]:
    """Return the line to append, with its totals, score and error."""
    chat = RecordedChat(client, plan, sample)
    situation = Situation(
        task=task.name, budget_tokens=budget if arm.needs_budget else None, admission=plan.admission
    )
    reply, error, score, detail = None, None, None, {}
    try:
        reply = await arm.solve(sample, chat, situation)
        found = task.score(reply, sample.reference, scorer=plan.scorer, params=sample.params)
        score, detail = found.value, dict(found.detail)
    except EvalError as problem:
        error = str(problem)
    totals = chat.totals
    line = {
        "arm": arm.name,
        "index": index,
        "id": sample.id,
        "score": score,
        "error": error,
        "params": sample.params,
        "budget_tokens": situation.budget_tokens,
        "totals": asdict(totals),
        "reply": reply,
        "reference": sample.reference,
        "detail": detail,
        "trace": chat.trace,
    }
    return orjson.dumps(line), totals, score, error


def _rows(stored: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return [row for lane in stored.get("lanes") or () for row in lane.get(name) or ()]


def _called(messages: Iterable[Mapping[str, Any]]) -> list[str]:
    return [
        str((call.get("function") or {}).get("name"))
        for message in messages
        if message.get("role") == "assistant"
        for call in message.get("tool_calls") or ()
    ]


def _is_hidden(entry: Mapping[str, Any] | None) -> bool:
    return entry is not None and entry.get("status") in _HIDDEN
