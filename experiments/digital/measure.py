r"""The digital side in numbers: short codes, link adaptation with HARQ, and pictures by stages over a link.

    python -m experiments.demo.pack_pictures --data ../shared/data --out build/pictures_160.npz
    python -m experiments.digital.measure --data build/pictures_160.npz --out docs/digital

Some fifteen minutes on one core; ``--parts`` measures some parts anew and leaves the others. Writes ``results.json``
and the figures into the folder ``--out``, and the tables into the page beside it, ``--out``.md, between its markers;
docs/digital.md says what is measured. ``--page-only`` writes figures and tables again.
"""

import functools
import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.digital.page import draw, tables
from experiments.digital.pictures import measure_codec, measure_files, measure_pictures
from experiments.script import PAGE_ONLY, script, study
from lvm_mtc import phy
from lvm_mtc.data.packing import PackedPictures, load_packed
from lvm_mtc.link import LinkConfig
from lvm_mtc.phy import coding
from lvm_mtc.schemes.separation.adaptation import AdaptiveLink

COMMON = dict(convention="rx_per_antenna", num_tx_ant=1)
LINKS = {
    "awgn": LinkConfig(fading="awgn", num_rx_ant=1, **COMMON),
    "rayleigh": LinkConfig(fading="rayleigh", num_rx_ant=2, **COMMON),
}
"""One antenna sends; of Rayleigh channels there is one for each transmission, heard by two antennas."""
SLOTS = 480
ADAPTED_SNR_DB = tuple(range(-2, 19, 2))
VARIANTS = {"harq": dict(target_error=0.1), "single": dict(target_error=0.01, versions=(0,))}
SHORT = {"snr_db": (-2.5, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0), "slots": (120, 480, 1920)}


def measure_short_codes(seed: int, num_words: int) -> dict[str, Any]:
    """Word errors of QPSK at rate 1/2 over AWGN beside the least that codes of this length can have."""
    results = dict(snr_db=SHORT["snr_db"], slots=SHORT["slots"], measured=[], least=[], num_words=num_words)
    for slots in SHORT["slots"]:
        blocks, rng = coding.code_blocks(slots, 2, 1 / 2), np.random.default_rng(seed)
        payload = rng.integers(0, 2, (num_words, blocks.payload_bits), np.uint8)
        sent = np.asarray(phy.qam_map(coding.encode_payload(payload, blocks), 2))
        noise = rng.normal(scale=0.5**0.5, size=(2, *sent.shape))
        lost, least = [], []
        for snr_db in SHORT["snr_db"]:
            no = 10 ** (-snr_db / 10)
            y = np.complex64(sent + np.sqrt(no) * (noise[0] + 1j * noise[1]))
            found = coding.decode_payload(np.asarray(phy.qam_llr(y, no, 2)), blocks)
            lost.append(float(1 - (found.valid & (found.payload == payload).all(1)).mean()))
            at = phy.awgn_capacity(no), phy.awgn_dispersion(no), slots
            least.append(float(phy.finite_error(*at, blocks.payload_bits / slots)))
        results["measured"].append(lost)
        results["least"].append(least)
    return results


def limits(kind: str, snr_db: float, error: float) -> dict[str, float]:
    """Bits a symbol: ergodic capacity, and the most of one transmission for an error, of long codes and short."""
    no = 10 ** (-snr_db / 10)
    if kind == "awgn":
        capacity, dispersion = float(phy.awgn_capacity(no)), phy.awgn_dispersion(no)
        return dict(
            capacity=capacity, outage=capacity, finite=float(phy.finite_rate(capacity, dispersion, SLOTS, error))
        )
    h = phy.rayleigh(jax.random.key(7), (20_000,), num_rx_ant=2, num_tx_ant=1)
    capacity, dispersion = phy.mimo_capacity(h, no), phy.mimo_dispersion(h, no)
    low, high = 0.0, float(capacity.max())
    for _ in range(30):
        rate = (low + high) / 2
        lost = float(phy.finite_error(capacity, dispersion, SLOTS, rate, log_term=False).mean())
        low, high = (rate, high) if lost < error else (low, rate)
    return dict(capacity=float(capacity.mean()), outage=float(np.quantile(capacity, error)), finite=low)


def measure_adaptation(seed: int, num_words: int) -> dict[str, Any]:
    """What the adaptive link delivers, with HARQ and without, at each SNR."""
    keys = [jax.random.key(seed + i) for i in range(2)]
    results = {"snr_db": ADAPTED_SNR_DB, "slots": SLOTS, "num_words": num_words}
    for kind, link in LINKS.items():
        of_kind = {"limits": [limits(kind, snr_db, 0.1) for snr_db in ADAPTED_SNR_DB]}
        for name, fields in VARIANTS.items():
            adaptive, rows = AdaptiveLink(link=link, num_slots=SLOTS, **fields), []
            for snr_db in ADAPTED_SNR_DB:
                pair = adaptive.choose(keys[0], snr_db, num_words)
                service = adaptive.serve(pair, keys[1], snr_db, num_words)
                rows.append(dict(
                    bits_per_symbol=pair.bits_per_symbol, rate=pair.rate, payload_bits=pair.blocks.payload_bits,
                    first_errors=service.first_errors, delivered=float(service.delivered.mean()),
                    goodput=service.goodput, latency=float(service.latency_slots.mean()),
                    latency_99=float(np.quantile(service.latency_slots, 0.99)), coded_bits=service.coded_bits,
                    goodput_deviation=float(
                        (service.delivered - service.delivered.mean() / service.transmissions.mean()
                         * service.transmissions).std() / service.transmissions.mean() / num_words**0.5
                        * pair.blocks.payload_bits / SLOTS),
                ))  # fmt: skip
            of_kind[name] = rows
        results[kind] = of_kind
    return results


PARTS = ("short", "adaptation", "codec", "files", *(f"pictures_{kind}" for kind in LINKS))


def measure(
    parts: tuple[str, ...], packed: PackedPictures, seed: int, words: int, pictures: int, files: tuple[str, ...]
) -> dict[str, Any]:
    """Parts of the study, as plain values for JSON."""
    every = {
        "short": lambda: measure_short_codes(seed, words),
        "adaptation": lambda: measure_adaptation(seed, words),
        "codec": lambda: measure_codec(packed, pictures),
        "files": lambda: measure_files(packed, pictures, files),
    }
    for kind, link in LINKS.items():
        every[f"pictures_{kind}"] = functools.partial(measure_pictures, packed, link, pictures, seed)
    return {name: every[name]() for name in parts}


@script(
    data="packed pictures", out="folder of the study", page_only=PAGE_ONLY, words="of each point of the link",
    pictures="of the hold-out", seed="of bits and channels", parts=f"some of {', '.join(PARTS)}",
    files="codecs of files that are measured in the part of that name; the others stay",
)  # fmt: skip
def main(
    data: Path = Path("build/pictures_160.npz"), out: Path = Path("docs/digital"), page_only: bool = False,
    words: int = 200, pictures: int = 24, seed: int = 0, parts: tuple[str, ...] = PARTS,
    files: tuple[str, ...] = ("webp", "avif", "heic"),
) -> None:  # fmt: skip
    """Measure the digital side."""

    def merged() -> dict[str, Any]:
        new, file = measure(parts, load_packed(data), seed, words, pictures, files), out / "results.json"
        old = json.loads(file.read_text()) if file.exists() else {}
        return old | new | ({"files": old.get("files", {}) | new["files"]} if "files" in new else {})

    study(out, page_only, merged, tables, draw)


if __name__ == "__main__":
    sys.exit(main())
