"""Compiles the kernels of the delta rule for an H200 without one, and reads the machine code.

The assembler in Triton 3.6 (ptxas 12.8.93) may take a descriptor of shared memory from a uniform
register that nothing has written: wgmma then reads wherever that points, though interpreter and PTX
are right. `reads_unwritten` finds such places.

``python -m tests.mom.kernels.machine_code 32x32 32x64`` tells of keys and values of these widths, a
line of JSON for each kernel. Run it for new widths, heads or settings before a card does.
"""

import argparse
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

_LINE = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)\s*(.*?)\s*;")
_LABEL = re.compile(r"\.L_x_\d+")
_PREDICATE = re.compile(r"!?U?P(\d|T)")
_UNIFORM = re.compile(r"\bUR(\d+)")


@dataclass(frozen=True, slots=True)
class Instruction:
    """Name and operands of an instruction, and the label it stands at, if any."""

    name: str
    operands: tuple[str, ...]
    label: str | None

    @property
    def writes(self) -> set[int]:
        """The uniform registers it writes."""
        at = self._target
        if at is None:
            return set()
        first = int(self.operands[at][2:])
        wide = re.search(r"\.(64|WIDE)", self.name) and not self.name.startswith("USHF")
        return {first, first + 1} if wide else {first}

    @property
    def reads(self) -> set[int]:
        """The uniform registers it reads."""
        found: set[int] = set()
        for i, operand in enumerate(self.operands):
            for match in _UNIFORM.finditer(operand) if i != self._target else ():
                first, count = int(match[1]), 1
                if "gdesc[" in operand:  # of A, not used where A lies in registers, and of B
                    used = (2, 3) if self.operands[1].startswith("R") else (0, 1, 2, 3)
                    found |= {first + i for i in used}
                    continue
                if operand.startswith("desc[") or self.name.startswith("UIADD3.64"):
                    count = 2
                found |= set(range(first, first + count))
        return found

    @property
    def _target(self) -> int | None:
        """Which operand is written, if that is a uniform register; predicates may come first."""
        for i, operand in enumerate(self.operands[:2]):
            if re.fullmatch(r"UR\d+", operand) and not self.name.startswith("UISETP"):
                return i
            if not _PREDICATE.fullmatch(operand):
                break
        return None


def reads_unwritten(assembly: str) -> list[str]:
    """Return the instructions that read a uniform register which no path to them has written."""
    code = list(_parse(assembly))
    places = {x.label: i for i, x in enumerate(code) if x.label}
    written: dict[int, set[int]] = {0: set()}
    todo = [0]
    while todo:
        i = todo.pop()
        x, after = code[i], written[i] | code[i].writes
        follow = [i + 1] if i + 1 < len(code) else []
        if x.name == "BRA" and (jump := _LABEL.search(x.operands[-1])):
            follow.append(places[jump[0]])
        for j in follow:
            if j not in written or not after <= written[j]:
                written[j] = written.get(j, set()) | after
                todo.append(j)
    return [
        f"{x.name} {', '.join(x.operands)}"
        for i, x in enumerate(code)
        if i in written and x.reads - written[i]
    ]


def _parse(assembly: str) -> Iterator[Instruction]:
    label = None
    for line in assembly.splitlines():
        if found := re.match(r"(\.L_x_\d+):", line.strip()):
            label = found[1]
        elif found := _LINE.search(line):
            operands = re.split(r",\s*(?![^\[\]]*\])", found[2])
            yield Instruction(found[1], tuple(x.replace(".reuse", "") for x in operands), label)
            label = None


def disassemble(cubin: bytes) -> str:
    """Return the machine code in words, by the disassembler that comes with Triton."""
    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "nvdisasm"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        done = subprocess.run([tool, "-c", file.name], capture_output=True, text=True, check=True)
    return done.stdout


class _Card:
    """Stands in for the driver of an H200: takes what is compiled, launches nothing."""

    def __init__(self) -> None:
        self.loaded: list[tuple[str, bytes]] = []
        self.utils = self

    def launcher_cls(self, source: Any, metadata: Any) -> Any:
        return lambda *arguments: None

    def get_device_properties(self, device: int) -> dict[str, int]:
        return {"max_shared_mem": 232_448, "multiprocessor_count": 132, "warpSize": 32}

    def load_binary(
        self, name: str, cubin: bytes, shared: int, device: int
    ) -> tuple[int, int, int, int, int]:
        self.loaded.append((name, cubin))
        return 0, 0, 0, 0, 1024

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def compile_delta_rule(
    key: int,
    value: int,
    *,
    heads: int,
    short: bool,
    chunk: int | None = None,
    back: bool = True,
    few: bool = False,
) -> list[tuple[str, str]]:
    """Return name and machine code of every kernel of a pass there and, if asked, ``back``.

    ``few`` takes the settings of few serial chains.
    """
    import torch
    from triton.runtime import driver

    from sculptor.mom.ops.kernels import delta

    card, make_plan = _Card(), delta.make_plan
    driver.set_active(card)
    precise = "tf32" if short else "tf32x3"  # as on a card
    delta.make_plan = lambda *a, **k: replace(make_plan(*a, **k), precision=precise, few=few)
    try:
        dtype = torch.bfloat16 if short else torch.float32
        q, k, v = (torch.zeros(70, heads, w, dtype=dtype) for w in (key, key, value))
        inputs = [x.requires_grad_(True) for x in (q, k, v, torch.zeros(70, heads))]
        o, _ = delta.chunk_delta_rule(
            q=q, k=k, v=v, g=inputs[3], beta=inputs[3], cu_seqlens=torch.tensor([0, 70]),
            initial_state=None, scale=1.0, carries=False, chunk=chunk,
        )  # fmt: skip
        if back:
            torch.autograd.grad(o.float().sum(), inputs)
    finally:
        delta.make_plan = make_plan
    return [(name, disassemble(cubin)) for name, cubin in card.loaded]


def main() -> None:
    """Print a line for each kernel of each pair of widths."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("widths", nargs="+", help="KEYxVALUE")
    parser.add_argument("--heads", type=int, default=2)
    parser.add_argument("--dtypes", default="bf16,fp32")
    parser.add_argument("--chunk", type=int, help="rows of a chunk, in place of the rule")
    parser.add_argument("--forward", action="store_true", help="leave the way back out")
    parser.add_argument("--few", action="store_true", help="as for few serial chains")
    arguments = parser.parse_args()
    for pair in arguments.widths:
        key, value = map(int, pair.split("x"))
        for dtype in arguments.dtypes.split(","):
            made = compile_delta_rule(
                key, value, heads=arguments.heads, short=dtype == "bf16", chunk=arguments.chunk,
                back=not arguments.forward, few=arguments.few,
            )  # fmt: skip
            for name, assembly in made:
                found = {"wgmma": "HGMMA" in assembly, "unwritten": reads_unwritten(assembly)}
                print(json.dumps({"kernel": name, "widths": pair, "dtype": dtype} | found))


if __name__ == "__main__":
    main()
