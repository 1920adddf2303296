"""A store's pictures as the report's viewer takes them."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from lvm_mtc.evaluation.figures import snr_label
from lvm_mtc.evaluation.points import Point, StoredPicture, canonical_json
from lvm_mtc.evaluation.store import ResultStore
from lvm_mtc.evaluation.store_figures_select import describe

_KINDS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp"}


def viewer_sets(store: ResultStore) -> list[dict[str, Any]]:
    """Pictures of every sweep that has any, as JSON takes them.

    Args:
        store: The store.

    Returns:
        A set a sweep: ``name``, ``uavs``, ``schemes``, ``channels``, ``snr_db``, ``csi_error_var`` (ascending),
        ``snr_label``; ``original`` (UAV to data URI), ``kept`` (scheme to the same) and ``points``:
        "scheme|channel|i|j", i and j the places of SNR and CSI error, to ``received``, ``error`` and ``text``.

    Raises:
        StoreError: if the store cannot be read.
    """
    found = []
    for sweep in store.sweeps():
        pictures = store.pictures(sweep.config_hash)
        if any(one.name == "received" for one in pictures):
            points = {canonical_json(point.coordinates): point for point in store.read(sweep.config_hash)}
            found.append(_set(sweep.config_hash, pictures, points))
    return found


def _set(key: str, pictures: Sequence[StoredPicture], points: dict[str, Point]) -> dict[str, Any]:
    arrived = [one for one in pictures if one.name in ("received", "error")]

    def values(axis):
        # Numbers before texts, each among themselves.
        return sorted({one.coordinates.get(axis, 0) for one in arrived}, key=lambda v: (isinstance(v, str), v))

    snr_db, errors = values("snr_db"), values("csi_error_var")
    schemes = _schemes(arrived)
    conventions = sorted({point.snr_convention for point in points.values()})
    shown = {
        "name": f"sweep {key[:8]}", "uavs": sorted({one.uav for one in arrived}), "snr_db": snr_db,
        "csi_error_var": errors, "schemes": [label for label, _ in schemes.values()],
        "channels": [str(name) for name in values("channel")],
        "snr_label": snr_label(conventions[0]) if len(conventions) == 1 else "SNR, dB",
        "original": {one.uav: _uri(one.data) for one in pictures if one.name == "original"},
        "kept": {label: {} for label, _ in schemes.values()}, "points": {},
    }
    for one in pictures:
        for label, at in schemes.values() if one.name == "kept" else ():
            if one.coordinates.items() <= at.items():
                shown["kept"][label][one.uav] = _uri(one.data)
    for one in arrived:
        at = one.coordinates
        label, _ = schemes[canonical_json(_without_place(at))]
        place = "|".join(map(str, (label, at.get("channel", 0), snr_db.index(at.get("snr_db", 0)),
                                   errors.index(at.get("csi_error_var", 0)))))
        entry = shown["points"].setdefault(place, {"text": _describe(points.get(canonical_json(at)))})
        entry.setdefault(one.name, {})[one.uav] = _uri(one.data)
    return shown


def _without_place(at: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in at.items() if name not in ("channel", "snr_db", "csi_error_var")}


def _schemes(arrived: Sequence[StoredPicture]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Label and coordinates of each scheme, P_r, epsilon and seed; a label names what differs under one scheme."""
    found = {canonical_json(_without_place(one.coordinates)): _without_place(one.coordinates) for one in arrived}
    labelled = {}
    for text, at in found.items():
        others = [other for other in found.values() if other.get("scheme") == at.get("scheme")]
        differing = [name for name in at if name != "scheme" and len({other.get(name) for other in others}) > 1]
        parts = [str(at.get("scheme", "")), *(describe(name, at[name]) for name in differing)]
        labelled[text] = ", ".join(parts), at
    return labelled


def _describe(point: Point | None) -> str:
    """What was measured at the point, over all its pictures and channels."""
    parts = []
    for name, text in (("psnr_db", "PSNR {} dB"), ("psnr_inside_db", "inside the box {} dB")):
        found = None if point is None else point.metrics.get(name)
        if found is not None:
            width = "" if found.half_width is None else f" ± {found.half_width:.2f}"
            parts.append(text.format(f"{found.mean:.2f}{width}"))
    if not parts:
        return "This point is not in the store."
    return f"Over all pictures and channel realisations: {', '.join(parts)}."


def _uri(data: bytes) -> str:
    kind = next((kind for head, kind in _KINDS.items() if data.startswith(head)), "png")
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
