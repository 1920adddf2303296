"""The loop: resuming, NaN guard, orderly stop, validation, and what it refuses."""

import dataclasses
import os
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_run import batch_fn, loss_fn, make_config, make_data, make_params, validate

from lvm_mtc.config import from_dict
from lvm_mtc.training import (
    CheckpointError,
    CheckpointStore,
    NonFiniteLoss,
    OptimizerConfig,
    RunBusy,
    TrainConfig,
    TrainingStopped,
    averaged_params,
    checkpoint,
    read_log,
    train,
    warmup_cosine,
)
from lvm_mtc.training.monitor import only_process

pytestmark = pytest.mark.usefixtures("fast_compile")


def run(run_dir, config=None, **changes):
    arguments = dict(loss_fn=loss_fn, batch_fn=batch_fn, data=make_data(), init_params=make_params(), validate=validate)
    return train(config or make_config(), run_dir=run_dir, **(arguments | changes))


def same_bits(first, second):
    return checkpoint.checksums(first) == checkpoint.checksums(second)


def nan_at(step):
    """A loss that is NaN in the update that leads to ``step``, by a picture of the batch."""

    def with_counter(data, key):
        return {"pictures": batch_fn(data, key), "key": jnp.broadcast_to(jax.random.key_data(key)[0], (8,))}

    base = jax.random.fold_in(jax.random.key(make_config().seed), 2**31 - 1)
    bad = jax.random.key_data(jax.random.split(jax.random.fold_in(base, step - 1))[0])[0]

    def poisoned(params, batch, key):
        loss, metrics = loss_fn(params, batch["pictures"], key)
        return jnp.where(batch["key"][0] == bad, jnp.nan, loss), metrics

    return {"loss_fn": poisoned, "batch_fn": with_counter}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, fast_compile):
    run_dir = tmp_path_factory.mktemp("finished")
    return run_dir, run(run_dir)


def test_log_holds_the_mean_of_every_window_and_every_validation(finished):
    run_dir, state = finished
    records = read_log(run_dir / "log.jsonl")
    assert records[0]["event"] == "start" and records[0]["config"]["optimizer"]["learning_rate"] == 1e-2
    assert [r["step"] for r in records if r["event"] == "train"] == [*range(4, 41, 4)]
    validations = [r for r in records if r["event"] == "validation"]
    assert [r["step"] for r in validations] == [10, 20, 30, 40]
    assert validations[-1]["mse"] == validate(averaged_params(state), 40)["mse"] < validations[0]["mse"]
    assert int(state.step) == 40 and CheckpointStore(run_dir / "checkpoints").steps() == [30, 36, 40]


def test_a_log_line_is_the_mean_of_its_steps(tmp_path, finished):
    run(tmp_path, make_config(log_every=2))
    every = [r["loss"] for r in read_log(tmp_path / "log.jsonl") if r["event"] == "train"]
    means = [r["loss"] for r in read_log(finished[0] / "log.jsonl") if r["event"] == "train"]
    np.testing.assert_allclose(means, np.reshape(every, (-1, 2)).mean(1), rtol=1e-14)


def test_a_finished_run_returns_its_state_and_trains_no_further(finished, tmp_path):
    run_dir, state = finished
    shutil.copytree(run_dir, tmp_path / "copy")
    again = run(tmp_path / "copy", loss_fn=lambda *_: pytest.fail("traced"))
    assert same_bits(again, state)
    assert (tmp_path / "copy" / "log.jsonl").read_text() == (run_dir / "log.jsonl").read_text()


def test_sigterm_between_two_log_lines_saves_says_how_to_go_on_and_resumes_to_the_same_bits(finished, tmp_path):
    stop_at = 10

    def stopping(params, step):
        if step == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return validate(params, step)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(
        TrainingStopped, match=f"stopped by SIGTERM at step {stop_at} of 40.*start the same run again"
    ) as e:
        run(tmp_path, validate=stopping)
    assert e.value.step == stop_at and e.value.signum == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
    assert CheckpointStore(tmp_path / "checkpoints").steps()[-1] == stop_at

    state = run(tmp_path)
    assert same_bits(state, finished[1])
    assert read_log(tmp_path / "log.jsonl", wall_times=False) == read_log(finished[0] / "log.jsonl", wall_times=False)


def test_ctrl_c_saves_and_a_second_one_interrupts_at_once(tmp_path):
    def once(params, step):
        os.kill(os.getpid(), signal.SIGINT)
        return {}

    with pytest.raises(TrainingStopped, match="stopped by SIGINT at step 10"):
        run(tmp_path / "once", validate=once)

    def twice(params, step):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return {}

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "twice", validate=twice)


def test_a_damaged_newest_checkpoint_costs_only_the_steps_since_the_one_before(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "copy")
    for file in (tmp_path / "copy" / "checkpoints" / "step_00000040").rglob("*"):
        if file.is_file():
            os.truncate(file, file.stat().st_size // 2)
    with pytest.warns(UserWarning, match="step_00000040 is damaged"):
        state = run(tmp_path / "copy")
    assert same_bits(state, finished[1])
    assert read_log(tmp_path / "copy" / "log.jsonl", wall_times=False) == read_log(
        finished[0] / "log.jsonl", wall_times=False
    )


def test_nan_names_its_step_and_keeps_the_last_good_checkpoint(tmp_path):
    with pytest.raises(NonFiniteLoss, match="loss is nan at step 17; the last good checkpoint is .*step_00000012") as e:
        run(tmp_path, **nan_at(17))
    assert e.value.step == 17
    assert CheckpointStore(tmp_path / "checkpoints").steps() == [6, 12]
    assert [r["step"] for r in read_log(tmp_path / "log.jsonl") if r["event"] == "train"][-1] == 16


def test_nan_before_the_first_checkpoint(tmp_path):
    with pytest.raises(NonFiniteLoss, match="loss is nan at step 1; there is no checkpoint yet"):
        run(tmp_path, **nan_at(1))
    assert CheckpointStore(tmp_path / "checkpoints").steps() == []


def test_nan_is_noticed_before_a_checkpoint_between_two_log_lines(tmp_path):
    with pytest.raises(NonFiniteLoss, match="at step 6;"):
        run(tmp_path, make_config(log_every=40), **nan_at(6))
    assert CheckpointStore(tmp_path / "checkpoints").steps() == []


def test_a_gradient_that_is_not_finite_is_named(tmp_path):
    def loss_with_infinite_gradient(params, batch, key):
        return jnp.sum(jnp.sqrt(jnp.abs(params["decoder"]["bias"]))), {}

    with pytest.raises(NonFiniteLoss, match="grad_norm is (nan|inf) at step 1;"):
        run(tmp_path, loss_fn=loss_with_infinite_gradient)


def test_frozen_parameters_stay_and_validation_sees_averaged_weights(tmp_path):
    seen = []

    def watch(params, step):
        seen.append(jax.tree.map(np.asarray, params))
        return {}

    config = make_config(total_steps=10, validate_every=10)
    state = run(tmp_path, config, validate=watch, trainable=lambda name: name.startswith("decoder/"))
    np.testing.assert_array_equal(state.params["encoder"]["kernel"], make_params()["encoder"]["kernel"])
    np.testing.assert_array_equal(seen[-1]["decoder"]["kernel"], averaged_params(state)["decoder"]["kernel"])
    assert np.any(seen[-1]["decoder"]["kernel"] != np.asarray(state.params["decoder"]["kernel"]))


def test_another_configuration_is_refused(finished):
    run_dir, _ = finished
    with pytest.raises(CheckpointError, match="optimizer.learning_rate was 0.01, now it is 0.02"):
        run(run_dir, make_config(optimizer=OptimizerConfig(learning_rate=0.02, warmup_steps=5, weight_decay=1e-4)))
    with pytest.raises(CheckpointError, match="run.model.embed_dim was absent, now it is 16"):
        run(run_dir, fingerprint={"model": {"embed_dim": 16}})
    with pytest.raises(CheckpointError, match="batch_size"):
        run(run_dir, make_config(batch_size=4), batch_fn=lambda data, key: batch_fn(data, key)[:4])
    assert CheckpointStore(run_dir / "checkpoints").steps() == [30, 36, 40]


def test_what_does_not_change_the_numbers_may_change(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "copy")
    config = make_config(
        total_steps=44,
        optimizer=dataclasses.replace(make_config().optimizer, total_steps=40),
        checkpoint_every=2,
        keep_checkpoints=1,
        log_every=2,
        validate_every=None,
    )
    assert int(run(tmp_path / "copy", config).step) == 44
    assert CheckpointStore(tmp_path / "copy" / "checkpoints").steps() == [44]


def rates(run_dir):
    return {r["step"]: r["learning_rate"] for r in read_log(run_dir / "log.jsonl") if r["event"] == "train"}


@pytest.fixture(scope="module")
def longer(tmp_path_factory, fast_compile):
    """A run of 12 steps that then went on to 24."""
    run_dir = tmp_path_factory.mktemp("longer")
    run(run_dir, make_config(total_steps=12, log_every=2))
    shutil.copytree(run_dir, run_dir / "of_12")
    return run_dir, run(run_dir, make_config(total_steps=24, log_every=2))


def test_a_finished_run_goes_on_with_a_schedule_of_its_own(longer):
    run_dir, state = longer
    assert int(state.step) == 24
    schedule = [warmup_cosine(make_config().optimizer, 12)(n) for n in range(12)]
    for step, rate in rates(run_dir).items():
        np.testing.assert_allclose(rate, schedule[(step - 1) % 12], rtol=1e-5)
    before, after = (read_log(folder / "log.jsonl", wall_times=False) for folder in (run_dir / "of_12", run_dir))
    assert after[: len(before)] == before
    assert after[len(before)] == {"step": 13, "event": "schedule", "ends": [12, 24]}


@pytest.mark.slow
def test_a_continued_run_survives_a_stop_and_can_go_on_once_more(longer, tmp_path, monkeypatch):
    shutil.copytree(longer[0] / "of_12", tmp_path / "run")
    monkeypatch.setattr("lvm_mtc.training.loop._Run.stop_signal", lambda self, step, stops: 15 * (step == 16))
    with pytest.raises(TrainingStopped, match="step 16 of 24"):
        run(tmp_path / "run", make_config(total_steps=24, log_every=2))
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="step_00000016 has a schedule of 24 steps.*36 would change: finish it f"):
        run(tmp_path / "run", make_config(total_steps=36, log_every=2))
    assert same_bits(run(tmp_path / "run", make_config(total_steps=24, log_every=2)), longer[1])
    logs = [read_log(folder / "log.jsonl", wall_times=False) for folder in (longer[0], tmp_path / "run")]
    assert logs[0] == logs[1]
    assert int(run(tmp_path / "run", make_config(total_steps=36, log_every=2)).step) == 36
    assert read_log(tmp_path / "run" / "log.jsonl")[len(logs[0])]["ends"] == [12, 24, 36]


def test_what_changes_the_past_of_a_longer_run_is_refused(longer, tmp_path, monkeypatch):
    run_dir, _ = longer
    peak = dataclasses.replace(make_config().optimizer, learning_rate=0.02)
    with pytest.raises(CheckpointError, match="optimizer.learning_rate was 0.01, now it is 0.02"):
        run(run_dir, make_config(total_steps=36, optimizer=peak))
    for steps in (12, 18):
        with pytest.raises(CheckpointError, match=f"schedule of 24 steps, which optimizer.total_steps = {steps} would"):
            run(run_dir, make_config(total_steps=steps))
    with pytest.raises(CheckpointError, match="schedule of 24 steps, which optimizer.total_steps = 12 would"):
        run(run_dir, make_config(optimizer=dataclasses.replace(make_config().optimizer, total_steps=12)))
    with pytest.raises(ValueError, match="warmup_steps must be < total_steps = 28 - 24 done before, got 5"):
        run(run_dir, make_config(total_steps=28))
    monkeypatch.setattr("lvm_mtc.training.loop._Run.stop_signal", lambda self, step, stops: 15 * (step == 6))
    with pytest.raises(TrainingStopped):
        run(tmp_path, make_config(total_steps=12))
    with pytest.raises(CheckpointError, match="step_00000006 has a schedule of 12 steps.*24 would change: finish it f"):
        run(tmp_path, make_config(total_steps=24))


def test_a_second_process_in_the_same_folder_is_refused(tmp_path):
    with only_process(tmp_path / "run"), pytest.raises(RunBusy, match="another process is training in .*run"):
        run(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["lock"]


def test_a_batch_of_another_size_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="but batch_size is 4"):
        run(tmp_path / "new", make_config(batch_size=4))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("batch_size", 0),
        ("total_steps", -2),
        ("total_steps", 2.5),
        ("total_steps", 41),
        ("checkpoint_every", 0),
        ("checkpoint_every", 5),
        ("keep_checkpoints", 0),
        ("log_every", True),
        ("log_every", 3),
        ("validate_every", 0),
        ("steps_per_call", 0),
        ("num_devices", 0),
        ("seed", -1),
        ("ema_decay", 1.0),
    ],
)
def test_config_refuses_with_full_name_and_value(field, value):
    with pytest.raises(ValueError, match=rf"TrainConfig\.{field} must be .*, got {value}"):
        make_config(**{field: value})


def test_config_refuses_a_run_shorter_than_its_warm_up():
    with pytest.raises(ValueError, match=r"TrainConfig.optimizer.warmup_steps must be < total_steps = 10, got 20"):
        TrainConfig(batch_size=1, total_steps=10, optimizer=OptimizerConfig(warmup_steps=20))


def test_config_comes_from_a_mapping():
    config = from_dict(TrainConfig, {"batch_size": 8, "total_steps": 100, "optimizer": {"learning_rate": 1e-4}})
    assert config.optimizer.learning_rate == 1e-4 and hash(config) == hash(dataclasses.replace(config))
