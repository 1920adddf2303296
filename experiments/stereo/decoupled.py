"""Pictures first, geometry afterwards: what the stereo codec is held against."""

import dataclasses

import jax
import jax.numpy as jnp

from lvm_mtc.link import OperatingPoint, Received
from lvm_mtc.rendering import Gaussians
from lvm_mtc.schemes.gs_scnet.disparity import canonical, spread
from lvm_mtc.schemes.gs_scnet.lifting import LEAST_DISPARITY, lift_pair
from lvm_mtc.schemes.gs_scnet.network import COARSE, NUMBERS
from lvm_mtc.schemes.gs_scnet.scheme import GsScnet, GsScnetConfig, Side
from lvm_mtc.schemes.scheme import Estimate


def lifted(pictures: jax.Array, disparity: jax.Array, camera: jax.Array, density: int) -> Gaussians:
    """Gaussians at the places and of the colours of pixels, nothing of them learned.

    Args:
        pictures: Canonical, ``[n, 2, H, W, 3]``.
        disparity: Pixels, ``[n, 2, H / density, W / density]``.
        camera: ``[n, 5]``.
    """
    numbers = jnp.zeros((*disparity.shape, NUMBERS))
    return jax.vmap(lift_pair)(numbers, jnp.maximum(disparity, LEAST_DISPARITY), pictures, camera)


@dataclasses.dataclass(frozen=True)
class Decoupled(GsScnet):
    """The same symbols decoded to two pictures; the receiver matches these and lifts their pixels.

    The matching is the codec's own, trained on pictures without noise; Gaussians are round and of one size.
    """

    config: GsScnetConfig

    def decode(self, params: dict, received: Received, side: Side, point: OperatingPoint) -> Estimate:
        """As ``GsScnet.decode``."""
        pixels = GsScnet(dataclasses.replace(self.config, decoder="pixels"))
        data = pixels.decode(params, received, side, point).data
        pictures = canonical(jnp.clip(data.reshape(-1, *data.shape[2:]), 0, 1))
        found = self._apply(params, "matching", pictures)
        disparity = spread(found, COARSE // self.config.density)
        scene = lifted(pictures, disparity, side.camera.reshape(-1, 5), self.config.density)
        return self._seen(scene, canonical(disparity), side)
