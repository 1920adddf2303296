"""YOLOX's heads, each on one convolution of the picture."""

import numpy as np

from lvm_mtc.models.detection import STRIDES
from lvm_mtc.models.onnx_graph import Node, OnnxGraph

FEATURES, CLASSES = 4, 3


def tiny_graph() -> OnnxGraph:
    """A graph with the names of YOLOX's own export."""
    rng, nodes, arrays = np.random.default_rng(0), [], {}

    def convolution(source, target, weight, inputs, outputs, side=1):
        arrays[weight] = rng.normal(0, 0.3 / side, (side, side, inputs, outputs)).astype(np.float32)
        arrays[f"{target}.bias"] = rng.normal(0, 0.3, outputs).astype(np.float32)
        numbers = {"stride": side, "padding": 0}
        nodes.append(Node("Conv", (source, weight, f"{target}.bias"), target, numbers))

    for scale, stride in enumerate(STRIDES):
        convolution("images", f"map{scale}", f"map{scale}.weight", 3, FEATURES, stride)
        # Pixels go up to 255.
        arrays[f"map{scale}.weight"] /= 255
        for part, outputs in (("cls", CLASSES), ("reg", 4), ("obj", 1)):
            convolution(f"map{scale}", f"{part}{scale}", f"head.{part}_preds.{scale}.weight", FEATURES, outputs)
    return OnnxGraph(tuple(nodes), arrays, "images")
