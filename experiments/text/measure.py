r"""BLEU and word error rate over SNR: the shipped text transceiver against captions as bits, into a store.

Test captions of Multi30k, at equal channel uses over the same channels and noise; and the differences of the pairs. The
learned one alone on 2,000 validation captions with one antenna on each side. Two minutes of computing.

    python -m experiments.text.pack_captions --out build/captions.npz
    python -m experiments.text.measure --captions build/captions.npz --store docs/text/results.sqlite
    python -m experiments.text.page --store docs/text/results.sqlite --out docs/text
"""

import dataclasses
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from experiments.script import script
from experiments.text.pack_captions import PACKED
from lvm_mtc.cli.sentences import load_text_contender
from lvm_mtc.data.bigram_code import BigramCode
from lvm_mtc.data.captions import PackedSentences, load_sentences
from lvm_mtc.link import LinkConfig
from lvm_mtc.report.study import TEXT_METRICS
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes.loading import TEXT_WEIGHTS
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.separation.captions import CaptionBits
from lvm_mtc.sweep.as_bits import measure_bits
from lvm_mtc.sweep.group import Resources
from lvm_mtc.sweep.paired import PREFIX, NamedSweep, differences_name
from lvm_mtc.sweep.programs import Arrived
from lvm_mtc.sweep.rows import make_point
from lvm_mtc.sweep.run import sample_points
from lvm_mtc.sweep.stopping import StoppingRule

NAME, BITS, VALIDATION = "captions", "caption as bits", "validation captions"
DIFFERENCE = "learned minus bits"
STORE = Path("docs/text/results.sqlite")
SNR_DB, VALIDATION_SNR_DB = (-2.0, 0.0, 2.0, 4.0, 6.0, 10.0), (6.0, 10.0)
_RESOURCES = Resources(num_devices=1, items_per_device=12)


@script(
    captions="packed captions (default: %(default)s)", weights="of the text transceiver (default: the shipped ones)",
    store="result store to add to; what it holds of this study is not measured again",
    sentences="test captions, evenly spread over all", validation="validation captions, likewise",
    units="channel realisations, 4 or more",
)  # fmt: skip
def main(
    captions: Path = PACKED, weights: Path = TEXT_WEIGHTS, store: Path = STORE, sentences: int = 128,
    validation: int = 2000, units: int = 4,
) -> None:  # fmt: skip
    """Measure the text transceiver and captions as bits into a store."""
    packed = load_sentences(captions)
    spec = text_sweep(packed, weights, sentences, units)
    sender = CaptionBits(BigramCode(packed.sentences, len(packed.words) + 1))
    store.parent.mkdir(parents=True, exist_ok=True)
    with ResultStore(store) as results:
        measure(spec, sender, results)
        measure_learned(validation_sweep(spec, packed, validation), results)
        print(f"{store}: {len(results.read())} points")


def text_sweep(packed: PackedSentences, weights: Path, sentences: int, units: int) -> NamedSweep:
    """The learned scheme's sweep; intervals speak of other sentences, too."""
    contender, vocabulary = load_text_contender(weights)
    if list(vocabulary.words) != packed.words.tolist():
        raise ValueError(f"{weights} was trained with another vocabulary than that of the packed captions")
    return NamedSweep(
        name=NAME,
        about={"weights": Path(weights).name, "sentences": "Multi30k task 2, test_2016"},
        schemes=(contender,),
        links=tuple(LinkConfig(fading=fading, convention="rx_per_antenna") for fading in ("awgn", "rayleigh")),
        sources={1: _spread(packed.test_sentences, sentences)},
        snr_db=SNR_DB,
        stopping=StoppingRule(target_half_width=None, max_units=units),
        random_pictures=True,
        metrics=TEXT_METRICS,
        pictures_per_step=128,
    )


def validation_sweep(spec: NamedSweep, packed: PackedSentences, sentences: int) -> NamedSweep:
    """The same scheme on validation captions, with one antenna on each side."""
    return dataclasses.replace(
        spec,
        name=VALIDATION,
        about=dict(spec.about) | {"sentences": "Multi30k task 2, val"},
        links=tuple(dataclasses.replace(link, num_rx_ant=1, num_tx_ant=1) for link in spec.links),
        sources={1: _spread(packed.holdout_sentences, sentences)},
        snr_db=VALIDATION_SNR_DB,
    )


def _spread(sentences: np.ndarray, count: int) -> Source:
    """So many sentences, evenly spread over all."""
    take = np.linspace(0, len(sentences) - 1, count).round().astype(int)
    return Source(sentences[take].astype(np.int32)[:, None])


def measure_learned(spec: NamedSweep, store: ResultStore) -> None:
    """Puts a sweep's points into a store, unless all are there."""
    key, points = store.register(spec.config()), list(spec.coordinates())
    if store.missing(key, points):
        samples = sample_points(spec, points, resources=_RESOURCES)
        store.add(make_point(spec, key, at, one) for at, one in zip(points, samples, strict=True))


def measure(spec: NamedSweep, sender: CaptionBits, store: ResultStore) -> None:
    """Puts both schemes' points and their differences into a store, unless all are there."""
    config = spec.config()
    code = {"num_symbols": sender.num_symbols, "crc": sender.crc, "source": "bigram arithmetic code"}
    of_bits = config | {"name": f"{spec.name}, {BITS}", "schemes": {BITS: code}}
    about = {"name": differences_name(spec.name), "differences_of": spec.key(), "random_pictures": True}
    keys = [store.register(part) for part in (config, of_bits, about | {"code": code})]
    points = list(spec.coordinates())
    names = (points[0]["scheme"], BITS, DIFFERENCE)
    wanted = [[at | {"scheme": name} for at in points] for name in names]
    if not any(store.missing(key, of) for key, of in zip(keys, wanted, strict=True)):
        return
    learned = sample_points(spec, points, resources=_RESOURCES)
    steps = len(spec.steps(1)) * len(points)
    with tqdm(total=steps, disable=not sys.stderr.isatty()) as bar:
        bits = measure_bits(spec, sender, points, progress=bar.update)
    differences = [difference(*pair) for pair in zip(learned, bits, strict=True)]
    for key, of, samples in zip(keys, wanted, (learned, bits, differences), strict=True):
        rows = (make_point(spec, key, at, one) for at, one in zip(points, samples, strict=True))
        store.add(dataclasses.replace(row, coordinates=at) for row, at in zip(rows, of, strict=True))


def difference(first: Arrived, second: Arrived) -> Arrived:
    """First minus second, unit by unit and sentence by sentence."""
    return first._replace(metrics={PREFIX + name: first.metrics[name] - second.metrics[name] for name in first.metrics})


if __name__ == "__main__":
    sys.exit(main())
