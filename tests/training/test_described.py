"""Captioner and painter are trained, the classifier in front of the captioner is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.data.grammar import CLASS_WORDS, Facts
from lvm_mtc.knowledge.captioners import load_captioner
from lvm_mtc.knowledge.generators import load_generator
from lvm_mtc.models.captioner import CaptionerConfig
from lvm_mtc.models.cifar_resnet import CifarResNet
from lvm_mtc.models.flow import FlowConfig
from lvm_mtc.training.config import TrainConfig
from lvm_mtc.training.described import Described, train_captioner, train_painter
from lvm_mtc.training.log import read_log
from lvm_mtc.training.optimizer import OptimizerConfig

pytestmark = pytest.mark.usefixtures("fast_compile")

WORDS = ("a", "on", "background", "black", "white", *CLASS_WORDS[3:6])


def numbers(steps):
    optimizer = OptimizerConfig(learning_rate=2e-2, warmup_steps=2)
    return TrainConfig(
        batch_size=8, total_steps=steps, log_every=steps // 2, checkpoint_every=steps, optimizer=optimizer
    )


def described(side):
    """Black things on white and white ones on black, of classes 3 and 5."""
    white = np.arange(16) % 2
    pictures = np.repeat(white * 255, side * side * 3).reshape(16, side, side, 3).astype(np.uint8)
    pictures[:, side // 4 : -side // 4, side // 4 : -side // 4] = 255 - pictures[:, :1, :1]
    return Described(pictures, Facts(np.where(np.arange(16) < 8, 3, 5), 1 - white, white))


def losses(run):
    return [record["loss"] for record in read_log(run / "log.jsonl") if record["event"] == "train"]


@pytest.mark.slow
def test_a_painter_learns_and_its_weights_paint(tmp_path):
    config = FlowConfig(image_size=8, widths=(8, 8, 8), depth=1, condition=8)
    weights = train_painter(config, numbers(300), described(8), tmp_path / "run", progress=False)
    first, last = losses(tmp_path / "run")
    assert last < 0.8 * first
    texts = ["a black cat on a white background", "a white cat on a black background"]
    black, white = load_generator(weights, guidance=1.0)(texts, 0)[:, 0].mean((1, 2))
    assert black > white + 0.2  # the first row is behind the thing


@pytest.mark.slow
def test_a_captioner_learns_behind_a_classifier_that_stays(tmp_path):
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(CifarResNet(20).init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
    resnet = jax.tree.map(lambda leaf: np.float32(rng.normal(size=leaf.shape) * 0.1), shapes)
    config = CaptionerConfig(words=WORDS, width=8, depth=1, num_heads=1)
    weights = train_captioner(config, numbers(40), described(32), resnet, tmp_path / "run", progress=False)
    first, last = losses(tmp_path / "run")
    assert last < 0.8 * first
    captioner = load_captioner(weights)
    assert captioner.params["decoder"]["embedding"].shape == (len(WORDS) + 1, 8)
    for one, other in zip(jax.tree.leaves(captioner.params["resnet"]), jax.tree.leaves(resnet), strict=True):
        np.testing.assert_array_equal(one, other)
    few = CaptionerConfig(words=WORDS[1:])
    with pytest.raises(ValueError, match="CaptionerConfig.words cannot say 'a white cat on a black background'"):
        train_captioner(few, numbers(4), described(32), resnet, tmp_path / "other")
