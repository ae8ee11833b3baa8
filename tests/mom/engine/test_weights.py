from pathlib import Path

import numpy as np
import orjson
import pytest

from sculptor.mom.engine.weights import (
    Dtype,
    WeightsError,
    export_weights,
    load_weights,
    pack_weights,
)
from tests.mom.engine.builders import random_weights
from tests.mom.helpers import MODEL

LIMIT = 16_000_000


@pytest.mark.parametrize(("dtype", "error"), [("float32", 0), ("float16", 1e-3), ("int8", 0.5)])
def test_what_is_written_is_read(tmp_path: Path, dtype: Dtype, error: float) -> None:
    exact = random_weights()
    tensors = {name: exact.tensor(name) for name in exact.names()}
    wrote = export_weights(tmp_path, MODEL, tensors, dtype=dtype)
    read = load_weights(tmp_path)
    assert (read.config, read.dtype, read.nbytes) == (MODEL, dtype, wrote.nbytes)
    assert sorted(read.names()) == sorted(tensors)
    for name, tensor in tensors.items():
        assert np.array_equal(read.tensor(name), wrote.tensor(name))
        axis = -2 if name.endswith(".memory") else -1
        step = np.abs(tensor).max(axis=axis, keepdims=True) / (127 if dtype == "int8" else 1)
        assert (np.abs(read.tensor(name) - tensor) <= error * step * 1.001).all(), name


def test_delicate_tensors_stay_exact() -> None:
    exact = random_weights()
    packed = pack_weights(MODEL, {name: exact.tensor(name) for name in exact.names()}, dtype="int8")
    kept = {name for name in packed.names() if packed.stored[name].dtype == np.float32}
    assert {name.rsplit(".", 1)[-1] for name in kept} == {
        "0", "a_log", "dt_bias", "norm", "router", "weight",
    }  # fmt: skip


def test_an_empty_row_is_stored_as_zeros() -> None:
    weights = pack_weights(MODEL, {"head": np.zeros((3, 4))}, dtype="int8")
    assert not weights.tensor("head").any()


def test_shards_stay_under_their_bound(tmp_path: Path) -> None:
    tensors = {f"norm{i}": np.full(1_500_000, i, np.float32) for i in range(5)}
    export_weights(tmp_path, MODEL, tensors, dtype="float32")
    sizes = [path.stat().st_size for path in tmp_path.glob("*.safetensors")]
    assert len(sizes) == 3
    assert max(sizes) < LIMIT
    assert load_weights(tmp_path).tensor("norm4")[7] == 4
    with pytest.raises(ValueError, match=r"head takes 16000000 bytes.*export as int8"):
        export_weights(tmp_path, MODEL, {"head": np.zeros((2_000, 2_000))}, dtype="float32")


def test_an_earlier_export_leaves_nothing_behind(tmp_path: Path) -> None:
    big = {f"norm{i}": np.zeros(3_000_000, np.float32) for i in range(2)}
    export_weights(tmp_path, MODEL, big, dtype="float32")
    kept = write_small(tmp_path)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["config.json", kept.name]


def write_small(folder: Path) -> Path:
    export_weights(folder, MODEL, {"norm": np.ones(9)}, dtype="int8")
    return next(folder.glob("*.safetensors"))


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    write_small(tmp_path).unlink()
    with pytest.raises(WeightsError, match=r"weights-1-of-1\.safetensors is missing; fetch"):
        load_weights(tmp_path)


@pytest.mark.parametrize("damage", [lambda data: data[:-3], lambda data: data[:-1] + b"\x07"])
def test_a_damaged_shard_is_named(tmp_path: Path, damage) -> None:
    shard = write_small(tmp_path)
    shard.write_bytes(damage(shard.read_bytes()))
    with pytest.raises(WeightsError, match=r"weights-1-of-1\.safetensors is damaged"):
        load_weights(tmp_path)


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"config\.json is missing; name another folder"):
        load_weights(tmp_path)


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"format": 1}', b'{"format": 1, "model": {}}'])
def test_a_broken_configuration_is_told(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "config.json").write_bytes(text)
    with pytest.raises(WeightsError, match="fetch the model again"):
        load_weights(tmp_path)


def test_another_format_asks_for_another_version(tmp_path: Path) -> None:
    write_small(tmp_path)
    path = tmp_path / "config.json"
    path.write_bytes(orjson.dumps(orjson.loads(path.read_bytes()) | {"format": 9}))
    with pytest.raises(WeightsError, match="format 9, this version reads 1; install"):
        load_weights(tmp_path)


def test_misuse_is_answered_with_the_mend() -> None:
    with pytest.raises(ValueError, match="choose int8, float16, float32"):
        pack_weights(MODEL, {}, dtype="int4")  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match="hold no tensor 'head'; export them again"):
        pack_weights(MODEL, {}, dtype="int8").tensor("head")
