"""A scheme for clips through the one recipe."""

import jax
import numpy as np
import pytest
from recipes import make_recipe, numbers

from lvm_mtc.schemes.loading import load_scheme
from lvm_mtc.training.clips import draw_clips
from lvm_mtc.training.log import read_log
from lvm_mtc.training.recipe import run_stage

pytestmark = pytest.mark.usefixtures("fast_compile")

CONFIG = dict(size=[32, 32], num_frames=2, gop=2, num_uses=40, features=12, chunk=2, intra_factor=1.5, network="tiny")
CLIPS = dict(
    scheme="pvsc",
    config=CONFIG,
    scenarios=[dict(num_groups=2, link=dict(fading="awgn", convention="rx_per_antenna"))],
    ranges=dict(snr_db=[0.0, 10.0], knobs=dict(rate=[0.5, 1.0])),
    stages=dict(system=numbers(batch_size=2, total_steps=20, log_every=10, checkpoint_every=20,
                               optimizer=dict(learning_rate=1e-2, warmup_steps=1))),
)  # fmt: skip


@pytest.fixture
def packed(tmp_path):
    rng = np.random.default_rng(0)
    scene = rng.normal(size=(2, 44, 44, 3)).cumsum(1).cumsum(2)
    scene = np.uint8(127 + 100 * scene / np.abs(scene).max())
    np.savez(tmp_path / "clips.npz", clips=[[one[t : t + 40, t : t + 40] for t in range(4)] for one in scene])
    return tmp_path / "clips.npz"


@pytest.mark.slow
def test_a_recipe_fits_the_linear_codec_and_trains_the_network_behind_it(packed, tmp_path):
    weights = run_stage(make_recipe(CLIPS), "all", packed, tmp_path / "run", progress=False)
    first, last = (r["loss"] for r in read_log(tmp_path / "run" / "system" / "log.jsonl") if r["event"] == "train")
    assert last < first
    scheme, params = load_scheme(weights)
    assert scheme == make_recipe(CLIPS).make_scheme()
    start = scheme.start(scheme.init(jax.random.key(0)), np.load(packed)["clips"], 0)
    np.testing.assert_allclose(params["energy"], start["energy"], atol=1e-5)
    assert np.abs(params["network"]["change"]["kernel"]).max() > 0


def test_pieces_are_of_the_clips(packed):
    clips = np.load(packed)["clips"]
    scheme = make_recipe(CLIPS).make_scheme()
    source = draw_clips({"clips": clips}, jax.random.split(jax.random.key(1), 5), (6, 2), scheme.config, None)
    pieces = np.uint8(np.round(np.asarray(source.data) * 255))
    assert pieces.shape == (6, 2, 2, 32, 32, 3)
    every = [
        clip[t : t + 2, i : i + 32, j : j + 32] for clip in clips for t in range(3) for i in range(9) for j in range(9)
    ]
    every = {turned.tobytes() for one in every for turned in (one, one[:, :, ::-1], one[::-1], one[::-1, :, ::-1])}
    assert all(piece.tobytes() in every for piece in pieces.reshape(12, 2, 32, 32, 3))


def test_clips_that_are_too_small_are_refused(packed, tmp_path):
    recipe = make_recipe(CLIPS, config=CONFIG | {"num_frames": 6})
    with pytest.raises(ValueError, match=r"clips of \(4, 40, 40\) are smaller than PvscConfig's \(6, 32, 32\)"):
        run_stage(recipe, "all", packed, tmp_path / "run", progress=False)
