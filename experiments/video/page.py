r"""Figure and tables of docs/video.md, from the store of ``experiments.video.measure`` and the files beside it alone.

python -m experiments.video.page --store docs/video/results.sqlite --out docs/video
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.script import fill_page, script
from experiments.stores import read_points
from experiments.video import perceptual_page
from experiments.video.measure import CLIPS, FRAMES, FULL, INTRA, LINEAR, LOST_FRAME, OTHERS, SOFT1, STORE
from lvm_mtc.report.figures import Curve, Panel, curves_figure, save_png
from lvm_mtc.report.pages import channel_name, number, table, with_interval
from lvm_mtc.results.points import Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.results.table import read_csv
from lvm_mtc.sweep.paired import PREFIX, differences_name

TITLE = "Six test clips of 24 frames, 96 x 96 pixels; equal channel uses a frame, side information included"
SPEED = Path("benchmarks/results/video_cpu.json")
CONVENTION = "rx_per_antenna"
_SHOWN_SNR_DB = (0.0, 5.0, 10.0)
_COLORS = dict(zip((FULL, *OTHERS), ("C0", "C1", "C2", "C3", "C4"), strict=True))

Points = Mapping[tuple[str, str, str, float], Point]
"""By clip, scheme, channel and SNR."""


class Found(NamedTuple):
    """Points and paired differences of the store; rows of ``losses.csv`` and of ``digital.csv``; how frames look."""

    points: Points
    differences: Points
    losses: Sequence[Mapping]
    digital: Sequence[Mapping]
    looks: perceptual_page.Looks | None


@script(
    store="of experiments.video.measure (default: %(default)s)", out="folder for the figure; the page is out.md",
    speed="of benchmarks/video.py (default: %(default)s)",
)  # fmt: skip
def main(store: Path = STORE, out: Path = Path("docs/video"), speed: Path = SPEED) -> None:
    """Draw the figure and fill the page of the video codec."""
    found = read(store, out)
    save_png(curves_figure([panels(found.points, found.digital, found.losses)], title=TITLE), out / "curves.png")
    fill_page(out, tables(found, speed))


def read(store: Path, out: Path) -> Found:
    """What the page is made of: the sweeps of all clips in the store, and the files beside it."""
    with ResultStore(store, create=False) as results:
        points, differences = ({} for _ in range(2))
        for clip in CLIPS:
            points |= _points(results, f"video, {clip}", clip)
            differences |= _points(results, differences_name(f"video, {clip}"), clip)
        looks = perceptual_page.read_looks(results)
    digital = list(read_csv(out / "digital.csv")) if (out / "digital.csv").exists() else []
    return Found(points, differences, list(read_csv(out / "losses.csv")), digital, looks)


def tables(found: Found, speed: Path) -> dict[str, str]:
    """The page's tables by the name of their place."""
    points, differences, losses, digital, looks = found
    made = {
        "clips": of_clips(points, differences),
        "wins": wins(differences),
        "means": means(points),
        "costs": costs(points),
        "losses": of_losses(losses),
        "speed": of_speed(json.loads(speed.read_text())),
    }
    made |= {"digital": of_digital(points, digital)} if digital else {}
    return made | (perceptual_page.tables(looks) if looks else {})


def of_speed(measured: Mapping[str, Any]) -> str:
    """Frames a second of ``benchmarks/video.py``, median and quartiles."""
    rows = []
    for size, of_parts in measured["pixels"].items():
        for part in ("encode", "decode, linear", "decode"):
            rates = of_parts[part]
            values = (rates["frames_per_second"], *rates["quartiles"])
            rows.append((size, part, *(number(value, 0) for value in values)))
    return table(("pixels", "", "frames a second", "lower quartile", "upper quartile"), rows)


def _points(store: ResultStore, name: str, clip: str) -> Points:
    found = read_points(store, name, "video")
    return {(clip, p.coordinates["scheme"], p.coordinates["channel"], p.snr_db): p for p in found}


def mean_psnr(points: Points, scheme: str, channel: str, snr_db: float) -> float:
    """Over the clips, dB."""
    return float(np.mean([points[clip, scheme, channel, snr_db].metrics["psnr_db"].mean for clip in CLIPS]))


def _snrs(points: Points) -> list[float]:
    return sorted({snr_db for *_, snr_db in points})


def panels(points: Points, digital: Sequence[Mapping], losses: Sequence[Mapping]) -> list[Panel]:
    """PSNR over SNR on both channels, and frame by frame where one is lost."""
    snrs = _snrs(points)

    def curve(label: str, x: Sequence[float], y: Sequence[float], **style: str) -> Curve:
        return Curve(label=label, convention=CONVENTION, snr_db=x, mean=y, **style)

    def over(channel: str) -> list[Curve]:
        return [
            curve(scheme, snrs, [mean_psnr(points, scheme, channel, snr) for snr in snrs], color=color)
            for scheme, color in _COLORS.items()
        ]

    bits = []
    for codec, color in (("x264", "C5"), ("x265", "C6")):
        rows = {snr: psnr for snr, psnr, *_ in _confirmed(digital, codec)}
        style = dict(color=color, linestyle="--")
        bits += [curve(f"{codec} and LDPC", list(rows), list(rows.values()), **style)] if rows else []
    lost = []
    for (reference, frame), linestyle in zip(_kinds(losses), ("-", "--", "-", "--"), strict=True):
        mean = [np.mean(values) for values in _by_frame(losses, reference, frame)]
        label = f"{reference}, {'nothing lost' if frame == 'none' else f'frame {frame:g} lost'}"
        color = "C7" if reference == "chain" else "C8"
        lost.append(curve(label, range(FRAMES), mean, color=color, linestyle=linestyle, marker=""))
    psnr = "PSNR, mean over frames and clips (dB)"
    return [
        Panel(title="AWGN", y_label=psnr, curves=[*over("awgn"), *bits]),
        Panel(title="Rayleigh, 4 x 4", y_label=psnr, curves=over("rayleigh")),
        Panel(title="AWGN, 10 dB, pvsc", y_label=psnr, curves=lost, x_label="frame"),
    ]


def of_clips(points: Points, differences: Points) -> str:
    """PSNR of every clip over AWGN, and the paired differences."""
    against = (LINEAR, INTRA, SOFT1)
    rows = []
    for clip in CLIPS:
        for snr in _SHOWN_SNR_DB:
            own = [number(points[clip, s, "awgn", snr].metrics["psnr_db"].mean) for s in (FULL, *OTHERS)]
            paired = [
                with_interval(differences[clip, f"{FULL} minus {other}", "awgn", snr].metrics[f"{PREFIX}psnr_db"])
                for other in against
            ]
            rows.append((clip, f"{snr:g}", *own, *paired))
    return table(("clip", "SNR, dB", FULL, *OTHERS, *(f"over {o.removeprefix('pvsc, ')}" for o in against)), rows)


def wins(differences: Points) -> str:
    """Clips of which the whole interval of the difference is above 0, AWGN."""
    rows = []
    for other in OTHERS:
        counts = []
        for snr in _snrs(differences):
            own = [differences[c, f"{FULL} minus {other}", "awgn", snr].metrics[f"{PREFIX}psnr_db"] for c in CLIPS]
            counts.append(sum(m.mean - (m.half_width or 0) > 0 for m in own))
        rows.append((other, *counts))
    return table((f"clips of 6 on which {FULL} is ahead of", *(f"{snr:g} dB" for snr in _snrs(differences))), rows)


def means(points: Points) -> str:
    """Mean over clips, of PSNR and SSIM."""
    rows = []
    for channel in ("awgn", "rayleigh"):
        for snr in _snrs(points):
            psnr = [number(mean_psnr(points, scheme, channel, snr)) for scheme in (FULL, *OTHERS)]
            ssim = [
                number(np.mean([points[c, s, channel, snr].metrics["ssim"].mean for c in CLIPS]), 3)
                for s in (FULL, LINEAR)
            ]
            rows.append((channel_name(channel), f"{snr:g}", *psnr, *ssim))
    head = ("channel", "SNR, dB", *(f"{s}, dB" for s in (FULL, *OTHERS)), f"SSIM, {FULL}", f"SSIM, {LINEAR}")
    return table(head, rows)


def costs(points: Points) -> str:
    """What a frame takes, mean over clips and from clip to clip."""
    rows = []
    for scheme in (FULL, *OTHERS):
        ledgers = [points[clip, scheme, "awgn", _SHOWN_SNR_DB[0]].ledger for clip in CLIPS]
        uses, side = (np.array([led[n] for led in ledgers]) / FRAMES for n in ("channel_uses", "side_information_bits"))
        total = uses + side
        cells = (number(uses.mean(), 0), number(side.mean(), 0), number(total.mean(), 0))
        rows.append((scheme, *cells, f"{total.min():.0f} ... {total.max():.0f}"))
    return table(("a frame takes", "symbols", "side information, bits", "together", "from clip to clip"), rows)


def _confirmed(digital: Sequence[Mapping], codec: str) -> Iterator[tuple[float, float, Mapping]]:
    """SNR, mean PSNR over clips and one of the rows, where a rate is confirmed."""
    for snr in sorted({row["snr_db"] for row in digital}):
        rows = [r for r in digital if (r["codec"], r["snr_db"], r["choice"]) == (codec, snr, "confirmed")]
        if len(rows) == len(CLIPS):
            yield snr, float(np.mean([row["psnr_db"] for row in rows])), rows[0]


def of_digital(points: Points, digital: Sequence[Mapping]) -> str:
    """x264 and x265 beside the video codec over AWGN, and what one step more of rate does."""
    rows = []
    names = {2: "QPSK", 4: "16-QAM", 6: "64-QAM"}
    for snr in sorted({row["snr_db"] for row in digital}):
        cells: list[Any] = [f"{snr:g}"]
        for codec in ("x264", "x265"):
            own = [(psnr, row) for at, psnr, row in _confirmed(digital, codec) if at == snr]
            cells += [number(own[0][0])] if own else ["outage"]
            if codec == "x264":
                name = f"{names[own[0][1]['bits_per_symbol']]}, {own[0][1]['code_rate']:.2f}" if own else "none arrives"
        known = (FULL, LINEAR)
        ours = [number(mean_psnr(points, s, "awgn", snr)) if snr in _snrs(points) else "" for s in known]
        more = [r for r in digital if (r["codec"], r["snr_db"], r["choice"]) == ("x264", snr, "one step more")]
        lost = f"{sum(r['groups_lost'] for r in more):g} of {len(more) * FRAMES // 8}" if more else ""
        rows.append((*cells, name, lost, *ours))
    head = ("SNR, dB", "x264, dB", "x265, dB", "modulation, code rate", "groups lost one step higher")
    return table((*head, f"{FULL}, dB", f"{LINEAR}, dB"), rows)


def _kinds(losses: Sequence[Mapping]) -> list[tuple[str, Any]]:
    return list(dict.fromkeys((row["reference"], row["lost"]) for row in losses))


def _by_frame(losses: Sequence[Mapping], reference: str, lost: Any) -> list[list[float]]:
    own = [row for row in losses if (row["reference"], row["lost"]) == (reference, lost)]
    return [[row["psnr_db"] for row in own if row["frame"] == frame] for frame in range(FRAMES)]


def of_losses(losses: Sequence[Mapping]) -> str:
    """PSNR around the frame that is lost, mean over clips."""
    shown = (LOST_FRAME - 1, LOST_FRAME, LOST_FRAME + 1, LOST_FRAME + 4, LOST_FRAME + 5)
    rows = []
    for reference, lost in _kinds(losses):
        values = [np.mean(values) for values in _by_frame(losses, reference, lost)]
        which = lost if lost == "none" else f"{lost:g}"
        rows.append((reference, which, *(number(values[frame]) for frame in shown), number(np.mean(values))))
    return table(("reference", "lost frame", *(f"frame {frame}, dB" for frame in shown), "all, dB"), rows)


if __name__ == "__main__":
    sys.exit(main())
