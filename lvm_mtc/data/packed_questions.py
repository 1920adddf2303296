"""Packed questions: patch features of pictures, attention, questions and answers in one file."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lvm_mtc.data.files import reason


class PackedQuestions(NamedTuple):
    """Questions about pictures, of which each is encoded once.

    Attributes:
        patches: Features of each window of a picture, ``[windows, 60, patch_size]`` float16.
        windows: Left, top, right, bottom over the picture's sides, ``[windows, 4]`` float32; (0, 0, 1, 1): all of it.
        objective: Attention of their patches, ``[windows, 60]`` float32.
        question: Kind and subject, ``[n, 2]`` int, as in ``data.vqa``.
        answer: ``[n]`` int.
        chosen: Windows that each question sends, ``[n, slices]`` int; -1: none.
        subjective: Attention of these windows' patches, ``[n, slices, 60]`` float32.
        picture: Place of each question's picture in ``names``, ``[n]`` int.
        names: Files of the pictures, ``[pictures]``.
    """

    patches: np.ndarray
    windows: np.ndarray
    objective: np.ndarray
    question: np.ndarray
    answer: np.ndarray
    chosen: np.ndarray
    subjective: np.ndarray
    picture: np.ndarray
    names: np.ndarray


def load_questions(path: str | os.PathLike) -> PackedQuestions:
    """Reads what ``save_questions`` wrote; ``ValueError`` for another file."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of packed questions {path}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            packed = PackedQuestions(**{name: archive[name] for name in PackedQuestions._fields})
    except Exception as error:  # A damaged archive raises whatever its parser stumbles over.
        raise ValueError(f"{path}: is no file of packed questions ({reason(error)})") from error
    shapes = packed.patches.shape[:2], packed.objective.shape, packed.subjective.shape[:2], packed.chosen.shape
    if shapes[0] != shapes[1] or shapes[2] != shapes[3] or packed.windows.shape != (len(packed.patches), 4):
        raise ValueError(f"{path}: patches {packed.patches.shape} and the other arrays do not fit")
    return packed


def save_questions(path: str | os.PathLike, packed: PackedQuestions) -> None:
    """Writes packed questions, uncompressed."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **packed._asdict())
