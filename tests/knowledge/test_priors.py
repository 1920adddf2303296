"""Knowledge bases: the interface, the stated prior, annotations."""

import numpy as np
import pytest

from lvm_mtc import knowledge

IMAGES = np.zeros((2, 3, 48, 96, 3), np.float32)


def test_center_prior_is_the_stated_box_for_every_picture():
    loc = knowledge.center_prior(0.25)(IMAGES, "a dog")
    assert loc.shape == (2, 3, 4)
    np.testing.assert_array_equal(loc[1, 2], [48, 24, 48, 24])
    with pytest.raises(ValueError, match=r"must lie in \(0, 1\], got 0"):
        knowledge.center_prior(0)


def test_annotations_are_returned_and_must_fit_the_pictures():
    boxes = np.random.default_rng(0).uniform(1, 40, (2, 3, 4)).astype(np.float32)
    np.testing.assert_array_equal(knowledge.annotated(boxes)(IMAGES, ""), boxes)
    with pytest.raises(ValueError, match=r"\(2, 3, 4\) do not fit pictures \(3, 48, 96, 3\): expected \(3, 4\)"):
        knowledge.annotated(boxes)(IMAGES[0], "")
