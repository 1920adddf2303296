"""Reads ONNX files of convolutional networks (extra ``detection``)."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lvm_mtc.models.onnx_graph import OPERATIONS, Node, OnnxGraph

# Axis of ``[batch, channels, height, width]`` -> axis of ``[batch, height, width, channels]``.
_AXES = (0, 3, 1, 2)


class OnnxFileError(ValueError):
    """An ONNX file that cannot be used. The message is one line: the file and the reason."""


def read_onnx(path: str | Path) -> OnnxGraph:
    """Reads a network of one picture input, up to the first operations that :data:`OPERATIONS` lacks.

    What lies behind such an operation (a reshape at the end, say) is left out; whoever wants a value from there is
    told so by :func:`lvm_mtc.models.onnx_graph.evaluate`.

    Raises:
        FileNotFoundError: if there is no such file.
        OnnxFileError: if the package ``onnx`` is missing, the file cannot be read, or an operation has a form that is
            not supported, such as a grouped convolution.
    """
    path = Path(path)
    try:
        import onnx
    except ImportError as error:
        raise OnnxFileError(f"{path}: reading it needs the package onnx; install the extra: detection") from error
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
        return _converted(model.graph, str(path))
    except OnnxFileError:
        raise
    except Exception as error:  # A damaged file raises whatever its parser stumbles over.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise OnnxFileError(f"{path}: is no whole ONNX file ({reason})") from error


def _converted(graph: Any, name: str) -> OnnxGraph:
    import onnx

    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in tensors]
    if len(inputs) != 1:
        raise OnnxFileError(f"{name}: has the inputs {', '.join(inputs) or 'none'}; expected one, the picture")
    known, nodes, arrays = {inputs[0]}, [], {}
    for given in graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in given.attribute}
        if given.op_type == "Constant" and "value" in attributes:
            tensors[given.output[0]] = onnx.numpy_helper.to_array(attributes["value"])
            continue
        # Empty names stand for inputs that are left out.
        values = tuple(i for i in given.input if i and i not in tensors)
        constants = [tensors[i] for i in given.input if i in tensors]
        if given.op_type not in OPERATIONS or not known.issuperset(values) or not values:
            continue
        node = f"{name}: {given.op_type} {given.output[0]!r}"
        if given.op_type in _NUMBERS:
            numbers = _NUMBERS[given.op_type](node, attributes, constants)
        else:  # arithmetic with a constant is not needed by any network so far
            numbers = None if constants else {}
        if numbers is None:
            continue
        names = values
        if given.op_type == "Conv":
            names = tuple(given.input) if len(given.input) == 3 else (*given.input, f"{given.output[0]}.bias")
            arrays |= dict(zip(names[1:], _kernel_and_bias(node, attributes, constants), strict=True))
        nodes.append(Node(given.op_type, names, given.output[0], numbers))
        known.add(given.output[0])
    return OnnxGraph(tuple(nodes), arrays, inputs[0])


def _kernel_and_bias(node: str, attributes: Mapping[str, Any], constants: list) -> tuple[np.ndarray, np.ndarray]:
    kernel = np.asarray(constants[0], np.float32)
    bias = constants[1] if len(constants) > 1 else np.zeros(kernel.shape[0])
    groups = attributes.get("group", 1)
    if groups == 1:
        kernel = kernel.transpose(2, 3, 1, 0)
    elif kernel.shape[:2] == (groups, 1):
        kernel = kernel[:, 0].transpose(1, 2, 0)
    else:
        raise OnnxFileError(f"{node}: has {groups} groups for a kernel {kernel.shape}; expected 1, or one per channel")
    return np.ascontiguousarray(kernel), np.asarray(bias, np.float32)


def _one(node: str, name: str, numbers: Any) -> int:
    """The number that all of ``numbers`` are."""
    if len(set(numbers)) != 1:
        raise OnnxFileError(f"{node}: {name} is {list(numbers)}; expected one number for all sides")
    return int(numbers[0])


def _window(node: str, attributes: Mapping[str, Any]) -> dict[str, int]:
    if any(number != 1 for number in attributes.get("dilations", ())) or attributes.get("ceil_mode", 0):
        raise OnnxFileError(f"{node}: is dilated or rounds its size up, which is not supported")
    if attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise OnnxFileError(f"{node}: auto_pad is {attributes['auto_pad'].decode()}; expected pads in numbers")
    return {
        "stride": _one(node, "strides", attributes.get("strides", (1, 1))),
        "padding": _one(node, "pads", attributes.get("pads", (0, 0, 0, 0))),
    }


def _convolution(node: str, attributes: Mapping[str, Any], constants: list) -> dict[str, int]:
    if not constants or constants[0].ndim != 4:
        raise OnnxFileError(f"{node}: its kernel is no array of four axes in the file")
    return _window(node, attributes)


def _resize(node: str, attributes: Mapping[str, Any], constants: list) -> dict[str, int]:
    scales = next((c for c in constants if c.size == 4), None)
    if attributes.get("mode", b"nearest") != b"nearest" or scales is None or not np.all(scales == np.round(scales)):
        raise OnnxFileError(f"{node}: is no enlargement to the nearest by a whole factor")
    return {"factor": _one(node, "scales", scales[2:])}


def _slice(node: str, attributes: Mapping[str, Any], constants: list) -> dict[str, int]:
    if len(constants) != 4 or any(c.size != 1 for c in constants):
        raise OnnxFileError(f"{node}: takes no part along one axis with a step")
    start, stop, axis, step = (int(c.item()) for c in constants)
    return {"axis": _AXES[axis], "start": start, "stop": stop, "step": step}


# What an operation needs besides its inputs; None where that cannot be evaluated.
_NUMBERS: dict[str, Callable[[str, Mapping[str, Any], list], dict[str, int] | None]] = {
    "Concat": lambda node, attributes, constants: {} if attributes["axis"] == 1 else None,
    "Conv": _convolution,
    "MaxPool": lambda node, attributes, constants: {
        "side": _one(node, "kernel_shape", attributes["kernel_shape"]),
        **_window(node, attributes),
    },
    "Resize": _resize,
    "Slice": _slice,
}
