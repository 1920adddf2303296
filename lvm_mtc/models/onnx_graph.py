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

from lvm_mtc.models.maps import convolution, shifted_products, upsample


class Node(NamedTuple):
    """One operation.

    Attributes:
        op: A key of :data:`OPERATIONS`.
        inputs: Names of the values that it reads, arrays of the graph among them.
        numbers: What else it needs, by name, such as ``stride``.
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
    """The values of the wanted names.

    Args:
        images: ``[batch, height, width, channels]``, scaled as the network expects.
        arrays: Weights in the place of the graph's own, for example where they are arguments of a compiled function.

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
    """The first node that reads an array of this name; ValueError if none does."""
    for node in graph.nodes:
        if array in node.inputs:
            return node
    raise ValueError(f"the graph has no operation that reads {array!r}")


def _convolution(node: Node, operands: list) -> jax.Array:
    x, kernel, bias = operands
    stride, padding = node.numbers["stride"], node.numbers["padding"]
    if kernel.ndim == 3:
        x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
        x = sum(shifted_products(x, kernel, stride), 0.0)
    else:
        x = convolution(x, kernel, stride, padding)
    return x + bias.reshape(1, 1, 1, -1)


def _max_pool(node: Node, operands: list) -> jax.Array:
    (x,) = operands
    side, stride, padding = (node.numbers[name] for name in ("side", "stride", "padding"))
    pads = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, side, side, 1), (1, stride, stride, 1), pads)


def _slice(node: Node, operands: list) -> jax.Array:
    part = [slice(None)] * 4
    part[node.numbers["axis"]] = slice(*(node.numbers[name] for name in ("start", "stop", "step")))
    return operands[0][tuple(part)]


OPERATIONS: dict[str, Callable[[Node, list], jax.Array]] = {
    "Add": lambda node, operands: operands[0] + operands[1],
    "Concat": lambda node, operands: jnp.concatenate(operands, axis=-1),
    "Conv": _convolution,
    "MaxPool": _max_pool,
    "Mul": lambda node, operands: operands[0] * operands[1],
    "Relu": lambda node, operands: jax.nn.relu(operands[0]),
    "Resize": lambda node, operands: upsample(operands[0], node.numbers["factor"]),
    "Sigmoid": lambda node, operands: jax.nn.sigmoid(operands[0]),
    "Slice": _slice,
}
"""What can be evaluated, under ONNX's names."""
