"""P_r follows the object's size, and nothing else changes."""

import jax
import numpy as np
import pytest

from lvm_mtc.schemes.lvm_mtc.config import LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.scheme import HIGH, LOW, LvmMtc
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import encode


def test_scale_aware_masks_are_those_of_each_pictures_own_probability():
    config = LvmMtcConfig(variant="linear", image_size=32, patch_size=8, num_symbols=4, power_allocation=False)
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype),
                          jax.eval_shape(LvmMtc(config).init, jax.random.key(0)))  # fmt: skip
    images = np.zeros((3, 1, 32, 32, 3), np.float32)
    loc = np.float32([[[16, 16, 0, 0]], [[16, 16, 32, 32]], [[16, 16, 16, 32]]])

    def masks(scheme, mask_prob):
        def of(mask_prob):
            source = Source(images, {"loc": loc})
            return encode(scheme, params, source, jax.random.key(1), {"mask_prob": mask_prob}).kept.mask

        return jax.jit(of)(np.float32(mask_prob))

    found = masks(LvmMtc(config, scale_aware=True), 0.3)
    np.testing.assert_array_equal(found, masks(LvmMtc(config), [0.2, 0.4, 0.3]))
    assert (found != masks(LvmMtc(config), 0.9)).any()
    assert (0.3 * LOW, 0.3 * HIGH) == pytest.approx((0.2, 0.4))
