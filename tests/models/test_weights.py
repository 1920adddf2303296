"""Weights files: what goes in comes out, and what is wrong is said in one line."""

import json
import pickle
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.models.weights import (
    WeightsError,
    check_params,
    flatten_params,
    load_weights,
    save_weights,
    unflatten_params,
)

METADATA = {"seed": 3, "data": "twelve pictures", "versions": {"jax": "0.10.1"}, "config": {"depth": 2, "ratio": 0.1}}


def make_params():
    rng = np.random.default_rng(0)
    return {
        "encoder": {
            "block_0": {"kernel": rng.normal(size=(64, 96)).astype(np.float32), "bias": np.zeros(96, np.float32)},
            "cls": rng.normal(size=(1, 1, 96)).astype(np.float32),
        },
        "scale": np.float32(1.25).reshape(()),
        "table": np.arange(7, dtype=np.int32),
    }


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "weights" / "model.npz"
    save_weights(path, make_params(), METADATA)
    return path


def test_round_trip_keeps_names_shapes_metadata_and_half_precision(saved):
    params, metadata = load_weights(saved)
    assert metadata == METADATA
    assert jax.tree.structure(params) == jax.tree.structure(make_params())
    for name, value in flatten_params(make_params()).items():
        got = flatten_params(params)[name]
        # Relative rounding error of float16 is 2^-11, above its subnormals of spacing 2^-24.
        np.testing.assert_allclose(got, value, rtol=2**-11, atol=2**-25)
        assert got.dtype == value.dtype
    assert np.any(params["encoder"]["block_0"]["kernel"] != make_params()["encoder"]["block_0"]["kernel"])


def test_without_conversion_every_bit_comes_back(tmp_path):
    save_weights(tmp_path / "w.npz", make_params(), METADATA, dtype=None)
    params, _ = load_weights(tmp_path / "w.npz", dtype=None)
    jax.tree.map(np.testing.assert_array_equal, params, make_params())


def test_jax_arrays_and_bfloat16_can_be_saved(tmp_path):
    save_weights(tmp_path / "w.npz", {"a": jnp.ones((2, 3), jnp.bfloat16)}, {})
    np.testing.assert_array_equal(load_weights(tmp_path / "w.npz")[0]["a"], np.ones((2, 3)))
    with pytest.raises(ValueError, match="tensor a is bfloat16"):
        save_weights(tmp_path / "w.npz", {"a": jnp.ones((2, 3), jnp.bfloat16)}, {}, dtype=None)


def test_half_precision_halves_the_file(tmp_path):
    save_weights(tmp_path / "half.npz", make_params(), METADATA)
    save_weights(tmp_path / "full.npz", make_params(), METADATA, dtype="float32")
    assert (tmp_path / "half.npz").stat().st_size < 0.6 * (tmp_path / "full.npz").stat().st_size


def test_flat_names_and_back():
    flat = flatten_params(make_params())
    assert list(flat) == ["encoder/block_0/bias", "encoder/block_0/kernel", "encoder/cls", "scale", "table"]
    assert jax.tree.structure(unflatten_params(flat)) == jax.tree.structure(make_params())


@pytest.mark.parametrize("params", [{"a/b": 1.0}, {"": 1.0}, {1: 1.0}, {"a": {}}, {"a": {"b/c": 1.0}}])
def test_names_that_would_not_come_back_are_refused(params):
    with pytest.raises(ValueError, match="parameter"):
        flatten_params(params)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e6])
def test_what_half_precision_cannot_hold_is_refused_and_leaves_the_old_file(saved, bad):
    before = saved.read_bytes()
    params = make_params()
    params["encoder"]["block_0"]["kernel"][3, 4] = bad
    with pytest.raises(ValueError, match="tensor encoder/block_0/kernel holds a number that is not finite as float16"):
        save_weights(saved, params, METADATA)
    assert saved.read_bytes() == before and [p.name for p in saved.parent.iterdir()] == ["model.npz"]


def test_metadata_must_be_json(tmp_path):
    with pytest.raises((TypeError, ValueError)):
        save_weights(tmp_path / "w.npz", make_params(), {"x": object()})
    with pytest.raises(ValueError):
        save_weights(tmp_path / "w.npz", make_params(), {"x": float("nan")})
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(saved, monkeypatch):
    before = saved.read_bytes()

    def full(file, **tensors):
        file.write(b"half of")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="No space left"):
        save_weights(saved, make_params(), METADATA)
    assert saved.read_bytes() == before and [p.name for p in saved.parent.iterdir()] == ["model.npz"]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.6, 0.9, 0.999])
def test_a_truncated_file_is_refused_in_one_line_with_its_name(saved, share):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    refused(saved)


@pytest.mark.parametrize("at", [0.05, 0.3, 0.5, 0.7])
def test_a_flipped_bit_is_noticed(saved, at):
    content = bytearray(saved.read_bytes())
    content[int(at * len(content))] ^= 0x40
    saved.write_bytes(content)
    refused(saved)


def test_foreign_files_are_refused(saved):
    saved.write_text("<html>404</html>")
    refused(saved)
    np.save(saved.open("wb"), np.zeros(3))
    refused(saved)
    np.savez(saved.open("wb"), a=np.zeros(3))
    refused(saved, "is not a weights file of lvm_mtc")
    np.savez(saved.open("wb"), __metadata__=np.array(json.dumps({"format": "other", "metadata": {}})))
    refused(saved, "of the format lvm_mtc-weights-1")
    np.savez(saved.open("wb"), __metadata__=np.array("{no json"))
    refused(saved)
    good = np.array(json.dumps({"format": "lvm_mtc-weights-1", "metadata": {}}))
    for names in (("a", "a/b"), ("a/b", "a")):
        np.savez(saved.open("wb"), __metadata__=good, **{name: np.zeros(3) for name in names})
        refused(saved)
    with zipfile.ZipFile(saved, "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(saved)
    refused(saved.parent, "is a folder")


def test_a_pickle_is_not_run(saved, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    saved.write_bytes(pickle.dumps(Bomb()))
    refused(saved)
    np.savez(saved.open("wb"), __metadata__=np.array([Bomb()], dtype=object))
    refused(saved)
    assert not (tmp_path / "exploded").exists()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no weights file .*absent.npz"):
        load_weights(tmp_path / "absent.npz")


def test_all_misfits_are_listed_at_once(saved):
    reference = jax.eval_shape(make_params)
    check_params(make_params(), reference)
    load_weights(saved, reference)

    del reference["encoder"]["cls"]
    reference["decoder"] = {"kernel": jax.ShapeDtypeStruct((3, 4), jnp.float32)}
    reference["encoder"]["block_0"]["kernel"] = jax.ShapeDtypeStruct((64, 128), jnp.float32)
    with pytest.raises(WeightsError) as error:
        load_weights(saved, reference)
    message = str(error.value)
    assert str(saved) in message and "\n" not in message
    assert "1 missing: decoder/kernel" in message and "1 not known: encoder/cls" in message
    assert "1 of another shape: encoder/block_0/kernel (64, 96) instead of (64, 128)" in message


def refused(path, text="is not a"):
    with pytest.raises(WeightsError, match=text) as error:
        load_weights(path)
    message = str(error.value)
    assert str(path) in message and "\n" not in message
