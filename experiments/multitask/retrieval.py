"""Captions over AWGN with and without a knowledge store at the receiver: BLEU-1 and recall at the decoded query.

Stores: training captions; the other four captions of the test photographs, as earlier messages of these scenes; both.
No store holds a sentence that is sent. The weight of the store is chosen on validation captions. A minute or two.
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.multitask.results import FOLDER, add
from experiments.script import DATA, script
from lvm_mtc.cli.sentences import load_text_contender
from lvm_mtc.data.captions import Vocabulary, read_sentences, split_words
from lvm_mtc.knowledge.store import Entry, KnowledgeStore, fuse_index, fuse_words, store_words
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.metrics.text import sentence_bleu
from lvm_mtc.results.intervals import student_interval
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import forward

SNRS_DB = (-4.0, -2.0, 0.0, 2.0, 6.0, 10.0)
WEIGHTS, NEIGHBOURS = (0.0, 0.1, 0.2, 0.4, 0.8), 5
LINK = LinkConfig.of(fading="awgn", convention="rx_per_antenna")
STEP = 100


class Captions:
    """Captions of a split that can be sent, and the number of the photograph of each."""

    def __init__(self, folder: Path, split: str, files: range, vocabulary: Vocabulary, num_words: int, limit: int):
        numbers, photographs = [], []
        for file in files:
            lines = [split_words(line) for line in read_sentences(folder / f"{split}.{file}.en.gz")][:limit]
            known, kept = vocabulary.encode(lines, num_words)
            numbers.append(known)
            photographs.append(np.flatnonzero(kept))
        self.numbers, self.photographs = np.concatenate(numbers), np.concatenate(photographs)

    def entries(self, first: int, secret: set[bytes]) -> list[Entry]:
        """Entries of a store, but for sentences that are sent."""
        rows = (row for row in self.numbers if row.tobytes() not in secret)
        return [Entry(first + i, tuple(int(w) for w in row if w)) for i, row in enumerate(rows)]


def decoded(contender: Any, sentences: np.ndarray, snr_db: float) -> np.ndarray:
    """Log probabilities of the words of each sentence after the link."""

    @jax.jit
    def send(params, words, key):
        out = forward(contender.scheme, params, Source(words), key, LINK, OperatingPoint(snr_db))
        return jax.nn.log_softmax(out.estimate.data)

    found = []
    for start in range(0, len(sentences), STEP):
        words = jnp.asarray(sentences[start : start + STEP])[:, None]
        found.append(np.asarray(send(contender.params, words, jax.random.key(start)))[:, 0])
    return np.concatenate(found)


def said(scores: np.ndarray, sent: np.ndarray) -> np.ndarray:
    """The best words, as many as there are: the transceiver is told the length."""
    return np.where(sent > 0, scores[..., 1:].argmax(-1) + 1, 0)


class Stores(NamedTuple):
    """What is sent, and what is known.

    Attributes:
        sent: Test sentences, ``[n, num_words]``.
        photographs: Theirs, ``[n]``.
        chosen_on: Validation sentences, by which the weight is chosen.
        entries: Of each store, by name: beside the test sentences, and beside the validation sentences.
        of_photograph: Photographs of the earlier captions.
    """

    sent: np.ndarray
    photographs: np.ndarray
    chosen_on: np.ndarray
    entries: dict[str, tuple[list[Entry], list[Entry]]]
    of_photograph: np.ndarray


def make_stores(data: Path, sentences: int, vocabulary: Vocabulary, num_words: int) -> Stores:
    """The study's sentences and stores; no sentence that is sent stands in a store."""
    folder = data / "multi30k_task2"
    make = {"vocabulary": vocabulary, "num_words": num_words}
    test = Captions(folder, "test_2016", range(5, 6), limit=1000, **make)
    chosen_on = Captions(folder, "val", range(5, 6), limit=300, **make)
    secret = {row.tobytes() for row in (*test.numbers, *chosen_on.numbers)}
    train = Captions(folder, "train", range(1, 2), limit=29_000, **make).entries(0, secret)
    scenes = [Captions(folder, split, range(1, 5), limit=1000, **make) for split in ("test_2016", "val")]
    earlier = [of.entries(10**6, secret) for of in scenes]
    kept = np.array([row.tobytes() not in secret for row in scenes[0].numbers])
    entries = {
        "training captions": (train, train),
        "earlier captions of the scenes": (earlier[0], earlier[1]),
        "both": (train + earlier[0], train + earlier[1]),
    }
    return Stores(
        test.numbers[:sentences], test.photographs[:sentences], chosen_on.numbers, entries, scenes[0].photographs[kept]
    )


def measure(data: Path, sentences: int) -> dict[str, Any]:
    """Rows of SNR and store: BLEU-1 without and with help, its gain, recall, the share of wrong words."""
    contender, vocabulary = load_text_contender(None)
    sent, photographs, chosen_on, stores, of_photograph = make_stores(
        data, sentences, vocabulary, contender.scheme.config.num_words
    )
    rows = []
    for snr_db in SNRS_DB:
        log_p, log_p_chosen = (decoded(contender, words, snr_db) for words in (sent, chosen_on))
        plain = said(log_p, sent)
        for name, (entries, entries_chosen) in stores.items():
            pair = [KnowledgeStore.of(of, contender.scheme.config.vocabulary) for of in (entries, entries_chosen)]
            weight = best_weight(pair[1], log_p_chosen, chosen_on)
            found = pair[0].search(plain, NEIGHBOURS)
            helped = said(fuse_words(log_p, store_words(pair[0], found), weight), sent)
            clean = pair[0].search(sent, 1).places[:, 0]
            indexed = said(fuse_index(pair[0], clean, weight, log_p), sent)
            gains = [scores(sent, words) - scores(sent, plain) for words in (helped, indexed)]
            rows.append({
                "snr_db": snr_db, "store": name, "entries": len(entries), "weight": weight,
                "index_bits": pair[0].index_bits, "wrong": float((plain != sent)[sent > 0].mean()),
                "plain": float(scores(sent, plain).mean()),
                "gain": [float(n) for n in student_interval(gains[0])[:2]],
                "index_gain": [float(n) for n in student_interval(gains[1])[:2]],
                "recall": recall(found.places, pair[0], of_photograph, photographs) if "earlier" in name else None,
            })  # fmt: skip
            print(rows[-1], flush=True)
    return {"sentences": len(sent), "rows": rows}


def scores(sent: np.ndarray, words: np.ndarray) -> np.ndarray:
    """BLEU-1 of each sentence."""
    return np.asarray(jax.jit(lambda a, b: sentence_bleu(a, b, 1))(sent, words), np.float64)


def best_weight(store: KnowledgeStore, log_p: np.ndarray, sent: np.ndarray) -> float:
    """The weight of the largest BLEU-1 on validation captions."""
    likely = store_words(store, store.search(said(log_p, sent), NEIGHBOURS))
    return max(WEIGHTS, key=lambda weight: scores(sent, said(fuse_words(log_p, likely, weight), sent)).mean())


def recall(places: np.ndarray, store: KnowledgeStore, of_photograph: np.ndarray, wanted: np.ndarray) -> float:
    """Share of sentences among whose neighbours is a caption of their photograph."""
    owner = {entry.id: photograph for entry, photograph in zip(store.entries, of_photograph, strict=True)}
    hits = [
        any(owner[store.entries[p].id] == want for p in row if p >= 0) for row, want in zip(places, wanted, strict=True)
    ]
    return float(np.mean(hits))


@script(data="folder of data sets", sentences="test captions", out="folder of the study")
def main(data: Path = DATA, sentences: int = 500, out: Path = FOLDER) -> None:
    """Measure captions with and without a knowledge store."""
    add(out, "retrieval", "captions", measure(data, sentences))


if __name__ == "__main__":
    sys.exit(main())
