"""Classes of packed training pictures go with every view that is drawn of them."""

import types

import jax
import numpy as np
import pytest

from lvm_mtc.training.examples import Ranges, draw_views
from lvm_mtc.training.pictures import load_arrays, load_pictures

pytestmark = pytest.mark.usefixtures("fast_compile")


def test_a_view_has_its_pictures_class(tmp_path):
    labels = np.arange(10)
    pictures = np.uint8(np.broadcast_to(20 * labels[:, None, None, None], (10, 6, 6, 3)))
    np.savez(tmp_path / "a.npz", pictures=pictures, labels=labels)
    np.savez(tmp_path / "none.npz", pictures=pictures)
    np.savez(tmp_path / "few.npz", pictures=pictures, labels=labels[:9])
    np.testing.assert_array_equal(load_pictures(tmp_path / "a.npz"), pictures)
    keys, config = jax.random.split(jax.random.key(0), 5), types.SimpleNamespace(image_size=4)
    source = draw_views(load_arrays(tmp_path / "a.npz"), keys, (8, 2), config, Ranges(view_jitter=1))
    shown = np.round(np.asarray(source.data)[:, :, 0, 0, 0] * 255 / 20)
    np.testing.assert_array_equal(source.hints["labels"], shown)
    assert len(np.unique(shown)) > 2 and set(load_arrays(tmp_path / "none.npz")) == {"pictures"}
    with pytest.raises(ValueError, match=r"few.npz: labels must be 10 integers, got \(9,\) int64"):
        load_arrays(tmp_path / "few.npz")
