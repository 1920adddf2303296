"""Sentences that a user's flags say are to be sent, and ``lvm-mtc transmit --text``."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lvm_mtc.cli.plain import Kind, check_plain, transmit_plain, what_arrived
from lvm_mtc.data.captions import Vocabulary, read_sentences, split_words
from lvm_mtc.models.weights import load_weights
from lvm_mtc.report.study import TEXT_METRICS
from lvm_mtc.results.points import Point
from lvm_mtc.schemes import name_of
from lvm_mtc.schemes.loading import TEXT_WEIGHTS, load_scheme
from lvm_mtc.schemes.scheme import Scheme, Source
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.named import plain_contender
from lvm_mtc.sweep.paired import NamedSweep

TOLD = {"bleu1": ("BLEU-1", 3), "word_error_rate": ("word error rate", 3)}
KIND = Kind("text", "sentences", TEXT_METRICS, ("bleu1", "bleu4", "word_error_rate"), TOLD, per_step=32)


class Sentences(NamedTuple):
    """Sentences to send: ``source`` has ``[B, K, num_words]`` int32; of the file's ``total`` so many fit."""

    source: Source
    total: int

    def __str__(self) -> str:
        groups, num_uavs = self.source.lead()
        left_out = self.total - groups * num_uavs
        return f"{groups} x {num_uavs} sentences" + (f" ({left_out} left out)" if left_out else "")


def load_text_contender(weights: str | os.PathLike | None) -> tuple[Contender, Vocabulary]:
    """A scheme for text from a weights file, which says what its words are; None: the shipped one."""
    path = weights or TEXT_WEIGHTS
    scheme, params = load_scheme(path)
    if scheme.modality != "text":
        raise ValueError(f"{path}: scheme {name_of(scheme)!r} sends {scheme.modality}, and sentences are to be sent")
    data = load_weights(path)[1].get("data")
    words = data.get("words") if isinstance(data, dict) else None
    if not isinstance(words, list) or len(words) + 1 != scheme.config.vocabulary:
        raise ValueError(f"{path} does not say which {scheme.config.vocabulary - 1} words its weights are for")
    return plain_contender(scheme, params), Vocabulary(tuple(words))


def read_source(
    path: Path, *, scheme: Scheme, vocabulary: Vocabulary, num_uavs: int, limit: int | None = None
) -> Sentences:
    """Reads sentences, one a line, as groups of K in their order.

    Left out are those with words that the vocabulary does not have or with more words than a sentence may have, and the
    last ones, if they do not fill a group. Of the file's non-empty lines the first ``limit`` are taken.

    Raises:
        ValueError: if no group is left.
    """
    sentences = [words for line in read_sentences(path) if (words := split_words(line))][:limit]
    numbers, _ = vocabulary.encode(sentences, scheme.config.num_words)
    groups = len(numbers) // num_uavs
    if not groups:
        fit = f"at most {scheme.config.num_words} words, all of the scheme's {len(vocabulary.words)}"
        raise ValueError(f"{path}: {len(numbers)} of {len(sentences)} sentences have {fit}; {num_uavs} are needed")
    return Sentences(Source(numbers[: groups * num_uavs].reshape(groups, num_uavs, -1)), len(sentences))


def transmit_sentences(options: argparse.Namespace) -> None:
    """Runs ``lvm-mtc transmit --text``; raises ``ValueError`` for wrong input."""
    check_plain(options, KIND)
    contender, vocabulary = load_text_contender(options.weights)
    where = dict(num_uavs=options.uavs, limit=options.limit)
    sentences = read_source(options.text, scheme=contender.scheme, vocabulary=vocabulary, **where)

    def write(folder: Path, spec: NamedSweep, _: Sequence[Point]) -> tuple[str]:
        (folder / "sentences.txt").write_text("\n".join(told(spec, vocabulary)) + "\n", encoding="utf-8")
        return ("sentences.txt",)

    transmit_plain(options, KIND, contender, sentences.source, str(sentences), write)


def told(spec: NamedSweep, vocabulary: Vocabulary) -> list[str]:
    """What was said and, below it, what was understood at each point in the first channel realisation, as lines."""
    (source,) = spec.sources.values()
    points, arrived = what_arrived(spec)
    words = [source.data, *arrived]
    sent, *received = (vocabulary.decode(numbers.reshape(-1, numbers.shape[-1])) for numbers in words)
    lines = []
    for number, sentence in enumerate(sent):
        lines.append(f"sent: {sentence}")
        for at, understood in zip(points, received, strict=True):
            where = f"{at['channel']}, {at['snr_db']:g} dB, CSI error {at['csi_error_var']:g}"
            lines.append(f"  {where}: {understood[number]}")
    return lines
