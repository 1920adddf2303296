"""Pictures first, geometry afterwards: what the stereo codec is held against."""

import dataclasses

import jax
import jax.numpy as jnp

from lvm_mtc.link import Received
from lvm_mtc.rendering import Gaussians
from lvm_mtc.schemes.gs_scnet.disparity import canonical, spread
from lvm_mtc.schemes.gs_scnet.lifting import LEAST_DISPARITY, lift_pair
from lvm_mtc.schemes.gs_scnet.network import COARSE, NUMBERS
from lvm_mtc.schemes.gs_scnet.scheme import GsScnet, GsScnetConfig, Side


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

    def gaussians(self, params: dict, received: Received, side: Side) -> tuple[Gaussians, jax.Array]:
        """As ``GsScnet.gaussians``."""
        pictures = canonical(self._hear(params, received, side).pictures)
        return self.predict(params, pictures, side.camera.reshape(-1, 5))

    def predict(self, params: dict, pictures: jax.Array, camera: jax.Array) -> tuple[Gaussians, jax.Array]:
        """Gaussians of any two pictures, and their disparity, pixels, ``[n, 2, H / density, W / density]``.

        Args:
            pictures: Left and right view, ``[n, 2, H, W, 3]``.
            camera: ``[n, 5]``.
        """
        views = canonical(jnp.clip(pictures, 0, 1))
        disparity = spread(self._apply(params, "matching", views), COARSE // self.config.density)
        return lifted(views, disparity, camera, self.config.density), canonical(disparity)
