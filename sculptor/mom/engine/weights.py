"""Weights on disk as anyone can read them: safetensors shards, no torch.

A folder holds ``config.json`` and shards under 16 MB. Large matrices are stored as int8 with one
scale for each output row, as fp16, or as they are; what is small and delicate (router, norms,
convolutions, decays) always stays fp32. Every shard's length and SHA-256 stand in
``config.json``, so a cut download is an error that names the file, never a model that babbles.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import orjson
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sculptor.mom.models.config import MomConfig

Dtype = Literal["int8", "float16", "float32"]
Array = NDArray[np.floating]

SHARD_BYTES = 15_000_000
FORMAT = 1
SCALE = ".scale"
"""Suffix of the name under which a matrix's scales are stored."""

_MATRICES = ("embedding", "head", "query", "memory", "gate", "out", "qkv", "up", "down")


class WeightsError(Exception):
    """A weights folder is missing, damaged or of another kind; the text says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A model's shape and its tensors as stored; `tensor` gives them back as floats."""

    config: MomConfig
    dtype: Dtype
    stored: Mapping[str, NDArray[np.generic]]

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors as stored."""
        return sum(array.nbytes for array in self.stored.values())

    def names(self) -> Iterator[str]:
        """Yield the names of the tensors, as the torch model's state dict has them."""
        return (name for name in self.stored if not name.endswith(SCALE))

    def tensor(self, name: str, *, dtype: np.dtype[np.floating] | None = None) -> Array:
        """Return one tensor, dequantised, in fp32 unless told otherwise."""
        stored, scale = self.parts(name)
        array: Array = stored.astype(np.float32)
        if scale is not None:
            array *= scale
        return array.astype(dtype or np.dtype(np.float32), copy=False)

    def parts(self, name: str) -> tuple[NDArray[np.generic], Array | None]:
        """Return one tensor as stored, and what it must be multiplied with, if anything."""
        if name not in self.stored:
            raise WeightsError(
                f"The weights hold no tensor {name!r}; export them again from the checkpoint "
                "that belongs to this configuration."
            )
        scale = self.stored.get(name + SCALE)
        return self.stored[name], None if scale is None else scale.astype(np.float32)


def pack_weights(config: MomConfig, tensors: Mapping[str, Array], *, dtype: Dtype) -> Weights:
    """Quantise ``tensors``, named as in the torch model's state dict."""
    if dtype not in get_args(Dtype):
        raise ValueError(f"dtype is {dtype!r}; choose {', '.join(get_args(Dtype))}.")
    stored: dict[str, NDArray[np.generic]] = {}
    for name, tensor in tensors.items():
        kind = name.rsplit(".", 1)[-1]
        if kind not in _MATRICES or tensor.size == 0 or dtype == "float32":
            stored[name] = np.ascontiguousarray(tensor, dtype=np.float32)
        elif dtype == "float16":
            stored[name] = np.ascontiguousarray(tensor, dtype=np.float16)
        else:
            stored[name], stored[name + SCALE] = _quantise(tensor, inputs=_input_axis(kind))
    return Weights(config=config, dtype=dtype, stored=stored)


def export_weights(
    folder: Path, config: MomConfig, tensors: Mapping[str, Array], *, dtype: Dtype
) -> Weights:
    """Write ``config.json`` and the shards into ``folder``; return the weights as stored.

    Shards of an earlier export there are removed. A tensor that fits no shard is a ValueError.
    """
    weights = pack_weights(config, tensors, dtype=dtype)
    shards = [save(shard) for shard in _cut(weights.stored)]
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("weights-*-of-*.safetensors"):
        old.unlink()
    listed = []
    for number, data in enumerate(shards, start=1):
        name = f"weights-{number}-of-{len(shards)}.safetensors"
        (folder / name).write_bytes(data)
        listed.append({"file": name, "bytes": len(data), "sha256": _digest(data)})
    about = {"format": FORMAT, "dtype": dtype, "model": config.to_dict(), "shards": listed}
    (folder / "config.json").write_bytes(orjson.dumps(about, option=orjson.OPT_INDENT_2) + b"\n")
    return weights


def load_weights(folder: Path) -> Weights:
    """Read a weights folder, checking every shard; a `WeightsError` says what is wrong."""
    path = folder / "config.json"
    if not path.is_file():
        raise WeightsError(f"{folder} holds no model: config.json is missing; name another folder.")
    try:
        about = orjson.loads(path.read_bytes())
        if about["format"] != FORMAT:
            raise WeightsError(
                f"{path} is of format {about['format']}, this version reads {FORMAT}; "
                "install the version of sculptor-context that came with the weights."
            )
        config = MomConfig.from_dict(about["model"])
        dtype, listed = about["dtype"], about["shards"]
        stored: dict[str, NDArray[np.generic]] = {}
        for entry in listed:
            data = _read_shard(folder / entry["file"], size=entry["bytes"], digest=entry["sha256"])
            stored |= load(data)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read ({error}); fetch the model again.") from error
    return Weights(config=config, dtype=dtype, stored=stored)


def _read_shard(path: Path, *, size: int, digest: str) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise WeightsError(f"{path} is missing; fetch the model again.") from None
    if len(data) != size or _digest(data) != digest:
        raise WeightsError(
            f"{path} is damaged ({len(data)} of {size} bytes, checksum differs); "
            "fetch the model again."
        )
    return data


def _quantise(tensor: Array, *, inputs: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    largest = np.abs(tensor).max(axis=inputs, keepdims=True)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return np.rint(tensor / scale).astype(np.int8), scale


def _input_axis(kind: str) -> int:
    return -2 if kind == "memory" else -1


def _cut(stored: Mapping[str, NDArray[np.generic]]) -> list[dict[str, NDArray[np.generic]]]:
    shards: list[dict[str, NDArray[np.generic]]] = [{}]
    filled = 0
    for name, array in stored.items():
        if array.nbytes > SHARD_BYTES:
            raise ValueError(
                f"{name} takes {array.nbytes} bytes, a shard {SHARD_BYTES}; export as int8."
            )
        if filled + array.nbytes > SHARD_BYTES:
            shards.append({})
            filled = 0
        shards[-1][name] = array
        filled += array.nbytes
    return shards


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
