"""The paper's training steps 2 to 4 as a user runs them: they learn, freeze what they should, and survive kill -9."""

import dataclasses
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kill_resume import differing_arrays, run_killed_and_resumed

from lvm_mtc import LinkConfig, System, SystemConfig, from_dict
from lvm_mtc.models.weights import load_weights
from lvm_mtc.training import read_log
from lvm_mtc.training.objectives import (
    STAGES,
    ObjectiveConfig,
    Scenario,
    image_loss,
    make_batch_fn,
    make_loss_fn,
    masked_mse,
    trainable,
)
from lvm_mtc.training.pictures import load_pictures
from lvm_mtc.training.recipe import Recipe, init_params

FAST_COMPILE = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
STEPS = 160

pytestmark = pytest.mark.usefixtures("fast_compile")


def _stage():
    return dict(
        batch_size=4,
        total_steps=STEPS,
        checkpoint_every=20,
        log_every=10,
        ema_decay=0.9,
        optimizer=dict(learning_rate=1e-3, warmup_steps=5),
    )


RECIPE = dict(
    # The plain form: it starts from nothing, so that learning shows at once.
    system=dict(
        variant="tiny",
        image_size=16,
        patch_size=8,
        num_symbols=4,
        linear_path=False,
        receiver="shrunk",
        power_allocation=False,
    ),
    scenarios=[dict(num_groups=2, num_uavs=2, link=dict(num_rx_ant=2, num_tx_ant=2))],
    token=_stage(),
    channel=_stage(),
    end_to_end=_stage(),
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "pictures.npz"
    smooth = np.random.default_rng(0).uniform(0, 255, size=(24, 3, 3, 3)).repeat(8, 1).repeat(8, 2)
    np.savez(path, pictures=smooth.astype(np.uint8))
    return path


@pytest.fixture(scope="module")
def undisturbed(pictures, tmp_path_factory):
    """Runs of all stages that nobody killed, and the command that made them."""
    folder = tmp_path_factory.mktemp("recipe")
    config = folder / "recipe.json"
    config.write_text(json.dumps(RECIPE))

    def command(stage, run_dir):
        return [
            sys.executable,
            "-c",
            "import sys; from lvm_mtc.cli import main; sys.exit(main())",
            "train",
            "--config",
            str(config),
            "--stage",
            stage,
            "--data",
            str(pictures),
            "--run-dir",
            str(run_dir),
        ]

    for stage in STAGES:
        run_killed_and_resumed(command(stage, folder), folder / stage, kills=0, environment=FAST_COMPILE)
    return folder, command


@pytest.mark.parametrize("stage", [*(pytest.param(s, marks=pytest.mark.slow) for s in STAGES[:-1]), STAGES[-1]])
def test_a_killed_training_step_ends_with_the_same_bits(stage, undisturbed, tmp_path):
    whole, command = undisturbed
    before = STAGES[: STAGES.index(stage)][-1:]
    for name in before:
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights.npz").write_bytes((whole / name / "weights.npz").read_bytes())
    at_kill = run_killed_and_resumed(
        command(stage, tmp_path), tmp_path / stage, kills=1, spread=0.5, seed=len(stage), environment=FAST_COMPILE
    )
    assert len(at_kill) == 1
    assert differing_arrays(whole / stage / "weights.npz", tmp_path / stage / "weights.npz") == []
    logs = [read_log(folder / stage / "log.jsonl", wall_times=False) for folder in (whole, tmp_path)]
    assert logs[0] == logs[1] and logs[0][-1]["step"] == STEPS


def test_each_step_learns_and_leaves_the_rest_alone(undisturbed, pictures):
    whole, _ = undisturbed
    recipe = from_dict(Recipe, RECIPE)
    before = jax.device_get(init_params(recipe, load_pictures(pictures)))
    for stage in STAGES:
        after, metadata = load_weights(whole / stage / "weights.npz", before)
        moved = {
            name
            for name in before
            if any(
                not np.array_equal(a, b)
                for a, b in zip(jax.tree.leaves(before[name]), jax.tree.leaves(after[name]), strict=True)
            )
        }
        may_move = {name for name in before if (trainable(stage) or (lambda _: True))(name + "/x")}
        # Two views of noise share nothing below the thresholds that are drawn, so the public encoder may rest.
        assert moved <= may_move and may_move - moved <= {"public_encoder"}
        assert metadata["stage"] == stage and metadata["versions"]["jax"] == jax.__version__
        log = [record for record in read_log(whole / stage / "log.jsonl") if record["event"] == "train"]
        assert np.mean([r["loss"] for r in log[-5:]]) < np.mean([r["loss"] for r in log[:3]])
        before = after


def test_a_stage_without_the_one_before_says_which_to_run(undisturbed, tmp_path, capsys):
    from lvm_mtc.cli import main

    _, command = undisturbed
    assert main(command("channel", tmp_path)[3:]) == 2
    assert "run stage 'token' first" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_examples_are_drawn_within_their_ranges():
    config = SystemConfig(variant="tiny", image_size=16, patch_size=8, num_symbols=4)
    objective = ObjectiveConfig(
        snr_db=(3.0, 9.0), csi_error_var=(0.01, 0.2), mask_prob=(0.2, 0.3), epsilon=(0.1, 0.4), box_area=(0.2, 0.3)
    )
    ramp = jnp.arange(24 * 20, dtype=jnp.uint8).reshape(1, 24, 20, 1)
    data = {"pictures": jnp.broadcast_to(ramp, (3, 24, 20, 3))}
    (examples,) = make_batch_fn(config, (Scenario(num_groups=400, num_uavs=2),), objective)(data, jax.random.key(0))
    point = examples.point
    for values, low, high in ((point.snr_db, 3, 9), (point.mask_prob, 0.2, 0.3)):
        assert values.min() >= low and values.max() <= high and values.std() > 0.2 * (high - low)
    assert set(np.unique(point.epsilon == 0)) == {True, False} and point.epsilon.max() <= 0.4
    assert (point.csi_error_var == 0.01).mean() == pytest.approx(0.5, abs=5 * 0.5 / 20)
    area = examples.loc[..., 2] * examples.loc[..., 3] / 256
    assert area.min() >= 0.2 - 1e-5 and area.max() <= 0.3 + 1e-5
    corners = np.stack(
        [examples.loc[..., :2] - examples.loc[..., 2:] / 2, examples.loc[..., :2] + examples.loc[..., 2:] / 2]
    )
    assert corners.min() >= -1e-4 and corners.max() <= 16 + 1e-4
    # Every view is a crop, mirrored or not: steps of 1 along a row and of 20 along a column.
    images = np.round(np.float64(examples.images) * 255)
    assert set(np.unique((images[..., 1:, 0] - images[..., :-1, 0]) % 256)) == {1, 255}
    assert set(np.unique((images[..., 1:, :, 0] - images[..., :-1, :, 0]) % 256)) == {20}


def test_losses_against_numpy():
    rng = np.random.default_rng(0)
    a, b = rng.uniform(size=(2, 3, 1, 4, 4, 3))
    per_picture = ((a - b) ** 2).mean((2, 3, 4))
    for kind, want in (("mse", per_picture.mean()), ("log_mse", np.log(per_picture + 1e-6).mean())):
        loss, psnr = image_loss(jnp.float32(a), jnp.float32(b), kind)
        np.testing.assert_allclose(loss, want, rtol=1e-5)
        np.testing.assert_allclose(psnr, -10 * np.log10(per_picture).mean(), rtol=1e-3)
    valid = np.array([True, False, True])
    np.testing.assert_allclose(
        masked_mse(jnp.float32(a[:, 0, 0, :3]), jnp.float32(b[:, 0, 0, :3]), jnp.stack([valid] * 3)),
        ((a - b)[:, 0, 0, :3][:, valid] ** 2).mean(),
        rtol=1e-5,
    )


def test_the_token_term_takes_the_tokens_it_aims_at_for_a_constant():
    """Its gradient is that of the MSE to a fixed target, and none reaches the token decoder."""
    config = SystemConfig(variant="tiny", image_size=16, patch_size=8, num_symbols=4, num_kept=4)
    link = LinkConfig(fading="awgn", num_rx_ant=2, num_tx_ant=2)
    scenarios = (Scenario(num_groups=2, link=link),)
    system, key = System(config), jax.random.key(3)
    params = system.init(jax.random.key(0))
    data = {"pictures": jax.random.randint(jax.random.key(1), (4, 20, 20, 3), 0, 256, jnp.uint8)}
    batch = make_batch_fn(config, scenarios, ObjectiveConfig())(data, jax.random.key(2))
    without, with_term = (
        make_loss_fn("system", config, scenarios, ObjectiveConfig(token_weight=w)) for w in (0.0, 1.0)
    )

    def term(params):
        return with_term(params, batch, jax.random.clone(key))[0] - without(params, batch, jax.random.clone(key))[0]

    def to_fixed(params, target):
        (examples,) = batch
        key_of_scenario = jax.random.split(jax.random.clone(key), 1)[0]
        out = system.forward(params, examples.images, examples.loc, key_of_scenario, link, examples.point)
        return masked_mse(out.tokens_received, out.tokens_own if target is None else target, out.valid), out.tokens_own

    @jax.jit
    def gradients(params):
        _, target = to_fixed(params, None)
        fixed = jax.grad(lambda p: to_fixed(p, jax.lax.stop_gradient(target))[0])(params)
        return jax.grad(term)(params), fixed, jax.grad(lambda p: to_fixed(p, None)[0])(params)

    got, fixed, moving = gradients(params)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(fixed), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)
    assert all(np.allclose(leaf, 0, atol=1e-6) for leaf in jax.tree.leaves(got["decoder"]))
    name = ("encoder", "linear_path", "kernel")
    assert not np.allclose(got[name[0]][name[1]][name[2]], moving[name[0]][name[1]][name[2]], atol=1e-3)


def test_wrong_recipes_are_refused_by_field():
    wrong = [
        (dict(token=dict(batch_size=5, total_steps=10)), r"Recipe.token.batch_size 5 is not the 4 pictures"),
        (dict(scenarios=[]), r"Recipe.scenarios must name at least one"),
        (dict(scenarios=[dict(num_groups=0)]), r"Scenario.num_groups must be a whole number >= 1, got 0"),
        (dict(objective=dict(mask_prob=[0.0, 0.5])), r"ObjectiveConfig.mask_prob must lie in \(0, 1\)"),
        (
            dict(objective=dict(snr_db=[9.0, 3.0])),
            r"ObjectiveConfig.snr_db must be \(lowest, highest\), got \(9.0, 3.0\)",
        ),
        (dict(objective=dict(image_loss="l1")), r"ObjectiveConfig.image_loss 'l1' is unknown"),
        (dict(objective=dict(box_area=[0.1, 1.5])), r"ObjectiveConfig.box_area must lie in \(0, 1\]"),
    ]
    for change, message in wrong:
        with pytest.raises(ValueError, match=message):
            from_dict(Recipe, RECIPE | change)
    with pytest.raises(ValueError, match="stage 'detector' is unknown; known: token, channel, system"):
        make_loss_fn("detector", from_dict(Recipe, RECIPE).system, (), ObjectiveConfig())
    mixed = RECIPE | dict(scenarios=[dict(num_groups=2), dict(num_groups=1, num_uavs=2)])
    with pytest.raises(ValueError, match=r"must all have the same num_uavs .* got \[1, 2\]"):
        from_dict(Recipe, mixed | dict(system=RECIPE["system"] | dict(per_uav_params=True)))


def test_pictures_that_are_none_are_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no such file of packed pictures"):
        load_pictures(tmp_path / "none.npz")
    np.savez(tmp_path / "float.npz", pictures=np.zeros((2, 8, 8, 3)))
    with pytest.raises(ValueError, match=r"uint8, got \(2, 8, 8, 3\) float64"):
        load_pictures(tmp_path / "float.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(ValueError, match="is not a file of packed pictures"):
        load_pictures(tmp_path / "text.npz")


def test_config_of_the_shipped_weights_is_a_recipe():
    import runpy
    from pathlib import Path

    path = Path(__file__).resolve().parents[2] / "experiments" / "configs" / "demo.py"
    recipe = from_dict(Recipe, runpy.run_path(str(path))["get_config"]())
    assert recipe.train_config("system").total_steps == recipe.end_to_end.total_steps
    assert dataclasses.replace(recipe.system, num_kept=144).capacity == recipe.system.num_patches
