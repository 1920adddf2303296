"""Decibels, and what exactly is meant by "the SNR": named conventions, their inverse and their measurement.

Symbols have average power 1 per active stream. With snr linear, the noise variance per complex dimension is
``no = g / snr``, where g comes from averages over the fading and never from the realised channel:

=================  ==========================================  =====================  =======================
convention         what the ratio compares                     g under fading         g under AWGN (H = I)
=================  ==========================================  =====================  =======================
``esno``           energy of one sent symbol                   1                      1
``rx_per_antenna`` power received on one antenna               num_tx_ant             1
``received_total`` power received on all antennas in one slot  num_rx_ant num_tx_ant  num_tx_ant
``ebno``           energy of one information bit               1 / (bits_per_symbol code_rate), both
=================  ==========================================  =====================  =======================

``received_total`` is the ratio of the paper LVM-MTC. Values of two conventions do not belong on one axis.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lvm_mtc.phy.numerics import abs2, floating, require_at_least, require_count

SNR_CONVENTIONS = ("esno", "rx_per_antenna", "received_total", "ebno")
SPEED_OF_LIGHT = 299_792_458.0  # m/s


def db_to_linear(value_db: ArrayLike) -> jax.Array:
    """Power ratio of a value in dB.

    Args:
        value_db: Value, dB, any shape.

    Returns:
        ``10 ** (value_db / 10)``, linear, same shape.
    """
    return 10.0 ** (floating(value_db) / 10.0)


def linear_to_db(value: ArrayLike) -> jax.Array:
    """Value in dB of a power ratio.

    Args:
        value: Power ratio, linear, >= 0, any shape. 0 gives minus infinity.

    Returns:
        ``10 log10(value)``, dB, same shape.
    """
    return 10.0 * jnp.log10(floating(value))


def _check_convention(convention: str) -> None:
    if convention not in SNR_CONVENTIONS:
        raise ValueError(f"unknown SNR convention {convention!r}; known: {', '.join(SNR_CONVENTIONS)}")


def _bits_per_use(bits_per_symbol: ArrayLike | None, code_rate: ArrayLike | None) -> ArrayLike:
    if bits_per_symbol is None or code_rate is None:
        raise ValueError(
            "convention 'ebno' needs bits_per_symbol and code_rate (it is for digital schemes only), "
            f"got bits_per_symbol={bits_per_symbol}, code_rate={code_rate}"
        )
    require_at_least("bits_per_symbol", bits_per_symbol, 0.0, strict=True)
    require_at_least("code_rate", code_rate, 0.0, strict=True)
    return bits_per_symbol * code_rate


def reference_power(
    convention: str,
    *,
    num_rx_ant: int | None = None,
    num_tx_ant: int | None = None,
    fading: bool = True,
    bits_per_symbol: ArrayLike | None = None,
    code_rate: ArrayLike | None = None,
) -> ArrayLike:
    """The factor g of ``no = g / snr``: the average power that the convention sets against the noise.

    Args:
        convention: One of ``SNR_CONVENTIONS``.
        num_rx_ant: Receive antennas M; needed by ``received_total`` under fading.
        num_tx_ant: Transmit antennas N (streams of a slot); needed by ``received_total``, and by ``rx_per_antenna``
            under fading.
        fading: True for fading with E|h|^2 = 1 (E||H||_F^2 = M N); False for AWGN, N parallel links with h = 1
            (E||H||_F^2 = N).
        bits_per_symbol: Bits per modulation symbol; only for ``ebno``.
        code_rate: Code rate; only for ``ebno``.

    Returns:
        g, linear.

    Raises:
        ValueError: on an unknown convention, a bad antenna count or none where the convention needs it, AWGN with
            num_rx_ant != num_tx_ant where the convention looks at the receiver, or ``ebno`` without its two numbers.
    """
    _check_convention(convention)
    antennas = {"num_rx_ant": num_rx_ant, "num_tx_ant": num_tx_ant}
    needed = {"rx_per_antenna": ("num_tx_ant",) if fading else (), "received_total": tuple(antennas)[not fading :]}
    for name, count in antennas.items():
        if count is not None:
            require_count(name, count)
        elif name in needed.get(convention, ()):
            raise ValueError(f"convention {convention!r} compares what all antennas bring: it needs {name}")
    if convention == "esno":
        return 1.0
    if convention == "ebno":
        return 1.0 / _bits_per_use(bits_per_symbol, code_rate)
    rx, tx = (count or 0 for count in antennas.values())  # those that are needed are there
    if not fading:
        if None not in antennas.values() and num_rx_ant != num_tx_ant:
            counts = f"num_rx_ant={num_rx_ant}, num_tx_ant={num_tx_ant}"
            raise ValueError(f"AWGN needs num_rx_ant == num_tx_ant, got {counts}")
        return 1.0 if convention == "rx_per_antenna" else float(tx)
    return float(tx if convention == "rx_per_antenna" else rx * tx)


def noise_variance(
    snr_db: ArrayLike,
    *,
    convention: str = "esno",
    num_rx_ant: int | None = None,
    num_tx_ant: int | None = None,
    fading: bool = True,
    bits_per_symbol: ArrayLike | None = None,
    code_rate: ArrayLike | None = None,
) -> jax.Array:
    """Noise variance that gives a nominal SNR, for symbols of average power 1 per active stream.

    Args:
        snr_db: Signal-to-noise ratio in the named convention, dB, any shape.
        convention: One of ``SNR_CONVENTIONS``; see the table at the top of this module.
        num_rx_ant: Receive antennas, for conventions that count them; see :func:`reference_power`.
        num_tx_ant: Transmit antennas (streams of a slot), likewise.
        fading: False for AWGN.
        bits_per_symbol: Bits per modulation symbol; only for ``ebno``.
        code_rate: Code rate; only for ``ebno``.

    Returns:
        ``no``, noise variance per complex dimension, linear, shape of ``snr_db``.

    Raises:
        ValueError: see :func:`reference_power`.
    """
    power = reference_power(
        convention,
        num_rx_ant=num_rx_ant,
        num_tx_ant=num_tx_ant,
        fading=fading,
        bits_per_symbol=bits_per_symbol,
        code_rate=code_rate,
    )
    return db_to_linear(-floating(snr_db)) * power


def snr_db_from_noise_variance(
    no: ArrayLike,
    *,
    convention: str = "esno",
    num_rx_ant: int | None = None,
    num_tx_ant: int | None = None,
    fading: bool = True,
    bits_per_symbol: ArrayLike | None = None,
    code_rate: ArrayLike | None = None,
) -> jax.Array:
    """Inverse of :func:`noise_variance`.

    Args:
        no: Noise variance per complex dimension, linear, > 0, any shape.
        convention: One of ``SNR_CONVENTIONS``.
        num_rx_ant: Receive antennas, for conventions that count them; see :func:`reference_power`.
        num_tx_ant: Transmit antennas (streams of a slot), likewise.
        fading: False for AWGN.
        bits_per_symbol: Bits per modulation symbol; only for ``ebno``.
        code_rate: Code rate; only for ``ebno``.

    Returns:
        SNR in the named convention, dB, shape of ``no``.

    Raises:
        ValueError: see :func:`reference_power`.
    """
    power = reference_power(
        convention,
        num_rx_ant=num_rx_ant,
        num_tx_ant=num_tx_ant,
        fading=fading,
        bits_per_symbol=bits_per_symbol,
        code_rate=code_rate,
    )
    return linear_to_db(power / floating(no))


def measure_snr_db(
    x: jax.Array,
    received: jax.Array,
    y: jax.Array,
    *,
    convention: str = "esno",
    active: jax.Array | None = None,
    bits_per_symbol: ArrayLike | None = None,
    code_rate: ArrayLike | None = None,
) -> jax.Array:
    """SNR of actual signals: the ratio of two averages over everything that is passed in.

    The noise is ``y - received``. One picture sees few fading blocks, so for ``rx_per_antenna`` and
    ``received_total`` the ratio agrees with the nominal SNR only on average over many blocks, and only when all
    streams are active: a silent stream brings no power to the receiver.

    Args:
        x: Sent symbols, ``[..., num_tx_ant]`` complex.
        received: What arrives without noise, H x, ``[..., num_rx_ant]`` complex.
        y: What arrives with noise, shape of ``received``.
        convention: One of ``SNR_CONVENTIONS``.
        active: Boolean, shape of ``x``: symbols whose energy counts as sent (``esno`` and ``ebno``). None: all.
        bits_per_symbol: Bits per modulation symbol; only for ``ebno``.
        code_rate: Code rate; only for ``ebno``.

    Returns:
        The realised SNR in the named convention, dB, scalar.

    Raises:
        ValueError: on an unknown convention, shapes that do not belong together, or ``ebno`` without its numbers.
    """
    _check_convention(convention)
    if received.shape != y.shape or x.shape[:-1] != y.shape[:-1]:
        raise ValueError(
            f"x {x.shape}, received {received.shape} and y {y.shape} must agree, but for the last axis of x"
        )
    if active is not None and active.shape != x.shape:
        raise ValueError(f"active {active.shape} must have the shape of x {x.shape}")
    noise = jnp.mean(abs2(y - received))
    if convention == "rx_per_antenna":
        power = jnp.mean(abs2(received))
    elif convention == "received_total":
        power = jnp.mean(abs2(received)) * y.shape[-1]
    else:
        power = jnp.mean(abs2(x), where=active)
    if convention == "ebno":
        power = power / _bits_per_use(bits_per_symbol, code_rate)
    return linear_to_db(power / noise)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Snr:
    """An SNR together with the name of its convention, so that the two cannot part.

    Attributes:
        value_db: The ratio, dB, any shape; traced.
        convention: One of ``SNR_CONVENTIONS``; static.
    """

    value_db: ArrayLike
    convention: str = dataclasses.field(default="esno", metadata={"static": True})

    def __post_init__(self) -> None:
        if self.convention not in SNR_CONVENTIONS:
            raise ValueError(
                f"Snr.convention: unknown SNR convention {self.convention!r}; known: {', '.join(SNR_CONVENTIONS)}"
            )

    def noise_variance(self, **setting: Any) -> jax.Array:
        """``no`` at this SNR; the keywords are those of :func:`noise_variance` but ``convention``."""
        return noise_variance(self.value_db, convention=self.convention, **setting)

    def to(self, convention: str, **setting: Any) -> "Snr":
        """The same noise expressed in another convention; the keywords are those of :func:`noise_variance`."""
        no = self.noise_variance(**setting)
        return Snr(value_db=snr_db_from_noise_variance(no, convention=convention, **setting), convention=convention)
