"""The SNR that public codes really run at: what each does, where that stands, and its emulation as a named preset.

The offset is the true Es/N0 (power of a complex symbol on the air over the noise variance of a complex symbol, as
``phy.noise_variance`` means it) less the SNR that the code names. Under fading the power is that which arrives, on
average: ``rx_per_antenna``. Codes were read at the commit that is named; ``codes.json`` holds them, first those that
on some channel do not run at the SNR that they name.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from experiments.audit.emulations import Transmit, build
from lvm_mtc import phy
from lvm_mtc.config import unknown_name_message


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublicChannel:
    """One channel of a public code: its emulation, and the offset, true less named SNR, dB, as number and formula.

    ``depends`` says what else the offset depends on; it holds for batches of ``num_pictures``, an even number, of
    ``num_symbols`` complex symbols each.
    """

    transmit: Transmit
    offset_db: float
    closed_form: str
    depends: str = ""
    num_pictures: int = 4
    num_symbols: int = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublicConvention:
    """How a public code, a repository of GitHub at a commit, means its SNR: what it does, and where that stands.

    ``channels`` are ``"awgn"``, ``"rayleigh"`` and, where they differ in the offset, others.
    """

    name: str
    repository: str
    commit: str
    path: str
    licence: str
    does: str
    fading: str
    channels: Mapping[str, PublicChannel]


def _read(record: Mapping[str, Any]) -> PublicConvention:
    channels = {kind: PublicChannel(**of | {"transmit": build(of["transmit"])})
                for kind, of in record["channels"].items()}  # fmt: skip
    return PublicConvention(**record | {"channels": channels})


PUBLIC_CONVENTIONS: Mapping[str, PublicConvention] = {
    record["name"]: _read(record) for record in json.loads(Path(__file__).with_name("codes.json").read_text())
}
"""The presets by name."""


class MeasuredOffset(NamedTuple):
    """A measured offset and its standard error over batches, both dB."""

    offset_db: float
    standard_error_db: float


def measured_offset_db(
    name: str, key: jax.Array, snr_db: ArrayLike, num_symbols: int, *, channel: str = "awgn", scale: float = 2.0
) -> MeasuredOffset:
    """Emulates a code on Gaussian features and measures its true SNR with ``phy.measure_snr_db``.

    The true less the named SNR, ``snr_db``, is a ratio of averages over everything that was sent: ``num_symbols``,
    rounded up to whole batches, of which there are at least 2. ``scale`` is the features' standard deviation.
    """
    if name not in PUBLIC_CONVENTIONS:
        raise ValueError(unknown_name_message(f"public convention {name!r}", name, PUBLIC_CONVENTIONS))
    channels = PUBLIC_CONVENTIONS[name].channels
    if channel not in channels:
        raise ValueError(unknown_name_message(f"{name}: channel {channel!r}", channel, channels))
    public = channels[channel]
    num_batches = max(2, -(-num_symbols // (public.num_pictures * public.num_symbols)))
    feature_key, air_key = jax.random.split(key)
    features = scale * jax.random.normal(feature_key, (num_batches, public.num_pictures, 2 * public.num_symbols))
    keys = jax.random.split(air_key, num_batches)
    # Not under jit: the operations, compiled one by one, are shared by all codes.
    air = jax.vmap(public.transmit, in_axes=(0, 0, None))(keys, features, snr_db)
    sent, arrived, received = (x[..., None] for x in air)
    true_db = phy.measure_snr_db(sent, arrived, received, convention="rx_per_antenna")
    power, noise = (jnp.mean(jnp.abs(x) ** 2, axis=(1, 2, 3)) for x in (arrived, received - arrived))
    # To first order, the error of the logarithm of a ratio is the difference of the relative errors.
    relative = jnp.std(power / jnp.mean(power) - noise / jnp.mean(noise), ddof=1) / jnp.sqrt(num_batches)
    return MeasuredOffset(float(true_db - snr_db), float(10 / jnp.log(10.0) * relative))
