"""Pictures as the transmitter of a question sees them, in a file: without a detector, for the demo."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lvm_mtc.data.files import reason
from lvm_mtc.data.word_vectors import WordVectors
from lvm_mtc.knowledge.asking import Seen
from lvm_mtc.knowledge.attention import spectral_residual


class Scenes(NamedTuple):
    """Pictures by name, and vectors of the words that questions about them are likely to use."""

    names: list[str]
    seen: list[Seen]
    words: WordVectors


def save_scenes(path: str | os.PathLike, names: Sequence[str], seen: Sequence[Seen], words: WordVectors) -> None:
    """Writes pictures with 8 bits a channel, features and vectors with half precision."""
    known = sorted(words.index, key=words.index.__getitem__)
    np.savez_compressed(
        path,
        names=np.array(list(names)),
        images=np.round(np.stack([one.image for one in seen]) * 255).astype(np.uint8),
        patches=np.float16([one.patches for one in seen]),
        boxes=np.float32(np.concatenate([one.boxes for one in seen])),
        labels=np.array([label for one in seen for label in one.labels]),
        counts=np.array([len(one.labels) for one in seen]),
        words=np.array(known),
        vectors=np.float16(words.vectors[[words.index[word] for word in known]]),
    )


def load_scenes(path: str | os.PathLike) -> Scenes:
    """Reads what :func:`save_scenes` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is another one.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of scenes {path}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            held = {name: archive[name] for name in archive.files}
        images = np.float32(held["images"]) / 255
        ends = np.cumsum(held["counts"])[:-1]
        boxes, labels = np.split(held["boxes"], ends), np.split(held["labels"], ends)
        rows = zip(images, np.float32(held["patches"]), boxes, labels, spectral_residual(images), strict=True)
        seen = [Seen(image, patches, of, tuple(names.tolist()), map_) for image, patches, of, names, map_ in rows]
        index = {word: number for number, word in enumerate(held["words"].tolist())}
        return Scenes(held["names"].tolist(), seen, WordVectors(index, np.float32(held["vectors"])))
    except Exception as error:  # A damaged archive raises whatever its parser stumbles over.
        raise ValueError(f"{path}: is no file of scenes ({reason(error)})") from error
