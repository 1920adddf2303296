"""How a recipe is executed: the layout of its parameters, its fingerprints, and what stays as it always was."""

import dataclasses

import jax
import numpy as np
import pytest
from tiny_run import make_config

from lvm_mtc import SystemConfig
from lvm_mtc.config import from_dict, to_dict
from lvm_mtc.system import Execution, System
from lvm_mtc.training import OptimizerConfig, TrainConfig, recipe
from lvm_mtc.training.objectives import STAGES, Scenario
from lvm_mtc.training.recipe import Recipe, from_layout, to_layout

pytestmark = pytest.mark.usefixtures("fast_compile")


def make_recipe(execution=None, *, per_uav_params=False):
    system = SystemConfig(
        variant="tiny", image_size=16, patch_size=8, num_symbols=4, linear_path=False, per_uav_params=per_uav_params
    )
    stage = TrainConfig(batch_size=4, total_steps=2)
    return Recipe(
        system=system,
        scenarios=(Scenario(num_groups=2, num_uavs=2),),
        token=stage,
        channel=stage,
        end_to_end=stage,
        execution=execution or Execution(),
    )


@pytest.mark.parametrize("per_uav_params", [False, True])
def test_scanned_layers_train_stacked_and_are_stored_one_by_one(per_uav_params):
    plan = make_recipe(Execution(scan=True), per_uav_params=per_uav_params)
    num_uavs = 2 if per_uav_params else None
    system = System(plan.system)
    shapes = jax.eval_shape(lambda key: system.init(key, num_uavs), jax.random.key(0))
    params = jax.tree.map(lambda s: np.random.default_rng(s.size).normal(size=s.shape).astype(s.dtype), shapes)
    stacked = to_layout(plan, params)
    scanned = System(plan.system, plan.execution)
    wanted = jax.eval_shape(lambda key: scanned.init(key, num_uavs), jax.random.key(0))
    assert jax.tree.map(np.shape, stacked) == jax.tree.map(np.shape, wanted)
    back = from_layout(plan, stacked)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, back, params)


def test_looped_layers_stay_as_they_are():
    params = {"encoder": {"block0": np.zeros(2)}}
    plan = make_recipe(Execution(remat=True))
    assert to_layout(plan, params) is params and from_layout(plan, params) is params


def test_execution_comes_from_a_mapping():
    plan = make_recipe()
    assert plan.execution == Execution()
    fields = to_dict(plan) | {"execution": {"scan": True, "dtype": "bfloat16"}}
    assert from_dict(Recipe, fields).execution == Execution(scan=True, dtype="bfloat16")
    with pytest.raises(ValueError, match="'float8'.*bfloat16"):
        from_dict(Recipe, fields | {"execution": {"dtype": "float8"}})


@pytest.fixture
def fingerprints(monkeypatch, tmp_path):
    """The execution in what ``run_stage`` hands on as the fingerprint of a run, by recipe."""
    seen = []

    def train(config, *, fingerprint, **_):
        seen.append(fingerprint)
        raise InterruptedError

    monkeypatch.setattr(recipe, "train", train)
    monkeypatch.setattr(recipe, "init_params", lambda *_: {})
    np.savez(tmp_path / "pictures.npz", pictures=np.zeros((2, 16, 16, 3), np.uint8))

    def of(plan):
        with pytest.raises(InterruptedError):
            recipe.run_stage(plan, STAGES[0], tmp_path / "pictures.npz", tmp_path)
        return seen[-1]["execution"]

    return of


def test_only_what_changes_numbers_and_is_asked_for_is_part_of_a_run(fingerprints):
    assert fingerprints(make_recipe()) == {}
    assert fingerprints(make_recipe(Execution(remat=True))) == {}
    assert fingerprints(make_recipe(Execution(scan=True, dtype="bfloat16"))) == {"scan": True, "dtype": "bfloat16"}


def test_fingerprints_of_older_runs_stay():
    """Written by the version before devices, pieces and sharded parameters could be chosen."""
    old = {
        "batch_size": 8,
        "seed": 0,
        "steps_per_call": 2,
        "ema_decay": 0.99,
        "optimizer.learning_rate": 0.01,
        "optimizer.warmup_steps": 5,
        "optimizer.total_steps": 40,
        "optimizer.end_fraction": 0.0,
        "optimizer.weight_decay": 0.0001,
        "optimizer.clip_norm": 1.0,
        "optimizer.b1": 0.9,
        "optimizer.b2": 0.95,
        "optimizer.eps": 1e-08,
        "optimizer.slow": [],
        "optimizer.slow_factor": 1.0,
    }
    assert make_config().fingerprint() == old
    assert make_config(num_devices=8, uav_devices=2, shard_params=True).fingerprint() == old
    assert make_config(accumulation=4).fingerprint() == old | {"accumulation": 4}
    assert make_config(ema_decay=None, optimizer=OptimizerConfig()).fingerprint()["ema_decay"] is None
    assert dataclasses.replace(make_config(), accumulation=1).fingerprint() == old
