"""``lvm-mtc transmit --question``: features of pictures for a question, with power by attention."""

import argparse
import dataclasses
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lvm_mtc.cli.command import changed
from lvm_mtc.cli.errors import UsageError
from lvm_mtc.cli.sending import transmit_links
from lvm_mtc.cli.study import measure_study
from lvm_mtc.data import list_images, load_image
from lvm_mtc.data.packed_questions import PackedQuestions
from lvm_mtc.data.resizing import resize_image
from lvm_mtc.data.vqa import ANSWERS, NAMES, SUBJECTS, question_kind
from lvm_mtc.data.word_vectors import WordVectors, read_word_vectors
from lvm_mtc.interop.onnx_file import read_onnx
from lvm_mtc.knowledge.answerers import Answerer, AskedOnce, load_answerer
from lvm_mtc.knowledge.asking import Asked, PatchEncoder, Seen, ask, see
from lvm_mtc.knowledge.keywords import extract_keywords
from lvm_mtc.knowledge.matching import match_labels
from lvm_mtc.knowledge.scenes import Scenes, load_scenes
from lvm_mtc.link import OperatingPoint
from lvm_mtc.models.patch_features import GRID, PICTURE
from lvm_mtc.models.yolox import Yolox
from lvm_mtc.report.figures import Picture, save_sheet
from lvm_mtc.report.study import describe
from lvm_mtc.results.files import RECORD, atomic_directory, check_output_directory
from lvm_mtc.results.table import write_csv
from lvm_mtc.schemes import name_of
from lvm_mtc.schemes.loading import QUESTION_WEIGHTS, load_scheme
from lvm_mtc.schemes.question_source import question_source
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.group import Group, Resources
from lvm_mtc.sweep.named import plain_contender
from lvm_mtc.sweep.paired import NamedSweep
from lvm_mtc.sweep.rows import versions
from lvm_mtc.sweep.stopping import StoppingRule
from lvm_mtc.training.pictures import check_packed

METRICS = ("bit_error_rate", "bit_error_rate_top", "nmse_features")
_LETTERS = 30
_AVERAGE, _ATTENTION = "average power", "power by attention"
_SERVES = (
    "run", "parser", "images", "out", "limit", "snr_db", "csi_error", "channel", "convention", "link", "positions",
    "carrier",
    "weights", "realisations", "seed", "overwrite", "question", "alpha", "beta", "detector", "words",
    "answerer",
)  # fmt: skip
"""What ``transmit --question`` reads of the flags."""


def transmit_question(options: argparse.Namespace) -> None:
    """Runs ``lvm-mtc transmit --question``; raises ``ValueError`` for wrong input."""
    start = time.monotonic()
    _check_flags(options)
    check_output_directory(options.out, overwrite=options.overwrite)
    answerer = None if options.answerer is None else AskedOnce(load_answerer(options.answerer))
    links, kind = transmit_links(options), None if answerer else question_kind(options.question)
    loaded = load_question_contender(options.weights)
    scheme, params = loaded.scheme, loaded.params
    names, seen, words = read_scenes(options)
    if answerer:  # any words, which are told
        bits = 8 * len(options.question.encode())
        scheme = dataclasses.replace(scheme, config=dataclasses.replace(scheme.config, question_bits=bits))
    question = (0, 0) if kind is None else (kind, SUBJECTS.index(subject_of(options.question, words)))
    asked = [ask(one, options.question, words) for one in seen]
    knobs = {_AVERAGE: dict(beta=0.0), _ATTENTION: dict(alpha=options.alpha, beta=options.beta)}
    spec = NamedSweep(
        name="transmit",
        schemes=tuple(Contender(name=n, scheme=scheme, params=params, knobs=k, swept=()) for n, k in knobs.items()),
        links=tuple(links),
        sources={1: asked_source(seen, asked, question)},
        snr_db=tuple(options.snr_db),
        csi_error_var=tuple(options.csi_error),
        seeds=(options.seed,),
        stopping=StoppingRule(target_half_width=None, max_units=options.realisations),
        metrics=METRICS,
    )
    with atomic_directory(options.out, overwrite=options.overwrite) as folder:
        answers = answered(spec, options.question, answerer)
        points, _ = measure_study([spec])
        write_csv(folder / "table.csv", [_row(point) for point in points])
        lines = told(answers, names, asked, options.question)
        (folder / "answers.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        rows = map_rows(spec, seen, asked, answers)
        save_sheet(folder / "maps.png", rows, row_labels=names, title=sheet_title(answers, options.question))
        record = {
            "command": {name: value for name, value in vars(options).items() if name not in ("run", "parser")},
            "versions": versions(),
            "device": jax.devices()[0].device_kind,
            **describe(spec.schemes, links),
        }
        (folder / RECORD).write_text(json.dumps(record, indent=2, default=str) + "\n", encoding="utf-8")
    print("\n".join(lines))
    print(f"{len(names)} pictures, {options.realisations} realisations in {time.monotonic() - start:.0f} s")
    for name in ("table.csv", "answers.txt", "maps.png"):
        print(f"  {options.out / name}")


def read_scenes(options: argparse.Namespace) -> Scenes:
    """The pictures of the flags as the transmitter sees them, and word vectors."""
    if options.images.suffix == ".npz":
        scenes = load_scenes(options.images)
        words = scenes.words if options.words is None else read_word_vectors(options.words)
        return Scenes(scenes.names[: options.limit], scenes.seen[: options.limit], words)
    for name, what in (("detector", "YOLOX's ONNX file"), ("words", "word vectors")):
        if getattr(options, name) is None:
            raise UsageError(f"--question needs --{name} FILE, {what}")
    words, encoder = read_word_vectors(options.words), PatchEncoder(Yolox(read_onnx(options.detector)))
    files = list_images(options.images, limit=options.limit) if options.images.is_dir() else [options.images]
    images = np.stack([np.float32(resize_image(load_image(file), PICTURE)) / 255 for file in files])
    return Scenes([file.name for file in files], see(encoder, images), words)


def load_question_contender(weights: str | os.PathLike | None) -> Contender:
    """A scheme that answers from a weights file; None: the shipped one."""
    scheme, params = load_scheme(weights or QUESTION_WEIGHTS)
    if scheme.modality != "answers" or not hasattr(scheme.config, "num_patches"):
        sends = f"scheme {name_of(scheme)!r} sends {scheme.modality}"
        raise ValueError(f"{weights}: {sends}, and a question is to be answered")
    return plain_contender(scheme, params)


def read_questions(
    path: Path, packed: PackedQuestions, contender: Contender, num_uavs: int, limit: int | None = None
) -> Source:
    """The first questions of a file as groups of K in their order; the last ones that fill no group are left out.

    Raises:
        ValueError: if they are not of the sizes of the contender's scheme, or if no group is left.
    """
    tokens, size = packed.chosen.shape[1] * packed.patches.shape[1], packed.patches.shape[2]
    check_packed(path, contender.scheme.config, num_patches=tokens, patch_size=size)
    count = min(len(packed.answer), limit or len(packed.answer))
    groups = count // num_uavs
    if not groups:
        raise ValueError(f"{path}: there are {count} questions, and {num_uavs} UAVs need one each")
    return question_source(packed, np.arange(groups * num_uavs).reshape(groups, num_uavs))


def subject_of(question: str, words: WordVectors) -> str:
    """What a question is about, of ``SUBJECTS``: a name in it, or the nearest by word vectors; else ``ValueError``."""
    for name in sorted(NAMES, key=len, reverse=True):
        if re.search(rf"\b{re.escape(name.lower())}(s|es)?\b", question.lower()):
            return NAMES[name]
    match = match_labels([keyword.text for keyword in extract_keywords(question)], tuple(NAMES), words)
    if not match.labels:
        raise ValueError(f"--question {question!r}: names nothing of {', '.join(SUBJECTS)} ({match.note})")
    return NAMES[match.labels[0]]


def asked_source(seen: Sequence[Seen], asked: Sequence[Asked], question: tuple[int, int]) -> Source:
    """One question about each picture, as a source; the answer is not known, and stands at 0."""
    count = len(seen)
    numbers = np.arange(count)
    packed = PackedQuestions(
        patches=np.stack([one.patches for one in seen]),
        windows=np.concatenate([one.windows for one in asked]),
        objective=np.concatenate([one.objective for one in asked]),
        question=np.tile(np.int32(question), (count, 1)),
        answer=np.zeros(count, np.int32),
        chosen=np.int32(numbers[:, None]),
        subjective=np.stack([one.subjective for one in asked]),
        picture=numbers,
        names=numbers,
    )
    return question_source(packed, numbers[:, None])


def answered(
    spec: NamedSweep, question: str, answerer: Answerer | None = None
) -> list[tuple[Mapping[str, Any], list[str]]]:
    """Coordinates of each point and the answers about all pictures there, of the first channel realisation.

    They are ``answerer``'s; None: the scheme's own.
    """
    valid, found = spec.sources[1].hints["valid"][:, 0], []
    for contender in spec.schemes:
        points = [at for at in spec.coordinates() if at["scheme"] == contender.name]
        group = Group(spec, points[0], Resources(num_devices=1, items_per_device=min(len(points), 8)), pictures=True)
        for at, arrived in zip(points, group.send(points, range(1)), strict=True):
            came = {name: array[0, :, 0] for name, array in arrived.pictures.items() if array is not None}
            if answerer is None:
                said = [ANSWERS[answer] for answer in came["answers"]]
            else:
                said = answerer(came["features"], valid, [question] * len(valid))
            found.append((at, said))
    return found


def told(
    answers: Sequence[tuple[Mapping[str, Any], list[str]]], names: Sequence[str], asked: Sequence[Asked], question: str
) -> list[str]:
    """What the question matched in each picture and, below it, what :func:`answered` gives."""
    lines = []
    for number, (name, one) in enumerate(zip(names, asked, strict=True)):
        match = one.match
        about = f"{match.keyword!r} is {', '.join(match.labels)}" if match.labels else f"no match: {match.note}"
        lines.append(f"{name}: {question} ({about})")
        for at, said in answers:
            where = f"{at['scheme']}, {at['channel']}, {at['snr_db']:g} dB, CSI error {at['csi_error_var']:g}"
            lines.append(f"  {where}: {said[number]}")
    return lines


def sheet_title(answers: Sequence[tuple[Mapping[str, Any], list[str]]], question: str) -> str:
    """The question, and at which SNRs of the first channel the answers on the sheet were given."""
    at, _ = answers[0]
    snr_db = [f"{other['snr_db']:g}" for other, _ in answers if _alike(other, at)]
    return f"{question} Answers over {at['channel']} at {', '.join(snr_db)} dB"


def _alike(at: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two points differ in nothing but the SNR."""
    return all(at[name] == other[name] for name in ("scheme", "channel", "csi_error_var"))


def map_rows(
    spec: NamedSweep,
    seen: Sequence[Seen],
    asked: Sequence[Asked],
    answers: Sequence[tuple[Mapping[str, Any], list[str]]],
) -> list[list[Picture]]:
    """Each picture with answers over SNR, beside its saliency, what is asked about, the levels and the powers."""
    start = answers[0][0]
    contender, source = spec.schemes[-1], jax.tree.map(jax.numpy.asarray, spec.sources[1])
    point = next(at for at in spec.coordinates() if at["scheme"] == contender.name)
    encoded = contender.scheme.encode(contender.params, source, jax.random.split(jax.random.key(0), 1), {})
    knobs = {name: point[name] for name in contender.scheme.knobs}
    tells = contender.scheme.modulate(contender.params, encoded, OperatingPoint(point["snr_db"], knobs=knobs)).tells
    rows = []
    for number, (one, of) in enumerate(zip(seen, asked, strict=True)):
        levels, power = (np.asarray(tells[name][number, 0]) for name in ("levels", "power"))
        decibels = 10 * np.log10(power)
        said = []
        for name in (_AVERAGE, _ATTENTION):
            own = [texts[number] for at, texts in answers if _alike(at, {**start, "scheme": name})]
            said.append(f"{name.removeprefix('power ').removesuffix(' power')}: {' '.join(own)}"[:_LETTERS])
        rows.append([
            Picture(image=one.image, caption="\n".join(said)),
            Picture(image=_grey(one.saliency), caption="objective attention"),
            Picture(image=_grey(of.attention), caption="subjective attention"),
            Picture(image=_grey(_cells(levels) / 5), caption=f"levels {levels.min():g} to {levels.max():g}"),
            Picture(image=_grey(_cells(power) / power.max()), caption=f"power {decibels.min():.1f} to "
                    f"{decibels.max():.1f} dB"),
        ])  # fmt: skip
    return rows


def _cells(values: np.ndarray) -> np.ndarray:
    height, width = (side // count for side, count in zip(PICTURE, GRID, strict=True))
    return values.reshape(GRID).repeat(height, axis=0).repeat(width, axis=1)


def _grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=-1)


def _row(point: Any) -> dict[str, Any]:
    row = {name: point.coordinates[name] for name in ("scheme", "channel", "snr_db", "csi_error_var")}
    row |= {"snr_convention": point.snr_convention, "realised_snr_db": point.realised_snr_db}
    for metric in METRICS:
        measured = point.metrics.get(metric)
        row[metric] = None if measured is None else measured.mean
        row[f"{metric}_ci95"] = None if measured is None else measured.half_width
    return row | {name: point.ledger[name] for name in ("channel_uses", "slots", "side_information_bits")}


def _check_flags(options: argparse.Namespace) -> None:
    for name in changed(options, "--images", ".", "--out", "."):
        if name not in _SERVES:
            raise UsageError(f"--{name.replace('_', '-')} is not for a --question, which is asked about whole pictures")
