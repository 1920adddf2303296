"""Sentences that a user's flags say are to be sent, and ``lvm-mtc transmit --text``."""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax

from lvm_mtc.cli.errors import UsageError
from lvm_mtc.cli.sending import transmit_links
from lvm_mtc.cli.study import measure_study
from lvm_mtc.data.captions import Vocabulary, read_sentences, split_words
from lvm_mtc.models.weights import load_weights
from lvm_mtc.report.figures import save_curves
from lvm_mtc.report.study import TEXT_METRICS, curve_panels, describe, text_rows
from lvm_mtc.results.files import RECORD, atomic_directory, check_output_directory
from lvm_mtc.results.table import write_csv
from lvm_mtc.schemes import name_of
from lvm_mtc.schemes.loading import TEXT_WEIGHTS, load_scheme
from lvm_mtc.schemes.scheme import Scheme, Source
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.group import Group, Resources
from lvm_mtc.sweep.named import plain_contender
from lvm_mtc.sweep.paired import NamedSweep
from lvm_mtc.sweep.rows import versions
from lvm_mtc.sweep.stopping import StoppingRule

_SENTENCES_PER_STEP = 32
_SERVES = (
    "run", "parser", "text", "out", "uavs", "limit", "snr_db", "csi_error", "channel", "convention", "link", "weights",
    "realisations", "seed", "overwrite",
)  # fmt: skip
"""What ``transmit --text`` reads of the flags; the others are for pictures."""
INTERVAL_NOTE = "95 % Student intervals over independent channel realisations; the sentences are fixed."


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
    start = time.monotonic()
    usual = vars(options.parser.parse_args(["--text", ".", "--out", "."]))
    for name, value in vars(options).items():
        if name not in _SERVES and value != usual[name]:
            raise UsageError(f"--{name.replace('_', '-')} is for pictures, and --text sends sentences")
    check_output_directory(options.out, overwrite=options.overwrite)
    links = transmit_links(options)
    contender, vocabulary = load_text_contender(options.weights)
    where = dict(num_uavs=options.uavs, limit=options.limit)
    sentences = read_source(options.text, scheme=contender.scheme, vocabulary=vocabulary, **where)
    spec = NamedSweep(
        name="transmit",
        schemes=(contender,),
        links=tuple(links),
        sources={options.uavs: sentences.source},
        snr_db=tuple(options.snr_db),
        csi_error_var=tuple(options.csi_error),
        seeds=(options.seed,),
        stopping=StoppingRule(target_half_width=None, max_units=options.realisations),
        metrics=TEXT_METRICS,
        pictures_per_step=_SENTENCES_PER_STEP,
    )
    title = f"lvm-mtc transmit {options.text}; {sentences}, {options.realisations} realisations"
    with atomic_directory(options.out, overwrite=options.overwrite) as folder:
        points, _ = measure_study([spec])
        write_csv(folder / "table.csv", text_rows(points, links))
        panels = curve_panels(points, links, ("bleu1", "bleu4", "word_error_rate"))
        save_curves(folder / "curves.png", panels, title=title, footnote=INTERVAL_NOTE)
        (folder / "sentences.txt").write_text("\n".join(told(spec, vocabulary)) + "\n", encoding="utf-8")
        record = {
            "command": {name: value for name, value in vars(options).items() if name not in ("run", "parser")},
            "versions": versions(),
            "device": jax.devices()[0].device_kind,
            **describe([contender], links),
            "intervals": INTERVAL_NOTE,
        }
        (folder / RECORD).write_text(json.dumps(record, indent=2, default=str) + "\n", encoding="utf-8")
    print("\n".join(summary(points)))
    print(f"{title} in {time.monotonic() - start:.0f} s")
    for name in ("table.csv", "curves.png", "sentences.txt"):
        print(f"  {options.out / name}")


def told(spec: NamedSweep, vocabulary: Vocabulary) -> list[str]:
    """What was said and, below it, what was understood at each point in the first channel realisation, as lines."""
    points = list(spec.coordinates())
    (source,) = spec.sources.values()
    group = Group(spec, points[0], Resources(num_devices=1, items_per_device=min(len(points), 32)), pictures=True)
    words = [source.data, *(at.pictures[0] for at in group.send(points, range(1)))]
    sent, *received = (vocabulary.decode(numbers.reshape(-1, numbers.shape[-1])) for numbers in words)
    lines = []
    for number, sentence in enumerate(sent):
        lines.append(f"sent: {sentence}")
        for at, understood in zip(points, received, strict=True):
            where = f"{at['channel']}, {at['snr_db']:g} dB, CSI error {at['csi_error_var']:g}"
            lines.append(f"  {where}: {understood[number]}")
    return lines


def summary(points: list[Any]) -> list[str]:
    """BLEU-1 and word error rate over SNR, a line a point."""
    lines = []
    for point in points:
        at, bleu, errors = point.coordinates, point.metrics["bleu1"], point.metrics["word_error_rate"]
        lines.append(
            f"{at['scheme']}, {at['channel']}, {at['snr_db']:g} dB ({point.snr_convention}), CSI error "
            f"{at['csi_error_var']:g}: BLEU-1 {bleu.mean:.3f} +- {bleu.half_width:.3f}, word error rate "
            f"{errors.mean:.3f} +- {errors.half_width:.3f}"
        )
    return lines
