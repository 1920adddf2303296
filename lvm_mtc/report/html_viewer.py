"""A store's pictures, clips and clouds as the report's viewer takes them."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from lvm_mtc.report.figures import snr_label
from lvm_mtc.report.moving import CLOUD_HEAD
from lvm_mtc.report.select import describe
from lvm_mtc.report.viewer_pictures import PLACES
from lvm_mtc.results.points import Point, StoredPicture, canonical_json
from lvm_mtc.results.store import ResultStore

_KINDS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp"}
MOST_BYTES = 24 * 2**20
"""Of clips and clouds that arrived in one HTML file, as its text."""
# Metric, what it is called, decimals.
_TOLD = {
    "pictures": (("psnr_db", "PSNR {} dB", 2), ("psnr_inside_db", "inside the box {} dB", 2)),
    "clips": (("psnr_db", "PSNR {} dB", 2), ("ssim", "SSIM {}", 3)),
    "points": (("d1_psnr_db", "D1 PSNR {} dB", 2), ("chamfer", "Chamfer distance {}", 5)),
}


def viewer_sets(store: ResultStore) -> list[dict[str, Any]]:
    """Pictures, clips and clouds of every sweep that has any, as JSON takes them.

    Returns:
        A ``viewer_set`` for each group and channel realisation of a sweep, named in it where there are several.
    """
    sets = []
    for sweep in store.sweeps():
        pictures = store.pictures(sweep.config_hash)
        if any(picture.name == "received" for picture in pictures):
            name = sweep.config.get("name") or f"sweep {sweep.config_hash[:8]}"
            measured, places = store.read(sweep.config_hash), _by_place(pictures)
            for place, own in places.items():
                which = ", ".join(f"{kind} {number + 1}" for kind, number in zip(PLACES, place, strict=True))
                sets.append(viewer_set(f"{name}, {which}" if len(places) > 1 else name, own, measured))
    return within_limit(sets)


def _by_place(pictures: Sequence[StoredPicture]) -> dict[tuple[int, ...], list[StoredPicture]]:
    """Pictures by group and realisation, from 0, without these coordinates."""
    places: dict[tuple[int, ...], list[StoredPicture]] = {}
    for picture in pictures:
        place = tuple(picture.coordinates.get(name, 0) for name in PLACES)
        own = picture._replace(coordinates=_without(picture.coordinates, *PLACES))
        places.setdefault(place, []).append(own)
    return dict(sorted(places.items()))


def viewer_set(
    name: str, pictures: Sequence[StoredPicture], measured: Sequence[Point], labels: Sequence[str] | None = None
) -> dict[str, Any]:
    """What one sweep shows.

    Args:
        name: Of the sweep.
        pictures: All of one kind: pictures, frames of clips, or clouds.
        measured: Its points.
        labels: Of the rows; None: "UAV 0" and so on.

    Returns:
        ``name``, ``kind`` ("pictures", "clips" or "points"), ``uavs`` and their ``labels``, ``schemes``, ``channels``,
        ``snr_db``, ``csi_error_var`` (ascending), ``snr_label``; ``original`` (UAV to data URI, of a clip a list of
        them, of a cloud base64), ``kept`` (scheme to the same) and ``points``: "scheme|channel|i|j", i and j the places
        of SNR and CSI error, to ``received``, ``error`` and ``text``.
    """
    pictures = sorted(pictures, key=lambda picture: picture.coordinates.get("frame", 0))
    points = {canonical_json(point.coordinates): point for point in measured}
    arrived = [picture for picture in pictures if picture.name in ("received", "error")]
    kind = "clips" if "frame" in arrived[0].coordinates else "pictures"
    kind = "points" if arrived[0].data.startswith(CLOUD_HEAD) else kind

    def values(axis):
        # Numbers before texts, each among themselves.
        return sorted({picture.coordinates.get(axis, 0) for picture in arrived}, key=lambda v: (isinstance(v, str), v))

    snr_db, errors = values("snr_db"), values("csi_error_var")
    schemes = _schemes(arrived)
    conventions = sorted({point.snr_convention for point in points.values()})
    uavs = sorted({picture.uav for picture in arrived})
    shown = {
        "name": name,
        "kind": kind,
        "uavs": uavs,
        "labels": [labels[uav] if labels else f"UAV {uav}" for uav in uavs],
        "snr_db": snr_db,
        "csi_error_var": errors,
        "schemes": [label for label, _ in schemes.values()],
        "channels": [str(name) for name in values("channel")],
        "snr_label": snr_label(conventions[0]) if len(conventions) == 1 else "SNR, dB",
        "original": {},
        "kept": {label: {} for label, _ in schemes.values()},
        "points": {},
    }
    for picture in pictures:
        if picture.name == "original":
            _put(shown["original"], picture)
        for label, at in schemes.values() if picture.name == "kept" else ():
            if picture.coordinates.items() <= at.items():
                _put(shown["kept"][label], picture)
    for picture in arrived:
        at = _without(picture.coordinates, "frame")
        label, _ = schemes[canonical_json(_without_place(at))]
        snr, error = snr_db.index(at.get("snr_db", 0)), errors.index(at.get("csi_error_var", 0))
        place = f"{label}|{at.get('channel', 0)}|{snr}|{error}"
        entry = shown["points"].setdefault(place, {"text": _describe(points.get(canonical_json(at)), kind)})
        _put(entry.setdefault(picture.name, {}), picture)
    return shown


def within_limit(sets: Sequence[dict[str, Any]], limit: int = MOST_BYTES) -> list[dict[str, Any]]:
    """The sets without the clips and clouds that arrived beyond ``limit`` bytes of text; their points say so."""
    left = limit
    for shown in sets:
        for entry in shown["points"].values() if shown["kind"] != "pictures" else ():
            size = len(json.dumps(entry["received"]))
            left -= size
            if left < 0:
                del entry["received"]
                entry["text"] += f" Not shown here: the page holds {limit / 2**20:g} MiB of clips and clouds at most."
    return list(sets)


def _put(into: dict[int, Any], picture: StoredPicture) -> None:
    """Under its UAV; frames one after another."""
    if "frame" in picture.coordinates:
        into.setdefault(picture.uav, []).append(_uri(picture.data))
    else:
        into[picture.uav] = _uri(picture.data)


def _without(at: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in at.items() if name not in names}


def _without_place(at: Mapping[str, Any]) -> dict[str, Any]:
    return _without(at, "channel", "snr_db", "csi_error_var", "frame")


def _schemes(arrived: Sequence[StoredPicture]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Label and coordinates of each scheme, P_r, epsilon and seed; a label names what differs under one scheme."""
    places = [_without_place(picture.coordinates) for picture in arrived]
    schemes = {canonical_json(at): at for at in places}
    labelled = {}
    for text, at in schemes.items():
        others = [other for other in schemes.values() if other.get("scheme") == at.get("scheme")]
        differing = [name for name in at if name != "scheme" and len({other.get(name) for other in others}) > 1]
        parts = [str(at.get("scheme", "")), *(describe(name, at[name]) for name in differing)]
        labelled[text] = ", ".join(parts), at
    return labelled


def _describe(point: Point | None, kind: str) -> str:
    """What was measured at the point, over all its pictures and channels."""
    parts = []
    for name, text, digits in _TOLD[kind]:
        measured = None if point is None else point.metrics.get(name)
        if measured is not None:
            parts.append(text.format(measured.text(f".{digits}f", f".{digits}f")))
    if not parts:
        return "This point is not in the store."
    called = {"points": "clouds"}.get(kind, kind)
    return f"Over all {called} and channel realisations: {', '.join(parts)}."


def _uri(data: bytes) -> str:
    if data.startswith(CLOUD_HEAD):
        return base64.b64encode(data.removeprefix(CLOUD_HEAD)).decode()
    kind = next((kind for head, kind in _KINDS.items() if data.startswith(head)), "png")
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
