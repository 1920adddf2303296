"""Weights of EfficientNet-Lite0 under PyTorch's names, with batch normalisation folded into the convolutions."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from lvm_mtc.interop.tensor_files import read_tensors
from lvm_mtc.models.image_classifier import HEAD_CHANNELS, NUM_CLASSES, STEM_CHANNELS, lite0_blocks
from lvm_mtc.models.weights import check_params, unflatten_params

BATCH_NORM_EPSILON = 1e-3

_NORM_PARTS = ("weight", "bias", "running_mean", "running_var")


class _Layer(NamedTuple):
    """A convolution ``[outputs, inputs, kernel, kernel]``, the normalisation behind it, and their place in Flax."""

    target: str
    convolution: str
    norm: str
    shape: tuple[int, int, int, int]


def load_classifier(path: str | Path) -> dict[str, Any]:
    """Reads the weights of EfficientNet-Lite0 from a file.

    Args:
        path: A file that ``interop.tensor_files.read_tensors`` can read, with PyTorch's names.

    Returns:
        Parameters of ``models.image_classifier.EfficientNetLite0``.

    Raises:
        FileNotFoundError: if there is no such file.
        TensorFileError: if it cannot be read.
        WeightsError: listing all missing, superfluous and misshapen tensors.
    """
    return classifier_params(read_tensors(path), name=str(path))


def classifier_params(tensors: Mapping[str, np.ndarray], *, name: str = "the classifier's tensors") -> dict[str, Any]:
    """Flax parameters of the folded network: kernel * s and bias - mean * s with s = scale / sqrt(variance + 1e-3).

    Args:
        tensors: Arrays by PyTorch's names.
        name: What to call them in a message.

    Returns:
        Nested dictionaries of float32 arrays.

    Raises:
        WeightsError: listing all missing, superfluous and misshapen tensors.
    """
    layers = list(_layers())
    shapes = {"_fc.weight": (NUM_CLASSES, HEAD_CHANNELS), "_fc.bias": (NUM_CLASSES,)}
    for layer in layers:
        shapes[f"{layer.convolution}.weight"] = layer.shape
        shapes |= {f"{layer.norm}.{part}": layer.shape[:1] for part in _NORM_PARTS}
    want = {key: jax.ShapeDtypeStruct(shape, np.float32) for key, shape in shapes.items()}
    # PyTorch counts the batches that a normalisation has seen.
    given = {key: value for key, value in tensors.items() if not key.endswith(".num_batches_tracked")}
    check_params(given, want, name=name)
    flat = {
        "classifier/kernel": np.asarray(tensors["_fc.weight"], np.float32).T,
        "classifier/bias": np.asarray(tensors["_fc.bias"], np.float32),
    }
    for layer in layers:
        weight = np.asarray(tensors[f"{layer.convolution}.weight"], np.float64)
        scale, bias, mean, var = (np.asarray(tensors[f"{layer.norm}.{part}"], np.float64) for part in _NORM_PARTS)
        factor = scale / np.sqrt(var + BATCH_NORM_EPSILON)
        kernel = (weight * factor[:, None, None, None]).transpose(2, 3, 1, 0)
        if layer.target.endswith("depthwise"):
            kernel = kernel[:, :, 0]
        elif layer.shape[2:] == (1, 1):
            kernel = kernel[0, 0]
        flat[f"{layer.target}/kernel"] = np.ascontiguousarray(kernel, np.float32)
        flat[f"{layer.target}/bias"] = (bias - mean * factor).astype(np.float32)
    return unflatten_params(flat)


def _layers() -> Iterator[_Layer]:
    yield _Layer("stem", "_conv_stem", "_bn0", (STEM_CHANNELS, 3, 3, 3))
    channels = STEM_CHANNELS
    for i, (inputs, stage) in enumerate(lite0_blocks()):
        block, inner = f"_blocks.{i}", inputs * stage.expansion
        if stage.expansion > 1:
            yield _Layer(f"block{i}/expand", f"{block}._expand_conv", f"{block}._bn0", (inner, inputs, 1, 1))
        shape = (inner, 1, stage.kernel, stage.kernel)
        yield _Layer(f"block{i}/depthwise", f"{block}._depthwise_conv", f"{block}._bn1", shape)
        yield _Layer(f"block{i}/project", f"{block}._project_conv", f"{block}._bn2", (stage.channels, inner, 1, 1))
        channels = stage.channels
    yield _Layer("head", "_conv_head", "_bn1", (HEAD_CHANNELS, channels, 1, 1))
