"""Channels from outside: what a ray tracer computed or a sounder measured, as fading of a link on a resource grid."""

import dataclasses
import functools
import hashlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from lvm_mtc import phy
from lvm_mtc.phy.keys import require_key
from lvm_mtc.phy.numerics import require_at_least


@dataclasses.dataclass(frozen=True, eq=False)
class RecordedChannel:
    """Impulse responses over time; each link plays a stretch of them from a drawn moment on.

    ``LinkConfig(fading=RecordedChannel.load("flight.npz"), carrier=Ofdm())`` takes it like any fading of paths: linear
    interpolation between samples, unit mean power, receivers that know its mean delay profile. What moves is the
    recording: ``speed`` and ``max_doppler`` only say what Doppler spread the receiver assumes.

    Attributes:
        gains: ``[time, num_rx_ant, num_tx_ant, tap]`` complex, at least one moment; scaled to a mean power of 1 for
            each pair of antennas, all pairs by the same factor.
        delays: Of the taps, seconds, >= 0, ``[tap]``.
        interval: Seconds from sample to sample, > 0.
        name: In tables and legends.
    """

    gains: np.ndarray
    delays: np.ndarray
    interval: float
    name: str = "recorded"

    def __post_init__(self):
        gains, delays = np.asarray(self.gains), np.asarray(self.delays)
        if gains.ndim != 4 or 0 in gains.shape or not np.issubdtype(gains.dtype, np.complexfloating):
            raise ValueError(
                f"RecordedChannel.gains must be complex [time, rx, tx, tap], got {gains.dtype} of shape {gains.shape}"
            )
        if delays.dtype.kind not in "fiu" or delays.shape != gains.shape[-1:] or not _are_delays(delays):
            raise ValueError(
                f"RecordedChannel.delays must be {gains.shape[-1]} finite numbers of seconds >= 0, got "
                f"{', '.join(map(str, delays.ravel()[:8]))} of shape {delays.shape}"
            )
        require_at_least("RecordedChannel.interval", self.interval, 0.0, strict=True, dtype=np.float64)
        power = np.mean(np.sum(np.abs(gains.astype(np.complex128)) ** 2, axis=-1))
        if not (np.isfinite(power) and power > 0):
            raise ValueError(f"RecordedChannel.gains have a mean power of {power}: nothing to scale to 1")
        object.__setattr__(self, "gains", (gains / np.sqrt(power)).astype(np.complex64))
        object.__setattr__(self, "delays", delays.astype(np.float64))

    @classmethod
    def load(cls, path: str | Path) -> "RecordedChannel":
        """From an ``.npz`` file of ``gains``, ``delays`` and ``interval``; its name is the file's.

        Raises:
            ValueError: if the file lacks one of them, or cannot be read.
        """
        path, wanted = Path(path), ("gains", "delays", "interval")
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in wanted if name in file}
        except Exception as error:  # A damaged archive raises whatever its parser stumbles over.
            described = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(f"{path}: not a recorded channel ({described})") from error
        if missing := [name for name in wanted if name not in arrays]:
            raise ValueError(f"{path}: a recorded channel has {', '.join(wanted)}; missing: {', '.join(missing)}")
        if arrays["interval"].shape or arrays["interval"].dtype.kind not in "fiu":
            raise ValueError(f"{path}: interval must be a number, got {arrays['interval']!r}")
        try:
            return cls(arrays["gains"], arrays["delays"], float(arrays["interval"]), path.stem)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def save(self, path: str | Path) -> None:
        """Into an ``.npz`` file that :meth:`load` reads."""
        np.savez_compressed(path, gains=self.gains, delays=self.delays, interval=self.interval)

    def __call__(
        self,
        key: jax.Array,
        batch_shape: tuple[int, ...],
        *,
        times: ArrayLike,
        num_rx_ant: int,
        num_tx_ant: int,
        max_doppler: ArrayLike = 0.0,
        dtype: DTypeLike = jnp.complex64,
    ) -> phy.Paths:
        """A sampler as those of ``phy.paths``.

        Raises:
            ValueError: if the antennas are not those of the recording, or it is shorter than ``times``.
        """
        self.check_antennas(num_rx_ant, num_tx_ant)
        times = np.asarray(times, np.float64) / self.interval
        span, last = times - times.min(), len(self.gains) - 1
        if span.max() > last:
            raise ValueError(
                f"{self.name!r} lasts {last * self.interval:g} s, and a link needs {span.max() * self.interval:g} s"
            )
        real = jnp.finfo(dtype).dtype
        start = jax.random.uniform(require_key(key), (*batch_shape, 1), real, 0, last - span.max())
        moment = start + jnp.asarray(span, real).reshape((1,) * len(batch_shape) + (-1,))
        before = jnp.clip(jnp.floor(moment).astype(jnp.int32), 0, max(last - 1, 0))
        part = (moment - before)[..., None, None, None].astype(dtype)
        series = jnp.asarray(self.gains, dtype)
        gains = (1 - part) * series[before] + part * series[jnp.minimum(before + 1, last)]
        delays = jnp.broadcast_to(jnp.asarray(self.delays, real), (*batch_shape, len(self.delays)))
        return phy.Paths(jnp.moveaxis(gains, -1, -4), delays)

    def check_antennas(self, num_rx_ant: int, num_tx_ant: int) -> None:
        """Raises ``ValueError`` for other numbers than the recording's."""
        if (num_rx_ant, num_tx_ant) != self.gains.shape[1:3]:
            raise ValueError(
                f"LinkConfig.num_rx_ant and num_tx_ant must be those of {self.name!r}, {self.gains.shape[1]} and "
                f"{self.gains.shape[2]}, got {num_rx_ant} and {num_tx_ant}"
            )

    def statistics(self, max_doppler: ArrayLike) -> phy.GridStatistics:
        """What a receiver knows: the delays and their mean powers."""
        powers = np.mean(np.abs(self.gains.astype(np.complex128)) ** 2, axis=(0, 1, 2))
        return phy.GridStatistics(tuple(self.delays), tuple(powers), max_doppler)

    @functools.cached_property
    def _digest(self) -> str:
        parts = (self.gains.tobytes(), self.delays.tobytes(), repr((self.gains.shape, float(self.interval))).encode())
        return hashlib.sha256(b"\0".join(parts)).hexdigest()

    def described(self) -> dict[str, Any]:
        """As a sweep's key has it: by its numbers, not by its name."""
        return {"recorded": self._digest}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RecordedChannel) and (self._digest, self.name) == (other._digest, other.name)

    def __hash__(self) -> int:
        return hash(self._digest)


def _are_delays(delays: np.ndarray) -> bool:
    """Whether none is negative or not finite in single precision, in which they are used."""
    return bool(np.all((delays >= 0) & (delays <= np.finfo(np.float32).max)))
