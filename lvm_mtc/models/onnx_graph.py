"""A convolutional network that came as an ONNX graph, evaluated in JAX.

Few operations, those that image networks without recurrence consist of; ``interop.onnx_file`` reads the file and
refuses all others. Maps are ``[batch, height, width, channels]`` here, whatever the file says, and pictures may have
any size that the network's strides allow. Nothing is evaluated that the wanted values do not need.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Node(NamedTuple):
    """One operation.

    Attributes:
        op: A key of :data:`OPERATIONS`.
        inputs: Names of the values that it reads, arrays of the graph among them.
        output: Name of the value that it makes.
        numbers: What else it needs, by name, such as ``strides``.
    """

    op: str
    inputs: tuple[str, ...]
    output: str
    numbers: Mapping[str, Any]


class OnnxGraph(NamedTuple):
    """A network.

    Attributes:
        nodes: In an order in which each can be evaluated.
        arrays: Weights by name: kernels ``[height, width, inputs, outputs]``, of depthwise convolutions
            ``[height, width, channels]``, biases ``[outputs]``.
        image: Name of the input.
    """

    nodes: tuple[Node, ...]
    arrays: dict[str, np.ndarray]
    image: str


def evaluate(
    graph: OnnxGraph, images: jax.Array, wanted: Iterable[str], arrays: Mapping[str, jax.Array] | None = None
) -> dict[str, jax.Array]:
    """Evaluates what is wanted.

    Args:
        graph: The network.
        images: ``[batch, height, width, channels]``, scaled as the network expects.
        wanted: Names of values.
        arrays: Weights in the place of the graph's own, for example where they are arguments of a compiled function.

    Returns:
        The values by name.

    Raises:
        ValueError: if the graph makes no value of a wanted name.
    """
    wanted, arrays = list(wanted), graph.arrays if arrays is None else arrays
    missing = set(wanted).difference((graph.image, *(node.output for node in graph.nodes)))
    if missing:
        raise ValueError(f"the graph makes no value {', '.join(map(repr, sorted(missing)))} from operations known here")
    values = {graph.image: images}
    for node in needed(graph, wanted):
        values[node.output] = OPERATIONS[node.op](node, [values.get(name, arrays.get(name)) for name in node.inputs])
    return {name: values[name] for name in wanted}


def needed(graph: OnnxGraph, wanted: Iterable[str]) -> list[Node]:
    """The nodes on which the wanted values depend, in their order."""
    names, nodes = set(wanted), []
    for node in reversed(graph.nodes):
        if node.output in names:
            names.update(node.inputs)
            nodes.append(node)
    return nodes[::-1]


def reads(graph: OnnxGraph, array: str) -> Node:
    """The node that reads an array of this name.

    Raises:
        ValueError: if none does.
    """
    for node in graph.nodes:
        if array in node.inputs:
            return node
    raise ValueError(f"the graph has no operation that reads {array!r}")


def _convolution(node: Node, operands: list) -> jax.Array:
    x, kernel, bias = operands
    stride, padding = node.numbers["stride"], node.numbers["padding"]
    if kernel.ndim == 3:
        x = _depthwise(x, kernel, stride, padding)
    else:
        dimensions = ("NHWC", "HWIO", "NHWC")
        pads = [(padding, padding)] * 2
        x = jax.lax.conv_general_dilated(x, kernel, (stride, stride), pads, dimension_numbers=dimensions)
    return x + bias.reshape(1, 1, 1, -1)


def _depthwise(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    # A sum of shifted products: many times faster on a CPU than XLA's depthwise convolution.
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    rows, columns = ((x.shape[1 + i] - kernel.shape[i]) // stride * stride + 1 for i in range(2))
    total = 0.0
    for row in range(kernel.shape[0]):
        for column in range(kernel.shape[1]):
            window = x[:, row : row + rows : stride, column : column + columns : stride]
            total = total + window * kernel[row, column].reshape(1, 1, 1, -1)
    return total


def _max_pool(node: Node, operands: list) -> jax.Array:
    (x,) = operands
    side, stride, padding = (node.numbers[name] for name in ("side", "stride", "padding"))
    pads = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, side, side, 1), (1, stride, stride, 1), pads)


def _nearest(node: Node, operands: list) -> jax.Array:
    x, factor = operands[0], node.numbers["factor"]
    batch, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (batch, height, factor, width, factor, channels))
    return x.reshape(batch, height * factor, width * factor, channels)


def _slice(node: Node, operands: list) -> jax.Array:
    part = [slice(None)] * 4
    part[node.numbers["axis"]] = slice(node.numbers["start"], node.numbers["stop"], node.numbers["step"])
    return operands[0][tuple(part)]


OPERATIONS: dict[str, Callable[[Node, list], jax.Array]] = {
    "Add": lambda node, operands: operands[0] + operands[1],
    "Concat": lambda node, operands: jnp.concatenate(operands, axis=-1),
    "Conv": _convolution,
    "MaxPool": _max_pool,
    "Mul": lambda node, operands: operands[0] * operands[1],
    "Relu": lambda node, operands: jax.nn.relu(operands[0]),
    "Resize": _nearest,
    "Sigmoid": lambda node, operands: jax.nn.sigmoid(operands[0]),
    "Slice": _slice,
}
"""What can be evaluated, under ONNX's names."""
