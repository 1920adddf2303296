"""One system over native Rayleigh, Sionna TDL-A and Sionna CDL-D, beside a picture codec with a channel code.

    python experiments/channels.py --data build/pictures_160.npz --out docs/channels

Needs the extra ``sionna`` and ``make build/pictures_160.npz``; about half an hour on two idle cores. The pictures are
the demo's 28 views. Writes ``channels.csv`` and ``channels.png``, drawn from it; ``--figure-only`` draws again.

Everything has the same channel uses per picture, 4x4 antennas, perfect CSI and power 1 per antenna. The three fading
channels go through the same resource grid and differ in one word of the configuration, so that pilots, prefix and the
empty end of the last grid cost all of them the same; AWGN needs no grid. The digital system's modulation and code rate
are chosen per SNR on training pictures; its mean picture is theirs.
"""

import argparse
import functools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from lvm_mtc import LinkConfig
from lvm_mtc.data import demo_views, load_packed
from lvm_mtc.data.resizing import center_crop
from lvm_mtc.evaluation.figures import Curve, Panel, save_curves
from lvm_mtc.evaluation.grid import run_grid
from lvm_mtc.evaluation.modulation_coding import SeparationScheme
from lvm_mtc.evaluation.references import rate_distortion, separation_references
from lvm_mtc.evaluation.report import interval
from lvm_mtc.evaluation.schemes import DEMO_WEIGHTS, load_system, make_schemes
from lvm_mtc.evaluation.separation import run_separation
from lvm_mtc.evaluation.table import read_csv, write_csv

AWGN_SNR_DB = tuple(float(v) for v in range(0, 21, 2))
FADING_SNR_DB = tuple(float(v) for v in range(0, 31, 3))
CLIFF_SNR_DB = tuple(float(v) for v in range(0, 21))
CHANNELS = {
    "AWGN": LinkConfig(fading="awgn", convention="rx_per_antenna"),
    "Rayleigh": LinkConfig(fading="rayleigh", waveform="ofdm", convention="rx_per_antenna"),
    "Sionna TDL-A": LinkConfig(fading="sionna_tdl_a", waveform="ofdm", convention="rx_per_antenna"),
    "Sionna CDL-D": LinkConfig(fading="sionna_cdl_d", waveform="ofdm", convention="rx_per_antenna"),
}
LEARNED = ("all", "pca")
CODECS = ("avif", "webp", "jpeg")
FIXED = (4, 1 / 2)  # 16-QAM at rate 1/2, for the cliff
STYLES = {
    "every patch kept": ("C0", "-", "o"),  # the token codec
    "linear patch-wise PCA, every patch kept": ("C7", "-", "o"),
    "AVIF + LDPC": ("C1", "-", "s"),
    "WebP + LDPC": ("C2", "-", "s"),
    "JPEG + LDPC": ("C3", "-", "s"),
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


def _row(channel: str, scheme: str, link: LinkConfig, snr_db: float, mean: float, half: float | None, **more: Any):
    row = {"channel": channel, "scheme": scheme, "fading": link.fading, "waveform": "ofdm" if link.uses_ofdm else "",
           "snr_convention": link.convention, "snr_db": snr_db, "psnr_db": mean, "psnr_db_ci95": half}
    empty = dict.fromkeys(("realised_snr_db", "uses_per_picture", "modulation", "code_rate", "picture_error_rate"))
    return row | empty | more


def _measured(channel: str, name: str, result, **columns: Sequence) -> Iterator[dict]:
    values = interval(result, "psnr_db")
    uses = float(np.mean(result.ledger.channel_uses()) / result.has_object.shape[1])
    for i, snr_db in enumerate(result.snr_db):
        more = {key: column[i] for key, column in columns.items()} | {"uses_per_picture": uses}
        if result.realised_snr_db is not None:
            more["realised_snr_db"] = result.realised_snr_db[i]
        yield _row(channel, name, result.link, snr_db, values.mean[i], values.half_width[i], **more)


def _separation(channel: str, name: str, scheme: SeparationScheme, link: LinkConfig, options: dict) -> Iterator[dict]:
    result = run_separation(scheme, link=link, **options)
    pairs = result.selection.pairs
    yield from _measured(
        channel, name, result, modulation=[2**pair.bits_per_symbol for pair in pairs],
        code_rate=[pair.rate for pair in pairs], picture_error_rate=result.picture_error_rate,
    )


def measure(data: Path, num_realisations: int, seed: int, channels: Sequence[str]) -> list[dict]:
    """Runs everything.

    Args:
        data: Packed training pictures.
        num_realisations: Channel realisations of the reported points.
        seed: Of channels.
        channels: Names in ``CHANNELS``.

    Returns:
        Rows of the table.
    """
    system, params = load_system(DEMO_WEIGHTS)
    size = system.config.image_size
    found = demo_views(4, size)
    images, loc = np.float32(found.views) / 255, found.boxes
    training = np.stack([center_crop(picture, size) for picture in load_packed(data).pictures])
    chosen = np.random.default_rng(seed).choice(len(training), 24, replace=False)
    mean_picture = np.float32(training.mean(0) / 255)
    num_slots = system.config.num_patches * system.config.num_symbols // 4
    curve = rate_distortion(images, "avif", mean_picture)
    jobs = []
    for channel in channels:
        link, key = CHANNELS[channel], functools.partial(jax.random.key, seed)
        snr_db = AWGN_SNR_DB if link.is_awgn else FADING_SNR_DB
        for scheme in make_schemes(LEARNED, system, params):
            jobs.append(lambda scheme=scheme, link=link, snr_db=snr_db, channel=channel, key=key: _measured(
                channel, scheme.name, run_grid(scheme, images, loc, key(), link, snr_db=snr_db, csi_error_var=(0.0,),
                                               num_realisations=num_realisations)))
        options = dict(
            images=images, loc=loc, selection_images=np.float32(training[chosen].reshape(-1, 4, size, size, 3) / 255),
            mean_picture=mean_picture, num_realisations=num_realisations,
            # Over AWGN all pictures of a rate fail together; over fading each has a channel of its own.
            num_selection_realisations=1 if link.is_awgn else 3,
        )
        labels = {f"{name} + LDPC": SeparationScheme(name=name, codec=name.lower(), num_slots=num_slots)
                  for name in ("AVIF", "WebP", "JPEG")}
        if link.is_awgn:
            labels["AVIF + LDPC, 16-QAM, rate 1/2 at every SNR"] = SeparationScheme(
                name="fixed", codec="avif", num_slots=num_slots, bits_per_symbol=FIXED[:1], rates=FIXED[1:])
        for name, scheme in labels.items():
            at = CLIFF_SNR_DB if scheme.name == "fixed" else snr_db
            jobs.append(lambda name=name, scheme=scheme, link=link, channel=channel, options=options, key=key, at=at:
                        _separation(channel, name, scheme, link, options | {"key": key(), "snr_db": at}))
        jobs.append(lambda link=link, snr_db=snr_db, channel=channel, key=key: _references(
            channel, link, curve, jax.random.fold_in(key(), 1), snr_db, num_slots))
    return [row for job in tqdm(jobs, desc="curves") for row in job()]


def _references(channel: str, link: LinkConfig, curve, key, snr_db, num_slots: int) -> Iterator[dict]:
    found = separation_references(curve, link, key, snr_db=snr_db, num_slots=num_slots, num_draws=400)
    for name, values in (("outage", found.outage), ("channel known at the transmitter", found.known_channel)):
        for i, snr in enumerate(found.snr_db):
            yield _row(channel, f"reference: AVIF, {name}", link, snr, values.mean[i], values.half_width[i])


def draw(rows: Sequence[dict], path: Path) -> None:
    """Draws the table.

    Args:
        rows: Of :func:`measure`, or read again from ``channels.csv``.
        path: The PNG.
    """
    panels = []
    for channel in dict.fromkeys(row["channel"] for row in rows):
        curves = []
        for scheme, (color, linestyle, marker) in STYLES.items():
            of = [row for row in rows if row["channel"] == channel and row["scheme"] == scheme]
            if of:
                curves.append(Curve(
                    label="token codec, every patch kept" if scheme == "every patch kept" else scheme,
                    convention=of[0]["snr_convention"], snr_db=[row["snr_db"] for row in of],
                    mean=[row["psnr_db"] for row in of], half_width=[row["psnr_db_ci95"] or 0.0 for row in of],
                    color=color, linestyle=linestyle, marker=marker,
                ))
        through = next(row["waveform"] for row in rows if row["channel"] == channel)
        title = f"{channel}{', OFDM grid' if through else ''}"
        panels.append(Panel(title=title, y_label="mean PSNR (dB)", curves=curves))
    save_curves(path, [panels[i : i + 2] for i in range(0, len(panels), 2)], title="Token codec and picture codecs",
                footnote=NOTE)


def main() -> int:
    """Measures and draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("build/pictures_160.npz"), help="packed training pictures")
    parser.add_argument("--out", type=Path, default=Path("docs/channels"), help="folder for table and figure")
    parser.add_argument("--realisations", type=int, default=6, help="of the channel (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--channels", nargs="+", choices=CHANNELS, default=list(CHANNELS), metavar="NAME")
    parser.add_argument("--figure-only", action="store_true", help="draw channels.csv again")
    options = parser.parse_args()
    table = options.out / "channels.csv"
    if not options.figure_only:
        rows = measure(options.data, options.realisations, options.seed, options.channels)
        options.out.mkdir(parents=True, exist_ok=True)
        write_csv(table, rows)
    draw(read_csv(table), options.out / "channels.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
