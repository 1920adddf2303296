"""P_r follows the object's size, and nothing else changes."""

import jax
import numpy as np
import pytest

from lvm_mtc import System, SystemConfig
from lvm_mtc.system import OperatingPoint, ScaleAware
from lvm_mtc.system.scale_aware import HIGH, LOW


def test_scale_aware_masks_are_those_of_each_pictures_own_probability():
    config = SystemConfig(variant="linear", image_size=32, patch_size=8, num_symbols=4, power_allocation=False)
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype),
                          jax.eval_shape(System(config).init, jax.random.key(0)))  # fmt: skip
    images = np.zeros((3, 1, 32, 32, 3), np.float32)
    loc = np.float32([[[16, 16, 0, 0]], [[16, 16, 32, 32]], [[16, 16, 16, 32]]])

    def masks(system, mask_prob):
        def of(mask_prob):
            point = OperatingPoint(mask_prob=mask_prob)
            return system.encode(params, images, loc, jax.random.key(1), point).kept.mask

        return jax.jit(of)(np.float32(mask_prob))

    found = masks(ScaleAware(config), 0.3)
    np.testing.assert_array_equal(found, masks(System(config), [0.2, 0.4, 0.3]))
    assert (found != masks(System(config), 0.9)).any()
    assert (0.3 * LOW, 0.3 * HIGH) == pytest.approx((0.2, 0.4))
