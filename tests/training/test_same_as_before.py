"""The same recipe gives the same batches and the same weights as when the token system and the codecs had one each.

``tests/golden/training.npz`` was written by the code of commit b50aadc, before schemes had rooms; where the channel
layer's draws change on purpose, ``python tests/golden/make_training.py`` writes its weights and losses anew.
"""

import jax
import numpy as np
import pytest
from golden import stored
from observed import SAME_BITS
from recipes import CODEC, TOKENS, make_recipe, pack, smooth_pictures, two_scenarios

from lvm_mtc.models.weights import flatten_params, load_weights
from lvm_mtc.training import read_log
from lvm_mtc.training.examples import make_batch_fn
from lvm_mtc.training.recipe import run_stage

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("fast_compile")]

RECIPES = {"lvm_mtc": TOKENS, "deepjscc": CODEC}
RUNS = [(name, stage) for name, fields in RECIPES.items() for stage in fields["stages"]]


@pytest.fixture(scope="module")
def before():
    return stored("training")


@pytest.fixture(scope="module")
def now(tmp_path_factory, fast_compile):
    """Folder with the runs of both recipes."""
    folder = tmp_path_factory.mktemp("runs")
    for name, fields in RECIPES.items():
        run_stage(make_recipe(fields), "all", pack(folder), folder / name)
    return folder


def sums(params) -> dict[str, np.ndarray]:
    """Two numbers of each tensor, in which any change of it shows."""
    flat = {name: np.float64(leaf).ravel() for name, leaf in flatten_params(params).items()}
    return {name: np.array([leaf.sum(), leaf @ np.cos(np.arange(leaf.size))]) for name, leaf in flat.items()}


@pytest.mark.parametrize("name", RECIPES)
def test_batches_are_the_same_bit_for_bit(name, before):
    recipe = make_recipe(RECIPES[name], scenarios=two_scenarios(), stages={})
    batch_fn = jax.jit(
        make_batch_fn(recipe.make_scheme(), recipe.scenarios, recipe.ranges), compiler_options=dict(SAME_BITS)
    )
    for i, (source, point) in enumerate(batch_fn({"pictures": smooth_pictures()}, jax.random.key(5))):
        drawn = dict(images=source.data, loc=source.hints["loc"], snr_db=point.snr_db)
        for field, values in (drawn | {"csi_error_var": point.csi_error_var} | point.knobs).items():
            np.testing.assert_array_equal(values, before[f"{name}/batch/{i}/{field}"], err_msg=f"{i} {field}")


@pytest.mark.parametrize(("name", "stage"), RUNS)
def test_losses_and_weights_after_three_steps_are_the_same(name, stage, before, now):
    run = f"{name}/{stage}"
    losses = [record["loss"] for record in read_log(now / run / "log.jsonl") if record["event"] == "train"]
    np.testing.assert_allclose(losses, before[f"{run}/loss"], rtol=1e-6)
    params, _ = load_weights(now / run / "weights.npz")
    wanted = dict(zip(before[f"{run}/names"], before[f"{run}/sums"], strict=True))
    assert set(wanted) == set(sums(params))
    for tensor, pair in sums(params).items():
        size = np.linalg.norm(np.float64(flatten_params(params)[tensor]))
        np.testing.assert_allclose(pair, wanted[tensor], atol=1e-6 * max(size, 1), err_msg=tensor)


def test_the_comparison_sees_a_step_too_many(before, now):
    params, _ = load_weights(now / "lvm_mtc" / "token" / "weights.npz")
    wanted = dict(zip(before["lvm_mtc/system/names"], before["lvm_mtc/system/sums"], strict=True))
    assert any(np.abs(pair - wanted[name]).max() > 1e-4 for name, pair in sums(params).items())
