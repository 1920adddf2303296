"""How a recipe is executed: the layout of its parameters, its fingerprints, and what stays as it always was."""

import dataclasses

import jax
import numpy as np
import pytest
from recipes import TOKENS, make_recipe, pack
from tiny_run import make_config

from lvm_mtc.schemes.lvm_mtc.config import Execution
from lvm_mtc.training import OptimizerConfig, recipe

pytestmark = pytest.mark.usefixtures("fast_compile")


def make_plan(*, per_uav_params=False, **execution):
    config = dict(variant="tiny", image_size=16, patch_size=8, num_symbols=4, linear_path=False)
    fields = dict(config=config | dict(per_uav_params=per_uav_params), start={})
    return make_recipe(TOKENS, fields=dict(execution=execution) if execution else {}, **fields)


@pytest.mark.parametrize("per_uav_params", [False, True])
def test_scanned_layers_train_stacked_and_are_stored_one_by_one(per_uav_params):
    scheme, scanned = (
        make_plan(per_uav_params=per_uav_params, **options).make_scheme() for options in ({}, {"scan": True})
    )
    shapes = jax.eval_shape(lambda key: scheme.init(key, 2), jax.random.key(0))
    params = jax.tree.map(lambda s: np.random.default_rng(s.size).normal(size=s.shape).astype(s.dtype), shapes)
    stacked = scanned.from_file(params)
    wanted = jax.eval_shape(lambda key: scanned.init(key, 2), jax.random.key(0))
    assert jax.tree.map(np.shape, stacked) == jax.tree.map(np.shape, wanted)
    back = scanned.to_file(stacked)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, back, params)


def test_looped_layers_stay_as_they_are():
    params = {"encoder": {"block0": np.zeros(2)}}
    scheme = make_plan(remat=True).make_scheme()
    assert scheme.from_file(params) is params and scheme.to_file(params) is params


def test_execution_comes_from_a_mapping():
    assert make_plan().make_scheme().execution == Execution()
    options = dict(scan=True, dtype="bfloat16")
    assert make_plan(**options).make_scheme().execution == Execution(**options)
    with pytest.raises(ValueError, match="Recipe.execution: Execution.dtype 'float8'.*bfloat16"):
        make_plan(dtype="float8")


@pytest.fixture
def fingerprints(monkeypatch, tmp_path):
    """The execution in what ``run_stage`` hands on as the fingerprint of a run, by recipe."""
    seen = []

    def train(config, *, fingerprint, **_):
        seen.append(fingerprint)
        raise InterruptedError

    monkeypatch.setattr(recipe, "train", train)
    monkeypatch.setattr(recipe, "init_params", lambda *_: {})
    pictures = pack(tmp_path)

    def of(plan):
        with pytest.raises(InterruptedError):
            recipe.run_stage(plan, "token", pictures, tmp_path)
        return seen[-1].get("execution", {})

    return of


def test_only_what_changes_numbers_and_is_asked_for_is_part_of_a_run(fingerprints):
    assert fingerprints(make_plan()) == {}
    assert fingerprints(make_plan(remat=True)) == {}
    assert fingerprints(make_plan(scan=True, dtype="bfloat16")) == {"scan": True, "dtype": "bfloat16"}


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
