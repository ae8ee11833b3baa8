"""What the shipped configurations fix: lengths, depths and buffers of every suite.

A buffer is the number of tokens kept free for the prompt around the document. Version 2 has one
for each language and size; version 1's differ from task to task. The Chinese configurations of
both keep 200. A length without a suite belongs to the smallest suite whose grid holds it, else to
the smallest that reaches so far.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

SINGLE, RETRIEVAL, REASONING, ATC = "single", "multi-retrieval", "multi-reasoning", "atc"

V2_LENGTHS: Mapping[str, Sequence[int]] = {
    "4k": range(1000, 4001, 1000),
    "8k": range(1000, 8001, 1000),
    "32k": (1000, *range(4000, 32001, 4000)),
    "128k": (1000, 2000, 4000, 8000, 16000, 32000, 64000, 128000),
    "200k": (1000, *range(25000, 200001, 25000)),
    "256k": (32000, 128000, 256000),
    "1000k": (1000, *range(125000, 1000001, 125000)),
}
V1_LENGTHS: Mapping[str, Sequence[int]] = {
    "4k": range(1000, 4001, 1000),
    "8k": range(5000, 8001, 1000),
    "32k": (9000, 13000, 17000, 21000, 25000, 29000, 31000, 32000),
    "128k": range(16000, 128001, 16000),
    "200k": (16000, 48000, 80000, 112000, 128000, 144000, 176000, 200000),
    "256k": (32000, 128000, 256000),
    "1000k": range(20000, 1000001, 140000),
}
DEPTHS = tuple(range(0, 101, 10))
V1_FINE_DEPTHS = (0, 5, 10, 15, 21, 26, 31, 36, 42, 47, 52, 57, 63, 68, 73, 78, 84, 89, 94, 100)
V1_DEPTHS = (0, 10, 21, 31, 42, 52, 63, 73, 84, 94, 100)

_CHINESE_BUFFER = 200
_V2_SHORT_SUITES = ("4k", "8k")
# English, by task: what a suite keeps free; the last entry is that of all longer suites.
_V1_BUFFERS: Mapping[str, Mapping[str, int]] = {
    SINGLE: MappingProxyType({"4k": 600, "8k": 800, "32k": 3000, "": 600}),
    RETRIEVAL: MappingProxyType({"4k": 1000, "8k": 1300, "": 3000}),
    REASONING: MappingProxyType({"4k": 600, "8k": 1000, "32k": 3000, "": 600}),
}


def default_buffer(version: str, kind: str, language: str, suite: str, length: int) -> int:
    """Return the tokens a suite keeps free for the prompt around the document."""
    if kind == ATC:
        return 0
    if language == "Chinese":
        return _CHINESE_BUFFER
    suite = suite or suite_of(version, length)
    if version == "v2":
        return 500 if suite in _V2_SHORT_SUITES else 3000
    buffers = _V1_BUFFERS[kind]
    return buffers.get(suite, buffers[""])


def depths_of(version: str, suite: str) -> Sequence[int]:
    """Return the depths of a suite's grid, in percent."""
    if version == "v2":
        return DEPTHS
    return V1_FINE_DEPTHS if suite in ("4k", "8k") else V1_DEPTHS


def suite_of(version: str, length: int) -> str:
    """Return the suite a length belongs to where a draw names none."""
    suites = V2_LENGTHS if version == "v2" else V1_LENGTHS
    holding = (suite for suite, lengths in suites.items() if length in lengths)
    reaching = (suite for suite, lengths in suites.items() if length <= max(lengths))
    return next(holding, None) or next(reaching, "1000k")
