"""What public codes do between encoder and decoder, as pure functions: normalisation, fading and noise.

Own emulations from the facts that ``codes.json`` cites; nothing is taken over but the conventions. An
emulation is called with a key, real features ``[num_pictures, num_features]`` of one batch and the SNR that the code
would name, and returns an :class:`Air`; a gain with a key and symbols ``[num_pictures, num_symbols]``, which it
returns faded. Their other arguments stand in ``codes.json``, see :func:`build`. What a code measures is said by two
words: ``scope`` (a picture or a batch) and, for the noise, ``reference``.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lvm_mtc import phy


class Air(NamedTuple):
    """Complex symbols of a batch, ``[num_pictures, num_symbols]`` each: on the air, faded, and with noise."""

    sent: jax.Array
    arrived: jax.Array
    received: jax.Array


Transmit = Callable[[jax.Array, jax.Array, ArrayLike], Air]
Gain = Callable[[jax.Array, jax.Array], jax.Array]

_AXES = {"picture": 1, "batch": (0, 1)}


def _mean_power(x: jax.Array, scope: str) -> jax.Array:
    return jnp.mean(jnp.abs(x) ** 2, axis=_AXES[scope], keepdims=True)


def _halves(features: jax.Array) -> jax.Array:
    return jax.lax.complex(*jnp.split(features, 2, axis=1))


def _halves_of_batch(features: jax.Array) -> jax.Array:
    """Real parts from the first half of the pictures, imaginary parts from the second."""
    num_pictures, num_features = features.shape
    return jax.lax.complex(*features.reshape(2, num_pictures, num_features // 2))


# Real features to complex symbols.
_PAIRS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "adjacent": phy.features_to_symbols,
    "halves": _halves,
    "halves of batch": _halves_of_batch,
    "one dimension": lambda features: jax.lax.complex(features, jnp.zeros_like(features)),
    "twice": lambda features: jax.lax.complex(features, features),
}


def _normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Complex, variance 1 in each of the two dimensions."""
    return jax.lax.complex(*jax.random.normal(key, (2, *shape)))


def _gain_shape(x: jax.Array, block: str) -> tuple[int, int]:
    return {"symbol": x.shape, "picture": (x.shape[0], 1), "batch": (1, 1)}[block]


def complex_gain(key: jax.Array, x: jax.Array, *, block: str, power: float = 1.0) -> jax.Array:
    """Complex Gaussian h, E|h|^2 = ``power``, constant over a symbol, picture or batch (``block``)."""
    return jnp.sqrt(power / 2) * _normal(key, _gain_shape(x, block)) * x


def magnitude_gain(key: jax.Array, x: jax.Array, *, block: str) -> jax.Array:
    """The real magnitude of a complex Gaussian h with E|h|^2 = 1."""
    return jnp.abs(_normal(key, _gain_shape(x, block))) / jnp.sqrt(2.0) * x


def separate_gains(
    key: jax.Array, x: jax.Array, *, block: str, power: float = 1.0, magnitude: bool = False
) -> jax.Array:
    """One real gain for the real parts and another for the imaginary parts: not a complex product.

    They are Gaussian with mean square ``power`` or, with ``magnitude``, Rayleigh with mean square 1.
    """
    shape = _gain_shape(x, block)
    if magnitude:
        first, second = (jnp.abs(_normal(k, shape)) / jnp.sqrt(2.0) for k in jax.random.split(key))
    else:
        first, second = jnp.sqrt(power) * jax.random.normal(key, (2, *shape))
    return jax.lax.complex(first * jnp.real(x), second * jnp.imag(x))


def shifted_gain(key: jax.Array, x: jax.Array, *, k_factor: float) -> jax.Array:
    """One h a batch whose two parts each have mean sqrt(K/(K+1)) and variance 1/(K+1): E|h|^2 = 2, not 1."""
    mean, std = jnp.sqrt(k_factor / (k_factor + 1)), jnp.sqrt(1 / (k_factor + 1))
    return (mean * (1 + 1j) + std * _normal(key, (1, 1))) * x


def multipath_gain(key: jax.Array, x: jax.Array) -> jax.Array:
    """Frequency response of 8 taps of powers ~ exp(-tap / 4), one a picture; symbols are 64 subcarriers, in turn."""
    profile = jnp.exp(-jnp.arange(8)[None, :] / 4.0)
    taps = jnp.sqrt(profile / jnp.sum(profile) / 2) * _normal(key, (x.shape[0], 8))
    return x * jnp.tile(jnp.fft.fft(taps, 64, axis=1), (1, x.shape[1] // 64))


def _noisy(key: jax.Array, sent: jax.Array, arrived: jax.Array, variance: ArrayLike) -> Air:
    """Noise of ``variance`` in each real dimension."""
    return Air(sent, arrived, arrived + jnp.sqrt(variance) * _normal(key, sent.shape))


def channel(
    key: jax.Array, features: jax.Array, snr_db: ArrayLike, *, pair: str, scope: str, noise: float,
    power: float | None = None, reference: str = "one", gain: Gain | None = None,
) -> Air:  # fmt: skip
    """Emulation of a code that normalises, fades and adds white noise.

    Args:
        key: Of fading and noise.
        features: Of a batch.
        snr_db: The SNR that the code names, dB.
        pair: How features become symbols, a key of ``_PAIRS``.
        scope: What powers are averaged over, ``"picture"`` or ``"batch"``.
        noise: Noise variance of one real dimension times the named SNR, as a multiple of the reference.
        power: Mean square of a real feature after the normalisation. None: not normalised.
        reference: ``"one"``, or the measured mean square of a real dimension of what was ``"sent"`` or ``"arrived"``.
        gain: The fading; None for AWGN.
    """
    gain_key, noise_key = jax.random.split(key)
    if power is not None:
        features = features * jnp.sqrt(power / _mean_power(features, scope))
    sent = _PAIRS[pair](features)
    arrived = sent if gain is None else gain(gain_key, sent)
    signal = {"sent": sent, "arrived": arrived}.get(reference)
    measured = 1.0 if signal is None else _mean_power(signal, scope) / 2
    return _noisy(noise_key, sent, arrived, noise * measured / phy.db_to_linear(snr_db))


def only_scaled_down(key: jax.Array, features: jax.Array, snr_db: ArrayLike, *, gain: Gain | None = None) -> Air:
    """DeepSC: a batch whose real features have an r.m.s. above 1 is scaled to 1, any other is sent as it is."""
    features = features / jnp.maximum(jnp.sqrt(_mean_power(features, "batch")), 1.0)
    return channel(key, features, snr_db, pair="adjacent", scope="batch", noise=0.5, gain=gain)


def noise_by_energy(key: jax.Array, features: jax.Array, snr_db: ArrayLike, *, gain: Gain) -> Air:
    """Power 1 a symbol, and noise multiplied by the norm of all that a picture sends: it grows with the length."""
    air = channel(key, features, snr_db, pair="adjacent", scope="picture", power=0.5, noise=0.5, gain=gain)
    norm = jnp.sqrt(jnp.sum(jnp.abs(air.sent) ** 2, axis=1, keepdims=True))
    return air._replace(received=air.arrived + (air.received - air.arrived) * norm)


def power_summed_over_batch(key: jax.Array, features: jax.Array, snr_db: ArrayLike) -> Air:
    """Imaginary part 1; the power is a sum over the batch divided by one picture's symbols; one draw for both parts."""
    sent = jax.lax.complex(features, jnp.ones_like(features))
    total = jnp.sum(jnp.abs(sent) ** 2) / features.shape[1]
    draw = jax.random.normal(key, features.shape)
    noise = jnp.sqrt(total / phy.db_to_linear(snr_db) / 2) * jax.lax.complex(draw, draw)
    return Air(sent, sent, sent + noise)


def superposed(key: jax.Array, features: jax.Array, snr_db: ArrayLike, *, num_devices: int) -> Air:
    """Devices share the power 1 evenly and are added on the air; ``num_devices`` pictures in turn make one sum."""
    symbols = _halves(features * jnp.sqrt(0.5 / num_devices / _mean_power(features, "picture")))
    sent = jnp.sum(symbols.reshape(-1, num_devices, symbols.shape[1]), axis=1)
    return _noisy(key, sent, sent, 0.5 / phy.db_to_linear(snr_db))


_BY_NAME = {function.__name__: function for function in (
    channel, only_scaled_down, noise_by_energy, power_summed_over_batch, superposed,
    complex_gain, magnitude_gain, separate_gains, shifted_gain, multipath_gain)}  # fmt: skip


def build(spec: Mapping[str, Mapping[str, Any]]) -> Callable:
    """An emulation or a gain from data: its function's name to its arguments, of which a gain is data of its own."""
    ((name, fields),) = spec.items()
    fields = {key: build(value) if isinstance(value, Mapping) else value for key, value in fields.items()}
    return functools.partial(_BY_NAME[name], **fields)
