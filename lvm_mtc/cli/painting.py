"""Pictures that are sent as captions and painted anew: ``lvm-mtc transmit --images --captioner``."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lvm_mtc.cli.plain import Kind, check_plain, transmit_plain, what_arrived
from lvm_mtc.cli.sentences import TOLD, load_text_contender
from lvm_mtc.data.captions import Vocabulary, split_words
from lvm_mtc.data.images import list_images, load_image
from lvm_mtc.data.resizing import fit_image
from lvm_mtc.knowledge.captioners import CAPTIONER_WEIGHTS, load_captioner
from lvm_mtc.knowledge.generators import GENERATOR_WEIGHTS, load_generator
from lvm_mtc.knowledge.own import sentences
from lvm_mtc.report.figures import Picture, save_sheet
from lvm_mtc.report.study import TEXT_METRICS
from lvm_mtc.results.points import Point
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.sweep.paired import NamedSweep

OWN_SIZE = 224
"""Side of what captioners of one's own get to see, pixels."""
_ROWS, _LETTERS = 12, 22
KIND = Kind("images", "captions", TEXT_METRICS, ("bleu1", "word_error_rate"), TOLD, per_step=32)


def transmit_captions(options: argparse.Namespace) -> None:
    """Runs the command; raises ``ValueError`` for wrong input."""
    check_plain(options, KIND)
    contender, vocabulary = load_text_contender(options.weights)
    captioner, generator = (
        load(shipped if place in (None, name) else place)
        for load, shipped, place, name in (
            (load_captioner, CAPTIONER_WEIGHTS, options.captioner, "learned"),
            (load_generator, GENERATOR_WEIGHTS, options.generator, "flow"),
        )
    )
    images = read_images(options.images, getattr(captioner, "image_size", OWN_SIZE), options.limit)
    source, images, words = captioned(images, captioner, vocabulary, contender.scheme.config.num_words, options.uavs)

    def write(folder: Path, spec: NamedSweep, _: Sequence[Point]) -> tuple[str]:
        draw_paintings(folder / "sheet.png", images, words, spec, vocabulary, generator, options.seed)
        return ("sheet.png",)

    groups = source.lead()[0]
    transmit_plain(options, KIND, contender, source, f"{groups} x {options.uavs} captions", write)


def read_images(path: Path, size: int, limit: int | None) -> np.ndarray:
    """Pictures of a folder, or one, ``[n, size, size, 3]`` float32 in [0, 1]; the longer side is cut."""
    files = list_images(path, limit=limit) if path.is_dir() else [path]
    return np.stack([np.float32(fit_image(load_image(file), size)) / 255 for file in files])


def captioned(
    images: np.ndarray, captioner: Callable, vocabulary: Vocabulary, num_words: int, num_uavs: int
) -> tuple[Source, np.ndarray, list[str]]:
    """Captions in groups of K, the pictures that they are of and what they say.

    Raises:
        ValueError: if a captioner gives no sentence for each picture, or none that can be sent to K UAVs.
    """
    texts = sentences(captioner, len(images), images)
    numbers, kept = vocabulary.encode([split_words(text) for text in texts], num_words)
    count = len(numbers) // num_uavs * num_uavs
    if not count:
        known = f"{len(vocabulary.words)} words that the weights know, {num_words} at most"
        raise ValueError(f"{len(numbers)} of {len(texts)} captions, such as {texts[0]!r}, have only the {known}; "
                         f"{num_uavs} are needed")  # fmt: skip
    source = Source(numbers[:count].reshape(-1, num_uavs, num_words))
    return source, images[kept][:count], vocabulary.decode(numbers[:count])


def draw_paintings(
    path: Path,
    images: np.ndarray,
    words: list[str],
    spec: NamedSweep,
    vocabulary: Vocabulary,
    generator: Any,
    seed: int,
) -> None:
    """A sheet: each picture with the sentence sent, and at each SNR what was received and painted of it."""
    points, arrived = what_arrived(spec)
    places = [i for i, at in enumerate(points) if at["channel"] == points[0]["channel"] and at["csi_error_var"] == 0]
    places = sorted(places or range(len(points)), key=lambda i: points[i]["snr_db"])
    rows = [
        [Picture(image=image, caption=_broken(text))] for image, text in zip(images[:_ROWS], words[:_ROWS], strict=True)
    ]
    for place in places:
        texts = vocabulary.decode(arrived[place].reshape(-1, arrived[place].shape[-1])[: len(rows)])
        for row, text, painted in zip(rows, texts, generator(texts, seed), strict=True):
            caption = f"{points[place]['snr_db']:g} dB: {_broken(text)}"
            row.append(Picture(image=np.asarray(painted), caption=caption))
    title = f"sent as captions over {points[0]['channel']}, painted by {generator.name}"
    save_sheet(path, rows, title=title)


def _broken(text: str) -> str:
    """In lines of about ``_LETTERS`` letters."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > _LETTERS:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
