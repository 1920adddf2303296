"""Training whole-picture codecs: the loss in NumPy, a run that goes on, a start from weights, wrong recipes."""

import dataclasses

import jax
import numpy as np
import pytest

from lvm_mtc import LinkConfig
from lvm_mtc.config import from_dict
from lvm_mtc.models.weights import load_weights
from lvm_mtc.system import PictureCodecConfig, PictureCodecSystem
from lvm_mtc.training import TrainConfig
from lvm_mtc.training.objectives import ObjectiveConfig, Scenario, make_batch_fn
from lvm_mtc.training.picture_recipe import PictureRecipe, make_picture_loss_fn, run_picture_recipe

pytestmark = pytest.mark.usefixtures("fast_compile")

CODEC = PictureCodecConfig(codec="deepjscc", image_size=8, num_symbols=2)
SCENARIOS = (
    Scenario(num_groups=3, link=LinkConfig(fading="awgn")),
    Scenario(num_groups=1, num_uavs=2, link=LinkConfig()),
)


def make_recipe(steps=4, **changes):
    train = TrainConfig(batch_size=5, total_steps=steps, checkpoint_every=2, log_every=1)
    return PictureRecipe(**dict(picture_codec=CODEC, scenarios=SCENARIOS, end_to_end=train) | changes)


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "pictures.npz"
    np.savez(path, pictures=np.random.default_rng(0).integers(0, 256, (6, 10, 12, 3), np.uint8))
    return path


@pytest.mark.parametrize("kind", ["mse", "log_mse"])
def test_the_loss_weighs_scenarios_by_their_pictures(data, kind):
    objective = ObjectiveConfig(image_loss=kind)
    system, key = PictureCodecSystem(CODEC), jax.random.key(3)
    params = system.init(jax.random.key(0))
    with np.load(data) as packed:
        batch = make_batch_fn(CODEC, SCENARIOS, objective)({"pictures": packed["pictures"]}, jax.random.key(1))
    loss, metrics = make_picture_loss_fn(CODEC, SCENARIOS, objective)(params, batch, jax.random.clone(key))
    terms = []
    for number, (examples, scenario) in enumerate(zip(batch, SCENARIOS, strict=True)):
        assert examples.images.shape == (scenario.num_groups, scenario.num_uavs, 8, 8, 3)
        out = system.forward(params, examples.images, jax.random.split(jax.random.clone(key))[number], scenario.link,
                             examples.point)
        mse = ((np.float64(out.images_hat) - np.float64(examples.images)) ** 2).mean((2, 3, 4))
        terms.append((np.log(mse + 1e-6) if kind == "log_mse" else mse).mean())
        np.testing.assert_allclose(metrics[f"psnr_{number}"], -10 * np.log10(mse + 1e-6).mean(), rtol=1e-5)
    np.testing.assert_allclose(loss, (3 * terms[0] + 2 * terms[1]) / 5, rtol=1e-5)
    assert abs(loss - np.mean(terms)) > 1e-4 * abs(loss)


def test_a_stopped_run_goes_on_to_the_same_weights(data, tmp_path):
    whole = load_weights(run_picture_recipe(make_recipe(), data, tmp_path / "whole"))
    train = dataclasses.replace(make_recipe().end_to_end, total_steps=2,
                                optimizer=dataclasses.replace(make_recipe().end_to_end.optimizer, total_steps=4))
    run_picture_recipe(make_recipe(end_to_end=train), data, tmp_path / "parts")
    (tmp_path / "parts" / "system" / "weights.npz").unlink()
    parts = load_weights(run_picture_recipe(make_recipe(), data, tmp_path / "parts"))
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, whole[0], parts[0])))
    assert whole[1]["picture_codec"] == dict(codec="deepjscc", image_size=8, num_symbols=2, receiver="wiener")
    assert whole[1]["seed"] == 0 and whole[1]["data"]["pictures"] == 6 and "jax" in whole[1]["versions"]


def test_a_run_starts_from_weights(data, tmp_path):
    first = run_picture_recipe(make_recipe(), data, tmp_path / "first")
    slow = dataclasses.replace(make_recipe().end_to_end, optimizer=dataclasses.replace(
        make_recipe().end_to_end.optimizer, learning_rate=1e-9))  # fmt: skip
    tuned, drawn = (
        load_weights(run_picture_recipe(make_recipe(end_to_end=slow), data, tmp_path / name, start=start))[0]
        for name, start in (("tuned", first), ("drawn", None))
    )
    start = load_weights(first)[0]
    largest = [max(jax.tree.leaves(jax.tree.map(lambda a, b: np.abs(a - b).max(), p, start))) for p in (tuned, drawn)]
    assert largest[0] < 1e-6 < 1e-4 < largest[1]
    other = make_recipe(picture_codec=dataclasses.replace(CODEC, num_symbols=4))
    with pytest.raises(ValueError, match="shape"):
        run_picture_recipe(other, data, tmp_path / "other", start=first)


def test_wrong_recipes_are_named():
    with pytest.raises(ValueError, match=r"PictureRecipe.scenarios must name at least one scenario, got \(\)"):
        make_recipe(scenarios=())
    with pytest.raises(ValueError, match="PictureRecipe.end_to_end.batch_size 5 is not the 3 pictures"):
        make_recipe(scenarios=SCENARIOS[:1])
    with pytest.raises(ValueError, match="keeps every token, got num_kept 2"):
        make_recipe(scenarios=(Scenario(num_groups=5, num_kept=2),))
    with pytest.raises(ValueError, match="PictureRecipe.system is not known; known: end_to_end"):
        from_dict(PictureRecipe, {"system": {}})
