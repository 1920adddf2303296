"""Checkpoints that are written while training goes on, and that come back on another number of devices."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny_run import batch_fn, loss_fn, make_config, make_data, make_params

from lvm_mtc.training import (
    CheckpointStore,
    OptimizerConfig,
    checkpoint,
    init_state,
    make_mesh,
    read_log,
    state_shardings,
    train,
)
from lvm_mtc.training.mesh import place

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("fast_compile")


def make_state(seed, num_devices=1):
    state = init_state(make_params(seed), optax.adamw(1e-3), jax.random.key(seed), ema=True)
    return place(state, state_shardings(state, make_mesh(num_devices), shard_params=True))


def run(run_dir, total_steps, **changes):
    config = make_config(total_steps=total_steps, validate_every=None, log_every=2, **changes)
    return train(
        config, loss_fn=loss_fn, batch_fn=batch_fn, data=make_data(), init_params=make_params(), run_dir=run_dir
    )


def losses(run_dir):
    return [record["loss"] for record in read_log(run_dir / "log.jsonl") if record["event"] == "train"]


@pytest.mark.parametrize("num_devices", [1, 2])
def test_a_state_saved_on_eight_devices_comes_back_on_fewer(tmp_path, num_devices):
    saved = make_state(7, 8)
    assert len(saved.params["encoder"]["kernel"].sharding.device_set) == 8
    CheckpointStore(tmp_path).save(saved, 7)
    restored, _, _ = CheckpointStore(tmp_path).restore(make_state(0, num_devices))
    kernel = restored.params["encoder"]["kernel"]
    assert len(kernel.sharding.device_set) == num_devices
    assert kernel.addressable_shards[0].data.shape[0] == kernel.shape[0] // num_devices
    assert checkpoint.checksums(restored) == checkpoint.checksums(saved)


@pytest.mark.parametrize("num_devices", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_run_on_eight_devices_goes_on_with_fewer(tmp_path, num_devices):
    schedule = OptimizerConfig(learning_rate=1e-3, warmup_steps=2, total_steps=20)
    run(tmp_path / "one", 20, optimizer=schedule)
    run(tmp_path / "many", 10, optimizer=schedule, num_devices=8, shard_params=True)
    state = run(tmp_path / "many", 20, optimizer=schedule, num_devices=num_devices, shard_params=True)
    assert int(state.step) == 20
    np.testing.assert_allclose(losses(tmp_path / "many"), losses(tmp_path / "one"), rtol=1e-5)


def test_training_may_go_on_while_a_checkpoint_is_written(tmp_path):
    """The step takes over the memory of the state that is being written."""
    step = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf * 1.5 + 1, state), donate_argnums=0)
    state = {f"part{i}": jnp.full((512, 1024), float(i)) for i in range(8)}
    store = CheckpointStore(tmp_path, keep=4)
    expected = {}
    for number in range(4):
        state = step(state)
        expected[number] = checkpoint.checksums(state)
        store.start_save(state, number)
    for _ in range(5):
        state = step(state)
    store.wait()
    assert store.steps() == [0, 1, 2, 3] and len({str(sums) for sums in expected.values()}) == 4
    for number in reversed(range(4)):
        restored, found, _ = store.restore(state)
        assert found == number and checkpoint.checksums(restored) == expected[number]
        for file in store.path(number).rglob("*"):
            file.unlink() if file.is_file() else None
        store.path(number).rename(tmp_path / f"gone{number}")


def test_a_write_that_fails_in_the_background_is_told_in_one_line(tmp_path, monkeypatch):
    class Failing:
        def result(self):
            raise ValueError("UNAVAILABLE: Error writing\nwrite failed: No space left on device")

    store = CheckpointStore(tmp_path)
    store.save(make_state(5), 5)
    monkeypatch.setattr(checkpoint.ocp, "save_async", lambda *_, **__: Failing())
    store.start_save(make_state(6), 6)
    with pytest.raises(OSError, match="step 6 .the disk is full.; the newest checkpoint is that of step 5") as error:
        store.start_save(make_state(7), 7)
    assert error.value.errno == errno.ENOSPC and "\n" not in str(error.value)
    store.wait()
    store.start_save(make_state(7), 7)
    with pytest.raises(OSError, match="step 7"), store:
        pass
    assert store.steps() == [5]


@pytest.mark.parametrize("delay", [0.02, *(pytest.param(delay, marks=pytest.mark.slow) for delay in (0.0, 0.1))])
def test_a_kill_while_writing_leaves_a_whole_checkpoint(tmp_path, delay):
    """Killed before, while or after the second is written: the newest with its name is whole, the rest is cleared."""
    program = f"""
import os, pathlib, signal, time
import jax, jax.numpy as jnp
from lvm_mtc.training import CheckpointStore
store = CheckpointStore({str(tmp_path)!r})
store.save({{"a": jnp.ones(2**23, jnp.uint32)}}, 1)
store.start_save({{"a": jax.random.bits(jax.random.key(0), 2**23)}}, 2)
while not list(pathlib.Path({str(tmp_path)!r}).glob("step_00000002*")):
    pass
time.sleep({delay})
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    killed = subprocess.run([sys.executable, "-c", program], env=environment, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    complete = (tmp_path / "step_00000002").exists()
    restored, step, _ = CheckpointStore(tmp_path).restore({"a": jnp.zeros(2**23, jnp.uint32)})
    # Integers: floats that two processes compute may differ in their last bit.
    want = jax.random.bits(jax.random.key(0), 2**23) if complete else jnp.ones(2**23, jnp.uint32)
    assert step == 1 + complete and bool((restored["a"] == want).all())
    assert len(list(tmp_path.iterdir())) == step


def test_what_is_kept_with_a_checkpoint_is_as_it_was_when_the_save_began(tmp_path):
    store, extra = CheckpointStore(tmp_path), {"window": {"loss": [1.0]}}
    write = checkpoint.ocp.save_async

    def slowly(*arguments, **keywords):
        extra["window"]["loss"].append(2.0)  # the loop goes on while this is written
        return write(*arguments, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint.ocp, "save_async", slowly)
        store.save(make_state(1), 3, extra)
    assert store.restore(make_state(0))[2] == {"window": {"loss": [1.0]}}
