"""The network itself learns; away from the tests in which a tiny one stands in its place."""

import jax
import numpy as np
import pytest
from squares import squares

from lvm_mtc.metrics.detection import match_detections, recall_at
from lvm_mtc.models.weights import load_weights
from lvm_mtc.training import OptimizerConfig, TrainConfig
from lvm_mtc.training.detector.inference import run_detector
from lvm_mtc.training.detector.recipe import DetectorPhase, DetectorRecipe
from lvm_mtc.training.detector.training import init_detector, run_detector_training

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("fast_compile")]


def test_the_real_network_learns_squares(tmp_path):
    train = TrainConfig(
        batch_size=8, total_steps=250, checkpoint_every=250, ema_decay=0.9,
        optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=20),
    )  # fmt: skip
    recipe = DetectorRecipe(phases=(DetectorPhase(size=64, train=train),), statistics_pictures=20)
    variables, _ = load_weights(run_detector_training(recipe, [squares(40)], tmp_path))
    held_out = squares(20, seed=1)

    def recall(variables):
        found = run_detector(variables, held_out.pictures, 64)
        return recall_at(match_detections(found.boxes, found.scores, found.valid, held_out.boxes, held_out.valid), 1)

    assert recall(variables) > 0.9
    assert recall(jax.tree.map(np.asarray, init_detector(recipe))) < 0.5
