"""Weights in the layout of the published YOLO11 state dict, as parameters of FlashSAM.

Only names, shapes and numbers matter here; what is safe to read from a file is decided by interop/tensor_files.py.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.interop.rules import Rule, as_kernel, converted
from lvm_mtc.interop.tensor_files import Source, open_tensors
from lvm_mtc.models.detection import NUM_BINS, STRIDES
from lvm_mtc.models.flashsam import FlashSAM
from lvm_mtc.models.weights import WeightsError, flatten_params

# Our name of a stage -> its index in the published list of layers (upsampling and joining count, too).
_LAYERS = {
    "down2": 0, "down4": 1, "stage4": 2, "down8": 3, "stage8": 4, "down16": 5, "stage16": 6, "down32": 7, "stage32": 8,
    "pyramid": 9, "attention": 10, "up16": 13, "out8": 16, "neck_down16": 17, "out16": 19, "neck_down32": 20,
    "out32": 22,
}  # fmt: skip
_HEAD = 23

# Our name within a stage -> the published one; what is not here keeps its name.
_PARTS = {
    "conv1": "cv1", "conv2": "cv2", "split": "cv1", "reduce": "cv1", "inner": "cv1", "bypass": "cv2", "merge": "cv2",
    "fuse": "cv3", "attention": "attn", "position": "pe", "expand": "ffn.0", "contract": "ffn.1", "norm": "bn",
    "kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var",
}  # fmt: skip
_HEAD_PARTS = {
    "box1": "cv2.{}.0", "box2": "cv2.{}.1", "box_logits": "cv2.{}.2", "class1_depthwise": "cv3.{}.0.0",
    "class1_pointwise": "cv3.{}.0.1", "class2_depthwise": "cv3.{}.1.0", "class2_pointwise": "cv3.{}.1.1",
    "class_logits": "cv3.{}.2",
}  # fmt: skip

_BINS_NAME = f"model.{_HEAD}.dfl.conv.weight"


def published_name(path: str) -> str:
    """Published name of one of FlashSAM's tensors.

    Args:
        path: Its name here, ``"stage4/block0/conv1/norm/mean"``, without the collection.

    Returns:
        For this example ``"model.2.m.0.cv1.bn.running_mean"``.

    Raises:
        ValueError: if there is no such stage.
    """
    stage, *parts = path.split("/")
    if stage in _LAYERS:
        names = [f"model.{_LAYERS[stage]}"]
    elif stage.removeprefix("head") in map(str, STRIDES):
        scale = STRIDES.index(int(stage.removeprefix("head")))
        names = [f"model.{_HEAD}", _HEAD_PARTS[parts.pop(0)].format(scale)]
    else:
        raise ValueError(f"path {path!r} does not begin with a stage of FlashSAM")
    for part in parts:
        is_block = part.startswith("block")
        names.append(f"m.{part.removeprefix('block')}" if is_block else _PARTS.get(part, part))
    return ".".join(names)


def import_flashsam(source: Source, variant: str = "n", num_classes: int = 80) -> tuple[dict[str, Any], dict[str, Any]]:
    """FlashSAM's variables from the published layout; source and errors: ``tensor_files.open_tensors``.

    The step counters of the norms are left aside, as are the fixed weights of the distribution's bins, which are
    constants here (if they are there, they must be 0 to 15).

    Args:
        source: With the names ``"model.0.conv.weight"`` and so on.
        variant: A name in ``FLASHSAM_VARIANTS``.

    Returns:
        params: Parameters, nested dictionaries of float32 arrays.
        batch_stats: Running statistics of the norms, likewise.

    Raises:
        WeightsError: listing all missing, superfluous and misshapen tensors, or all that are not of finite numbers, in
            one line.
    """
    title = f"weights for FlashSAM (variant {variant!r}, num_classes {num_classes})"
    tensors, name = open_tensors(source, ("model.0.conv.weight",), kind=title)
    bins = tensors.pop(_BINS_NAME, None)
    picture = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    reference = flatten_params(jax.eval_shape(FlashSAM(variant, num_classes).init, jax.random.key(0), picture))
    rules = []
    for path, leaf in reference.items():
        shape = tuple(leaf.shape[i] for i in (3, 2, 0, 1)) if leaf.ndim == 4 else leaf.shape
        rules.append(Rule(path, ((published_name(path.partition("/")[2]), shape),), as_kernel))
    variables = converted(tensors, rules, name=name)
    if bins is not None and not np.array_equal(np.ravel(bins), np.arange(NUM_BINS)):
        raise WeightsError(f"{name}: {_BINS_NAME} must hold 0 to {NUM_BINS - 1}")
    return variables["params"], variables["batch_stats"]
