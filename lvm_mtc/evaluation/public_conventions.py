"""The SNR that public codes really run at: what each does, where that stands, and its emulation as a named preset.

The offset is the true Es/N0 (power of a complex symbol on the air over the noise variance of a complex symbol, as
``phy.noise_variance`` means it) less the SNR that the code names. Under fading the power is that which arrives, on
average: ``rx_per_antenna``. Codes were read at the commit that is named; ``public_records`` and
``public_records_off`` hold them.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lvm_mtc import phy
from lvm_mtc.config import unknown_name_message
from lvm_mtc.evaluation.public_records import TRUE_RECORDS, PublicChannel, PublicConvention
from lvm_mtc.evaluation.public_records_off import OFF_RECORDS

PUBLIC_CONVENTIONS: Mapping[str, PublicConvention] = {record.name: record for record in OFF_RECORDS + TRUE_RECORDS}
"""The presets by name."""


class MeasuredOffset(NamedTuple):
    """A measured offset and its standard error over batches, both dB."""

    offset_db: float
    standard_error_db: float


def measured_offset_db(
    name: str, key: jax.Array, snr_db: ArrayLike, num_symbols: int, *, channel: str = "awgn", scale: float = 2.0
) -> MeasuredOffset:
    """Emulates a code on Gaussian features and measures its true SNR with ``phy.measure_snr_db``.

    Args:
        name: Of the preset.
        key: Typed key.
        snr_db: The SNR that the code would name, dB.
        num_symbols: Complex symbols in all, rounded up to whole batches, of which there are at least 2.
        channel: One of the preset's channels.
        scale: Standard deviation of the features.

    Returns:
        True less named SNR: a ratio of averages over everything that was sent, with its standard error.

    Raises:
        ValueError: for an unknown name or channel.
    """
    found = _channel_of(name, channel)
    num_batches = max(2, -(-num_symbols // (found.num_pictures * found.num_symbols)))
    feature_key, air_key = jax.random.split(key)
    features = scale * jax.random.normal(feature_key, (num_batches, found.num_pictures, 2 * found.num_symbols))
    keys = jax.random.split(air_key, num_batches)
    # Not under jit: the operations, compiled one by one, are shared by all codes.
    air = jax.vmap(found.transmit, in_axes=(0, 0, None))(keys, features, snr_db)
    sent, arrived, received = (x[..., None] for x in air)
    true_db = phy.measure_snr_db(sent, arrived, received, convention="rx_per_antenna")
    power, noise = (jnp.mean(jnp.abs(x) ** 2, axis=(1, 2, 3)) for x in (arrived, received - arrived))
    # To first order, the error of the logarithm of a ratio is the difference of the relative errors.
    relative = jnp.std(power / jnp.mean(power) - noise / jnp.mean(noise), ddof=1) / jnp.sqrt(num_batches)
    return MeasuredOffset(float(true_db - snr_db), float(10 / jnp.log(10.0) * relative))


def _channel_of(name: str, channel: str) -> PublicChannel:
    if name not in PUBLIC_CONVENTIONS:
        raise ValueError(unknown_name_message(f"public convention {name!r}", name, PUBLIC_CONVENTIONS))
    channels = PUBLIC_CONVENTIONS[name].channels
    if channel not in channels:
        raise ValueError(unknown_name_message(f"{name}: channel {channel!r}", channel, channels))
    return channels[channel]
