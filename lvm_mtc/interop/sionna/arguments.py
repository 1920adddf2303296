"""What the channels have in common: their arguments, checked and brought into the shapes that cross the border."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from lvm_mtc.phy.numerics import align, known, require_at_least, require_count


class Draw(NamedTuple):
    """The static part of a draw; hashable, so that what is compiled for it can be kept.

    Attributes:
        num_links: Independent channels of one key.
        precision: ``"single"`` or ``"double"``, Sionna's words.
    """

    num_links: int
    num_times: int
    num_rx_ant: int
    num_tx_ant: int
    precision: str

    @property
    def real(self) -> np.dtype:
        """Real dtype of that precision."""
        return np.dtype(np.float64 if self.precision == "double" else np.float32)


def precision_of(dtype: DTypeLike) -> str:
    """Sionna's word for the precision of a complex dtype, as JAX would keep it."""
    if not jnp.issubdtype(dtype, jnp.complexfloating):
        raise ValueError(f"dtype of a channel must be complex, got {jnp.dtype(dtype)}")
    return "double" if jax.dtypes.canonicalize_dtype(dtype) == np.complex128 else "single"


def describe(
    batch_shape: tuple[int, ...], times: ArrayLike | None, num_rx_ant: int, num_tx_ant: int, dtype: DTypeLike
) -> Draw:
    """The static part of a draw, checked; ``times`` is None for a channel that stands still."""
    require_count("num_rx_ant", num_rx_ant)
    require_count("num_tx_ant", num_tx_ant)
    num_times = 1 if times is None else spacing(times)[0]
    return Draw(math.prod(batch_shape), num_times, int(num_rx_ant), int(num_tx_ant), precision_of(dtype))


def spacing(times: ArrayLike) -> tuple[int, ArrayLike]:
    """Number of samples and their distance in seconds (0 for a single one); Sionna samples at equal distances.

    Raises:
        ValueError: if ``times`` is not one axis, or ``known`` and not equally spaced.
    """
    if np.ndim(times) != 1 or np.size(times) == 0:
        raise ValueError(f"times must be [num_times], got shape {np.shape(times)}")
    num_times = np.shape(times)[0]
    if num_times == 1:
        return 1, 0.0
    if (values := known(times)) is not None:
        steps = np.diff(values.astype(np.float64))
        if not (steps[0] > 0 and np.all(np.abs(steps - steps[0]) <= 1e-6 * np.max(np.abs(times)) + 1e-9 * steps[0])):
            raise ValueError(f"times must ascend in equal steps for a channel of Sionna, got steps {steps}")
    return num_times, (times[-1] - times[0]) / (num_times - 1)


def turns_per_sample(max_doppler: ArrayLike, times: ArrayLike, batch_shape: tuple[int, ...], draw: Draw) -> jax.Array:
    """Largest Doppler shift times the distance of two samples, ``[1, num_links]``."""
    require_at_least("max_doppler", max_doppler, 0.0)
    _, step = spacing(times)
    doppler = jnp.broadcast_to(align("max_doppler", max_doppler, batch_shape, 0, draw.real), batch_shape)
    return doppler.reshape(1, -1) * jnp.asarray(step, draw.real)


def require_carrier(carrier_frequency: float) -> float:
    """The carrier frequency as a Python number, which these models need while they are built."""
    if isinstance(carrier_frequency, jax.core.Tracer):
        raise ValueError("carrier_frequency of this model must be a Python number, got a traced array")
    require_at_least("carrier_frequency", carrier_frequency, 0.0, strict=True)
    return float(carrier_frequency)
