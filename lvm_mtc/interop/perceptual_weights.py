"""Weights of the shift-tolerant perceptual distance (ST-LPIPS, AlexNet) under PyTorch's names."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from lvm_mtc.interop.rules import Rule, converted, layer
from lvm_mtc.interop.tensor_files import Source, open_tensors
from lvm_mtc.models.perceptual import LAYERS, PIXEL_SCALE, PIXEL_SHIFT
from lvm_mtc.models.weights import WeightsError

_CONVOLUTIONS = ("net.slice1.0", "net.slice2.5", "net.slice3.9", "net.slice4.11", "net.slice5.13")
_BLUR = np.outer((0.25, 0.5, 0.25), (0.25, 0.5, 0.25))

# What the network has built in, and the file must not have otherwise: name to the value that is expected.
_CONSTANTS = {
    "scaling_layer.shift": np.reshape(PIXEL_SHIFT, (1, 3, 1, 1)),
    "scaling_layer.scale": np.reshape(PIXEL_SCALE, (1, 3, 1, 1)),
    "net.slice1.1.filt": np.tile(_BLUR, (64, 1, 1, 1)),
    "net.slice2.4.filt": np.tile(_BLUR, (64, 1, 1, 1)),
    "net.slice3.8.filt": np.tile(_BLUR, (192, 1, 1, 1)),
}


def load_perceptual(source: Source) -> dict[str, Any]:
    """Parameters of ``models.perceptual.PerceptualNet``; source and errors: ``tensor_files.open_tensors``.

    Args:
        source: With the names of ``stlpips_pytorch``.

    Raises:
        WeightsError: listing all missing, superfluous and misshapen tensors, or all that are not of finite numbers; or
            if a layer's weight is negative, or a filter or a normalisation is not the network's.
    """
    tensors, name = open_tensors(source, ("net.slice1.0.weight",), kind="the distance's tensors")
    # The list of the layers' weights is stored a second time by some releases.
    tensors = {key: value for key, value in tensors.items() if not key.startswith("lins.")}
    constants = {key: value.shape for key, value in _CONSTANTS.items()}
    params = converted(tensors, _rules(name), name=name, unused=constants)
    for key, value in _CONSTANTS.items():
        if not np.allclose(np.asarray(tensors[key], np.float64), value, rtol=1e-3):  # half precision
            raise WeightsError(f"{name}: {key} is not that of the shift-tolerant AlexNet")
    return params


def _rules(name: str) -> Iterator[Rule]:
    inputs = 3
    for i, (sizes, source) in enumerate(zip(LAYERS, _CONVOLUTIONS, strict=True)):

        def root(weight, i=i):
            if weight.min() < 0:
                raise WeightsError(f"{name}: lin{i}.model.1.weight must be >= 0, its least is {weight.min():.3g}")
            return np.sqrt(weight.ravel())

        yield from layer(f"conv{i}", (source,), (sizes.channels, inputs, sizes.kernel, sizes.kernel))
        yield Rule(f"root_weight{i}", ((f"lin{i}.model.1.weight", (1, sizes.channels, 1, 1)),), root)
        inputs = sizes.channels
