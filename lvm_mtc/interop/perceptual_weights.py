"""Weights of the shift-tolerant perceptual distance (ST-LPIPS, AlexNet) under PyTorch's names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lvm_mtc.interop.tensor_files import read_tensors
from lvm_mtc.models.perceptual import LAYERS, PIXEL_SCALE, PIXEL_SHIFT
from lvm_mtc.models.weights import WeightsError, check_params, unflatten_params

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


def load_perceptual(path: str | Path) -> dict[str, Any]:
    """Reads the weights of the perceptual distance from a file.

    Args:
        path: A file that ``interop.tensor_files.read_tensors`` can read, with the names of ``stlpips_pytorch``.

    Returns:
        Parameters of ``models.perceptual.PerceptualNet``.

    Raises:
        FileNotFoundError: if there is no such file.
        TensorFileError: if it cannot be read.
        WeightsError: as ``perceptual_params``.
    """
    return perceptual_params(read_tensors(path), name=str(path))


def perceptual_params(tensors: Mapping[str, np.ndarray], *, name: str = "the distance's tensors") -> dict[str, Any]:
    """Flax parameters of the network.

    Args:
        tensors: Arrays by PyTorch's names.
        name: What to call them in a message.

    Returns:
        Nested dictionaries of float32 arrays.

    Raises:
        WeightsError: listing all missing, superfluous and misshapen tensors; or if a layer's weight is negative, or a
            filter or a normalisation is not the network's.
    """
    shapes = {key: value.shape for key, value in _CONSTANTS.items()}
    inputs = 3
    for i, (layer, source) in enumerate(zip(LAYERS, _CONVOLUTIONS, strict=True)):
        shapes[f"{source}.weight"] = (layer.channels, inputs, layer.kernel, layer.kernel)
        shapes[f"{source}.bias"] = (layer.channels,)
        shapes[f"lin{i}.model.1.weight"] = (1, layer.channels, 1, 1)
        inputs = layer.channels
    # The list of the layers' weights is stored a second time by some releases.
    given = {key: value for key, value in tensors.items() if not key.startswith("lins.")}
    check_params(given, {key: jax.ShapeDtypeStruct(shape, np.float32) for key, shape in shapes.items()}, name=name)
    for key, value in _CONSTANTS.items():
        if not np.allclose(np.asarray(tensors[key], np.float64), value, rtol=1e-3):  # half precision
            raise WeightsError(f"{name}: {key} is not that of the shift-tolerant AlexNet")
    flat = {}
    for i, source in enumerate(_CONVOLUTIONS):
        kernel = np.asarray(tensors[f"{source}.weight"], np.float32)
        flat[f"conv{i}/kernel"] = np.ascontiguousarray(kernel.transpose(2, 3, 1, 0))
        flat[f"conv{i}/bias"] = np.asarray(tensors[f"{source}.bias"], np.float32)
        weight = np.asarray(tensors[f"lin{i}.model.1.weight"], np.float64).ravel()
        if not (weight >= 0).all():
            raise WeightsError(f"{name}: lin{i}.model.1.weight must be >= 0, its least is {weight.min():.3g}")
        flat[f"root_weight{i}"] = np.sqrt(weight).astype(np.float32)
    return unflatten_params(flat)
