r"""Accuracy over SNR of pictures sent as captions, beside DeepJSCC, captions as bits and the class alone, into a store.

Test pictures of CIFAR-10 (JPEG copies); ResNet-56 judges. The text transceiver and DeepJSCC at CBR 1/3 are those that
ship. What the store has is not measured again.

    python -m experiments.vlm_csc.pack --data ../shared/data --out build/cifar10_described.npz
    python -m experiments.text.pack_captions --data ../shared/data --out build/captions.npz
    lvm-mtc train --config experiments/configs/codecs.py:cifar10_deepjscc --stage all \
        --data build/cifar10_described.npz --set config.num_symbols=1 --set ranges.snr_db=[-6.0,10.0] \
        --run-dir runs/deepjscc_1
    python -m experiments.vlm_csc.measure --deepjscc runs/deepjscc_1/system/weights.npz
    python -m experiments.vlm_csc.page
"""

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.script import DATA, script
from experiments.stores import store_values
from experiments.vlm_csc.class_index import ClassIndex
from experiments.vlm_csc.export import classify, load_judge
from experiments.vlm_csc.pack import PACKED, load_described
from lvm_mtc.cli.sentences import load_text_contender
from lvm_mtc.data.bigram_code import BigramCode
from lvm_mtc.data.captions import Vocabulary, load_sentences, split_words
from lvm_mtc.data.grammar import describe
from lvm_mtc.knowledge.captioners import Captioner, GrammarCaptioner, load_captioner
from lvm_mtc.knowledge.generators import RetrievalGenerator, load_generator
from lvm_mtc.link import LinkConfig
from lvm_mtc.metrics.judges import Judge, accuracy_judge
from lvm_mtc.metrics.painted import named_accuracy, painted_accuracy
from lvm_mtc.results.hashing import params_hash
from lvm_mtc.results.intervals import student_interval
from lvm_mtc.results.points import Measured
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes.loading import TEXT_WEIGHTS, load_scheme
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.separation.captions import CaptionBits
from lvm_mtc.sweep.as_bits import BitSender, measure_bits
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.group import Resources
from lvm_mtc.sweep.paired import NamedSweep
from lvm_mtc.sweep.plan import picture_source
from lvm_mtc.sweep.rows import make_point
from lvm_mtc.sweep.run import run_sweep
from lvm_mtc.sweep.stopping import StoppingRule
from lvm_mtc.zoo import TABLE

CAPTIONS = Path("build/captions.npz")
STORE = Path("docs/vlm_csc/results.sqlite")
SNR_DB = (-6.0, -2.0, 2.0, 6.0, 10.0)
CLEAN = "not sent"
BITS, BITS_GRAMMAR, CLASS = "caption as bits", "caption as bits, grammar known", "class alone"
SAME, LARGE = "DeepJSCC, CBR 1/48", "DeepJSCC, CBR 1/3"
LARGE_WEIGHTS = TABLE.with_name("deepjscc_cifar10_cbr_1_3.npz")
_RESOURCES = Resources(num_devices=1, items_per_device=8)
CONVENTION = "rx_per_antenna"
_LINK = LinkConfig(fading="awgn", num_rx_ant=1, num_tx_ant=1, convention=CONVENTION)
_judged = classify.__wrapped__  # inside of a sweep's program


def captions_name(captioner: str) -> str:
    """Name of the sweep of a captioner's sentences."""
    return f"captions, {captioner}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """What is measured: pictures ``[n, 32, 32, 3]`` float32 with labels, judges of sentences, a judge of pictures."""

    images: np.ndarray
    labels: np.ndarray
    text: Contender
    vocabulary: Vocabulary
    judges: tuple[Judge, ...]
    judge: Judge
    units: int

    def _sweep(self, name: str, **fields: Any) -> NamedSweep:
        return NamedSweep(
            name=name, links=(_LINK,), snr_db=SNR_DB,
            stopping=StoppingRule(target_half_width=None, max_units=self.units), random_pictures=True, **fields,
        )  # fmt: skip

    def captions(self, captioner: Captioner) -> NamedSweep:
        """A captioner's sentences through the text transceiver; one that it cannot say is a ValueError."""
        texts = captioner(self.images)
        words, kept = self.vocabulary.encode(list(map(split_words, texts)), self.text.scheme.config.num_words)
        if not kept.all():
            raise ValueError(f"captioner {captioner.name} says {texts[int(np.argmin(kept))]!r}, which cannot be sent")
        source = Source(words[:, None], {"labels": self.labels[:, None]})
        return self._sweep(
            captions_name(captioner.name), about={"pictures": "CIFAR-10, JPEG copies, test"}, schemes=(self.text,),
            sources={1: source}, metrics=("bleu1",), judges=self.judges, pictures_per_step=len(words),
        )  # fmt: skip

    def pictures(self, name: str, weights: Path) -> NamedSweep:
        """Pictures through a codec."""
        scheme, params = load_scheme(weights)
        loc = np.broadcast_to(np.float32([16, 16, 32, 32]), (len(self.images), 1, 4))
        return self._sweep(
            name, about={"weights": weights.name}, schemes=(Contender(name=name, scheme=scheme, params=params),),
            sources={1: picture_source(self.images[:, None], loc, labels=np.int32(self.labels)[:, None])},
            metrics=("psnr_db",), judges=(self.judge,), stop_metric="accuracy", pictures_per_step=50,
        )  # fmt: skip


def make_study(data: Path, packed: Path, count: int, units: int) -> tuple[Study, Any]:
    """The study, and the judge's parameters."""
    test, train, judge = load_described(packed, "test"), load_described(packed, "train"), load_judge(data)
    take = np.linspace(0, len(test.pictures) - 1, count).round().astype(int)
    text, vocabulary = load_text_contender(TEXT_WEIGHTS)
    flow, retrieval = load_generator(), RetrievalGenerator(*train)
    of_paint = {"flow": {"params": flow.params, "guidance": np.float32(flow.guidance)},
                "retrieval": {"facts": np.stack(train.facts), "sum": train.pictures.sum(dtype=np.uint64)}}  # fmt: skip
    judges = [painted_accuracy(f"accuracy_{paint.name}", paint, vocabulary, classify, judge,
                               of_paint=of_paint[paint.name]) for paint in (flow, retrieval)]  # fmt: skip
    study = Study(
        images=np.float32(test.pictures[take]) / 255, labels=test.facts.label[take], text=text, vocabulary=vocabulary,
        judges=(*judges, named_accuracy(vocabulary)), judge=accuracy_judge(_judged, judge), units=units,
    )  # fmt: skip
    return study, judge


def store_bits(spec: NamedSweep, name: str, sender: BitSender, about: Mapping[str, Any], store: ResultStore) -> None:
    """Puts the points of sentences as bits into a store, unless they are there."""
    key = store.register(spec.config() | {"name": f"{spec.name}, {name}", "schemes": {name: dict(about)}})
    points = list(spec.coordinates())
    wanted = [at | {"scheme": name} for at in points]
    if store.missing(key, wanted):
        samples = measure_bits(spec, sender, points, resources=_RESOURCES)
        rows = (make_point(spec, key, at, one) for at, one in zip(points, samples, strict=True))
        store.add([dataclasses.replace(row, coordinates=at) for row, at in zip(rows, wanted, strict=True)])


@script(data="folder with weights/", packed="packed pictures", captions="packed captions of Multi30k",
        deepjscc="weights of the codec with 64 symbols a picture", store="result store to add to",
        count="test pictures, evenly spread over all", units="channel realisations, 4 or more")  # fmt: skip
def main(
    data: Path = DATA, packed: Path = PACKED, captions: Path = CAPTIONS,
    deepjscc: Path = Path("runs/deepjscc_1/system/weights.npz"), store: Path = STORE, count: int = 100, units: int = 4,
) -> None:  # fmt: skip
    """Measure pictures sent as captions, and what they are held against, into a store."""
    study, judge = make_study(data, packed, count, units)
    clean = np.asarray(classify(judge, study.images)).argmax(-1) == study.labels
    interval = student_interval(np.float64(clean))
    sweeps = [study.captions(one) for one in (GrammarCaptioner(study.labels), load_captioner())]
    codecs = [study.pictures(LARGE, LARGE_WEIGHTS)]
    if deepjscc.exists():
        codecs.append(study.pictures(SAME, deepjscc))
    else:
        print(f"{deepjscc} is not there: what the store has of {SAME} stays as it is", flush=True)
    train = load_described(packed, "train")
    said, _ = study.vocabulary.encode([split_words(text) for text in describe(train.facts)], 16)
    size, sentences = study.vocabulary.size, load_sentences(captions).sentences
    codes = {BITS: sentences, BITS_GRAMMAR: said.astype(sentences.dtype)}
    store.parent.mkdir(parents=True, exist_ok=True)
    with ResultStore(store) as results:
        ceiling = Measured(float(interval.mean), float(interval.half_width), interval.num_units)
        about = {"name": CLEAN, "judge": params_hash(judge), "pictures": count}
        store_values(results, about, {"scheme": CLEAN}, {"accuracy": ceiling}, snr_db=SNR_DB[-1], convention=CONVENTION)
        for spec in (*codecs, *sweeps):
            run_sweep(spec, results, resources=_RESOURCES)
            print(spec.name, flush=True)
        for name, known in codes.items():
            store_bits(sweeps[1], name, CaptionBits(BigramCode(known, size)), {"sentences": len(known)}, results)
        store_bits(dataclasses.replace(sweeps[1], metrics=("bleu1",)), CLASS, ClassIndex(study.vocabulary), {}, results)
        print(f"{store}: {len(results.read())} points")


if __name__ == "__main__":
    sys.exit(main())
