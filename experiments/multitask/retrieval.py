"""Captions over AWGN with and without a knowledge store at the receiver: BLEU-1 and recall at the decoded query.

Stores: training captions; the other four captions of the test photographs, as earlier messages of these scenes; both.
No store holds a sentence that is sent. The weight of the store is chosen on validation captions. Beside the closed
forms stands the decoder that attends to what was retrieved, which ``experiments.multitask.memory`` learned, and the
same layers without a store. Minutes.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.multitask.results import FOLDER, add
from experiments.script import DATA, script
from lvm_mtc.cli.sentences import load_text_contender
from lvm_mtc.data.captions import Vocabulary, read_sentences, split_words
from lvm_mtc.knowledge.memory import Memory, fuse_memory, retrieved_words
from lvm_mtc.knowledge.store import Entry, KnowledgeStore, fuse_index, fuse_words, store_words
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.metrics.text import sentence_bleu
from lvm_mtc.models.weights import load_weights
from lvm_mtc.results.intervals import student_interval
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import forward

SNRS_DB = (-4.0, -2.0, 0.0, 2.0, 6.0, 10.0)
WEIGHTS, PARTS, NEIGHBOURS = (0.0, 0.1, 0.2, 0.4, 0.8), (0.0, 0.5, 1.0), 5
"""Of ``fuse_words`` and ``fuse_memory`` to choose from, and how many sentences are taken from a store."""
MEMORY = Memory()
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


class Decoded(NamedTuple):
    """Sentences after the link: log probabilities ``[n, num_words, vocabulary]``, and what the scores were made of."""

    log_p: np.ndarray
    understood: np.ndarray


def decoded(contender: Any, sentences: np.ndarray, snr_db: float | np.ndarray, seed: int = 0) -> Decoded:
    """Sends sentences, a multiple of ``STEP`` or few; ``snr_db`` is of all or ``[n]``."""

    @jax.jit
    def send(params, words, snr_db, key):
        out = forward(contender.scheme, params, Source(words), key, LINK, OperatingPoint(snr_db))
        return jax.nn.log_softmax(out.estimate.data)[:, 0], out.estimate.tells["understood"][:, 0]

    snrs_db, found = np.broadcast_to(np.float32(snr_db), len(sentences)), []
    for start in range(0, len(sentences), STEP):
        words = jnp.asarray(sentences[start : start + STEP])[:, None]
        key = jax.random.key(start if not seed else seed * 10**6 + start)
        found.append(jax.device_get(send(contender.params, words, jnp.asarray(snrs_db[start : start + STEP]), key)))
    return Decoded(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


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


def measure(data: Path, sentences: int, memory: Mapping[str, Any]) -> dict[str, Any]:
    """Rows of SNR and store: BLEU-1 without and with help, its gain, recall, the share of wrong words."""
    contender, vocabulary = load_text_contender(None)
    sent, photographs, chosen_on, stores, of_photograph = make_stores(
        data, sentences, vocabulary, contender.scheme.config.num_words
    )
    rows = []
    for snr_db in SNRS_DB:
        heard, heard_chosen = (decoded(contender, words, snr_db) for words in (sent, chosen_on))
        log_p, plain, plain_chosen = heard.log_p, said(heard.log_p, sent), said(heard_chosen.log_p, chosen_on)
        layers = by_layers(contender, memory["alone"], heard, sent)
        for name, (entries, entries_chosen) in stores.items():
            pair = [KnowledgeStore.of(of, contender.scheme.config.vocabulary) for of in (entries, entries_chosen)]
            found, found_chosen = pair[0].search(plain, NEIGHBOURS), pair[1].search(plain_chosen, NEIGHBOURS)
            weight = best_weight(store_words(pair[1], found_chosen), heard_chosen.log_p, chosen_on)
            helped = said(fuse_words(log_p, store_words(pair[0], found), weight), sent)
            clean = pair[0].search(sent, 1).places[:, 0]
            indexed = said(fuse_index(pair[0], clean, weight, log_p), sent)
            words, words_chosen = (
                retrieved_words(store, places, sent.shape[1])
                for store, places in zip(pair, (found, found_chosen), strict=True)
            )
            tried = {
                of: by_memory(contender, memory["store"], heard_chosen, chosen_on, words_chosen, of) for of in PARTS
            }
            part = max(PARTS, key=lambda of: scores(chosen_on, tried[of]).mean())
            learned = by_memory(contender, memory["store"], heard, sent, words, part)
            before, after = scores(sent, plain), scores(sent, learned)
            gains = {"gain": helped, "index_gain": indexed, "memory_gain": learned, "layers_gain": layers}
            rows.append({
                "snr_db": snr_db, "store": name, "entries": len(entries), "weight": weight, "memory_weight": part,
                "index_bits": pair[0].index_bits, "wrong": float((plain != sent)[sent > 0].mean()),
                "plain": float(before.mean()),
                "recall": recall(found.places, pair[0], of_photograph, photographs) if "earlier" in name else None,
                **{of: interval(scores(sent, told) - before) for of, told in gains.items()},
                "memory_over_layers": interval(after - scores(sent, layers)),
            })  # fmt: skip
            print(rows[-1], flush=True)
    return {"sentences": len(sent), "rows": rows}


def interval(gains: np.ndarray) -> list[float]:
    """Mean and half width."""
    return [float(n) for n in student_interval(gains)[:2]]


def by_memory(
    contender: Any, params: Any, heard: Decoded, sent: np.ndarray, words: np.ndarray, weight: float
) -> np.ndarray:
    """The best words where the decoder attends to the entries' words, by what was learned with stores."""
    scheme, fixed = contender.scheme, contender.params

    @jax.jit
    def say(understood, valid, words):
        understood = fuse_memory(MEMORY, params, understood, valid, words, fixed["embedding"], weight)
        return scheme.say(fixed, understood, valid.sum(-1))

    return said(np.asarray(say(heard.understood, sent > 0, words)), sent)


def by_layers(contender: Any, params: Any, heard: Decoded, sent: np.ndarray) -> np.ndarray:
    """The best words by the same layers, which learned without stores and hear none."""
    scheme, fixed = contender.scheme, contender.params
    none = jnp.zeros((len(sent), NEIGHBOURS, sent.shape[1], heard.understood.shape[-1]))

    @jax.jit
    def say(understood, valid):
        understood = MEMORY.apply({"params": params}, understood, valid, none, jnp.zeros(none.shape[:3], bool))
        return scheme.say(fixed, understood, valid.sum(-1))

    return said(np.asarray(say(heard.understood, sent > 0)), sent)


def scores(sent: np.ndarray, words: np.ndarray) -> np.ndarray:
    """BLEU-1 of each sentence."""
    return np.asarray(jax.jit(lambda a, b: sentence_bleu(a, b, 1))(sent, words), np.float64)


def best_weight(likely: np.ndarray, log_p: np.ndarray, sent: np.ndarray) -> float:
    """The weight of ``fuse_words`` of the largest BLEU-1 on validation captions."""
    return max(WEIGHTS, key=lambda weight: scores(sent, said(fuse_words(log_p, likely, weight), sent)).mean())


def recall(places: np.ndarray, store: KnowledgeStore, of_photograph: np.ndarray, wanted: np.ndarray) -> float:
    """Share of sentences among whose neighbours is a caption of their photograph."""
    owner = {entry.id: photograph for entry, photograph in zip(store.entries, of_photograph, strict=True)}
    hits = [
        any(owner[store.entries[p].id] == want for p in row if p >= 0) for row, want in zip(places, wanted, strict=True)
    ]
    return float(np.mean(hits))


@script(
    data="folder of data sets", sentences="test captions", out="folder of the study",
    memory="weights file of experiments.multitask.memory",
)  # fmt: skip
def main(
    data: Path = DATA, sentences: int = 500, out: Path = FOLDER, memory: Path = Path("runs/mt/memory.npz")
) -> None:
    """Measure captions with and without a knowledge store."""
    params, about = load_weights(memory)
    add(out, "retrieval", "captions", measure(data, sentences, params) | {"memory": about})


if __name__ == "__main__":
    sys.exit(main())
