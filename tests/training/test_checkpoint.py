"""Checkpoints: everything comes back, damage is noticed, other configurations are refused."""

import errno
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny_run import make_params

from lvm_mtc.training import CheckpointError, CheckpointStore, checkpoint, init_state, make_mesh, replicated

FINGERPRINT = {"optimizer.learning_rate": 1e-3, "model.embed_dim": 16, "model.sizes": [1, 2], "model.name": None}


def make_state(seed=0, *, ema=True, width=None):
    params = make_params(seed)
    if width is not None:
        params["encoder"]["bias"] = np.zeros(width, np.float32)
    params["half"] = np.full(3, 1.5, jnp.bfloat16)
    return init_state(params, optax.adamw(1e-3), jax.random.key(seed), ema=ema)._replace(step=jnp.int32(seed))


def same_bits(first, second):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    return checkpoint.checksums(first) == checkpoint.checksums(second)


def damage(path, *, at=0.5):
    """Flips one bit in the middle of the largest file of a checkpoint."""
    file = max((f for f in path.rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)
    content = bytearray(file.read_bytes())
    content[int(at * len(content))] ^= 0x10
    file.write_bytes(content)


def test_state_comes_back_bit_for_bit_with_its_typed_key(tmp_path):
    state = make_state(7)
    CheckpointStore(tmp_path, fingerprint=FINGERPRINT).save(state, 7, {"window": {"loss": [0.1 + 0.2]}})
    restored, step, extra = CheckpointStore(tmp_path, fingerprint=FINGERPRINT).restore(make_state(0))

    assert same_bits(restored, state) and step == 7 and extra == {"window": {"loss": [0.1 + 0.2]}}
    assert type(restored) is type(state) and restored.key.dtype == state.key.dtype
    assert restored.params["half"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(jax.random.bits(restored.key, (4,)), jax.random.bits(state.key, (4,)))


def test_the_comparison_of_bits_can_fail():
    state = make_state(7)
    bias = state.params["encoder"]["bias"].at[3].set(-0.0)
    other = state._replace(params=state.params | {"encoder": state.params["encoder"] | {"bias": bias}})
    assert not same_bits(other, state)
    assert not same_bits(state._replace(key=jax.random.key(8)), state)


def test_state_comes_back_on_the_references_devices(tmp_path):
    CheckpointStore(tmp_path).save(make_state(7), 7)
    reference = jax.device_put(make_state(0), replicated(make_mesh(8)))
    restored, _, _ = CheckpointStore(tmp_path).restore(reference)
    assert len(restored.params["encoder"]["kernel"].sharding.device_set) == 8
    assert same_bits(restored, make_state(7))


def test_nothing_saved_gives_none(tmp_path):
    assert CheckpointStore(tmp_path / "absent").restore(make_state()) is None
    assert not (tmp_path / "absent").exists()


def test_only_the_newest_are_kept(tmp_path):
    store = CheckpointStore(tmp_path, keep=2)
    for step in (1, 2, 3, 10):
        store.save(make_state(step), step)
    assert store.steps() == [3, 10]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_00000003", "step_00000010"]


@pytest.mark.parametrize("at", [0.1, 0.5, 0.9])
def test_a_damaged_newest_checkpoint_is_set_aside_and_the_one_before_is_used(tmp_path, at):
    store = CheckpointStore(tmp_path)
    for step in (5, 6):
        store.save(make_state(step), step)
    damage(store.path(6), at=at)

    with pytest.warns(UserWarning, match=r"step_00000006 is damaged .* going back to step 5"):
        restored, step, _ = store.restore(make_state())
    assert step == 5 and same_bits(restored, make_state(5))
    assert store.steps() == [5] and (tmp_path / "step_00000006_damaged").is_dir()
    store.save(make_state(6), 6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.restore(make_state())[1] == 6


def test_the_checksum_notices_what_orbax_reads_without_complaint(tmp_path, monkeypatch):
    store = CheckpointStore(tmp_path)
    store.save(make_state(5), 5)
    monkeypatch.setattr(checkpoint.ocp, "load", lambda path, reference: make_state(6))
    with pytest.raises(CheckpointError, match="array params/.* does not match its checksum"):
        store.restore(make_state())


@pytest.mark.parametrize("missing", ["_CHECKPOINT_METADATA", "state"])
def test_a_checkpoint_with_a_missing_part_is_damaged(tmp_path, missing):
    store = CheckpointStore(tmp_path)
    for step in (5, 6):
        store.save(make_state(step), step)
    (store.path(6) / missing).rename(tmp_path / "gone")
    with pytest.warns(UserWarning, match="is damaged"):
        assert store.restore(make_state())[1] == 5


def test_all_damaged_is_an_error_and_nothing_is_moved(tmp_path):
    store = CheckpointStore(tmp_path)
    for step in (5, 6):
        store.save(make_state(step), step)
        damage(store.path(step))
    for _ in range(2):
        with pytest.raises(
            CheckpointError, match="none of the 2 checkpoints can be read; the newest, .*step_00000006: "
        ):
            store.restore(make_state())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer.learning_rate": 2e-3}, "optimizer.learning_rate was 0.001, now it is 0.002"),
        ({"model.sizes": [1, 3]}, r"model.sizes was \[1, 2\], now it is \[1, 3\]"),
        ({"model.new": 1}, "model.new was absent, now it is 1"),
        ({"model.name": "x"}, "model.name was None, now it is x"),
    ],
)
def test_another_configuration_is_refused_in_one_line_and_left_alone(tmp_path, change, message):
    CheckpointStore(tmp_path, fingerprint=FINGERPRINT).save(make_state(5), 5)
    with pytest.raises(CheckpointError, match=message) as error:
        CheckpointStore(tmp_path, fingerprint=FINGERPRINT | change).restore(make_state())
    assert "\n" not in str(error.value)
    assert CheckpointStore(tmp_path).steps() == [5]


def test_a_fingerprint_compares_as_json_gives_it_back(tmp_path):
    nested = {"run.scenarios": [{"name": "a", "range": (0, 20)}, ("x", 1.5)]}
    CheckpointStore(tmp_path, fingerprint=nested).save(make_state(5), 5)
    assert CheckpointStore(tmp_path, fingerprint=nested).restore(make_state())[1] == 5
    with pytest.raises(TypeError, match="not JSON"):
        CheckpointStore(tmp_path, fingerprint={"a": object()})


def test_a_field_that_went_away_is_refused(tmp_path):
    CheckpointStore(tmp_path, fingerprint=FINGERPRINT).save(make_state(5), 5)
    fewer = {name: value for name, value in FINGERPRINT.items() if name != "model.name"}
    with pytest.raises(CheckpointError, match="model.name was None, now it is absent"):
        CheckpointStore(tmp_path, fingerprint=fewer).restore(make_state())


def test_another_shape_is_refused_by_name(tmp_path):
    CheckpointStore(tmp_path).save(make_state(5), 5)
    with pytest.raises(CheckpointError, match=r"params/encoder/bias was float32\[16\], now it is float32\[17\]"):
        CheckpointStore(tmp_path).restore(make_state(width=17))
    with pytest.raises(CheckpointError, match=r"ema/decoder/bias was float32\[108\], now it is absent"):
        CheckpointStore(tmp_path).restore(make_state(ema=False))


def test_what_a_killed_save_left_is_cleared(tmp_path):
    store = CheckpointStore(tmp_path)
    store.save(make_state(5), 5)
    (tmp_path / "step_00000006.orbax-checkpoint-tmp-17").mkdir()
    (tmp_path / "mine.txt").write_text("not ours")
    assert CheckpointStore(tmp_path).restore(make_state())[1] == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt", "step_00000005"]


def test_a_full_disk_is_one_line_and_the_last_checkpoint_stands(tmp_path, monkeypatch):
    store = CheckpointStore(tmp_path)
    store.save(make_state(5), 5)

    def full(path, *args, **kwargs):
        path.mkdir()
        raise ValueError("UNAVAILABLE: Error writing\nwrite failed: No space left on device")

    monkeypatch.setattr(checkpoint.ocp, "save_async", full)
    with pytest.raises(OSError, match="step 6 .the disk is full.; the newest checkpoint is that of step 5") as error:
        store.save(make_state(6), 6)
    assert error.value.errno == errno.ENOSPC and "\n" not in str(error.value)
    assert store.steps() == [5]


def test_an_unwritable_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot save step 1 .*; there is no earlier one") as error:
        CheckpointStore(tmp_path / "file").save(make_state(1), 1)
    assert "\n" not in str(error.value)
