"""Floating-point operations of a program, counted from its shapes without running it."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax

from lvm_mtc.models.flashsam_blocks import depthwise_conv3x3


def count_flops(function: Callable, *args: Any, attention: bool = True) -> int:
    """Counts two operations per multiply-accumulate of every convolution and matrix product.

    This is the convention of published tables: norms, activations, poolings and additions are not counted. A depthwise
    convolution written as shifted products (``depthwise_conv3x3``) counts as the convolution that it is; its gradient
    does not.

    Args:
        *args: Of the function: arrays or ``jax.ShapeDtypeStruct``.
        attention: Count products of two computed arrays too (batched matrix products, as in attention). Tables whose
            counter only looks at layers leave them out.

    Raises:
        ValueError: if the program holds a loop whose number of turns is not known from its shapes.
    """
    return _count(jax.make_jaxpr(function)(*args).jaxpr, attention)


def _count(jaxpr: Any, attention: bool) -> int:
    total = 0
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if name == "conv_general_dilated":
            total += _convolution(equation)
        elif name == "dot_general":
            total += _product(equation, attention)
        elif name == "while":
            raise ValueError("a while loop's number of turns is not known from shapes: count its body on its own")
        elif equation.params.get("name") == depthwise_conv3x3.__name__:
            inner = equation.params["jaxpr"].jaxpr
            total += sum(2 * e.outvars[0].aval.size for e in inner.eqns if e.primitive.name == "mul")
        elif name == "cond":
            total += max(_count(branch, attention) for branch in _inner(equation.params))
        else:
            turns = equation.params["length"] if name == "scan" else 1
            total += turns * sum(_count(inner, attention) for inner in _inner(equation.params))
    return total


def _convolution(equation: Any) -> int:
    numbers = equation.params["dimension_numbers"]
    kernel = equation.invars[1].aval.shape
    out_features = kernel[numbers.rhs_spec[0]]
    return 2 * equation.outvars[0].aval.size * (math.prod(kernel) // out_features)


def _product(equation: Any, attention: bool) -> int:
    (contracted, _), (batched, _) = equation.params["dimension_numbers"]
    if batched and not attention:
        return 0
    shape = equation.invars[0].aval.shape
    return 2 * equation.outvars[0].aval.size * math.prod(shape[axis] for axis in contracted)


def _inner(params: dict[str, Any]) -> Iterator[Any]:
    """Programs inside an equation (a jit, a branch, a loop's body, a custom derivative's function)."""
    for value in params.values():
        for candidate in value if isinstance(value, (tuple, list)) else (value,):
            candidate = getattr(candidate, "jaxpr", candidate)
            if hasattr(candidate, "eqns"):
                yield candidate
