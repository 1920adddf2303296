"""Pictures and boxes as the script about the knowledge base takes them, and its exit status."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.knowledge_base import measure as knowledge_base
from experiments.knowledge_base.measure import locate_each, main, measure_loc, yolox_candidates
from lvm_mtc.data.squares import pack_voc
from lvm_mtc.data.voc import VocAnnotation, VocObject
from lvm_mtc.knowledge import KnowledgeBase
from lvm_mtc.models.detection import Detections


def test_pictures_can_be_chosen_by_their_annotation(shared_data):
    chosen = pack_voc(shared_data / "voc2012_320", "train", 4, knowledge_base.for_choosing)
    assert chosen.extents.tolist() == [[240, 320]] * 4
    assert all(len(set(row[valid])) > 1 for row, valid in zip(chosen.labels, chosen.valid, strict=True))
    dog, cat = (VocObject(name, (10, 10, 4, 4), False) for name in ("dog", "cat"))
    assert not knowledge_base.for_choosing(VocAnnotation(240, 320, (dog, dog)))
    assert not knowledge_base.for_choosing(VocAnnotation(240, 310, (dog, cat)))
    assert knowledge_base.for_choosing(VocAnnotation(240, 320, (dog, cat)))


def test_each_picture_is_located_without_its_border(two_pictures):
    seen = []

    def detect(params, images):
        seen.append(images.shape)
        # The best box is as wide as the picture's mean is bright.
        box = jnp.stack([8.0, 8.0, 8 * images.mean(), 8.0])
        label, valid = jnp.zeros((1, 1), jnp.int32), jnp.ones((1, 1), bool)
        return Detections(jnp.tile(box, (1, 1, 1)), jnp.ones((1, 1)), label, valid)

    optimized = jax.config.values["jax_disable_most_optimizations"]
    base = KnowledgeBase(detect=detect, params=None, max_candidates=1)
    found = locate_each(base, two_pictures.pictures, two_pictures.extents, "two")
    assert seen == [(1, 32, 32, 3), (1, 24, 32, 3)]
    means = [two_pictures.pictures[0].mean(), two_pictures.pictures[1, :24].mean()]
    np.testing.assert_allclose(found.boxes[:, 0, 2], np.array(means) * 8 / 255, rtol=1e-5)
    assert jax.config.values["jax_disable_most_optimizations"] == optimized


def test_share_of_boxes_on_an_object(two_pictures):
    rows = measure_loc({"first": two_pictures.boxes[:, 0], "wide": np.tile([16.0, 12, 32, 24], (2, 1))}, two_pictures)
    assert [(row["loc"], row["share"].value) for row in rows] == [("first", 1), ("wide", 0)]


def test_candidates_of_the_other_detector_have_a_smallest_score(two_pictures):
    boxes = np.tile(np.float32([[8, 8, 4, 4], [20, 8, 4, 4]]), (2, 1, 1))
    scores = np.float32([[0.9, 0.05], [0.06, 0.04]])
    found = Detections(boxes, scores, np.zeros((2, 2), np.int32), np.ones((2, 2), bool))
    got = yolox_candidates(found, two_pictures, 16)
    assert got.valid.sum(axis=1).tolist() == [2, 1]


def test_missing_files_are_one_line(tmp_path, capsys):
    assert main(["--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert (
        error.startswith("python -m experiments.knowledge_base.measure: ")
        and error.count("\n") == 1
        and str(tmp_path) in error
    )
    assert main(["--page-only", "--out", str(tmp_path / "out")]) == 2
    assert "results.json" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
