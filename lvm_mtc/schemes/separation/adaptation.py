"""Link adaptation: modulation and code from the mean SNR by a target of word errors, then HARQ; what it delivers.

The transmitter knows the mean SNR and the fading law, never H. Each transmission of a word meets a channel of its own.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.config import require_count
from lvm_mtc.link import Ledger, LinkConfig
from lvm_mtc.phy import coding
from lvm_mtc.schemes.separation import digital
from lvm_mtc.schemes.separation.modulation_coding import Pair, flipped


class Service(NamedTuple):
    """What words cost and what arrived.

    Attributes:
        pair: Modulation and code.
        delivered: Whether a word arrived as it was sent, ``[num_words]`` bool.
        transmissions: Of each word, ``[num_words]`` int.
        latency_slots: From the first slot of a word to the last of its last transmission, ``[num_words]``.
        payload_bits: That arrived.
        coded_bits: On air.
        ledger: What each word cost, ``[num_words]``: symbols on air, without pilots, and for each transmission the bit
            of side information that says whether another is wanted.
        first_errors: Share of the words that the first transmission lost.
    """

    pair: Pair
    delivered: np.ndarray
    transmissions: np.ndarray
    latency_slots: np.ndarray
    payload_bits: int
    coded_bits: int
    ledger: Ledger
    first_errors: float

    @property
    def goodput(self) -> float:
        """Payload bits that arrived for each complex symbol on air; the feedback goes the other way."""
        return self.payload_bits / float(np.asarray(self.ledger.channel_uses(), np.float64).sum())


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdaptiveLink:
    """A digital link that adapts to the mean SNR.

    Attributes:
        link: As ``digital.require_digital`` wants it, without CSI error.
        num_slots: Vector uses of the channel of a transmission.
        bits_per_symbol: Modulations to choose from.
        rates: Code rates to choose from, 1/5 to 0.95.
        target_error: Share of the first transmissions that may be lost, in (0, 1).
        versions: Redundancy versions of the transmissions; one: no HARQ.
        feedback_slots: Slots between the end of a transmission and the beginning of the next.
        num_iter: Layered iterations of the channel decoder at most.
    """

    link: LinkConfig
    num_slots: int
    bits_per_symbol: tuple[int, ...] = (2, 4, 6)
    rates: tuple[float, ...] = (1 / 5, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 5 / 6)
    target_error: float = 0.1
    versions: tuple[int, ...] = coding.VERSIONS
    feedback_slots: int = 8
    num_iter: int = 50

    def __post_init__(self):
        digital.require_digital(self.link)
        for field, least in (("num_slots", 1), ("feedback_slots", 0), ("num_iter", 1)):
            require_count("AdaptiveLink", field, getattr(self, field), least=least)
        if not 0 < self.target_error < 1:
            raise ValueError(f"AdaptiveLink.target_error must lie in (0, 1), got {self.target_error!r}")
        for field in ("bits_per_symbol", "rates", "versions"):
            if not getattr(self, field):
                raise ValueError(f"AdaptiveLink.{field} must name at least one, got {getattr(self, field)!r}")
        for version in self.versions:
            if version not in range(4):
                raise ValueError(f"AdaptiveLink.versions must be of 0, 1, 2 and 3, got {version!r}")
        self.pairs()

    def pairs(self) -> list[Pair]:
        """All modulation-coding pairs, fewest payload bits first."""
        found = [
            Pair(bits, rate, coding.code_blocks(self.num_slots * self.link.num_tx_ant, bits, rate))
            for bits in self.bits_per_symbol
            for rate in self.rates
        ]
        return sorted(found, key=lambda pair: pair.blocks.payload_bits)

    def choose(self, key: jax.Array, snr_db: float, num_words: int) -> Pair:
        """The pair of most payload bits whose first transmission keeps the target over ``num_words`` channel draws.

        Where none does, the one of fewest bits. Pairs whose LLRs tell too little for any code are not decoded.
        """
        rng = np.random.default_rng(np.asarray(jax.random.key_data(jax.random.clone(key))))
        draws = digital.draw_pictures(self.link, num_words, 1, self.num_slots, jax.random.clone(key))
        num_symbols = self.num_slots * self.link.num_tx_ant
        sent, heard = {}, {}
        for bits in self.bits_per_symbol:
            sent[bits] = rng.integers(0, 2, (num_words, num_symbols * bits), np.uint8)
            heard[bits] = self._send(bits, sent[bits], draws, snr_db)
        pairs = self.pairs()
        for pair in reversed(pairs[1:]):
            blocks, words, llr = pair.blocks, sent[pair.bits_per_symbol], heard[pair.bits_per_symbol]
            told = np.asarray(digital.mutual_information(llr, words, blocks.num_blocks, blocks.n))
            if (told < blocks.k).any(-1).mean() > self.target_error:
                continue
            payload = rng.integers(0, 2, (num_words, blocks.payload_bits), np.uint8)
            scramble = coding.encode_payload(payload, blocks) ^ words
            found = coding.decode_payload(flipped(llr, scramble), blocks, num_iter=self.num_iter)
            if 1 - (found.valid & (found.payload == payload).all(-1)).mean() <= self.target_error:
                return pair
        return pairs[0]

    def serve(self, pair: Pair, key: jax.Array, snr_db: float, num_words: int) -> Service:
        """Delivers ``num_words`` random words at one SNR (dB under the link's convention)."""
        blocks = pair.blocks
        rng = np.random.default_rng(np.asarray(jax.random.key_data(jax.random.clone(key))))
        payload = rng.integers(0, 2, (num_words, blocks.payload_bits), np.uint8)
        found = self.deliver(pair, key, snr_db, payload)
        delivered = found.valid & (found.payload == payload).all(-1)
        slots, none = found.transmissions * self.num_slots, jnp.zeros(num_words)
        ledger = Ledger(
            private_uses=jnp.float32(slots * self.link.num_tx_ant), public_uses=none, pilot_uses=none,
            prefix_uses=none, idle_uses=none, side_information_bits=jnp.float32(found.transmissions),
            slots=jnp.float32(slots),
        )  # fmt: skip
        return Service(
            pair=pair,
            delivered=delivered,
            transmissions=found.transmissions,
            latency_slots=slots + (found.transmissions - 1) * self.feedback_slots,
            payload_bits=int(delivered.sum()) * blocks.payload_bits,
            coded_bits=found.coded_bits,
            ledger=ledger,
            first_errors=float(((found.transmissions > 1) | ~found.valid).mean()),
        )

    def deliver(self, pair: Pair, key: jax.Array, snr_db: float, payload: np.ndarray) -> coding.Delivered:
        """Delivers given words ``[num_words, pair.blocks.payload_bits]``, zeros and ones, as :meth:`serve`."""
        num_words, scramble = len(payload), digital.scrambling(pair.blocks.num_coded_bits)

        def send(bits, places, number):
            its_key = jax.random.fold_in(jax.random.clone(key), number)
            draws = digital.draw_pictures(self.link, num_words, 1, self.num_slots, its_key)
            whole = np.zeros((num_words, pair.blocks.num_coded_bits), np.uint8)
            whole[places] = bits ^ scramble
            return flipped(self._send(pair.bits_per_symbol, whole, draws, snr_db), scramble)[places]

        return coding.deliver(payload, pair.blocks, send, versions=self.versions, num_iter=self.num_iter)

    def _send(self, bits_per_symbol: int, words: np.ndarray, draws, snr_db: float) -> np.ndarray:
        """LLRs of bits that each go over a channel of their own, ``[num_words, num_bits]``."""
        at = draws, np.float32(snr_db), np.float32(0)
        return np.asarray(digital.send_bits(self.link, bits_per_symbol, words[:, None], *at).llr)[:, 0]
