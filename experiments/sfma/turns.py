"""Two users that take turns: each has half of the symbols to itself, with the networks of plain superposition."""

import dataclasses

import jax
import jax.numpy as jnp

from lvm_mtc import phy
from lvm_mtc.link import Frames, OperatingPoint, Received, Signal
from lvm_mtc.models.receivers import GAIN_BITS, as_sent, unit_power, wiener
from lvm_mtc.schemes.scheme import Estimate, Sent
from lvm_mtc.schemes.sfma.scheme import Encoded, Sfma, deviation


@dataclasses.dataclass(frozen=True)
class TakingTurns(Sfma):
    """:class:`Sfma` without superposition: ``config.num_symbols`` are still those of a patch of both users."""

    def __post_init__(self):
        if self.config.num_symbols % 2:
            got = self.config.num_symbols
            raise ValueError(f"SfmaConfig.num_symbols must be even for users that take turns, got {got}")

    def frames(self) -> tuple[int, int]:
        """As ``Scheme.frames``: patches of a user, and the symbols of one."""
        return super().frames()[0], self.config.num_symbols // 2

    def modulate(self, params: dict, encoded: Encoded, point: OperatingPoint) -> Sent:
        """Symbols of average power 1 over each picture; beside them its gain."""
        batch = len(encoded.features)
        snr_db = jnp.broadcast_to(jnp.asarray(point.snr_db, jnp.float32), (batch,))
        told = jnp.broadcast_to(snr_db[:, None, None], (batch, 2, 1))
        symbols, gain = unit_power(phy.features_to_symbols(self._own("before", params, encoded.features, told)))
        signal = Signal(Frames(symbols, jnp.ones(symbols.shape[:-1], bool)))
        tells = {"similarity": jnp.broadcast_to(encoded.similarity[:, None], (batch, 2))}
        return Sent(signal, as_sent(gain), jnp.full(batch, 2.0 * GAIN_BITS), tells)

    def decode(self, params: dict, received: Received, side: jax.Array, point: OperatingPoint) -> Estimate:
        """Each UAV's picture from its own symbols and the pictures' gains ``side [batch, 2]``."""
        estimated = wiener(*received, side, params["linear"]["power"])
        return self._shown(params, self._own("behind", params, estimated, self._heard(received, point)))

    @property
    def _num_features(self) -> int:
        return self.config.num_symbols

    def _own(self, name, params, features, snr_db):
        """Features behind the users' own networks, ``[batch, 2, patches, features]``."""
        refined = self._refined(name, params, features, snr_db)[..., self._num_features :]
        return refined * deviation(params)
