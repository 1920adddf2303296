"""A system whose P_r follows the size of the object in each view."""

import dataclasses

import jax

from lvm_mtc.models.masking import scale_aware_mask_prob
from lvm_mtc.system.chain import System
from lvm_mtc.system.config import OperatingPoint
from lvm_mtc.system.records import Encoded

LOW, HIGH = 2 / 3, 4 / 3
"""Times P_r, for an object that vanishes and one that fills the view: at P_r = 0.3 the paper's range, 0.2 to 0.4."""


@dataclasses.dataclass(frozen=True)
class ScaleAware(System):
    """A system whose P_r follows the object's size, as the paper proposes for objects of very different sizes.

    P_r is ``LOW`` times the point's where the object vanishes and ``HIGH`` times where it fills the view, linear in the
    share of the area: a large object leaves the background its patches, a small one takes what it needs.
    """

    def encode(
        self, params: dict, images: jax.Array, loc: jax.Array, key: jax.Array, point: OperatingPoint = OperatingPoint()
    ) -> Encoded:
        """As ``System.encode``; ``HIGH`` times the point's ``mask_prob``, a scalar or as ``loc`` less an axis, < 1."""
        size = self.config.image_size
        mask_prob = scale_aware_mask_prob(loc, (size, size), LOW * point.mask_prob, HIGH * point.mask_prob)
        return super().encode(params, images, loc, key, point._replace(mask_prob=mask_prob))
