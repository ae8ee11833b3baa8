"""Several conversations written together, one round at a time, in whatever order they come.

A round chooses a token for everyone who can write and reads those tokens in one step; every few
rounds, or when nobody writes, it first reads one piece of one waiting prompt. So a long prompt
slows the others down and never stops them. A conversation's tokens are the same in any company.
No thread and no clock here: `scheduler` adds the thread.
"""

from array import array
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal

from sculptor.mom.engine.face import Logits, Mask, Runtime, S
from sculptor.mom.engine.repetition import CHECKED_EVERY, is_repeating
from sculptor.mom.engine.sampling import Choice, Sampler, Sampling
from sculptor.mom.engine.turns import Moment, TurnStore

Reason = Literal["stop", "length", "repetition", "cancelled", "error"]

STRIDE_TOKENS = 1_024
"""How often a long prompt's reading leaves a moment behind, for views that later change late."""

STEPS_PER_PIECE = 6
"""Steps between two pieces while some write: on a CPU about half of the time for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to read and how to write: at most ``limit`` tokens, ending with one in ``stop``.

    Writing that only repeats itself (`repetition`) ends before its limit; ``borders`` are tokens
    beyond which one does not look for what was said. ``owner`` names the tenant whose kept moments
    may be used.
    """

    tokens: Sequence[int]
    limit: int
    stop: Collection[int] = ()
    sampling: Sampling = field(default_factory=Sampling)
    mask: Mask | None = None
    borders: Collection[int] = ()
    owner: str = ""

    def __post_init__(self) -> None:
        if not self.tokens:
            raise ValueError("There is nothing to read; a request needs at least one token.")
        if self.limit < 1:
            raise ValueError(f"limit is {self.limit}; ask for at least 1 token.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """Why a conversation ended; ``error`` says what went wrong when ``reason`` is ``error``."""

    reason: Reason
    error: Exception | None = None


def _no_tokens() -> "array[int]":
    return array("i")


@dataclass(eq=False, slots=True)
class Job(Generic[S]):
    """A request on its way. ``reused`` tokens of its prompt needed no reading.

    ``known`` is what its state has read, as an array: it is hashed for every moment that is kept,
    and a list of a long prompt takes ten times as long to hash.
    """

    request: Request
    sampler: Sampler
    mask: Mask | None
    reused: int = 0
    written: int = 0
    cancelled: bool = False
    state: S | None = None
    logits: Logits | None = None
    known: "array[int]" = field(default_factory=_no_tokens)


class Batch(Generic[S]):
    """Runs jobs over one runtime, at most ``width`` at a time; for one thread."""

    def __init__(
        self,
        model: Runtime[S],
        *,
        turns: TurnStore[S],
        width: int = 8,
        steps_per_piece: int = STEPS_PER_PIECE,
    ) -> None:
        if width < 1:
            raise ValueError(f"width is {width}; at least 1 conversation must fit.")
        self._model, self._turns, self._width = model, turns, width
        self._steps_per_piece = steps_per_piece
        self._waiting: deque[Job[S]] = deque()
        self._reading: deque[Job[S]] = deque()
        self._writing: list[Job[S]] = []
        self._steps = 0

    @property
    def busy(self) -> bool:
        """Whether a round would do anything."""
        return bool(self._waiting or self._reading or self._writing)

    def new_job(self, request: Request) -> Job[S]:
        """Return a job for a request; a token the model does not know is a ValueError.

        Touches nothing, so any thread may call it.
        """
        if min(request.tokens) < 0 or max(request.tokens) >= self._model.vocab_size:
            raise ValueError(
                f"Token ids go from 0 to {self._model.vocab_size - 1}; "
                "use the tokenizer that came with the weights."
            )
        return Job(request, Sampler(request.sampling), request.mask)

    def add(self, job: Job[S]) -> None:
        """Queue a job."""
        self._waiting.append(job)

    def advance(self) -> list[tuple[Job[S], Choice | Finish]]:
        """Run one round and return what happened, in order."""
        events: list[tuple[Job[S], Choice | Finish]] = []
        self._remove_cancelled(events)
        while self._waiting and len(self._reading) + len(self._writing) < self._width:
            self._admit(self._waiting.popleft())
        if self._reading and (self._steps >= self._steps_per_piece or not self._writing):
            self._steps = 0
            self._read_piece(self._reading.popleft())
        ongoing: list[Job[S]] = []
        chosen: list[int] = []
        for job in self._writing:
            token = self._choose(job, events)
            if token is not None:
                ongoing.append(job)
                chosen.append(token)
        self._writing = ongoing
        if ongoing:
            self._step(ongoing, chosen)
        return events

    def clear(self) -> None:
        """Forget every job."""
        self._waiting.clear()
        self._reading.clear()
        self._writing.clear()

    def _remove_cancelled(self, events: list[tuple[Job[S], Choice | Finish]]) -> None:
        gone = [j for j in (*self._waiting, *self._reading, *self._writing) if j.cancelled]
        if gone:
            self._waiting = deque(j for j in self._waiting if not j.cancelled)
            self._reading = deque(j for j in self._reading if not j.cancelled)
            self._writing = [j for j in self._writing if not j.cancelled]
            events += [(job, Finish(reason="cancelled")) for job in gone]

    def _admit(self, job: Job[S]) -> None:
        request = job.request
        job.reused, moment = self._turns.longest(request.tokens, owner=request.owner)
        job.known = array("i", request.tokens[: job.reused])
        if moment is None:
            job.state = self._model.new_state()
        else:
            job.state, job.logits = moment.state, moment.logits
        whole = job.reused == len(request.tokens)
        (self._writing if whole else self._reading).append(job)

    def _read_piece(self, job: Job[S]) -> None:
        assert job.state is not None
        begin = len(job.known)
        piece = job.request.tokens[begin : begin + self._model.piece]
        job.logits = self._model.prefill(piece, job.state)
        job.known.extend(piece)
        done = len(job.known) == len(job.request.tokens)
        if done or begin // STRIDE_TOKENS != len(job.known) // STRIDE_TOKENS:
            self._keep(job)
        (self._writing if done else self._reading).append(job)

    def _choose(self, job: Job[S], events: list[tuple[Job[S], Choice | Finish]]) -> int | None:
        """Choose a job's next token; None if it ended, whose moment is then kept."""
        assert job.logits is not None
        try:
            choice = job.sampler.sample(
                job.logits, None if job.mask is None else job.mask.allowed()
            )
            job.mask = None if job.mask is None else job.mask.advance(choice.token)
        except Exception as error:  # one conversation's grammar must not end the others
            events.append((job, Finish(reason="error", error=error)))
            return None
        job.written += 1
        events.append((job, choice))
        reason = _end(job, choice.token)
        if reason is not None:
            self._keep(job)
            events.append((job, Finish(reason=reason)))
            return None
        return choice.token

    def _step(self, jobs: Sequence[Job[S]], tokens: Sequence[int]) -> None:
        self._steps += 1
        states = [job.state for job in jobs if job.state is not None]
        logits = self._model.step(tokens, states)
        for job, token, row in zip(jobs, tokens, logits, strict=True):
            job.known.append(token)
            job.logits = row

    def _keep(self, job: Job[S]) -> None:
        assert job.state is not None
        assert job.logits is not None
        moment = Moment(state=job.state, logits=job.logits)
        self._turns.put(job.known, moment, owner=job.request.owner)


def _end(job: Job[S], token: int) -> Reason | None:
    """Return why a job ends with a token, or None where it goes on."""
    if token in job.request.stop:
        return "stop"
    if job.written == job.request.limit:
        return "length"
    begin = len(job.request.tokens)
    is_due = job.written % CHECKED_EVERY == 0
    repeats = is_due and is_repeating(job.known[begin:], borders=job.request.borders)
    return "repetition" if repeats else None
