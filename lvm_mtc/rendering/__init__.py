"""Scenes of 3D Gaussians as pictures, differentiable in all that describes them; jax only.

Coordinates: x right, y down, z forward. Pixel (row, column) has its centre at x = column + 0.5, y = row + 0.5.
"""

from lvm_mtc.rendering.gaussians import Camera, Gaussians, mirrored, stereo_camera, union
from lvm_mtc.rendering.render import Rendered, render

__all__ = ["Camera", "Gaussians", "Rendered", "mirrored", "render", "stereo_camera", "union"]
