"""Names of colours, and the two colours that a small picture is described by. NumPy only."""

import numpy as np

COLOURS = (
    "black", "white", "gray", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "tan",
)  # fmt: skip
_SRGB = np.array([
    (15, 15, 15), (240, 240, 240), (128, 128, 128), (190, 35, 35), (225, 130, 40), (225, 210, 70), (70, 130, 60),
    (60, 95, 180), (110, 60, 140), (230, 150, 180), (110, 75, 45), (200, 175, 135),
], np.uint8)  # fmt: skip
_TO_XYZ = np.array([(0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505)])
_D65 = np.array((0.9505, 1.0, 1.089))
_LIGHTNESS_WEIGHT = 0.5
_GRAY_WEIGHT = 2.0  # of its squared distance: half of all pictures would be of gray on gray else
_RIM, _CENTRE = 1 / 8, slice(10 / 32, 22 / 32)


def to_lab(pixels: np.ndarray) -> np.ndarray:
    """CIE L*a*b* under D65 of sRGB pixels ``[..., 3]`` uint8, float64."""
    linear = np.asarray(pixels, np.float64) / 255
    linear = np.where(linear > 0.04045, ((linear + 0.055) / 1.055) ** 2.4, linear / 12.92)
    xyz = linear @ _TO_XYZ.T / _D65
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def nearest_colour(pixels: np.ndarray) -> np.ndarray:
    """Places in ``COLOURS`` of pixels ``[..., 3]`` uint8, by distance in Lab; lightness counts half."""
    weight = np.array((_LIGHTNESS_WEIGHT, 1, 1))
    difference = to_lab(pixels)[..., None, :] - to_lab(_SRGB)
    squared = (difference**2 * weight).sum(-1)
    return np.argmin(squared * np.where(np.array(COLOURS) == "gray", _GRAY_WEIGHT, 1), axis=-1)


def main_colours(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The commonest colour of the centre and of the rim (left, right and top) of each picture.

    Args:
        pictures: ``[n, height, width, 3]`` uint8, 8 pixels or more a side.

    Returns:
        Places in ``COLOURS``, ``[n]`` int each.
    """
    names = np.concatenate([nearest_colour(part) for part in np.array_split(pictures, max(len(pictures) // 1000, 1))])
    count, height, width = names.shape
    top, side = (max(int(length * _RIM), 1) for length in (height, width))
    rows, columns = (slice(int(n * _CENTRE.start), int(n * _CENTRE.stop)) for n in (height, width))
    rim = (names[:, :top], names[:, top:, :side], names[:, top:, -side:])
    centre = names[:, rows, columns].reshape(count, -1)
    return _commonest(centre), _commonest(np.concatenate([part.reshape(count, -1) for part in rim], axis=1))


def _commonest(names: np.ndarray) -> np.ndarray:
    counts = (names[..., None] == np.arange(len(COLOURS))).sum(1)
    return counts.argmax(-1)
