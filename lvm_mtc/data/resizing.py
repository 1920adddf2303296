"""Resizing and cropping of 8-bit pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

_FILTERS = {"lanczos": Image.Resampling.LANCZOS, "bicubic": Image.Resampling.BICUBIC}


def resize_image(
    image: np.ndarray, size: int | tuple[int, int], *, window: Sequence[float] | None = None, kernel: str = "lanczos"
) -> np.ndarray:
    """Resizes a picture, or a rectangle of it, with an antialiasing filter; proportions are not kept.

    Args:
        image: ``[H, W, 3]`` or ``[H, W]`` uint8.
        size: Side, or height and width, of the result, pixels.
        window: Left, top, right, bottom edge of the source rectangle, pixels, fractions allowed; None takes it all.
        kernel: Of the filter, ``"lanczos"`` or ``"bicubic"``.

    Returns:
        ``[height, width, 3]`` uint8.
    """
    image = as_rgb(image)
    height, width = check_size(size)
    if window is not None:
        window = tuple(float(edge) for edge in window)
        left, top, right, bottom = window
        if not (0 <= left < right <= image.shape[1] and 0 <= top < bottom <= image.shape[0]):
            raise ValueError(f"window {window} is empty or reaches outside the picture of shape {image.shape}")
    # Both overshoot at edges; Pillow clips to 0..255.
    return np.array(Image.fromarray(image).resize((width, height), _FILTERS[kernel], box=window))


def center_crop(image: np.ndarray, size: int | tuple[int, int]) -> np.ndarray:
    """Cuts the middle of ``size`` (a side, or height and width) out of a picture, without resizing."""
    image = as_rgb(image)
    height, width = check_size(size)
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    if top < 0 or left < 0:
        raise ValueError(f"a crop of {height} x {width} does not fit in a picture of shape {image.shape}")
    return image[top : top + height, left : left + width].copy()


def fit_window(height: int, width: int, size: int | tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest centred rectangle of a picture with the proportions of ``size``: left, top, right, bottom, pixels."""
    out_height, out_width = check_size(size)
    scale = min(height / out_height, width / out_width)
    crop_height, crop_width = min(scale * out_height, height), min(scale * out_width, width)
    left, top = (width - crop_width) / 2, (height - crop_height) / 2
    return left, top, left + crop_width, top + crop_height


def fit_image(image: np.ndarray, size: int | tuple[int, int]) -> np.ndarray:
    """Scales a picture until it covers ``size`` and cuts off what hangs over, equally at both ends.

    Arguments and result are those of :func:`resize_image`, but proportions are kept.
    """
    image = as_rgb(image)
    return resize_image(image, size, window=fit_window(image.shape[0], image.shape[1], size))


def as_rgb(image: np.ndarray) -> np.ndarray:
    """Checks that an array is uint8 ``[H, W, 3]`` or ``[H, W]``; gives a grey one three equal channels; contiguous."""
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(f"a picture is uint8 [H, W, 3] or [H, W], got {image.dtype} {image.shape}")
    if image.size == 0:
        raise ValueError(f"a picture needs at least one pixel, got shape {image.shape}")
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    return np.ascontiguousarray(image)


def check_size(size: int | tuple[int, int]) -> tuple[int, int]:
    """Turns a side, or a height and a width, positive integers, into height and width."""
    pair = size if isinstance(size, (tuple, list)) else (size, size)
    if len(pair) != 2 or not all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) and v > 0 for v in pair):
        raise ValueError(f"size must be a positive integer or (height, width), got {size!r}")
    return int(pair[0]), int(pair[1])
