"""Training pictures from files, decoded and cropped by worker processes while the device computes. Needs grain."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from lvm_mtc.data.images import load_image
from lvm_mtc.data.resizing import check_size, resize_image


class PictureStream:
    """Batches of pictures for steps 0, 1, 2, ... without end, each a function of seed and step alone.

    A picture is a square cut at a random place of its file, mirrored at random. All files are shown once before any is
    shown again. For data that does not fit into a device's memory; where it does, packed pictures are faster.

    Args:
        size: Side of the squares, pixels.
        zoom: Side of the square before it is resized, as a share of the picture's shorter side: smallest and largest.
        seed: Of order and crops, in 0 ... 2**32 - 1.
        num_workers: Processes that decode; 0: this one does.

    Raises:
        ValueError: if grain is not installed, there is no file, or a number is outside its range.
    """

    def __init__(
        self,
        files: Sequence[str | os.PathLike],
        size: int,
        batch_size: int,
        *,
        zoom: tuple[float, float] = (0.6, 1.0),
        seed: int = 0,
        num_workers: int = 2,
    ):
        check_size(size)
        if not len(files):
            raise ValueError("PictureStream.files is empty: a stream needs one picture or more")
        if batch_size < 1:
            raise ValueError(f"PictureStream.batch_size must be >= 1, got {batch_size!r}")
        if not 0.0 < zoom[0] <= zoom[1] <= 1.0:
            raise ValueError(f"PictureStream.zoom must be two ascending shares in (0, 1], got {zoom!r}")
        if num_workers < 0:
            raise ValueError(f"PictureStream.num_workers must be >= 0, got {num_workers!r}")
        try:
            import grain
            from absl import flags
        except ImportError:
            raise ValueError("a stream of pictures needs grain: pip install 'lvm-mtc[stream]'") from None
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # grain's workers read flags, which only programs of absl parse
        self._grain, self._num_workers = grain, num_workers
        self.files, self.size, self.batch_size, self.seed = [Path(file) for file in files], size, batch_size, seed
        pictures = grain.MapDataset.source(self.files).seed(seed).shuffle().repeat()
        self._steps = pictures.random_map(_Crop(size, zoom)).batch(batch_size)

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """The pictures of a step >= 0, made by this process: ``{"pictures": [batch_size, size, size, 3] uint8}``."""
        return {"pictures": self._steps[step]}

    def batches(self, step: int = 0) -> Iterator[dict[str, np.ndarray]]:
        """As ``batch``, of a step >= 0 and all that follow, made ahead by the workers."""
        grain = self._grain
        # Threads of this process only take from the workers.
        options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)
        steps = self._steps.slice(slice(step, None)).to_iter_dataset(options)
        if self._num_workers:
            steps = steps.mp_prefetch(grain.MultiprocessingOptions(self._num_workers, per_worker_buffer_size=2))
        for pictures in steps:
            yield {"pictures": pictures}

    def empty(self) -> dict[str, np.ndarray]:
        """A batch of black pictures, for its shapes."""
        return {"pictures": np.zeros((self.batch_size, self.size, self.size, 3), np.uint8)}


class _Crop:
    """Reads a file and cuts a square out of it; a class, so that it can be sent to another process."""

    def __init__(self, size: int, zoom: tuple[float, float]):
        self._size, self._zoom = size, zoom

    def __call__(self, file: Path, rng: np.random.Generator) -> np.ndarray:
        image = load_image(file)
        side = rng.uniform(*self._zoom) * min(image.shape[:2])
        top, left = (rng.uniform(0.0, length - side) for length in image.shape[:2])
        picture = resize_image(image, self._size, window=(left, top, left + side, top + side))
        return picture[:, ::-1].copy() if rng.random() < 0.5 else picture
