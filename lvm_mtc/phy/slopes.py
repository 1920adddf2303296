"""Slopes at a variance of 0, where those of single realisations are infinite and that of their mean is not."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc.phy.numerics import require_at_least


def slope_at_zero(
    loss: Callable[[Any, jax.Array], jax.Array], draws: Any, of: Sequence[str] = ("csi",), *, step: float = 1e-5
) -> jax.Array:
    """Right-hand derivative at 0, with respect to a variance s, of the mean of a loss over its draws.

    A draw w enters as sqrt(s) w: at s = 0 the slope of a realisation is infinite, with a random sign, and ``jax.grad``
    gives NaN. As w and -w are equally likely, the mean over the draws is that over both, in which the infinite terms
    cancel: what is left is ``1/2 w^H f'' w`` and what the loss has of s itself. It is taken at ``step``, where it
    differs from that at 0 by the order of ``step``.

    Args:
        loss: Of draws and s to a real scalar, such as the mean error of ``broadcast(None, x, no=no, csi_error_var=s,
            draws=draws)``.
        draws: A named tuple of draws of unit variance, as of :func:`draw_link`.
        of: Its fields that s scales: ``("csi",)`` for ``csi_error_var``, ``("noise",)`` for ``no``, and with
            pilot-based CSI ``("noise", "csi")``.
        step: Where both slopes are taken, linear, > 0.

    Returns:
        Scalar.

    Raises:
        ValueError: if the draws have no such field, or ``step`` is not > 0.
    """
    require_at_least("step", step, 0.0, strict=True)
    known = getattr(draws, "_fields", ())
    for name in of:
        if name not in known or getattr(draws, name) is None:
            raise ValueError(f"the draws have no {name!r}; known: {', '.join(known)}")
    mirrored = draws._replace(**{name: -getattr(draws, name) for name in of})
    slope = jax.grad(loss, argnums=1)
    return (slope(draws, jnp.float32(step)) + slope(mirrored, jnp.float32(step))) / 2
