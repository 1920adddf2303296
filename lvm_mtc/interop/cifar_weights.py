"""Weights of CIFAR-10's ResNets under PyTorch's names, with batch normalisation folded into the convolutions."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lvm_mtc.interop.tensor_files import read_tensors
from lvm_mtc.models.cifar_resnet import NUM_CLASSES, STAGE_CHANNELS, resnet_blocks
from lvm_mtc.models.weights import check_params, unflatten_params

BATCH_NORM_EPSILON = 1e-5

_NORM_PARTS = ("weight", "bias", "running_mean", "running_var")


def load_cifar_resnet(path: str | Path, depth: int = 20) -> dict[str, Any]:
    """Reads the weights of a ResNet for CIFAR-10 from a file.

    Args:
        path: A file that ``interop.tensor_files.read_tensors`` can read, with the names of akamaster's
            ``pytorch_resnet_cifar10``.
        depth: Layers with weights, 20 or 56 say.

    Returns:
        Parameters of ``models.cifar_resnet.CifarResNet``.

    Raises:
        FileNotFoundError: if there is no such file.
        TensorFileError: if it cannot be read.
        WeightsError: listing all missing, superfluous and misshapen tensors.
        ValueError: if ``depth`` is none of such a network.
    """
    return cifar_resnet_params(read_tensors(path), depth, name=str(path))


def cifar_resnet_params(
    tensors: Mapping[str, np.ndarray], depth: int = 20, *, name: str = "the classifier's tensors"
) -> dict[str, Any]:
    """Flax parameters of the folded network: kernel * s and bias - mean * s with s = scale / sqrt(variance + 1e-5).

    Args:
        tensors: Arrays by PyTorch's names; the prefix ``module.`` of data-parallel training may stand before them.
        depth: Layers with weights.
        name: What to call the tensors in a message.

    Returns:
        Nested dictionaries of float32 arrays.

    Raises:
        WeightsError: listing all missing, superfluous and misshapen tensors.
        ValueError: if ``depth`` is none of such a network.
    """
    # PyTorch counts the batches that a normalisation has seen.
    given = {
        key.removeprefix("module."): value
        for key, value in tensors.items()
        if not key.endswith(".num_batches_tracked")
    }
    shapes = {"linear.weight": (NUM_CLASSES, STAGE_CHANNELS[-1]), "linear.bias": (NUM_CLASSES,)}
    for _, convolution, norm, shape in _layers(depth):
        shapes[f"{convolution}.weight"] = shape
        shapes |= {f"{norm}.{part}": shape[:1] for part in _NORM_PARTS}
    check_params(given, {key: jax.ShapeDtypeStruct(shape, np.float32) for key, shape in shapes.items()}, name=name)
    flat = {
        "classifier/kernel": np.asarray(given["linear.weight"], np.float32).T,
        "classifier/bias": np.asarray(given["linear.bias"], np.float32),
    }
    for target, convolution, norm, _ in _layers(depth):
        weight = np.asarray(given[f"{convolution}.weight"], np.float64)
        scale, bias, mean, var = (np.asarray(given[f"{norm}.{part}"], np.float64) for part in _NORM_PARTS)
        factor = scale / np.sqrt(var + BATCH_NORM_EPSILON)
        kernel = (weight * factor[:, None, None, None]).transpose(2, 3, 1, 0)
        flat[f"{target}/kernel"] = np.ascontiguousarray(kernel, np.float32)
        flat[f"{target}/bias"] = (bias - mean * factor).astype(np.float32)
    return unflatten_params(flat)


def _layers(depth: int) -> Iterator[tuple[str, str, str, tuple[int, int, int, int]]]:
    """Place in Flax, convolution, the normalisation behind it, and the convolution's shape."""
    yield "stem", "conv1", "bn1", (STAGE_CHANNELS[0], 3, 3, 3)
    for stage, place, inputs, outputs in resnet_blocks(depth):
        target, source = f"stage{stage}_block{place}", f"layer{stage + 1}.{place}"
        yield f"{target}/conv1", f"{source}.conv1", f"{source}.bn1", (outputs, inputs, 3, 3)
        yield f"{target}/conv2", f"{source}.conv2", f"{source}.bn2", (outputs, outputs, 3, 3)
