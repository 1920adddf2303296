r"""Third views of a real scene: triples of photographs with known cameras, rectified; into thirds.csv.

    python -m experiments.stereo.thirds --data ../shared/data --out docs/stereo

Of each triple of LLFF's ``fern`` the outer two are sent as a rectified pair over AWGN, and what the receiver sees from
the middle one's place on their line is held against that photograph, turned to the same orientation. It stands off
the line and is not moved, so part of the error is the geometry's. Pixels beyond the photograph do not count. One scene:
a check. ``--sheet FILE`` draws one triple; the photographs are for research use, and none is kept here. Two minutes.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.script import DATA, script
from experiments.stereo.measure import SNR_DB, contenders, fitted
from experiments.stereo.places import CLEAN, Seen, predicted, through
from lvm_mtc.data.images import load_image
from lvm_mtc.data.llff import Cameras, read_llff
from lvm_mtc.data.rectification import Rectification, rectify, turned, turned_focal_length
from lvm_mtc.data.stereo import vertical_mismatch
from lvm_mtc.metrics.pictures import psnr
from lvm_mtc.report.figures import Picture, save_sheet
from lvm_mtc.results.table import write_csv
from lvm_mtc.schemes.loading import STEREO_WEIGHTS
from lvm_mtc.schemes.scheme import Source

TRIPLES = ((0, 1, 2), (2, 3, 4), (6, 7, 8), (10, 11, 12), (12, 13, 14), (16, 17, 18))
SIZE, UNITS = (48, 64), 4
LEFT, MEAN = "the left view", "the mean of both views"
_SHOWN, _SHOWN_SNR_DB = (3,), 10.0


class Triple(NamedTuple):
    """A rectified triple, left, right and middle.

    Attributes:
        numbers: Of the photographs, left, middle, right.
        views: ``[3, H, W, 3]`` uint8.
        valid: Where these are of the photographs, ``[3, H, W]`` bool.
        place: Of the middle camera on the line of the outer ones, 0 left, 1 right.
        geometry: A row of ``thirds_geometry.csv``.
    """

    numbers: tuple[int, ...]
    views: np.ndarray
    valid: np.ndarray
    place: float
    geometry: dict


@script(
    data="folder with multiview/fern (default: %(default)s)", weights="of the codec (default: the shipped)",
    out="folder for thirds.csv and thirds_geometry.csv", sheet="PNG of one triple to write",
)  # fmt: skip
def main(
    data: Path = DATA, weights: Path = STEREO_WEIGHTS, out: Path = Path("docs/stereo"), sheet: Path | None = None
) -> None:
    """Measure third views of a real scene."""
    triples = read_triples(data / "multiview" / "fern")
    views, valid = (np.stack([getattr(one, name) for one in triples]) for name in ("views", "valid"))
    pictures = np.float32(views) / 255
    source = Source(pictures[:, None, :2])
    places = np.float32([[0, 1, one.place] for one in triples])
    full, decoupled = (fitted(one, SIZE) for one in contenders(weights))
    rows, shown = [], {}
    for contender in (full, decoupled):
        for snr_db in SNR_DB:
            units = [through(contender, source, places, snr_db, unit) for unit in range(UNITS)]
            rows += rows_of(contender.name, snr_db, triples, pictures, valid, units)
            if snr_db == _SHOWN_SNR_DB:
                shown[f"{contender.name}, {snr_db:g} dB"] = units[0].views[:, 2]
    clean = predicted(decoupled, pictures[:, :2], places)
    left, right = pictures[:, 0], pictures[:, 1]
    copies = {LEFT: left, MEAN: (left + right) / 2}
    known = {name: Seen(np.stack([left, right, middle], axis=1), 0) for name, middle in copies.items()}
    for name, seen in {CLEAN: clean, **known}.items():
        rows += rows_of(name, None, triples, pictures, valid, [seen])
    shown[CLEAN] = clean.views[:, 2]
    out.mkdir(parents=True, exist_ok=True)
    write_csv(out / "thirds.csv", rows)
    write_csv(out / "thirds_geometry.csv", [one.geometry for one in triples])
    if sheet is not None:
        save_thirds(sheet, triples, shown)


def read_triples(folder: Path) -> list[Triple]:
    """All triples of a capture, rectified at the codec's size."""
    cameras = read_llff(folder / "poses_bounds.npy")
    return [triple_of(folder, cameras, numbers) for numbers in TRIPLES]


def triple_of(folder: Path, cameras: Cameras, numbers: tuple[int, ...]) -> Triple:
    """One triple; the order is turned round where the first camera stands to the right of the last."""
    own = cameras.take(list(numbers))
    if (own.centre[2] - own.centre[0]) @ own.rotation[..., 0].mean(0) < 0:
        numbers = numbers[::-1]
        own = cameras.take(list(numbers))
    common = rectify(own.rotation[[0, 2]], own.centre[[0, 2]])
    photographs = [load_image(folder / f"{number:03d}.png") for number in numbers]
    focal = own.focal_length * [view.shape[1] for view in photographs] / own.size[:, 1]
    at = list(zip(photographs, own.rotation, focal, strict=True))
    seen = [turned(*at[i], common.rotation, SIZE) for i in (0, 2, 1)]
    views, valid = (np.stack(part) for part in zip(*seen, strict=True))
    geometry = geometry_of(numbers, own, common, turned_focal_length(focal[0], photographs[0].shape[:2], SIZE))
    whole = [turned(*at[i], common.rotation, photographs[i].shape[:2], rays=1)[0] for i in (0, 2)]
    before, after = (vertical_mismatch(np.stack(pair)) for pair in ((photographs[0], photographs[2]), whole))
    geometry |= {"rows_before": before, "rows_after": after, "valid_outer": valid[:2].mean(), "valid": valid[2].mean()}
    return Triple(numbers, views, valid, geometry["place"], geometry)


def geometry_of(numbers: tuple[int, ...], own: Cameras, common: Rectification, focal: float) -> dict:
    """What the cameras alone tell; pixels of the codec's size, at the nearest point of the three views."""
    place, (down, forward) = common.place(own.centre[1])
    nearest = own.depth[:, 0].min()
    turns = [np.degrees(np.arccos((np.trace(axes.T @ common.rotation) - 1) / 2)) for axes in own.rotation]
    return {
        "triple": " ".join(map(str, numbers)),
        "place": place,
        "turned_deg": max(turns),
        "largest_disparity": focal * common.baseline / nearest,
        "rows_off": focal * abs(down) / nearest,
        "edge_off": SIZE[1] / 2 * abs(forward) / nearest,
    }


def rows_of(
    name: str, snr_db: float | None, triples: list[Triple], pictures: np.ndarray, valid: np.ndarray, units: list[Seen]
) -> Iterator[dict]:
    """A row a triple: PSNR over valid pixels of the middle view and of both others, mean over the realisations, dB."""
    each = [np.asarray(psnr(pictures, np.float32(seen.views[:, [0, 1, 2]]), valid)) for seen in units]
    values = np.mean(each, axis=0)
    for one, (left, right, middle) in zip(triples, values, strict=True):
        outer = (left + right) / 2
        yield {
            "scheme": name, "snr_db": snr_db, "triple": one.geometry["triple"], "psnr_middle_db": middle,
            "psnr_db": outer if np.isfinite(outer) else None, "overflow": max(seen.overflow for seen in units),
        }  # fmt: skip


def save_thirds(path: Path, triples: list[Triple], shown: dict[str, np.ndarray]) -> None:
    """A row a triple: the rectified photographs, and what is seen from the middle one's place."""
    rows = []
    for i in _SHOWN:
        names = ("left, sent", "right, sent", "middle, a photograph")
        row = [Picture(image=view / 255, caption=name) for view, name in zip(triples[i].views, names, strict=True)]
        rows.append(row + [Picture(image=views[i], caption=name) for name, views in shown.items()])
    save_sheet(path, rows, title="Rectified photographs of one scene over AWGN", few_colours=True)


if __name__ == "__main__":
    sys.exit(main())
