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


def test_views_of_mixed_groups_are_of_one_picture_in_half_of_them_and_unmoved_in_half_of_those():
    places = np.uint8(np.arange(144).reshape(12, 12) % 101)[..., None]
    number = np.uint8(np.arange(90))[:, None, None, None]
    pictures = np.concatenate([np.tile(places, (90, 1, 1, 1)), np.tile(number, (1, 12, 12, 2))], -1)
    keys, config = jax.random.split(jax.random.key(3), 5), types.SimpleNamespace(image_size=4)
    plain, mixed = (
        np.round(np.asarray(draw_views({"pictures": pictures}, keys, (400, 2), config, ranges).data) * 255)
        for ranges in (Ranges(view_jitter=3), Ranges(view_jitter=3, mixed=True))
    )

    def same(views):
        picture = views[:, 0, 0, 0, 2] == views[:, 1, 0, 0, 2]
        return picture, picture & (views[:, 0] == views[:, 1]).all((1, 2, 3))

    assert same(plain)[0].all() and same(plain)[1].mean() < 0.1
    of_one, unmoved = same(mixed)
    assert abs(of_one.mean() - 0.5) < 0.1 and abs(unmoved[of_one].mean() - 0.5) < 0.12
    kept = np.all(plain[of_one & ~unmoved] == mixed[of_one & ~unmoved], axis=(1, 2, 3, 4))
    assert kept.all()  # what is neither another picture nor held still is drawn as ever
