"""Real features to complex symbols, power normalisation, and the layout of a token's symbols on slots and streams."""

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.phy.numerics import abs2, ceil_div, real_dtype, require_complex, require_count


def features_to_symbols(features: jax.Array) -> jax.Array:
    """Pair real features up into complex symbols: even index = real part, odd index = imaginary part.

    Args:
        features: Real features, ``[..., 2 * num_symbols]``.

    Returns:
        Complex symbols, ``[..., num_symbols]``.

    Raises:
        ValueError: if the last axis is odd or the features are complex.
    """
    if features.ndim == 0 or features.shape[-1] % 2 or jnp.issubdtype(features.dtype, jnp.complexfloating):
        raise ValueError(f"features must be real with an even last axis, got {features.dtype} {features.shape}")
    pairs = features.reshape(*features.shape[:-1], features.shape[-1] // 2, 2)
    return jax.lax.complex(pairs[..., 0], pairs[..., 1])


def symbols_to_features(symbols: jax.Array) -> jax.Array:
    """Inverse of :func:`features_to_symbols`.

    Args:
        symbols: Complex symbols, ``[..., num_symbols]``.

    Returns:
        Real features, ``[..., 2 * num_symbols]``.

    Raises:
        ValueError: if the symbols are not complex.
    """
    require_complex("symbols", symbols)
    pairs = jnp.stack([jnp.real(symbols), jnp.imag(symbols)], axis=-1)
    return pairs.reshape(*symbols.shape[:-1], 2 * symbols.shape[-1])


def normalize_power(x: jax.Array, active: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
    """Scale symbols to average power 1 over the active tokens of each leading index.

    ``x_normalised = x * gain`` with ``gain = 1 / sqrt(mean |x|^2)``, the mean over the active symbols only (Eq. 3 of
    LVM-MTC, per picture and user, never over the batch). Where nothing is active or every active symbol is zero, the
    gain is 1 and its gradient 0.

    Args:
        x: Complex symbols, ``[..., num_tokens, num_symbols]``.
        active: Boolean, ``[..., num_tokens]``: tokens that are sent. None: all of them.

    Returns:
        x_normalised: Symbols with average power 1, zero where inactive, ``[..., num_tokens, num_symbols]``.
        gain: The amplitude factor, linear, real, ``[...]``.

    Raises:
        ValueError: if ``x`` is not complex, has fewer than two axes, or ``active`` does not match it.
    """
    require_complex("x", x)
    if x.ndim < 2:
        raise ValueError(f"x must be [..., num_tokens, num_symbols], got shape {x.shape}")
    if active is None:
        count = jnp.asarray(x.shape[-2] * x.shape[-1], real_dtype(x))
    else:
        if active.shape != x.shape[:-1] or active.dtype != jnp.bool_:
            raise ValueError(
                f"active must be boolean with the shape {x.shape[:-1]} of x {x.shape} without its last axis, "
                f"got {active.dtype} {active.shape}"
            )
        x = jnp.where(active[..., None], x, jnp.zeros_like(x))
        count = jnp.sum(active, axis=-1).astype(real_dtype(x)) * x.shape[-1]
    # The peak is divided out first, so that squares neither overflow nor underflow. The result does not depend on it.
    peak = jnp.maximum(jnp.abs(jnp.real(x)), jnp.abs(jnp.imag(x))).max(axis=(-2, -1), initial=0)
    peak = jax.lax.stop_gradient(peak)
    nonzero = peak > jnp.finfo(peak.dtype).tiny
    scale = 1 / jnp.where(nonzero, peak, 1)
    energy = jnp.sum(abs2(x * scale[..., None, None].astype(x.dtype)), axis=(-2, -1))
    gain = jnp.where(nonzero, jnp.sqrt(count / jnp.where(nonzero, energy, 1)) * scale, 1)
    return x * gain[..., None, None].astype(x.dtype), gain


def slots_per_token(num_symbols: int, num_tx_ant: int) -> int:
    """Whole slots that one token fills: ``ceil(num_symbols / num_tx_ant)``.

    Args:
        num_symbols: Complex symbols per token.
        num_tx_ant: Streams of a slot.

    Returns:
        The number of slots.

    Raises:
        ValueError: if one of the two is not an integer >= 1.
    """
    require_count("num_symbols", num_symbols)
    require_count("num_tx_ant", num_tx_ant)
    return ceil_div(num_symbols, num_tx_ant)


def _stream_order(num_tokens: int, num_tx_ant: int, sign: int) -> np.ndarray:
    """``[num_tokens, 1, num_tx_ant]``: the index along the stream axis that each place reads from."""
    return ((np.arange(num_tx_ant)[None, :] + sign * np.arange(num_tokens)[:, None]) % num_tx_ant)[:, None, :]


def _take(array: jax.Array, order: np.ndarray) -> jax.Array:
    return jnp.take_along_axis(array, order.reshape((1,) * (array.ndim - 3) + order.shape), axis=-1)


def tokens_to_slots(x: jax.Array, num_tx_ant: int) -> jax.Array:
    """Lay the symbols of tokens out on slots and streams.

    Symbol c of token i goes into slot ``c // num_tx_ant`` of that token, on stream ``(c + i) mod num_tx_ant``, so that
    no symbol position is tied to one antenna. Places left over in a token's last slot hold zeros.

    Args:
        x: Symbols (or real or boolean companions of them), ``[..., num_tokens, num_symbols]``.
        num_tx_ant: Streams of a slot.

    Returns:
        ``[..., num_tokens, slots_per_token, num_tx_ant]``, same dtype.

    Raises:
        ValueError: if ``x`` has fewer than two axes or ``num_tx_ant`` is not an integer >= 1.
    """
    if x.ndim < 2:
        raise ValueError(f"x must be [..., num_tokens, num_symbols], got shape {x.shape}")
    num_tokens, num_symbols = x.shape[-2:]
    slots = slots_per_token(num_symbols, num_tx_ant)
    padding = [(0, 0)] * (x.ndim - 1) + [(0, slots * num_tx_ant - num_symbols)]
    grid = jnp.pad(x, padding).reshape(*x.shape[:-1], slots, num_tx_ant)
    return _take(grid, _stream_order(num_tokens, num_tx_ant, -1))


def slots_to_tokens(s: jax.Array, num_symbols: int) -> jax.Array:
    """Inverse of :func:`tokens_to_slots`; works for symbols, for their ``no_eff`` and for masks.

    Args:
        s: ``[..., num_tokens, slots_per_token, num_tx_ant]``, any dtype.
        num_symbols: Complex symbols per token; the pads behind them are dropped.

    Returns:
        ``[..., num_tokens, num_symbols]``, same dtype.

    Raises:
        ValueError: if the slot axis is not what ``num_symbols`` needs.
    """
    if s.ndim < 3 or s.shape[-2] != slots_per_token(num_symbols, s.shape[-1]):
        raise ValueError(
            f"s must be [..., num_tokens, slots_per_token, num_tx_ant] for num_symbols={num_symbols}, got {s.shape}"
        )
    num_tokens, slots, num_tx_ant = s.shape[-3:]
    grid = _take(s, _stream_order(num_tokens, num_tx_ant, 1))
    return grid.reshape(*s.shape[:-2], slots * num_tx_ant)[..., :num_symbols]
