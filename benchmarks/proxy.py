"""The proxy beside a bare relay: CPU for each request, latency, and memory over many requests.

Both run all the time, before the same provider and under the same load, and take turns by rounds;
a ratio is made within each round, so that a slow moment of the machine falls on both.
"""

import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from benchmarks.figures import Figure, rounds_figure
from benchmarks.litellm import litellm
from benchmarks.load import Job
from benchmarks.processes import Process, load, module, started

CPU_RATIO = 1.8
LITELLM_RATIO = 12.0
ADDED_P50_MS = 2.0
GROWTH = 0.05
_CONNECTIONS = 8
_WARM_REQUESTS = 10_000


class Case(NamedTuple):
    """A kind of body, streamed or not, and how many requests of it make a round."""

    kind: str
    stream: bool
    requests: int

    @property
    def name(self) -> str:
        """What the case is called in reports."""
        return f"{self.kind}, {'50-chunk stream' if self.stream else 'plain'}"


CASES = (
    Case("1 KB", False, 1_000),
    Case("1 KB", True, 300),
    Case("8 KB", False, 500),
    Case("8 KB", True, 200),
    Case("400 KB", False, 80),
    Case("400 KB", True, 80),
    Case("managed", False, 80),
    Case("managed", True, 80),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """What is compared; the last two are None where they were not asked for."""

    proxy: Process
    relay: Process
    litellm: Process | None = None

    def named(self, case: "Case") -> list[tuple[str, Process]]:
        """Return them in the order in which they take turns."""
        found = [("relay", self.relay), ("proxy", self.proxy)]
        # LiteLLM has no folds that could be in force.
        if self.litellm is not None and case.kind != "managed":
            found.append(("litellm", self.litellm))
        return found


@contextmanager
def servers(folder: Path, *, with_litellm: bool) -> Iterator[Servers]:
    """Start the provider, the relay and the proxy with its default settings, one worker each."""
    with ExitStack() as stack:
        upstream = stack.enter_context(
            started(module("benchmarks.upstream"), log=folder / "upstream.log")
        )
        relay = stack.enter_context(
            started(module("benchmarks.relay", upstream.url), log=folder / "relay.log")
        )
        proxy = stack.enter_context(
            started(
                [
                    *(str(Path(sys.executable).with_name("sculptor")), "serve", "--json"),
                    *("--port", "0", "--store", str(folder / "store.sqlite3")),
                    *("--upstream", f"{upstream.url}/v1"),
                ],
                log=folder / "proxy.log",
            )
        )
        other = stack.enter_context(litellm(upstream.url, folder)) if with_litellm else None
        yield Servers(proxy=proxy, relay=relay, litellm=other)


def cpu_figures(among: Servers, *, rounds: int, scale: float) -> Iterator[Figure]:
    """Measure CPU for each request, case by case; ``scale`` shortens or lengthens rounds."""
    for case in CASES:
        requests = max(_CONNECTIONS, int(case.requests * scale))
        used: dict[str, list[float]] = {name: [] for name, _ in among.named(case)}
        for number in range(-1, rounds):
            # The first round warms caches and connections up, and does not count.
            for name, process in _in_turn(among.named(case), number):
                cpu = _cpu_ms(process, case, requests, f"{name}{number}")
                if number >= 0:
                    used[name].append(cpu)
        yield from _ratios(case, used, requests * rounds)


def latency_figures(among: Servers, *, rounds: int, scale: float) -> Iterator[Figure]:
    """Measure the median latency at one request at a time, beside the relay's."""
    for case in CASES:
        if case.stream:
            continue
        requests = max(10, int(case.requests * scale / 4))
        medians: dict[str, list[float]] = {"relay": [], "proxy": []}
        for number in range(rounds):
            for name, process in _in_turn(among.named(case)[:2], number):
                job = _prepared(_job(process, case, requests, 1, f"p{name}{number}"))
                medians[name].append(statistics.median(load(job)) * 1e3)
        added = [a - b for a, b in zip(medians["proxy"], medians["relay"], strict=True)]
        yield rounds_figure(
            f"added p50, {case.name}",
            added,
            unit="ms",
            n=requests * rounds,
            baseline="relay's p50, ms",
            baseline_values=medians["relay"],
            target=ADDED_P50_MS,
        )


def memory_figure(among: Servers, *, requests: int) -> Figure:
    """Measure how much resident memory grows over many requests, caches being filled before."""
    warm = min(_WARM_REQUESTS, requests)
    case = Case("1 KB", False, 0)
    load(_job(among.proxy, case, warm, _CONNECTIONS, "warm"))
    before = among.proxy.resident_bytes()
    load(_job(among.proxy, case, requests, _CONNECTIONS, "many"))
    growth = among.proxy.resident_bytes() / before - 1
    return Figure(
        name="growth of resident memory",
        value=growth,
        unit="of itself",
        low=growth,
        high=growth,
        n=requests,
        rounds=1,
        baseline=f"MiB after {warm} requests",
        baseline_value=before / 2**20,
        target=GROWTH,
        note="1 KB bodies, a new conversation each; one run, so no interval",
    )


def _ratios(case: Case, used: dict[str, list[float]], n: int) -> Iterator[Figure]:
    proxy, relay = used["proxy"], used["relay"]
    is_bound = case.kind == "1 KB"
    yield rounds_figure(
        f"CPU of the proxy / relay, {case.name}",
        [ours / base for ours, base in zip(proxy, relay, strict=True)],
        unit="times",
        n=n,
        baseline="relay, CPU ms a request",
        baseline_values=relay,
        target=CPU_RATIO if is_bound else None,
    )
    if "litellm" in used:
        yield rounds_figure(
            f"CPU of LiteLLM's proxy / ours, {case.name}",
            [theirs / ours for theirs, ours in zip(used["litellm"], proxy, strict=True)],
            unit="times less",
            n=n,
            baseline="ours, CPU ms a request",
            baseline_values=proxy,
            target=LITELLM_RATIO,
        )


def _in_turn(named: Sequence[tuple[str, Process]], number: int) -> Iterator[tuple[str, Process]]:
    return iter(named if number % 2 else named[::-1])


def _cpu_ms(process: Process, case: Case, requests: int, tag: str) -> float:
    job = _prepared(_job(process, case, requests, _CONNECTIONS, tag))
    before = process.cpu_s()
    load(job)
    return (process.cpu_s() - before) * 1e3 / requests


def _prepared(job: Job) -> Job:
    """Return the job to measure; of a managed conversation the folds are made before it."""
    if job.kind != "managed":
        return job
    load(replace(job, requests=job.connections))
    return replace(job, skip=1)


def _job(process: Process, case: Case, requests: int, connections: int, tag: str) -> Job:
    tag = f"{tag}-{case.stream:d}-{connections}-"
    return Job(
        url=process.url,
        kind=case.kind,
        requests=requests,
        connections=connections,
        stream=case.stream,
        tag=tag,
    )
