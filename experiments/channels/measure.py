"""One system over native Rayleigh, Sionna TDL-A and Sionna CDL-D, beside a picture codec with a channel code.

    python -m experiments.channels.measure --data build/pictures_160.npz --out docs/channels

Needs the extra ``sionna`` and ``make build/pictures_160.npz``; about half an hour on two idle cores. The pictures are
the demo's 28 views. Writes ``channels.csv`` and ``channels.png``, drawn from it; ``--figure-only`` draws again.

Everything has the same channel uses per picture, 4x4 antennas, perfect CSI and power 1 per antenna. The three fading
channels go through the same resource grid and differ in one word of the configuration, so that pilots, prefix and the
empty end of the last grid cost all of them the same; AWGN needs no grid. The digital system's modulation and code rate
are chosen per SNR on training pictures, over AWGN and Rayleigh together, over which the token codec was trained; one
more curve is of an AVIF system that also knows which channel it is on. Its mean picture is the training set's.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from experiments.script import script
from lvm_mtc.data import demo_views, load_packed
from lvm_mtc.data.resizing import center_crop
from lvm_mtc.link import LinkConfig, Ofdm
from lvm_mtc.report.figures import Curve, Panel, save_curves
from lvm_mtc.report.references import rate_distortion, separation_references
from lvm_mtc.results.intervals import student_interval
from lvm_mtc.results.table import read_csv, write_csv
from lvm_mtc.schemes.loading import DEMO_WEIGHTS, load_scheme
from lvm_mtc.schemes.separation.modulation_coding import SeparationScheme
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.named import make_contenders
from lvm_mtc.sweep.plan import SweepSpec, picture_source
from lvm_mtc.sweep.run import sample_points
from lvm_mtc.sweep.separation import SeparationResult, run_separation
from lvm_mtc.sweep.stopping import StoppingRule

AWGN_SNR_DB = tuple(float(v) for v in range(0, 21, 2))
FADING_SNR_DB = tuple(float(v) for v in range(0, 31, 3))
CLIFF_SNR_DB = tuple(float(v) for v in range(0, 21))
CHANNELS = {
    "AWGN": LinkConfig(fading="awgn", convention="rx_per_antenna"),
    "Rayleigh": LinkConfig(fading="rayleigh", carrier=Ofdm(), convention="rx_per_antenna"),
    "Sionna TDL-A": LinkConfig(fading="sionna_tdl_a", convention="rx_per_antenna"),
    "Sionna CDL-D": LinkConfig(fading="sionna_cdl_d", convention="rx_per_antenna"),
}
LEARNED = ("all", "pca")
CODECS = ("AVIF", "WebP", "JPEG")
TRAINED = ("AWGN", "Rayleigh")
"""Channels that a transmitter chooses for that knows the SNR alone."""
LINK_KNOWN = "AVIF + LDPC, channel known by name"
FIXED = (4, 1 / 2)  # 16-QAM at rate 1/2, for the cliff
STYLES = {
    "every patch kept": ("C0", "-", "o"),  # the token codec
    "linear patch-wise PCA, every patch kept": ("C7", "-", "o"),
    "AVIF + LDPC": ("C1", "-", "s"),
    "WebP + LDPC": ("C2", "-", "s"),
    "JPEG + LDPC": ("C3", "-", "s"),
    LINK_KNOWN: ("C1", "-.", "d"),
    "AVIF + LDPC, 16-QAM, rate 1/2 at every SNR": ("C1", ":", "x"),
    "reference: AVIF, outage": ("C1", "--", ""),
    "reference: AVIF, channel known at the transmitter": ("k", "--", ""),
}
NOTE = (
    "28 views of 7 photographs, 96 pixels; 4608 complex symbols a picture (CBR 1/6), on the grid\n"
    "plus pilots and prefix (6720 channel uses); 4x4 antennas, perfect CSI. Bands: 95 % Student\n"
    "intervals over channel realisations, pictures fixed. The references are for the AVIF codec\n"
    "with ideal channel codes, not for the token codec."
)


def _row(channel: str, scheme: str, snr_db: float, mean: float, half: float | None, **more: Any) -> dict[str, Any]:
    link = CHANNELS[channel]
    row = {"channel": channel, "scheme": scheme, "fading": link.fading, "waveform": "" if link.grid is None else "ofdm",
           "snr_convention": link.convention, "snr_db": snr_db, "psnr_db": mean, "psnr_db_ci95": half}  # fmt: skip
    empty = dict.fromkeys(("realised_snr_db", "uses_per_picture", "modulation", "code_rate", "picture_error_rate"))
    return row | empty | more


def _learned(channel: str, contender: Contender, images, loc, snr_db: Sequence[float], units: int, seed: int):
    """Rows of a learned scheme, over the channels that it would have alone."""
    link, num_uavs = CHANNELS[channel], images.shape[1]
    spec = SweepSpec(
        schemes=(contender,), links=(link,), sources={num_uavs: picture_source(images, loc)}, snr_db=tuple(snr_db),
        seeds=(seed,), stopping=StoppingRule(target_half_width=None, max_units=units), metrics=("psnr_db",),
        pictures_per_step=32,
    )  # fmt: skip
    for at, samples in zip(spec.coordinates(), sample_points(spec, spec.coordinates()), strict=True):
        value = student_interval(np.float64(samples.metrics["psnr_db"]).mean(axis=(1, 2)))
        snr = np.mean(samples.realised_snr)
        yield _row(channel, contender.name, at["snr_db"], value.mean, value.half_width,
                   uses_per_picture=float(np.mean(samples.ledger.channel_uses()) / num_uavs),
                   realised_snr_db=10 * np.log10(snr) if snr > 0 else None)  # fmt: skip


def _measured(channel: str, name: str, result: SeparationResult, **columns: Sequence) -> Iterator[dict]:
    values = student_interval(result.metrics["psnr_db"].mean(axis=(2, 3)))
    uses = float(np.mean(result.ledger.channel_uses()) / result.has_object.shape[1])
    if result.realised_snr_db is not None:
        columns["realised_snr_db"] = result.realised_snr_db
    for i, snr_db in enumerate(result.snr_db):
        more = {key: column[i] for key, column in columns.items()} | {"uses_per_picture": uses}
        yield _row(channel, name, snr_db, values.mean[i], values.half_width[i], **more)


def measure(data: Path, num_realisations: int, seed: int, channels: Sequence[str]) -> Iterator[dict]:
    """Runs everything, and gives the rows of the table one after another; ``data`` are packed training pictures."""
    scheme, params = load_scheme(DEMO_WEIGHTS)
    size = scheme.config.image_size
    photographs = demo_views(4, size)
    images, loc = np.float32(photographs.views) / 255, photographs.boxes
    training = np.stack([center_crop(picture, size) for picture in load_packed(data).pictures])
    chosen = np.random.default_rng(seed).choice(len(training), 24, replace=False)
    mean_picture = np.float32(training.mean(0) / 255)
    num_slots = scheme.config.num_patches * scheme.config.num_symbols // 4
    curve = rate_distortion(images, "avif", mean_picture)
    for channel in channels:
        link = CHANNELS[channel]
        snrs = AWGN_SNR_DB if link.is_awgn else FADING_SNR_DB
        for contender in make_contenders(LEARNED, scheme, params):
            yield from _learned(channel, contender, images, loc, snrs, num_realisations, seed)
        schemes = {f"{name} + LDPC": (SeparationScheme(name=name, codec=name.lower(), num_slots=num_slots), snrs)
                   for name in CODECS}  # fmt: skip
        schemes[LINK_KNOWN] = SeparationScheme(name="AVIF", codec="avif", num_slots=num_slots, knows="statistics"), snrs
        if link.is_awgn:
            fixed = SeparationScheme(name="fixed", codec="avif", num_slots=num_slots, bits_per_symbol=FIXED[:1],
                                     rates=FIXED[1:])  # fmt: skip
            schemes["AVIF + LDPC, 16-QAM, rate 1/2 at every SNR"] = fixed, CLIFF_SNR_DB
        for name, (digital, snr_db) in schemes.items():
            result = run_separation(
                digital, images, loc, jax.random.key(seed), link, snr_db=snr_db, mean_picture=mean_picture,
                selection_images=np.float32(training[chosen].reshape(-1, 4, size, size, 3) / 255),
                num_realisations=num_realisations, num_selection_realisations=3,
                selection_links=[CHANNELS[name] for name in TRAINED] if digital.knows == "snr" else (),
            )  # fmt: skip
            pairs = result.selection.pairs
            yield from _measured(
                channel, name, result, modulation=[2**pair.bits_per_symbol for pair in pairs],
                code_rate=[pair.rate for pair in pairs], picture_error_rate=result.picture_error_rate,
            )  # fmt: skip
        references = separation_references(curve, link, jax.random.fold_in(jax.random.key(seed), 1), snr_db=snrs,
                                           num_slots=num_slots, num_draws=400)  # fmt: skip
        for name, of in (("outage", references.outage), ("channel known at the transmitter", references.known_channel)):
            for snr_db, mean, half in zip(references.snr_db, of.mean, of.half_width, strict=True):
                yield _row(channel, f"reference: AVIF, {name}", snr_db, mean, half)


def draw(rows: Sequence[dict], path: Path) -> None:
    """Draws the rows of :func:`measure`, or those of ``channels.csv``, into a PNG."""
    panels = []
    for channel in dict.fromkeys(row["channel"] for row in rows):
        own, curves = [row for row in rows if row["channel"] == channel], []
        for scheme, (color, linestyle, marker) in STYLES.items():
            of = [row for row in own if row["scheme"] == scheme]
            if of:
                label = "token codec, every patch kept" if scheme == "every patch kept" else scheme
                curves.append(Curve(
                    label=label, convention=of[0]["snr_convention"], snr_db=[row["snr_db"] for row in of],
                    mean=[row["psnr_db"] for row in of], half_width=[row["psnr_db_ci95"] or 0.0 for row in of],
                    color=color, linestyle=linestyle, marker=marker,
                ))  # fmt: skip
        title = f"{channel}{', OFDM grid' if own[0]['waveform'] else ''}"
        panels.append(Panel(title=title, y_label="mean PSNR (dB)", curves=curves))
    rows_of_two = [panels[i : i + 2] for i in range(0, len(panels), 2)]
    save_curves(path, rows_of_two, title="Token codec and picture codecs", footnote=NOTE)


@script(
    data="packed training pictures", out="folder for table and figure",
    realisations="of the channel (default: %(default)s)", seed="of channels",
    channels={"choices": CHANNELS, "metavar": "NAME"}, figure_only="draw channels.csv again",
)  # fmt: skip
def main(
    data: Path = Path("build/pictures_160.npz"), out: Path = Path("docs/channels"), realisations: int = 6,
    seed: int = 0, channels: tuple[str, ...] = tuple(CHANNELS), figure_only: bool = False,
) -> None:  # fmt: skip
    """Measure one system over native and Sionna's channels."""
    table = out / "channels.csv"
    if not figure_only:
        rows = list(tqdm(measure(data, realisations, seed, channels), desc="rows"))
        out.mkdir(parents=True, exist_ok=True)
        write_csv(table, rows)
    draw(read_csv(table), out / "channels.png")


if __name__ == "__main__":
    sys.exit(main())
