"""Pictures of a sweep for the report's viewer: what was there, what was kept, what arrived and where it is wrong."""

import io
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from lvm_mtc.data.resizing import resize_image
from lvm_mtc.report.shown import show
from lvm_mtc.results.points import StoredPicture, canonical_json
from lvm_mtc.results.store import ResultStore
from lvm_mtc.sweep.plan import SweepSpec

PLACES = ("group", "realisation")
"""Of which group of pictures, and which channel realisation, a stored picture is; the first ones have neither."""
ERROR_GAIN = 4.0
"""What the difference of two pictures is multiplied by, to be seen."""
_LARGEST = 1024  # pixels of the longer side: larger pictures are made smaller, to be looked at
_QUALITY = 90  # as JPEG; every pixel keeps its own colour


def viewer_pictures(
    spec: SweepSpec,
    store: ResultStore,
    *,
    most_snrs: int = 7,
    most_errors: int = 3,
    groups: int = 1,
    realisations: int = 1,
) -> int:
    """Computes and stores pictures of a sweep's first groups, as JPEG for looking at; skips what is there.

    Of the smallest K, the first seed and each scheme's first value of every knob, over every channel, in the first
    channel realisations of the sweep. ``"original"`` has the coordinate ``num_uavs``, ``"kept"`` those that the
    encoder depends on, ``"received"`` and ``"error"`` all of a point; the error is |received - original| times
    ``ERROR_GAIN``, clipped to 1. Those of another group or realisation than the first have its number as a coordinate
    of ``PLACES``.

    Of more SNRs or CSI errors than ``most_snrs`` or ``most_errors`` as many are taken, evenly spread. Returns how many
    pictures were new; none where the schemes send no pictures.
    """
    if spec.schemes[0].scheme.modality != "pictures":
        return 0
    key = store.register(spec.config())
    there = {(canonical_json(picture.coordinates), picture.name) for picture in store.pictures(key)}
    new = 0
    for contender, unit in itertools.product(spec.schemes, range(min(realisations, spec.stopping.max_units))):
        points = list(_points(spec, contender.name, most_snrs, most_errors))
        places = [_place(group, unit) for group in range(min(groups, spec.sources[min(spec.sources)].lead()[0]))]
        if any((canonical_json(at | place), "error") not in there for at in points for place in places):
            new += store.add_pictures(_pictures_of(spec, key, points, len(places), unit))
    return new


def _place(group: int, unit: int) -> dict[str, int]:
    """Coordinates of pictures, besides their point's; of the first ones none, as in stores from before."""
    return {name: number for name, number in zip(PLACES, (group, unit), strict=True) if number}


def _points(spec: SweepSpec, scheme: str, most_snrs: int, most_errors: int) -> Iterator[dict[str, Any]]:
    """Coordinates of the points that are shown."""
    wanted = {
        "snr_db": _spread(spec.snr_db, most_snrs),
        "csi_error_var": _spread(spec.csi_error_var, most_errors),
        "num_uavs": [min(spec.sources)],
        "seed": spec.seeds[:1],
        "scheme": [scheme],
    }
    first: dict[str, Any] = {}
    for at in spec.coordinates():
        if all(at[name] in values for name, values in wanted.items()):
            first = first or at
            if all(at[name] == first[name] for name in spec.contender(scheme).knobs):
                yield at


def _spread(values: Sequence[float], most: int) -> list[float]:
    """At most so many of the values, the smallest and the largest among them."""
    ascending = sorted(values)
    take = np.unique(np.round(np.linspace(0, len(ascending) - 1, min(most, len(ascending)))).astype(int))
    return [ascending[i] for i in take]


def _pictures_of(
    spec: SweepSpec, key: str, points: list[dict[str, Any]], groups: int, unit: int
) -> Iterator[StoredPicture]:
    shown, first = show(spec, points, groups=groups, unit=unit), points[0]
    early = spec.contender(first["scheme"]).early_knobs()
    of_encoder = {name: first[name] for name in ("num_uavs", "seed", "scheme", *early)}
    for group, uav in itertools.product(range(groups), range(first["num_uavs"])):
        view, place = (group, uav), _place(group, unit)
        original, kept = (shown.whole(pictures, view) for pictures in (shown.originals, shown.kept))
        yield StoredPicture(key, {"num_uavs": first["num_uavs"]} | place, "original", uav, _encode(original))
        yield StoredPicture(key, of_encoder | place, "kept", uav, _encode(kept))
        for at, pictures in zip(points, shown.received, strict=True):
            received = shown.whole(pictures, view) / np.float32(255)
            error = ERROR_GAIN * np.abs(received - original)
            yield StoredPicture(key, at | place, "received", uav, _encode(received))
            yield StoredPicture(key, at | place, "error", uav, _encode(error))


def _encode(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    pixels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    height, width = (max(1, round(side * min(1, _LARGEST / max(pixels.shape)))) for side in pixels.shape[:2])
    pixels = pixels if pixels.shape[0] == height else resize_image(pixels, (height, width))
    Image.fromarray(pixels).save(stream, "JPEG", quality=_QUALITY, subsampling=0)
    return stream.getvalue()
