"""Pictures of a sweep for the report's viewer: what was there, what was kept, what arrived and where it is wrong."""

import io
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from lvm_mtc.evaluation import programs
from lvm_mtc.evaluation.grid import Scheme
from lvm_mtc.evaluation.points import StoredPicture, canonical_json
from lvm_mtc.evaluation.programs import Items, SendProgram
from lvm_mtc.evaluation.sheet import grey_out
from lvm_mtc.evaluation.store import ResultStore
from lvm_mtc.evaluation.sweep_plan import SweepSpec
from lvm_mtc.system import PictureCodecSystem

ERROR_GAIN = 4.0
"""What the difference of two pictures is multiplied by, to be seen."""
_ENCODED_GROUP = ("num_uavs", "seed", "scheme", "mask_prob")
_ITEMS_AT_ONCE = 16
_QUALITY = 90  # as JPEG; every pixel keeps its own colour


def viewer_pictures(spec: SweepSpec, store: ResultStore, *, most_snrs: int = 7, most_errors: int = 3) -> int:
    """Computes and stores the pictures of a sweep's first group, as JPEG for looking at; skips what is there.

    Of the smallest K, the first seed and each scheme's first P_r and epsilon, over every channel. They are those of the
    first channel realisation of the sweep. ``"original"`` has the coordinate ``num_uavs``, ``"kept"`` those that the
    encoder depends on, ``"received"`` and ``"error"`` all of a point; the error is |received - original| times
    ``ERROR_GAIN``, clipped to 1.

    Args:
        spec: The sweep.
        store: Where its points are.
        most_snrs: With more SNRs, as many of them, evenly spread.
        most_errors: With more CSI errors, likewise.

    Returns:
        How many pictures were new.

    Raises:
        StoreError: if the store cannot be written to.
    """
    key = store.register(spec.config())
    there = {(canonical_json(one.coordinates), one.name) for one in store.pictures(key)}
    new = 0
    for scheme in spec.schemes:
        points = list(_points(spec, scheme, most_snrs, most_errors))
        if any((canonical_json(at), "error") not in there for at in points):
            new += store.add_pictures(_pictures_of(spec, key, scheme, points))
    return new


def _points(spec: SweepSpec, scheme: Scheme, most_snrs: int, most_errors: int) -> Iterator[dict[str, Any]]:
    """Coordinates of the points that are shown."""
    wanted = {"snr_db": _spread(spec.snr_db, most_snrs), "csi_error_var": _spread(spec.csi_error_var, most_errors),
              "num_uavs": [min(spec.pictures)], "seed": spec.seeds[:1], "scheme": [scheme.name]}
    first: dict[str, Any] = {}
    for at in spec.coordinates():
        if all(at[name] in values for name, values in wanted.items()):
            first = first or at
            if all(at[name] == first[name] for name in ("mask_prob", "epsilon")):
                yield at


def _spread(values: Sequence[float], most: int) -> list[float]:
    """At most so many of the values, the smallest and the largest among them."""
    ascending = sorted(values)
    take = np.unique(np.round(np.linspace(0, len(ascending) - 1, min(most, len(ascending)))).astype(int))
    return [ascending[i] for i in take]


def _pictures_of(spec: SweepSpec, key: str, scheme: Scheme, points: list[dict[str, Any]]) -> Iterator[StoredPicture]:
    at = points[0]
    num_uavs = at["num_uavs"]
    pictures = spec.pictures[num_uavs]
    # As a sweep begins: its first step of pictures, its first channel realisation.
    start, stop, size = spec.steps(num_uavs)[0]
    take = np.minimum(np.arange(start, start + size), stop - 1)
    images, loc = (jnp.asarray(a[take], jnp.float32) for a in (pictures.images, pictures.loc))
    mask_key, channel_key = jax.random.split(jax.random.fold_in(jax.random.key(at["seed"]), 0))
    encoded = programs.encode(scheme.system, scheme.params, images, loc, mask_key, jnp.float32(at["mask_prob"]))
    draws = programs.draw(spec.draw_shape(num_uavs), channel_key, np.zeros(1, np.uint32))
    program = SendProgram(system=scheme.system, links=spec.links, metrics=(), pictures=True)

    originals = np.asarray(images[0])
    # A codec for whole pictures leaves nothing out.
    kept = originals if isinstance(scheme.system, PictureCodecSystem) else [
        grey_out(image, mask, scheme.system.config) for image, mask in zip(originals, encoded.kept.mask[0], strict=True)
    ]
    of_encoder = {name: at[name] for name in _ENCODED_GROUP}
    for uav in range(num_uavs):
        yield StoredPicture(key, {"num_uavs": num_uavs}, "original", uav, _encode(originals[uav]))
        yield StoredPicture(key, of_encoder, "kept", uav, _encode(kept[uav]))
    for some in (points[i : i + _ITEMS_AT_ONCE] for i in range(0, len(points), _ITEMS_AT_ONCE)):
        arrived = programs.send(program, scheme.params, encoded, images, loc, draws, _items(spec, some))
        received = np.asarray(arrived.pictures[: len(some), 0]) / np.float32(255)
        for at, of_point in zip(some, received, strict=True):
            for uav in range(num_uavs):
                error = ERROR_GAIN * np.abs(of_point[uav] - originals[uav])
                yield StoredPicture(key, at, "received", uav, _encode(of_point[uav]))
                yield StoredPicture(key, at, "error", uav, _encode(error))


def _items(spec: SweepSpec, points: Sequence[dict[str, Any]]) -> Items:
    """Padded with the last one to the size of every call."""
    links = [link.fading for link in spec.links]
    padded = [*points, *[points[-1]] * (_ITEMS_AT_ONCE - len(points))]
    numbers = (np.float32([at[name] for at in padded]) for name in ("snr_db", "csi_error_var", "epsilon"))
    return Items(*numbers, link=np.int32([links.index(at["channel"]) for at in padded]),
                 unit=np.zeros(len(padded), np.int32))


def _encode(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    pixels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    Image.fromarray(pixels).save(stream, "JPEG", quality=_QUALITY, subsampling=0)
    return stream.getvalue()
