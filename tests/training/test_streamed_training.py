"""Training from a folder of pictures: every step another batch, the same ones after a stop, on wrong input one line."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from tiny_run import make_config

from lvm_mtc import from_dict
from lvm_mtc.models.weights import load_weights
from lvm_mtc.training import train
from lvm_mtc.training.pictures import load_training_pictures
from lvm_mtc.training.recipe import Recipe, run_stage

pytestmark = pytest.mark.usefixtures("fast_compile")


class Numbers:
    """Step k's data is k."""

    def empty(self):
        return {"pictures": np.zeros((8, 1), np.float32)}

    def batches(self, step):
        for number in itertools.count(step):
            yield {"pictures": np.full((8, 1), number, np.float32)}


def fit(run_dir, total_steps, data, **changes):
    """Minimises (w - data)^2, and returns w after each step's plain gradient descent."""

    def loss_fn(params, batch, key):
        loss = jnp.mean((params["w"][None] - batch) ** 2)
        return loss, {}

    numbers = {"total_steps": total_steps, "validate_every": None, "log_every": 1, "steps_per_call": 1}
    config = make_config(**numbers | changes)
    return train(
        config,
        loss_fn=loss_fn,
        batch_fn=lambda data, key: data["pictures"],
        data=data,
        init_params={"w": jnp.zeros(1)},
        run_dir=run_dir,
    )


def test_each_step_gets_its_own_data(tmp_path):
    from lvm_mtc.training import read_log

    fit(tmp_path, 6, Numbers())
    losses = [record["loss"] for record in read_log(tmp_path / "log.jsonl") if record["event"] == "train"]
    # w hardly moves in six steps: the loss of step k is about k^2.
    np.testing.assert_allclose(np.sqrt(losses), np.arange(6), atol=0.3)


def test_several_steps_a_call_are_refused(tmp_path):
    with pytest.raises(ValueError, match="TrainConfig.steps_per_call must be 1 with a stream of data, got 2"):
        fit(tmp_path, 6, Numbers(), steps_per_call=2, checkpoint_every=2, log_every=2)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(5):
        smooth = np.kron(rng.integers(0, 256, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        Image.fromarray(smooth).save(tmp_path / "photos" / f"{i}.png")
    return tmp_path / "photos"


def make_recipe(steps):
    fields = dict(
        scheme="lvm_mtc",
        config=dict(variant="linear", image_size=16, patch_size=8, num_symbols=4),
        scenarios=[dict(num_groups=2, num_uavs=2)],
        stages=dict(token=dict(batch_size=4, total_steps=steps, checkpoint_every=2, log_every=1)),
    )
    return from_dict(Recipe, fields)


@pytest.mark.slow
def test_a_folder_is_streamed_and_a_stopped_run_sees_the_same_pictures(folder, tmp_path, monkeypatch):
    # In this process: starting workers takes seconds, and that they change no pixel is a test of the stream's.
    monkeypatch.setattr("os.cpu_count", lambda: 0)
    pictures = load_training_pictures(folder, make_recipe(4).make_scheme().config, 2, 0)
    assert pictures.data.batch_size == 8 and pictures.sample.shape == (8, 27, 27, 3)
    whole = run_stage(make_recipe(4), "token", folder, tmp_path / "whole")
    monkeypatch.setattr("lvm_mtc.training.loop._Run.stop_signal", lambda self, step, stops: 15 * (step == 2))
    with pytest.raises(Exception, match="stopped by SIGTERM at step 2 of 4"):
        run_stage(make_recipe(4), "token", folder, tmp_path / "parts")
    monkeypatch.undo()
    monkeypatch.setattr("os.cpu_count", lambda: 0)
    parts = run_stage(make_recipe(4), "token", folder, tmp_path / "parts")
    (first, metadata), (second, _) = (load_weights(path) for path in (whole, parts))
    jax.tree.map(np.testing.assert_array_equal, first, second)
    assert metadata["data"] == {"folder": "photos", "pictures": 5, "streamed_size": 27}
    start = make_recipe(4).make_scheme().init(jax.random.key(0))
    assert jax.tree.structure(start) == jax.tree.structure(first)


def test_a_folder_without_pictures_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="no picture") as error:
        load_training_pictures(tmp_path, make_recipe(4).make_scheme().config, 2, 0)
    assert "\n" not in str(error.value)
