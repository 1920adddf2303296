"""What public codes do between encoder and decoder, as pure functions: normalisation, fading and noise.

Own emulations from the facts that ``public_conventions`` cites; nothing is taken over but the conventions. An
emulation is called with a key, real features ``[num_pictures, num_features]`` of one batch and the SNR that the code
would name, and returns an :class:`Air`. What a code measures is said by two words: ``scope`` (a picture or a batch)
and, for the noise, ``reference``.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lvm_mtc import phy


class Air(NamedTuple):
    """Complex symbols of a batch, ``[num_pictures, num_symbols]`` each, before any equaliser.

    Attributes:
        sent: As they are on the air.
        arrived: After the fading, without noise.
        received: With noise.
    """

    sent: jax.Array
    arrived: jax.Array
    received: jax.Array


Transmit = Callable[[jax.Array, jax.Array, ArrayLike], Air]
Gain = Callable[[jax.Array, jax.Array], jax.Array]

_AXES = {"picture": 1, "batch": (0, 1)}


def _mean_power(x: jax.Array, scope: str) -> jax.Array:
    return jnp.mean(jnp.abs(x) ** 2, axis=_AXES[scope], keepdims=True)


def _halves(features: jax.Array) -> jax.Array:
    real, imaginary = jnp.split(features, 2, axis=1)
    return jax.lax.complex(real, imaginary)


def _halves_of_batch(features: jax.Array) -> jax.Array:
    """Real parts from the first half of the pictures, imaginary parts from the second."""
    num_pictures, num_features = features.shape
    real, imaginary = features.reshape(2, num_pictures, num_features // 2)
    return jax.lax.complex(real, imaginary)


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
    parts = jax.random.normal(key, (2, *shape))
    return jax.lax.complex(parts[0], parts[1])


def _gain_shape(x: jax.Array, block: str) -> tuple[int, int]:
    return {"symbol": x.shape, "picture": (x.shape[0], 1), "batch": (1, 1)}[block]


def complex_gain(block: str, *, power: float = 1.0) -> Gain:
    """Complex Gaussian h, E|h|^2 = ``power``, constant over a symbol, picture or batch (``block``)."""
    return lambda key, x: jnp.sqrt(power / 2) * _normal(key, _gain_shape(x, block)) * x


def magnitude_gain(block: str) -> Gain:
    """The real magnitude of a complex Gaussian h with E|h|^2 = 1."""
    return lambda key, x: jnp.abs(_normal(key, _gain_shape(x, block))) / jnp.sqrt(2.0) * x


def separate_gains(block: str, *, power: float = 1.0, magnitude: bool = False) -> Gain:
    """One real gain for the real parts and another for the imaginary parts: not a complex product.

    Args:
        block: What they are constant over.
        power: Mean square of each, for Gaussian gains.
        magnitude: Rayleigh magnitudes of mean square 1 instead.
    """

    def apply(key: jax.Array, x: jax.Array) -> jax.Array:
        shape = _gain_shape(x, block)
        if magnitude:
            keys = jax.random.split(key)
            first, second = (jnp.abs(_normal(k, shape)) / jnp.sqrt(2.0) for k in keys)
        else:
            first, second = jnp.sqrt(power) * jax.random.normal(key, (2, *shape))
        return jax.lax.complex(first * jnp.real(x), second * jnp.imag(x))

    return apply


def shifted_gain(k_factor: float) -> Gain:
    """One h a batch whose two parts each have mean sqrt(K/(K+1)) and variance 1/(K+1): E|h|^2 = 2, not 1."""

    def apply(key: jax.Array, x: jax.Array) -> jax.Array:
        mean, std = jnp.sqrt(k_factor / (k_factor + 1)), jnp.sqrt(1 / (k_factor + 1))
        return (mean * (1 + 1j) + std * _normal(key, (1, 1))) * x

    return apply


def multipath_gain(num_taps: int = 8, decay: float = 4.0, num_subcarriers: int = 64) -> Gain:
    """Frequency response of an exponential power profile, one a picture; symbols are subcarriers, OFDM symbols in turn.

    Args:
        num_taps: Taps of the impulse response.
        decay: Of the profile exp(-tap / decay), which is scaled to sum 1.
        num_subcarriers: Divides the symbols of a picture.
    """

    def apply(key: jax.Array, x: jax.Array) -> jax.Array:
        profile = jnp.exp(-jnp.arange(num_taps)[None, :] / decay)
        taps = jnp.sqrt(profile / jnp.sum(profile) / 2) * _normal(key, (x.shape[0], num_taps))
        response = jnp.fft.fft(taps, num_subcarriers, axis=1)
        return x * jnp.tile(response, (1, x.shape[1] // num_subcarriers))

    return apply


def _noisy(key: jax.Array, sent: jax.Array, arrived: jax.Array, variance: ArrayLike) -> Air:
    """Noise of ``variance`` in each real dimension."""
    return Air(sent, arrived, arrived + jnp.sqrt(variance) * _normal(key, sent.shape))


def channel(
    pair: str, scope: str, *, noise: float, power: float | None = None, reference: str = "one", gain: Gain | None = None
) -> Transmit:
    """Emulation of a code that normalises, fades and adds white noise.

    Args:
        pair: How features become symbols.
        scope: What powers are averaged over, ``"picture"`` or ``"batch"``.
        noise: Noise variance of one real dimension times the named SNR, as a multiple of the reference.
        power: Mean square of a real feature after the normalisation. None: not normalised.
        reference: ``"one"``, or the measured mean square of a real dimension of what was ``"sent"`` or ``"arrived"``.
        gain: The fading; None for AWGN.
    """

    def transmit(key: jax.Array, features: jax.Array, snr_db: ArrayLike) -> Air:
        gain_key, noise_key = jax.random.split(key)
        if power is not None:
            features = features * jnp.sqrt(power / _mean_power(features, scope))
        sent = _PAIRS[pair](features)
        arrived = sent if gain is None else gain(gain_key, sent)
        signal = {"sent": sent, "arrived": arrived}.get(reference)
        measured = 1.0 if signal is None else _mean_power(signal, scope) / 2
        return _noisy(noise_key, sent, arrived, noise * measured / phy.db_to_linear(snr_db))

    return transmit


def only_scaled_down(gain: Gain | None = None) -> Transmit:
    """DeepSC: a batch whose real features have an r.m.s. above 1 is scaled to 1, any other is sent as it is."""
    as_it_is = channel("adjacent", "batch", noise=0.5, gain=gain)

    def transmit(key: jax.Array, features: jax.Array, snr_db: ArrayLike) -> Air:
        root = jnp.sqrt(_mean_power(features, "batch"))
        return as_it_is(key, features / jnp.maximum(root, 1.0), snr_db)

    return transmit


def noise_by_energy(gain: Gain) -> Transmit:
    """Power 1 a symbol, and noise multiplied by the norm of all that a picture sends: it grows with the length."""
    quiet = channel("adjacent", "picture", power=0.5, noise=0.5, gain=gain)

    def transmit(key: jax.Array, features: jax.Array, snr_db: ArrayLike) -> Air:
        air = quiet(key, features, snr_db)
        norm = jnp.sqrt(jnp.sum(jnp.abs(air.sent) ** 2, axis=1, keepdims=True))
        return air._replace(received=air.arrived + (air.received - air.arrived) * norm)

    return transmit


def power_summed_over_batch(key: jax.Array, features: jax.Array, snr_db: ArrayLike) -> Air:
    """Imaginary part 1; the power is a sum over the batch divided by one picture's symbols; one draw for both parts."""
    sent = jax.lax.complex(features, jnp.ones_like(features))
    total = jnp.sum(jnp.abs(sent) ** 2) / features.shape[1]
    draw = jax.random.normal(key, features.shape)
    noise = jnp.sqrt(total / phy.db_to_linear(snr_db) / 2) * jax.lax.complex(draw, draw)
    return Air(sent, sent, sent + noise)


def superposed(num_devices: int) -> Transmit:
    """Devices share the power 1 evenly and are added on the air; ``num_devices`` pictures in turn make one sum."""

    def transmit(key: jax.Array, features: jax.Array, snr_db: ArrayLike) -> Air:
        scaled = features * jnp.sqrt(0.5 / num_devices / _mean_power(features, "picture"))
        symbols = _halves(scaled)
        sent = jnp.sum(symbols.reshape(-1, num_devices, symbols.shape[1]), axis=1)
        return _noisy(key, sent, sent, 0.5 / phy.db_to_linear(snr_db))

    return transmit
