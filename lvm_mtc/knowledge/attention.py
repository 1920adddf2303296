"""What of a picture is looked at: saliency, the boxes that a question is about, and slices (FA-SemCom, Eq. 10-13)."""

from collections.abc import Callable

import numpy as np

Saliency = Callable[[np.ndarray], np.ndarray]
"""Pictures ``[n, height, width, 3]`` in [0, 1] to maps ``[n, height, width]`` in [0, 1]."""
SLICES = ("base", "grid", "matched")
REDUCTIONS = ("mean", "max")
_REDUCTION = 4
_MARGIN = 0.1


def spectral_residual(images: np.ndarray) -> np.ndarray:
    """Objective attention in closed form: what of the spectrum's magnitude its neighbourhood does not foretell.

    Pictures of sides that 4 divides are reduced fourfold; each map is scaled to a largest value of 1.

    Source: Hou, Zhang, Saliency Detection: A Spectral Residual Approach (2007). Deviation: no smoothing behind it, for
    patches are averaged over.
    """
    count, height, width, _ = images.shape
    if height % _REDUCTION or width % _REDUCTION:
        raise ValueError(f"images must have sides that {_REDUCTION} divides, got {height} x {width}")
    small = np.float64(images).mean(axis=-1)
    small = small.reshape(count, height // _REDUCTION, _REDUCTION, width // _REDUCTION, _REDUCTION).mean(axis=(2, 4))
    spectrum = np.fft.fft2(small)
    magnitude = np.log(np.abs(spectrum) + 1e-6)
    shifts = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    foretold = sum(np.roll(magnitude, shift, axis=(1, 2)) for shift in shifts) / len(shifts)
    saliency = np.abs(np.fft.ifft2(np.exp(magnitude - foretold + 1j * np.angle(spectrum)))) ** 2
    saliency /= saliency.max(axis=(1, 2), keepdims=True)
    return saliency.repeat(_REDUCTION, axis=1).repeat(_REDUCTION, axis=2)


def subjective_map(boxes: np.ndarray, height: int, width: int, *, blur: float = 0.0) -> np.ndarray:
    """Subjective attention, ``[height, width]``: 1 in the boxes ``[n, 4]`` (x, y, w, h), centre, pixels; 0 elsewhere.

    A pixel is in a box when its centre is. ``blur`` is the deviation of a Gaussian that softens their edges, pixels.
    """
    rows, columns = np.arange(height)[None, :, None] + 0.5, np.arange(width)[None, None] + 0.5
    x, y, w, h = (edge[:, None, None] for edge in np.float64(boxes).reshape(-1, 4).T)
    inside = ((np.abs(columns - x) <= w / 2) & (np.abs(rows - y) <= h / 2)).any(axis=0).astype(np.float64)
    return _smoothing(height, blur) @ inside @ _smoothing(width, blur).T if blur else inside


def _smoothing(size: int, deviation: float) -> np.ndarray:
    """A Gaussian's weights ``[size, size]``, rows of sum 1: what lies beyond the border counts nothing."""
    distance = np.subtract.outer(np.arange(size), np.arange(size))
    weights = np.exp(-0.5 * (distance / deviation) ** 2)
    return weights / weights.sum(axis=1, keepdims=True)


def slice_windows(slices: str, boxes: np.ndarray | None = None) -> np.ndarray:
    """Windows of a picture that are encoded besides the whole, ``[n, 4]``: left, top, right, bottom over the sides.

    Args:
        slices: ``"base"``: none; ``"grid"``: four quadrants; ``"matched"``: the union of ``boxes``, none without boxes.
        boxes: ``[n, 4]``, (x, y, w, h), centre, over the picture's width and height. The union gets a margin of a tenth
            on every side, the picture's aspect and a place inside the picture.
    """
    if slices not in SLICES:
        raise ValueError(f"slices must be one of {', '.join(SLICES)}, got {slices!r}")
    if slices == "grid":
        return np.array([(x, y, x + 0.5, y + 0.5) for y in (0, 0.5) for x in (0, 0.5)], np.float32)
    if slices == "base" or boxes is None or not len(boxes):
        return np.zeros((0, 4), np.float32)
    low, high = (boxes[:, :2] - boxes[:, 2:] / 2).min(axis=0), (boxes[:, :2] + boxes[:, 2:] / 2).max(axis=0)
    side = min(float(((1 + 2 * _MARGIN) * (high - low)).max()), 1.0)
    start = np.clip((low + high - side) / 2, 0.0, 1.0 - side)
    return np.concatenate([start, start + side]).astype(np.float32)[None]


def patch_weights(attention: np.ndarray, places: np.ndarray, *, reduce: str = "mean") -> np.ndarray:
    """Mean of a map ``[height, width]`` over patches ``[n, 4]``, ``[n]`` (Eq. 13); as ``grid_places`` has them.

    With ``reduce="max"`` the largest value of the pixels that a patch touches.
    """
    if reduce not in REDUCTIONS:
        raise ValueError(f"reduce must be one of {', '.join(REDUCTIONS)}, got {reduce!r}")
    height, width = attention.shape
    if reduce == "max":
        start, end = np.floor(places[:, :2] * (width, height) + 1e-3), np.ceil(places[:, 2:] * (width, height) - 1e-3)
        edges = np.int64(np.concatenate([start, np.maximum(end, start + 1)], axis=1))
        return np.array([attention[top:bottom, left:right].max() for left, top, right, bottom in edges])
    total = np.pad(attention, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    left, top, right, bottom = (places * np.array([width, height] * 2)).T
    area = (right - left) * (bottom - top)
    return (
        _at(total, bottom, right) - _at(total, top, right) - _at(total, bottom, left) + _at(total, top, left)
    ) / area


def _at(table: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """A summed-area table between its entries."""
    i, j = (np.minimum(x.astype(int), n - 2) for x, n in zip((rows, columns), table.shape, strict=True))
    a, b = rows - i, columns - j
    upper = (1 - b) * table[i, j] + b * table[i, j + 1]
    return (1 - a) * upper + a * ((1 - b) * table[i + 1, j] + b * table[i + 1, j + 1])
