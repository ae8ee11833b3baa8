"""The load: clients that each send one request after the other over a connection they keep.

Run as a process of its own; it reads a ``Job`` as JSON from its input and prints the seconds that
each answer took. An answer that is not 200 ends the run: a figure over errors would mean nothing.
"""

import asyncio
import sys
import time
from dataclasses import dataclass
from itertools import islice
from urllib.parse import urlsplit

import orjson
import uvloop

from benchmarks.bodies import KINDS, Kind, bodies


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """``requests`` in all, from so many ``connections``; ``tag`` makes them unlike other jobs'.

    ``skip`` leaves out the first requests of each connection, which another job has sent.
    """

    url: str
    kind: str
    requests: int
    connections: int
    stream: bool
    tag: str
    skip: int = 0


async def run(job: Job) -> list[float]:
    """Do a job and return the seconds of each request."""
    share = -(-job.requests // job.connections)
    clients = [
        _client(job, KINDS[job.kind], f"{job.tag}{n}", share) for n in range(job.connections)
    ]
    taken = await asyncio.gather(*clients)
    return [seconds for each in taken for seconds in each]


async def _client(job: Job, kind: Kind, tag: str, share: int) -> list[float]:
    address = urlsplit(job.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=2**20)
    extra = "".join(f"{name}: {value}\r\n" for name, value in kind.headers)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {address.netloc}\r\n{extra}"
        "authorization: Bearer sk-benchmark\r\ncontent-type: application/json\r\n"
        "accept: */*\r\nuser-agent: load/1\r\ncontent-length: "
    )
    taken: list[float] = []
    for body in islice(bodies(kind, tag=tag, stream=job.stream), job.skip, job.skip + share):
        started = time.perf_counter()
        writer.write(f"{head}{len(body)}\r\n\r\n".encode() + body)
        await _read(reader)
        taken.append(time.perf_counter() - started)
    writer.close()
    return taken


async def _read(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b" 200 " not in head[:20]:
        raise SystemExit(f"answered {head!r} {await reader.read(2_000)!r}")
    _, found, rest = head.partition(b"content-length:")
    if found:
        await reader.readexactly(int(rest.partition(b"\r\n")[0]))
        return
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        await reader.readexactly(size + 2)
    await reader.readexactly(2)


if __name__ == "__main__":
    seconds = uvloop.run(run(Job(**orjson.loads(sys.stdin.buffer.read()))))
    sys.stdout.buffer.write(orjson.dumps(seconds))
