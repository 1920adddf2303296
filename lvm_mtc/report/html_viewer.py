"""A store's pictures as the report's viewer takes them."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from lvm_mtc.report.figures import snr_label
from lvm_mtc.report.select import describe
from lvm_mtc.report.viewer_pictures import PLACES
from lvm_mtc.results.points import Point, StoredPicture, canonical_json
from lvm_mtc.results.store import ResultStore

_KINDS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp"}


def viewer_sets(store: ResultStore) -> list[dict[str, Any]]:
    """Pictures of every sweep that has any, as JSON takes them.

    Returns:
        A set for each group of pictures and channel realisation of a sweep, named in it where there are several:
        ``name``, ``uavs``, ``schemes``, ``channels``, ``snr_db``, ``csi_error_var`` (ascending), ``snr_label``;
        ``original`` (UAV to data URI), ``kept`` (scheme to the same) and ``points``: "scheme|channel|i|j", i and j the
        places of SNR and CSI error, to ``received``, ``error`` and ``text``.
    """
    sets = []
    for sweep in store.sweeps():
        pictures = store.pictures(sweep.config_hash)
        if any(picture.name == "received" for picture in pictures):
            points = {canonical_json(point.coordinates): point for point in store.read(sweep.config_hash)}
            name = sweep.config.get("name") or f"sweep {sweep.config_hash[:8]}"
            places = _by_place(pictures)
            for place, own in places.items():
                which = ", ".join(f"{kind} {number + 1}" for kind, number in zip(PLACES, place, strict=True))
                sets.append(_set(f"{name}, {which}" if len(places) > 1 else name, own, points))
    return sets


def _by_place(pictures: Sequence[StoredPicture]) -> dict[tuple[int, ...], list[StoredPicture]]:
    """Pictures by group and realisation, from 0, without these coordinates."""
    places: dict[tuple[int, ...], list[StoredPicture]] = {}
    for picture in pictures:
        place = tuple(picture.coordinates.get(name, 0) for name in PLACES)
        at = {name: value for name, value in picture.coordinates.items() if name not in PLACES}
        places.setdefault(place, []).append(picture._replace(coordinates=at))
    return dict(sorted(places.items()))


def _set(name: str, pictures: Sequence[StoredPicture], points: dict[str, Point]) -> dict[str, Any]:
    arrived = [picture for picture in pictures if picture.name in ("received", "error")]

    def values(axis):
        # Numbers before texts, each among themselves.
        return sorted({picture.coordinates.get(axis, 0) for picture in arrived}, key=lambda v: (isinstance(v, str), v))

    snr_db, errors = values("snr_db"), values("csi_error_var")
    schemes = _schemes(arrived)
    conventions = sorted({point.snr_convention for point in points.values()})
    shown = {
        "name": name,
        "uavs": sorted({picture.uav for picture in arrived}),
        "snr_db": snr_db,
        "csi_error_var": errors,
        "schemes": [label for label, _ in schemes.values()],
        "channels": [str(name) for name in values("channel")],
        "snr_label": snr_label(conventions[0]) if len(conventions) == 1 else "SNR, dB",
        "original": {picture.uav: _uri(picture.data) for picture in pictures if picture.name == "original"},
        "kept": {label: {} for label, _ in schemes.values()},
        "points": {},
    }
    for picture in pictures:
        for label, at in schemes.values() if picture.name == "kept" else ():
            if picture.coordinates.items() <= at.items():
                shown["kept"][label][picture.uav] = _uri(picture.data)
    for picture in arrived:
        at = picture.coordinates
        label, _ = schemes[canonical_json(_without_place(at))]
        snr, error = snr_db.index(at.get("snr_db", 0)), errors.index(at.get("csi_error_var", 0))
        place = f"{label}|{at.get('channel', 0)}|{snr}|{error}"
        entry = shown["points"].setdefault(place, {"text": _describe(points.get(canonical_json(at)))})
        entry.setdefault(picture.name, {})[picture.uav] = _uri(picture.data)
    return shown


def _without_place(at: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in at.items() if name not in ("channel", "snr_db", "csi_error_var")}


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


def _describe(point: Point | None) -> str:
    """What was measured at the point, over all its pictures and channels."""
    parts = []
    for name, text in (("psnr_db", "PSNR {} dB"), ("psnr_inside_db", "inside the box {} dB")):
        measured = None if point is None else point.metrics.get(name)
        if measured is not None:
            parts.append(text.format(measured.text(".2f", ".2f")))
    if not parts:
        return "This point is not in the store."
    return f"Over all pictures and channel realisations: {', '.join(parts)}."


def _uri(data: bytes) -> str:
    kind = next((kind for head, kind in _KINDS.items() if data.startswith(head)), "png")
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
