r"""Four tasks over SNR: one shared transceiver, a network for each task, heads alone, and bits, at equal channel uses.

Test pictures of CIFAR-10 (JPEG copies), test captions of Multi30k, questions about another town of CARLA. All networks
hear the same channels and the same noise, and differences are paired example by example. Minutes.

    python -m experiments.multitask.learn --packed build/tasks --runs runs/mt
    python -m experiments.multitask.tasks --runs runs/mt --packed build/tasks
"""

import functools
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.multitask.pack import PACKED, TEST
from experiments.multitask.results import FOLDER, add
from experiments.script import DATA, script
from lvm_mtc import link as links_room
from lvm_mtc.data.bigram_code import BigramCode
from lvm_mtc.data.captions import PackedSentences, load_sentences
from lvm_mtc.data.packed_questions import load_questions
from lvm_mtc.data.vqa import floor_accuracy
from lvm_mtc.interop.classifier_weights import load_cifar_resnet
from lvm_mtc.link import LinkConfig, OperatingPoint, uav_keys
from lvm_mtc.metrics.pictures import psnr
from lvm_mtc.metrics.tables import METRICS
from lvm_mtc.metrics.text import sentence_bleu
from lvm_mtc.models.cifar_resnet import CifarResNet
from lvm_mtc.results.intervals import student_interval
from lvm_mtc.schemes.loading import load_scheme
from lvm_mtc.schemes.multitask.scheme import Multitask
from lvm_mtc.schemes.question_source import question_source
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.separation.captions import CaptionBits
from lvm_mtc.schemes.simulate import encode, transmit
from lvm_mtc.sweep.as_bits import measure_bits
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.group import Resources
from lvm_mtc.sweep.plan import SweepSpec
from lvm_mtc.sweep.stopping import StoppingRule

SNR_DB = (-5.0, 0.0, 5.0, 10.0, 15.0)
LINKS = tuple(LinkConfig(fading=fading, convention="rx_per_antenna") for fading in ("awgn", "rayleigh"))
"""All SNRs over the link that was learned over, and the middle ones over the other."""
POINTS = ((0, SNR_DB), (1, SNR_DB[1:4:2]))
MEASURES = {"class": "accuracy", "picture": "psnr_db", "text": "bleu1", "answers": "accuracy"}
STEP = 100


@script(
    runs="folder of the trainings: shared, heads, and one by the name of each task",
    packed="folder of experiments.multitask.pack", data="folder of data sets", out="folder of the study",
    tasks=dict(help="which tasks (default: all)", choices=tuple(MEASURES)),
    examples="of each task at most, evenly spread", sentences="captions as bits, evenly spread",
)  # fmt: skip
def main(
    runs: Path = Path("runs/mt"), packed: Path = PACKED, data: Path = DATA, out: Path = FOLDER,
    tasks: tuple = tuple(MEASURES), examples: int = 1000, sentences: int = 100,
) -> None:  # fmt: skip
    """Measure tasks over two links; of the networks to compare with those that are there."""
    scheme, shared = load_scheme(runs / "shared" / "tasks" / "weights.npz")
    captions = load_sentences(packed / "text.npz")
    sources = read_sources(packed / TEST, captions.test_sentences, examples)
    for task in tasks:
        others = {
            "separate": runs / task / "alone" / "weights.npz",
            "heads only": runs / "heads" / "heads" / "weights.npz",
        }
        networks = {name: load_scheme(file)[1] for name, file in others.items() if file.exists()}
        rows = rows_of(scheme.of_task(task), {"shared": shared} | networks, sources[task])
        add(out, "tasks", task, {"floor": floor(task, packed, sources[task], captions), "rows": list(rows)})
    if "class" in tasks:
        add(out, "task bits", "class", [{"link": "awgn", "value": classifier(data, sources["class"])}])
    if "text" in tasks:
        add(out, "task bits", "text", list(caption_bits(scheme, shared, captions, sentences)))


def read_sources(folder: Path, sentences: np.ndarray, examples: int) -> dict[str, Source]:
    """Examples by task of a folder's pictures, of captions, and of the folder's questions, if it has any.

    They are spread evenly, a multiple of ``STEP`` of each.
    """

    def take(count: int) -> np.ndarray:
        number = min(examples, count) // STEP * STEP
        return np.linspace(0, count - 1, number).round().astype(int)[:, None]

    with np.load(folder / "classes.npz") as archive:
        pictures, labels = archive["pictures"], archive["labels"]
    of_class = take(len(labels))
    shown = Source(np.float32(pictures[of_class]) / 255, {"labels": labels[of_class]})
    found = {"class": shown, "picture": shown, "text": Source(sentences.astype(np.int32)[take(len(sentences))])}
    if (folder / "answers.npz").exists():
        questions = load_questions(folder / "answers.npz")
        found["answers"] = question_source(questions, take(len(questions.answer)))
    return found


@functools.partial(jax.jit, static_argnums=0)
def score(scheme: Multitask, params: Any, source: Source, key: jax.Array, snr_db: jax.Array, number: jax.Array):
    """The task's measure and the channel uses of each example, ``[batch]``, over the link of a number."""
    keys, point, batch = uav_keys(key, 1), OperatingPoint(snr_db=snr_db), source.lead()[0]
    draws = [links_room.draw(link, keys, batch, *scheme.frames(), point) for link in LINKS]
    out = transmit(scheme, params, encode(scheme, params, source, keys, {}), LINKS, draws, point, number)
    return METRICS[scheme.modality][MEASURES[scheme.config.task]](source, out)[:, 0], out.ledger.private_uses


def rows_of(scheme: Multitask, networks: Mapping[str, Any], source: Source) -> Iterator[dict[str, Any]]:
    """A row for each link and SNR: means, and the differences of the first network to the others."""
    parts = [jax.tree.map(lambda leaf, s=s: jnp.asarray(leaf[s : s + STEP]), source)
             for s in range(0, source.lead()[0], STEP)]  # fmt: skip
    for number, snrs_db in POINTS:
        for snr_db in snrs_db:
            link, found, uses = LINKS[number], {}, []
            for name, params in networks.items():
                told = [
                    score(scheme, params, part, jax.random.key(i), jnp.float32(snr_db), jnp.int32(number))
                    for i, part in enumerate(parts)
                ]
                found[name], uses = (np.concatenate(arrays) for arrays in zip(*told, strict=True))
            first, *others = found
            gains = {other: student_interval(found[first] - found[other]) for other in others}
            yield {
                "task": scheme.config.task, "link": link.label, "snr_db": snr_db, "symbols": float(uses.mean()),
                "examples": len(uses), "means": {name: float(values.mean()) for name, values in found.items()},
                "differences": {name: [float(i.mean), float(i.half_width)] for name, i in gains.items()},
            }  # fmt: skip
            print(scheme.config.task, link.label, snr_db, {k: v.mean().round(3) for k, v in found.items()}, flush=True)


def classifier(data: Path, source: Source) -> float:
    """Accuracy of ResNet-56 on the pictures themselves: who knows the class sends its number as four bits."""
    params = load_cifar_resnet(data / "weights" / "cifar10_resnet56.npz", 56)
    classify = jax.jit(lambda pictures: jnp.argmax(CifarResNet(56).apply({"params": params}, pictures), -1))
    pictures = source.data[:, 0]
    found = np.concatenate([classify(pictures[s : s + STEP]) for s in range(0, len(pictures), STEP)])
    return float((found == source.hints["labels"][:, 0]).mean())


def caption_bits(scheme: Multitask, params: Any, captions: PackedSentences, sentences: int) -> Iterator[dict[str, Any]]:
    """BLEU-1 of captions as bits at as many symbols: arithmetic code, CRC, LDPC code, QPSK."""
    take = np.linspace(0, len(captions.test_sentences) - 1, sentences).round().astype(int)
    of_text = scheme.of_task("text")
    spec = SweepSpec(
        schemes=(Contender(name="shared", scheme=of_text, params=params),), links=LINKS,
        sources={1: Source(captions.test_sentences[take].astype(np.int32)[:, None])}, snr_db=SNR_DB, metrics=("bleu1",),
        stopping=StoppingRule(target_half_width=None, max_units=2), pictures_per_step=STEP,
    )  # fmt: skip
    sender = CaptionBits(BigramCode(captions.sentences, scheme.config.vocabulary), scheme.config.num_symbols)
    points = list(spec.coordinates())
    for at, arrived in zip(points, measure_bits(spec, sender, points, resources=Resources(num_devices=1)), strict=True):
        mean = float(arrived.metrics["bleu1"].mean())
        yield {"link": at["channel"], "snr_db": at["snr_db"], "value": mean}


def floor(task: str, packed: Path, source: Source, captions: PackedSentences) -> float:
    """What the commonest class, the mean picture, the commonest word or the commonest answers get without a link."""
    if task == "class":
        return float(np.bincount(source.hints["labels"][:, 0]).max() / len(source.data))
    if task == "picture":
        with np.load(packed / "classes.npz") as archive:
            mean = np.float32(archive["pictures"][::10].mean(0) / 255)
        return float(psnr(jnp.asarray(source.data[:, 0]), jnp.broadcast_to(mean, source.data[:, 0].shape)).mean())
    if task == "text":
        sent, word = jnp.asarray(source.data), np.bincount(captions.sentences[captions.sentences > 0]).argmax()
        return float(sentence_bleu(sent, jnp.where(sent > 0, int(word), 0), 1).mean())
    asked = (load_questions(folder / "answers.npz") for folder in (packed, packed / TEST))
    return floor_accuracy(*(np.concatenate([q.question, q.answer[:, None]], axis=1) for q in asked))


if __name__ == "__main__":
    sys.exit(main())
