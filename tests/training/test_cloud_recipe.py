"""A scheme for point clouds through the one recipe: it learns, and its weights are for its scheme."""

import numpy as np
import pytest
from recipes import make_recipe, numbers

from lvm_mtc.cli.clouds import load_cloud_contender
from lvm_mtc.training.log import read_log
from lvm_mtc.training.recipe import run_stage

pytestmark = pytest.mark.usefixtures("fast_compile")

SIZES = dict(num_points=32, num_tokens=8, num_symbols=40, slots=5, neighbours=4, width=8, attention=4)
CLOUDS = dict(
    scheme="point_clouds",
    config=SIZES | {"bits_per_symbol": 4, "allocation": "importance"},
    scenarios=[dict(num_groups=4, link=dict(fading="awgn", convention="rx_per_antenna"))],
    ranges=dict(snr_db=[10.0, 20.0], knobs=dict(temperature=[0.2, 1.0])),
    stages=dict(system=numbers(batch_size=4, total_steps=60, log_every=20, checkpoint_every=60,
                               optimizer=dict(learning_rate=1e-2, warmup_steps=1))),
)  # fmt: skip


@pytest.mark.slow
def test_a_recipe_trains_it(tmp_path):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(12, 32, 3)) * [1.0, 1.0, 0.1]
    points /= np.linalg.norm(points, axis=-1).max(1)[:, None, None]
    np.savez(tmp_path / "clouds.npz", train=np.float16(points * 0.999))
    recipe = make_recipe(CLOUDS)
    weights = run_stage(recipe, "all", tmp_path / "clouds.npz", tmp_path / "run", progress=False)
    first, _, last = (r["loss"] for r in read_log(tmp_path / "run" / "system" / "log.jsonl") if r["event"] == "train")
    assert last < first - 0.2
    contender = load_cloud_contender(weights)
    assert contender.name == "point_clouds" and contender.scheme == recipe.make_scheme()
    deviation = np.asarray(contender.params["moments"]["deviation"])
    assert deviation[0] > 3 * deviation[2]  # learned from the clouds before the first step, and kept
    with pytest.raises(ValueError, match="has clouds of 32 points, but PointCloudsConfig.num_points is 64"):
        run_stage(make_recipe(CLOUDS, config=CLOUDS["config"] | {"num_points": 64}), "all", tmp_path / "clouds.npz",
                  tmp_path / "other", progress=False)  # fmt: skip
