"""What a recipe trains on: packed pictures that stay on the device, or a folder that is streamed."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from lvm_mtc.data import list_images
from lvm_mtc.data.files import reason
from lvm_mtc.data.streaming import PictureStream

# Of a view: room for crops at random places.
_STREAMED_OVER_VIEW = 5 / 3
# Pictures of a step for each group of views, so that few groups take the same one.
_STREAMED_PER_GROUP = 4
_SAMPLE = 256


@runtime_checkable
class Stream(Protocol):
    """Data that is another at every step, as :class:`lvm_mtc.data.streaming.PictureStream`."""

    def empty(self) -> Mapping[str, np.ndarray]:
        """Data of the shapes and types of every step's."""

    def batches(self, step: int) -> Iterator[Mapping[str, np.ndarray]]:
        """Data of ``step`` and all steps that follow."""


class TrainingData(NamedTuple):
    """Data for a recipe.

    Attributes:
        data: What ``train`` takes: ``{"pictures": [num_pictures, height, width, 3] uint8}``, and ``labels`` where the
            file has them, ``[num_pictures]`` int32; or a stream of pictures;
            ``{"sentences": [num_sentences, num_words] uint16}``.
        sample: Some of them, for a scheme's start, such as principal components of pictures.
        identity: What must be the same when a run is resumed.
        about: Where they come from, as JSON.
    """

    data: Mapping[str, np.ndarray] | PictureStream
    sample: np.ndarray
    identity: dict[str, Any]
    about: dict[str, Any]


def check_packed(path: str | Path, config: Any, **sizes: int) -> None:
    """Raises ``ValueError`` where a file is packed for other sizes than fields of a scheme's configuration say."""
    for field, have in sizes.items():
        if (want := getattr(config, field)) != have:
            raise ValueError(f"{path}: is packed for {field} {have}, but {type(config).__name__}.{field} is {want}")


def load_training_pictures(path: str | Path, config: Any, num_groups: int, seed: int) -> TrainingData:
    """Reads packed pictures (``experiments/demo/pack_pictures.py``), or opens a folder as a stream.

    ``config`` is the scheme's, with ``image_size``, the side of its views, pixels; streamed pictures are larger by two
    thirds. ``num_groups`` are the groups of views in a step.
    """
    path = Path(path)
    if not path.is_dir():
        arrays = load_arrays(path)
        pictures = arrays["pictures"]
        about = {"file": path.name, "pictures": len(pictures), "sum": int(pictures.sum(dtype=np.uint64))}
        return TrainingData(arrays, pictures, {"pictures": len(pictures)}, about)
    files, size = list_images(path), round(config.image_size * _STREAMED_OVER_VIEW)
    workers = min(4, os.cpu_count() or 0)
    stream = PictureStream(files, size, num_groups * _STREAMED_PER_GROUP, seed=seed, num_workers=workers)
    steps = range(-(-min(_SAMPLE, len(files)) // stream.batch_size))
    sample = np.concatenate([stream.batch(step)["pictures"] for step in steps])
    about = {"folder": path.resolve().name, "pictures": len(files), "streamed_size": size}
    return TrainingData(stream, sample, {"pictures": len(files), "streamed_size": size}, about)


def load_pictures(path: str | Path) -> np.ndarray:
    """Reads the training pictures of a packed file, ``[num_pictures, height, width, 3]`` uint8."""
    return load_arrays(path)["pictures"]


def load_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """As :func:`load_pictures`, as ``pictures``, and beside them their classes, ``labels``, if the file has them."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            pictures, labels = archive["pictures"], archive.get("labels")
    except FileNotFoundError:
        hint = "experiments/demo/pack_pictures.py makes one"
        raise ValueError(f"{path}: there is no such file of packed pictures; {hint}") from None
    except Exception as error:
        raise ValueError(f"{path} is not a file of packed pictures: {reason(error)}") from error
    if pictures.ndim != 4 or pictures.shape[-1] != 3 or pictures.dtype != np.uint8 or not len(pictures):
        raise ValueError(
            f"{path}: pictures must be [num_pictures, height, width, 3] uint8, got {pictures.shape} {pictures.dtype}"
        )
    if labels is None:
        return {"pictures": pictures}
    if labels.shape != pictures.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{path}: labels must be {len(pictures)} integers, got {labels.shape} {labels.dtype}")
    return {"pictures": pictures, "labels": labels.astype(np.int32)}
