"""Stereo pairs for the one recipe: what is drawn, and what is refused."""

import dataclasses

import jax
import numpy as np
import pytest
from recipes import make_recipe, numbers

from lvm_mtc.data.stereo import save_stereo
from lvm_mtc.data.synthetic_stereo import synthetic_stereo
from lvm_mtc.schemes.loading import load_scheme
from lvm_mtc.training.log import read_log
from lvm_mtc.training.recipe import read_data, run_stage
from lvm_mtc.training.stereo import draw_stereo

pytestmark = pytest.mark.usefixtures("fast_compile")

STAGE = numbers(
    batch_size=2, total_steps=20, log_every=10, checkpoint_every=20, optimizer=dict(learning_rate=3e-3, warmup_steps=1)
)
STEREO = dict(
    scheme="gs_scnet",
    config=dict(size=[32, 32], features=8, symbols_per_position=2, max_disparity=8),
    scenarios=[dict(num_groups=2, link=dict(fading="awgn", convention="rx_per_antenna"))],
    ranges=dict(snr_db=[0.0, 10.0]),
    stages=dict(codec=STAGE, joint=STAGE),
)
PAIRS = synthetic_stereo(8, 32, seed=0, max_disparity=6)


@pytest.fixture
def packed(tmp_path):
    save_stereo(tmp_path / "pairs.npz", PAIRS)
    return tmp_path / "pairs.npz"


@pytest.mark.slow
def test_a_recipe_fits_the_linear_path_and_trains_what_is_beside_it(packed, tmp_path):
    weights = run_stage(make_recipe(STEREO), "all", packed, tmp_path / "run", progress=False)
    for stage in STEREO["stages"]:
        first, last = (r["loss"] for r in read_log(tmp_path / "run" / stage / "log.jsonl") if r["event"] == "train")
        assert last < first
    scheme, params = load_scheme(weights)
    start = scheme.start(scheme.init(jax.random.key(0)), read_data(make_recipe(STEREO), packed).sample, 0)
    np.testing.assert_allclose(params["linear"]["basis"], start["linear"]["basis"], atol=1e-5)
    assert np.abs(params["lift"]["numbers"]["kernel"]).max() > 0


def test_pairs_keep_their_middle_view_and_disparity_whichever_way_up(packed):
    recipe = make_recipe(STEREO)
    data, keys = read_data(recipe, packed).data, jax.random.split(jax.random.key(1), 5)
    source = draw_stereo(data, keys, (10, 2), recipe.make_scheme().config, None)
    assert source.data.shape == (10, 2, 2, 32, 32, 3)
    drawn = zip(*(np.asarray(a).reshape(20, -1) for a in (source.data, *source.hints.values())), strict=True)
    known = {}
    for i in range(8):
        of_scene = PAIRS.pictures[i], PAIRS.disparity[i], PAIRS.middle[i]
        for step in (1, -1):
            turned = of_scene[0][:, ::step], of_scene[1][:, ::step], of_scene[2][::step]
            known[np.uint8(turned[0]).tobytes()] = turned[1:]
    assert list(source.hints) == ["middle", "disparity"]
    ways = set()
    for views, middle, disparity in drawn:
        name = np.uint8(np.round(views * 255)).tobytes()
        ways.add(name)
        np.testing.assert_array_equal(disparity, known[name][0].ravel())
        np.testing.assert_array_equal(np.uint8(np.round(middle * 255)), known[name][1].ravel())
    assert len(ways) > 8


def test_pairs_of_another_size_or_without_a_middle_are_refused(packed, tmp_path):
    other = make_recipe(STEREO, config=dict(STEREO["config"], size=[48, 32]))
    with pytest.raises(ValueError, match=r"has views of \(32, 32\), but GsScnetConfig.size is \(48, 32\)"):
        read_data(other, packed)
    save_stereo(tmp_path / "two.npz", dataclasses.replace(PAIRS, middle=None))
    with pytest.raises(ValueError, match="lacks disparity or middle views"):
        read_data(make_recipe(STEREO), tmp_path / "two.npz")
