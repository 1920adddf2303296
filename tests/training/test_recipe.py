"""Recipes as a user runs them: stages learn, freeze what they should, survive kill -9, and wrong recipes are named."""

import dataclasses
import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from kill_resume import differing_arrays, run_killed_and_resumed
from recipes import CODEC, LINK, TOKENS, make_recipe, numbers, pack, smooth_pictures, two_scenarios

from lvm_mtc import LinkConfig, from_dict, load_scheme, to_dict
from lvm_mtc.cli import main
from lvm_mtc.cli.train import read_config
from lvm_mtc.models.pca import fit_patches
from lvm_mtc.models.weights import load_weights
from lvm_mtc.schemes.deepjscc.scheme import DeepJscc, DeepJsccConfig
from lvm_mtc.schemes.lvm_mtc.pca import init_from_pca
from lvm_mtc.training import CheckpointError, read_log
from lvm_mtc.training.examples import find_stage
from lvm_mtc.training.pictures import load_pictures
from lvm_mtc.training.recipe import Recipe, describe, export_start, export_weights, init_params, read_data, run_stage

FAST_COMPILE = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
STEPS, TIMEOUT = 160, 600
STAGES = ("token", "channel", "system")
CONFIGS = Path(__file__).resolve().parents[2] / "experiments" / "configs"
LONG = dict(batch_size=4, total_steps=STEPS, checkpoint_every=20, log_every=10, ema_decay=0.9,
            optimizer=dict(learning_rate=1e-3, warmup_steps=5))  # fmt: skip
# The plain form: it starts from nothing, so that learning shows at once.
PLAIN = dict(
    scheme="lvm_mtc",
    config=dict(variant="tiny", image_size=16, patch_size=8, num_symbols=4, linear_path=False, receiver="shrunk",
                power_allocation=False),
    scenarios=[dict(num_groups=2, num_uavs=2, link=dict(num_rx_ant=2, num_tx_ant=2))],
    ranges=dict(knobs=dict(mask_prob=[0.1, 0.5], epsilon=[0.0, 0.2])),
    stages={stage: LONG for stage in STAGES},
)  # fmt: skip

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("fast_compile")]


class OwnCodec(DeepJscc):
    """A user's scheme: it has neither a start nor a layout of its own, and freezes its encoder."""

    def stages(self):
        return (super().stages()[0]._replace(name="receiver", trainable=lambda name: not name.startswith("encoder/")),)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return pack(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def undisturbed(pictures, tmp_path_factory, fast_compile):
    """Runs of all stages that nobody killed, and the command that made them."""
    folder = tmp_path_factory.mktemp("recipe")
    config = folder / "recipe.json"
    config.write_text(json.dumps(PLAIN))

    def command(stage, run_dir):
        program = [sys.executable, "-c", "import sys; from lvm_mtc.cli import main; sys.exit(main())", "train"]
        options = dict(config=config, stage=stage, data=pictures, run_dir=run_dir)
        return program + [
            word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))
        ]

    assert main(command("all", folder)[3:]) == 0
    return folder, command


@pytest.fixture(scope="module")
def codec(pictures, tmp_path_factory, fast_compile):
    """A finished run of a codec: its folder and its weights."""
    folder = tmp_path_factory.mktemp("codec")
    return folder, load_weights(run_stage(make_recipe(CODEC), "system", pictures, folder))


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_training_step_ends_with_the_same_bits(stage, undisturbed, tmp_path):
    whole, command = undisturbed
    before = STAGES[: STAGES.index(stage)][-1:]
    for name in before:
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights.npz").write_bytes((whole / name / "weights.npz").read_bytes())
    at_kill = run_killed_and_resumed(
        command(stage, tmp_path), tmp_path / stage, kills=1, spread=0.5, seed=len(stage), environment=FAST_COMPILE,
        timeout=TIMEOUT,
    )  # fmt: skip
    assert len(at_kill) == 1
    assert differing_arrays(whole / stage / "weights.npz", tmp_path / stage / "weights.npz") == []
    logs = [read_log(folder / stage / "log.jsonl", wall_times=False) for folder in (whole, tmp_path)]
    assert logs[0] == logs[1] and logs[0][-1]["step"] == STEPS


def test_each_step_learns_and_leaves_the_rest_alone(undisturbed, pictures):
    whole, _ = undisturbed
    recipe = make_recipe(PLAIN)
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
        trainable = find_stage(recipe.make_scheme(), stage).trainable or (lambda _: True)
        may_move = {name for name in before if trainable(name + "/x")}
        # Two views of noise share nothing below the thresholds that are drawn, so the public encoder may rest.
        assert moved <= may_move and may_move - moved <= {"public_encoder"}
        assert metadata["stage"] == stage and metadata["versions"]["jax"] == jax.__version__
        log = [record for record in read_log(whole / stage / "log.jsonl") if record["event"] == "train"]
        assert np.mean([r["loss"] for r in log[-5:]]) < np.mean([r["loss"] for r in log[:3]])
        before = after


def test_a_stage_without_the_one_before_says_which_to_run(undisturbed, tmp_path, capsys):
    _, command = undisturbed
    assert main(command("channel", tmp_path)[3:]) == 2
    assert "run stage 'token' first" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_weights_file_says_whose_weights_it_holds_and_where_they_come_from(codec, tmp_path):
    folder, (params, about) = codec
    scheme, loaded = load_scheme(folder / "system" / "weights.npz")
    assert scheme == make_recipe(CODEC).make_scheme() == DeepJscc(DeepJsccConfig(image_size=8, num_symbols=2))
    jax.tree.map(np.testing.assert_array_equal, loaded, params)
    assert from_dict(Recipe, about["recipe"]) == make_recipe(CODEC)
    assert about["seed"] == 0 and about["stage"] == "system" and about["data"]["pictures"] == 24
    assert {"jax", "lvm_mtc", "python"} <= set(about["versions"])
    export_weights(folder / "system" / "weights.npz", tmp_path / "small.npz")
    with np.load(tmp_path / "small.npz") as archive:
        assert {archive[name].dtype for name in archive.files if "kernel" in name} == {np.dtype("float16")}


def test_a_run_starts_from_weights(codec, pictures, tmp_path):
    folder, (start, _) = codec
    first = folder / "system" / "weights.npz"
    optimizer = numbers()["optimizer"] | dict(learning_rate=1e-9)
    slow = make_recipe(CODEC, stages=dict(system=numbers(optimizer=optimizer)))
    tuned, drawn = (
        load_weights(run_stage(slow, "all", pictures, tmp_path / name, start=file))[0]
        for name, file in (("tuned", first), ("drawn", None))
    )
    largest = [max(jax.tree.leaves(jax.tree.map(lambda a, b: np.abs(a - b).max(), p, start))) for p in (tuned, drawn)]
    assert largest[0] < 1e-6 < 1e-4 < largest[1]
    with pytest.raises(CheckpointError, match="run.start was"):
        run_stage(slow, "all", pictures, tmp_path / "tuned", start=tmp_path / "drawn" / "system" / "weights.npz")
    other = make_recipe(CODEC, config=CODEC["config"] | dict(num_symbols=4))
    with pytest.raises(ValueError, match="shape"):
        run_stage(other, "system", pictures, tmp_path / "other", start=first)


def test_a_finished_stage_goes_on_and_the_next_stage_does_not_ignore_it(pictures, tmp_path):
    def recipe(steps, **fields):
        stages = dict(token=numbers(total_steps=steps), channel=numbers())
        return make_recipe(TOKENS, stages=stages, **fields)

    run_stage(recipe(3), "all", pictures, tmp_path)
    longer = load_weights(run_stage(recipe(6), "token", pictures, tmp_path))
    assert longer[1]["schedule_ends"] == [3, 6] and longer[1]["recipe"]["stages"]["token"]["total_steps"] == 6
    with pytest.raises(CheckpointError, match="channel.*run.start was .*, now it is"):
        run_stage(recipe(6), "channel", pictures, tmp_path)
    with pytest.raises(CheckpointError, match="run.ranges.snr_db was"):
        run_stage(recipe(9, ranges=TOKENS["ranges"] | dict(snr_db=[0, 1])), "token", pictures, tmp_path)


def test_a_scheme_of_ones_own_is_trained_by_the_same_recipe(pictures, tmp_path):
    name = f"{OwnCodec.__module__}:OwnCodec"
    recipe = make_recipe(CODEC, scheme=name, stages=dict(receiver=numbers()))
    before = init_params(recipe, smooth_pictures())
    after, about = load_weights(run_stage(recipe, "all", pictures, tmp_path))
    assert about["scheme"] == name and about["stage"] == "receiver"
    same = {n: all(jax.tree.leaves(jax.tree.map(np.array_equal, before[n], after[n]))) for n in before}
    assert same == {"encoder": True, "decoder": False, "receiver": False}


def test_what_a_scheme_starts_from_is_written_without_training(pictures, tmp_path):
    recipe = make_recipe(TOKENS, stages={})
    export_start(recipe, pictures, tmp_path / "start.npz")
    scheme, params = load_scheme(tmp_path / "start.npz")
    want = init_from_pca(scheme.init(jax.random.key(0)), fit_patches(smooth_pictures(), 16, 8), 2)
    jax.tree.map(np.testing.assert_array_equal, params, want)
    about = describe(recipe, None, read_data(recipe, pictures))
    assert load_weights(tmp_path / "start.npz")[1] == json.loads(json.dumps(about))
    spread, alone = (init_params(make_recipe(TOKENS, start=start), smooth_pictures()) for start in ({"spread": 2}, {}))
    kernels = [p["channel_encoder"]["linear"]["kernel"] for p in (spread, alone)]
    assert not np.allclose(*kernels)


def test_a_recipe_is_plain_values_and_back():
    objects = make_recipe(TOKENS, scenarios=two_scenarios(num_kept=4), stages={})
    objects = dataclasses.replace(objects, config=objects.make_scheme().config)
    assert from_dict(Recipe, json.loads(json.dumps(to_dict(objects)))) == objects
    assert objects.scenarios[1].link == LinkConfig.of(fading="awgn", **LINK)
    assert objects.config["variant"] == "linear" and objects.seed == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(scheme="lvm_mct"), r"scheme 'lvm_mct' is not known \(did you mean 'lvm_mtc'\?\)"),
        (dict(config=dict(variants="tiny")), r"Recipe.config.variants is not known \(did you mean 'variant'\?\)"),
        (dict(config=dict(patch_size=7)), "Recipe.config: LvmMtcConfig.patch_size 7 does not divide"),
        (dict(fields=dict(executions={})), r"Recipe.executions is not known \(did you mean 'execution'\?\)"),
        (dict(stages=dict(end=numbers())), "Recipe.stages.end is not known; known: channel, system, token"),
        (dict(stages=dict(token=numbers(batch_size=5))), "Recipe.stages.token.batch_size 5 is not the 4 pictures"),
        (dict(scenarios=[]), r"Recipe.scenarios must name at least one scenario, got \(\)"),
        (dict(scenarios=[dict(num_groups=0)]), "Scenario.num_groups must be a whole number >= 1, got 0"),
        (dict(scenarios=[dict(num_groups=4, config=dict(num_kept=9))]), "num_kept 9 exceeds the picture's 4 patches"),
        (dict(ranges=dict(knobs=dict(mask_prob=[0.0, 0.5]))), r"Recipe.ranges.knobs.mask_prob must lie in \(0, 1\)"),
        (
            dict(ranges=dict(knobs=dict(rate=[0.0, 0.5]))),
            "Recipe.ranges.knobs.rate is not known; known: epsilon, mask_",
        ),
        (dict(ranges=dict(snr_db=[9.0, 3.0])), r"Ranges.snr_db must be \(lowest, highest\), got \(9.0, 3.0\)"),
        (dict(ranges=dict(snr_db=[0.0, float("nan")])), r"Recipe.ranges.snr_db\[1\] must be a finite number"),
        (dict(ranges=dict(csi_error_var=[-0.1, 0.1])), r"Ranges.csi_error_var must be >= 0, got \(-0.1, 0.1\)"),
        (dict(ranges=dict(box_area=[0.1, 1.5])), r"Ranges.box_area must lie in \(0, 1\]"),
        (dict(ranges=dict(view_jitter=-1)), "Ranges.view_jitter must be a whole number >= 0, got -1"),
        (dict(loss=dict(image_loss="l1")), "Recipe.loss.image_loss 'l1' is unknown; known: mse, log_mse"),
        (dict(loss=dict(token_weight=float("inf"))), "Recipe.loss.token_weight must be .* number .*, got inf"),
        (dict(loss=dict(rate_weigh=1.0)), r"Recipe.loss.rate_weigh is not known \(did you mean 'rate_weight'\?\)"),
        (dict(start=dict(spreads=2)), r"Recipe.start.spreads is not known \(did you mean 'spread'\?\); known: spread"),
    ],
)
def test_wrong_recipes_are_refused_by_field(change, message):
    with pytest.raises(ValueError, match=message):
        make_recipe(TOKENS, **change)


def test_what_a_scheme_does_not_have_is_refused():
    with pytest.raises(ValueError, match="Recipe.start.spread is not known; known: none"):
        make_recipe(CODEC, start=dict(spread=2))
    with pytest.raises(ValueError, match="Recipe.ranges.knobs.epsilon is not known; known: none"):
        make_recipe(CODEC, ranges=dict(knobs=dict(epsilon=[0, 1])))
    with pytest.raises(ValueError, match="Scenario.config.num_kept is not known"):
        make_recipe(CODEC, scenarios=two_scenarios(num_kept=4))
    with pytest.raises(ValueError, match="stage 'detector' is unknown; known: system"):
        make_recipe(CODEC).stage("detector")
    with pytest.raises(ValueError, match="stage 'token' is left out by the recipe; it has: system"):
        make_recipe(TOKENS, stages=dict(system=numbers())).stage("token")
    mixed = dict(scenarios=[dict(num_groups=2), dict(num_groups=1, num_uavs=2)])
    with pytest.raises(ValueError, match=r"must all have the same num_uavs .* got \[1, 2\]"):
        make_recipe(TOKENS, config=TOKENS["config"] | dict(per_uav_params=True), **mixed)
    wide = make_recipe(CODEC, scenarios=[dict(num_groups=4, config=dict(num_symbols=3))])
    with pytest.raises(ValueError, match=r"Scenario.config \{'num_symbols': 3\} does not fit .*decoder"):
        init_params(wide, smooth_pictures())


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
    recipe = from_dict(Recipe, read_config(CONFIGS / "demo.py", []))
    assert [stage.name for stage in recipe.trained()] == list(STAGES)
    capacities = [scenario.scheme(recipe.make_scheme()).config.capacity for scenario in recipe.scenarios]
    assert capacities == [144, 144, 72, 72] and recipe.make_scheme().config.num_patches == 144
