"""Receivers of the digital system beside each other, down and up: words lost over the same fading and noise.

    python -m experiments.receivers.measure --out docs/receivers

Some minutes on two idle cores. Writes ``results.json`` and the figure into the folder ``--out``, and the tables into
the page beside it, ``--out``.md; docs/receivers.md says what is measured. ``--page-only`` writes figure and tables
again.
"""

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.script import PAGE_ONLY, script, study
from lvm_mtc.link import LinkConfig, Mac, SingleCarrier
from lvm_mtc.phy import coding
from lvm_mtc.report.figures import Curve, Panel, save_curves
from lvm_mtc.report.pages import number, table
from lvm_mtc.results.intervals import student_interval
from lvm_mtc.schemes.separation import digital
from lvm_mtc.schemes.separation.modulation_coding import Pair, SeparationScheme

RATE, BLOCK = 1 / 2, 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Receiver:
    """A receiver and what it hears: ``num_slots`` of a word, and the fields of the scheme that detects it."""

    link: LinkConfig
    bits_per_symbol: int
    num_slots: int
    fields: Mapping[str, Any]


def _receivers(link: LinkConfig, bits_per_symbol: int, num_slots: int) -> dict[str, Receiver]:
    kinds = {
        "L-MMSE": {},
        "SIC, posterior means": dict(detector="sic"),
        "16-best": dict(detector="k_best"),
        "exact": dict(detector="exact"),
        "PIC, 4 detections": dict(detector="pic", num_detections=4),
        "exact, 4 detections": dict(detector="exact", num_detections=4),
    }
    at = dict(link=link, bits_per_symbol=bits_per_symbol, num_slots=num_slots)
    return {name: Receiver(**at, fields=fields) for name, fields in kinds.items()}


def _uplink(access: str) -> LinkConfig:
    return LinkConfig(num_rx_ant=4, num_tx_ant=1, carrier=Mac(access=access, block_length=BLOCK))


DOWNLINK = LinkConfig(num_rx_ant=2, num_tx_ant=2, carrier=SingleCarrier(block_length=BLOCK))
ORTHOGONAL = "one after the other, 256-QAM, L-MMSE"
SETUPS = {
    "downlink": (2, (5.0, 6.0, 7.0, 8.0, 9.0, 10.0), _receivers(DOWNLINK, 4, 96)),
    "uplink": (
        4,
        (-4.0, -3.0, -2.0, -1.0, 0.0, 2.0, 4.0, 6.0),
        _receivers(_uplink("superposed"), 2, 384)
        | {ORTHOGONAL: Receiver(link=_uplink("orthogonal"), bits_per_symbol=8, num_slots=96, fields={})},
    ),
}
"""UAVs, SNRs (``esno``, dB) and receivers; a word has 768 coded bits, 384 before coding, in all of them."""


def words_lost(receiver: Receiver, num_uavs: int, num_groups: int, snr_db: float, seed: int) -> np.ndarray:
    """Words lost in each group of UAVs, ``[num_groups]``."""
    link, bits_per_symbol = receiver.link, receiver.bits_per_symbol
    blocks = coding.code_blocks(receiver.num_slots * link.num_tx_ant, bits_per_symbol, RATE)
    scheme = SeparationScheme(
        name="", codec="webp", num_slots=receiver.num_slots, bits_per_symbol=(bits_per_symbol,), rates=(RATE,),
        **receiver.fields,
    )  # fmt: skip
    shape = (num_groups * num_uavs, blocks.payload_bits)
    payload = np.random.default_rng(seed).integers(0, 2, shape, np.uint8)
    scramble = digital.scrambling(blocks.num_coded_bits)
    bits = (coding.encode_payload(payload, blocks) ^ scramble).reshape(num_groups, num_uavs, -1)
    draws = digital.draw_pictures(link, num_groups, num_uavs, receiver.num_slots, jax.random.key(seed))
    arrived = scheme.send(link, bits_per_symbol, bits, draws, snr_db, 0.0)

    def detect(prior):
        return scheme.detect(arrived.heard, bits_per_symbol, prior.reshape(bits.shape)).reshape(prior.shape)

    llr = np.asarray(arrived.llr).reshape(len(payload), -1)
    found = scheme.decode(llr, scramble, Pair(bits_per_symbol, RATE, blocks), detect)
    lost = ~found.valid | (found.payload != payload).any(1)
    return lost.reshape(num_groups, num_uavs).sum(1)


def measure(words: int, seed: int) -> dict[str, Any]:
    """Words lost in each group, a digit each, by setup, receiver and SNR."""
    results = {}
    for setup, (num_uavs, snr_db, receivers) in SETUPS.items():
        groups = words // num_uavs
        lost = {name: ["".join(map(str, words_lost(receiver, num_uavs, groups, snr, seed))) for snr in snr_db]
                for name, receiver in receivers.items()}  # fmt: skip
        results[setup] = {"num_uavs": num_uavs, "snr_db": snr_db, "lost": lost}
    return results


def shares(found: Mapping[str, Any], name: str) -> np.ndarray:
    """Share of the words that a receiver of a setup lost in each group, ``[num_snrs, num_groups]``."""
    return np.array([[int(digit) for digit in lost] for lost in found["lost"][name]]) / found["num_uavs"]


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Share of the words that is lost, a table a setup."""
    filled = {}
    for setup, found in results.items():
        rows = [[name, *(number(lost, 3) for lost in shares(found, name).mean(axis=1))] for name in found["lost"]]
        filled[setup] = table(["words lost", *(f"{snr:g} dB" for snr in found["snr_db"])], rows)
    return filled


def draw(results: Mapping[str, Any], out: Path) -> None:
    """The figure: share of words that arrive, with 95 % intervals over groups."""
    panels = []
    for setup, found in results.items():
        curves = []
        for i, name in enumerate(found["lost"]):
            arrived = student_interval(1 - shares(found, name).T)
            curves.append(Curve(label=name, convention="esno", snr_db=found["snr_db"], mean=arrived.mean,
                                half_width=arrived.half_width, color=f"C{i}"))  # fmt: skip
        title = {"downlink": "2x2 Rayleigh, 16-QAM", "uplink": "4 devices, 4 antennas, 1 bit a device and slot"}[setup]
        panels.append(Panel(title=title, y_label="words that arrive", curves=curves))
    note = (
        "384 bits a word, 5G LDPC at rate 1/2, a new channel every 8 slots, perfect CSI; bands: 95 % Student intervals"
    )
    save_curves(out / "words.png", [panels], footnote=note)


@script(out="folder of the study", page_only=PAGE_ONLY, words="of each receiver and SNR", seed="of bits and channels")
def main(out: Path = Path("docs/receivers"), page_only: bool = False, words: int = 240, seed: int = 0) -> None:
    """Measure words lost by each receiver."""
    study(out, page_only, lambda: measure(words, seed), tables, draw)


if __name__ == "__main__":
    sys.exit(main())
