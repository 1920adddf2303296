"""Captions over AWGN with and without a knowledge store at the receiver: BLEU-1 and recall at the decoded query.

Stores: training captions; the other four captions of the test photographs, as earlier messages of these scenes; both.
No store holds a sentence that is sent. The weight of the store is chosen on validation captions. Beside the closed
forms stands the decoder that attends to what was retrieved, which ``experiments.multitask.memory`` learned, and the
same layers that learned without a store. Minutes.
"""

import functools
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.multitask.results import FOLDER, add
from experiments.script import DATA, script
from lvm_mtc.cli.sentences import load_text_contender
from lvm_mtc.data.captions import Vocabulary, read_sentences, split_words
from lvm_mtc.knowledge.memory import fuse_memory, retrieved_words
from lvm_mtc.knowledge.store import Entry, KnowledgeStore, fuse_index, fuse_words, store_words
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.metrics.text import sentence_bleu
from lvm_mtc.models.memory import Memory
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
EARLIER = 10**6
"""The least id of an earlier caption."""
NO_SCENES = "training captions"


class Captions(NamedTuple):
    """Captions that can be sent, ``[n, num_words]``, and the number of the photograph of each, ``[n]``."""

    numbers: np.ndarray
    photographs: np.ndarray

    def without(self, secret: set[bytes]) -> "Captions":
        """These, but for sentences that are sent."""
        kept = np.array([row.tobytes() not in secret for row in self.numbers])
        return Captions(self.numbers[kept], self.photographs[kept])

    def entries(self, first: int) -> list[Entry]:
        """Entries of a store, their ids from ``first`` on."""
        return [Entry(first + i, tuple(int(w) for w in row if w)) for i, row in enumerate(self.numbers)]


def read_captions(
    folder: Path, split: str, files: Iterable[int], limit: int, vocabulary: Vocabulary, num_words: int
) -> Captions:
    """Captions of the first ``limit`` photographs of a split; ``files`` are which of the five of each."""
    numbers, photographs = [], []
    for file in files:
        lines = [split_words(line) for line in read_sentences(folder / f"{split}.{file}.en.gz")][:limit]
        known, kept = vocabulary.encode(lines, num_words)
        numbers.append(known)
        photographs.append(np.flatnonzero(kept))
    return Captions(np.concatenate(numbers), np.concatenate(photographs))


class Decoded(NamedTuple):
    """Sentences after the link: log probabilities ``[n, num_words, vocabulary]``, and what the scores were made of."""

    log_p: np.ndarray
    understood: np.ndarray


def decoded(contender: Any, sentences: np.ndarray, snr_db: float | np.ndarray, seed: int = 0) -> Decoded:
    """Sends sentences, a multiple of ``STEP`` or few; ``snr_db`` is of all or ``[n]``."""
    snrs_db, found = np.broadcast_to(np.float32(snr_db), len(sentences)), []
    for start in range(0, len(sentences), STEP):
        words, snr_db = (jnp.asarray(of[start : start + STEP]) for of in (sentences, snrs_db))
        key = jax.random.key(seed * 10**6 + start)
        found.append(jax.device_get(_send(contender.scheme, contender.params, words[:, None], snr_db, key)))
    return Decoded(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


@functools.partial(jax.jit, static_argnums=0)
def _send(scheme, params, words, snr_db, key):
    out = forward(scheme, params, Source(words), key, LINK, OperatingPoint(snr_db))
    return jax.nn.log_softmax(out.estimate.data)[:, 0], out.estimate.tells["understood"][:, 0]


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

    def read(split: str, files: Iterable[int], limit: int) -> Captions:
        return read_captions(data / "multi30k_task2", split, files, limit, vocabulary, num_words)

    test, chosen_on = read("test_2016", [5], 1000), read("val", [5], 300)
    secret = {row.tobytes() for row in (*test.numbers, *chosen_on.numbers)}
    train = read("train", [1], 29_000).without(secret).entries(0)
    scenes = [read(split, range(1, 5), 1000).without(secret) for split in ("test_2016", "val")]
    earlier = [of.entries(EARLIER) for of in scenes]
    entries = {
        NO_SCENES: (train, train),
        "earlier captions of the scenes": (earlier[0], earlier[1]),
        "both": (train + earlier[0], train + earlier[1]),
    }
    return Stores(
        test.numbers[:sentences], test.photographs[:sentences], chosen_on.numbers, entries, scenes[0].photographs
    )


def measure(data: Path, sentences: int, memory: Mapping[str, Any]) -> dict[str, Any]:
    """Rows of SNR and store: BLEU-1 without and with help, its gain, recall, the share of wrong words."""
    contender, vocabulary = load_text_contender(None)
    sent, photographs, chosen_on, stores, of_photograph = make_stores(
        data, sentences, vocabulary, contender.scheme.config.num_words
    )
    rows = []
    for snr_db in SNRS_DB:
        sides = [Side(words, decoded(contender, words, snr_db)) for words in (sent, chosen_on)]
        plain, plain_chosen = (said(side.heard.log_p, side.sent) for side in sides)
        log_p, log_p_chosen = (side.heard.log_p for side in sides)
        alone, alone_weight = by_layers(contender, memory["alone"], *sides)
        for name, (entries, entries_chosen) in stores.items():
            pair = [KnowledgeStore.of(of, contender.scheme.config.vocabulary) for of in (entries, entries_chosen)]
            found, found_chosen = pair[0].search(plain, NEIGHBOURS), pair[1].search(plain_chosen, NEIGHBOURS)
            weight = best_weight(store_words(pair[1], found_chosen), log_p_chosen, chosen_on)
            helped = said(fuse_words(log_p, store_words(pair[0], found), weight), sent)
            clean = pair[0].search(sent, 1).places[:, 0]
            indexed = said(fuse_index(pair[0], clean, weight, log_p), sent)
            learned, memory_weight = by_layers(contender, memory["store"], *(
                side._replace(words=retrieved_words(store, places, sent.shape[1]))
                for side, store, places in zip(sides, pair, (found, found_chosen), strict=True)
            ))  # fmt: skip
            before, after, after_alone = (scores(sent, words) for words in (plain, learned, alone))
            rows.append({
                "snr_db": snr_db, "store": name, "entries": len(entries), "index_bits": pair[0].index_bits,
                "weight": weight, "memory_weight": memory_weight, "layers_weight": alone_weight,
                "wrong": float((plain != sent)[sent > 0].mean()), "plain": float(before.mean()),
                "recall": recall(found.places, pair[0], of_photograph, photographs) if name != NO_SCENES else None,
                "gain": interval(scores(sent, helped) - before),
                "index_gain": interval(scores(sent, indexed) - before),
                "memory_gain": interval(after - before), "layers_gain": interval(after_alone - before),
                "memory_over_layers": interval(after - after_alone),
            })  # fmt: skip
            print(rows[-1], flush=True)
    return {"sentences": len(sent), "rows": rows}


def interval(gains: np.ndarray) -> list[float]:
    """Mean and half width."""
    return [float(n) for n in student_interval(gains)[:2]]


def understood_anew(
    layers: Any, embedding: jax.Array, understood: jax.Array, sent: jax.Array, words: Any, weight: Any = 1.0
) -> jax.Array:  # fmt: skip
    """What ``MEMORY`` makes of what was decoded, with the entries' words; None: its layers hear no entry."""
    if words is not None:
        return fuse_memory(MEMORY, layers, understood, sent > 0, words, embedding, weight)
    none = jnp.zeros((len(sent), 1, 1, understood.shape[-1]))
    changed = MEMORY.apply({"params": layers}, understood, sent > 0, none, none[..., 0] > 0)
    return understood + weight * (changed - understood)


@functools.partial(jax.jit, static_argnums=0)
def _say(scheme, params, layers, understood, sent, words, weight):
    understood = understood_anew(layers, params["embedding"], understood, sent, words, weight)
    return scheme.say(params, understood, (sent > 0).sum(-1))


class Side(NamedTuple):
    """Sentences of one purpose, to be measured or to choose by, after the link; ``words`` of entries, or None."""

    sent: np.ndarray
    heard: Decoded
    words: np.ndarray | None = None


def by_layers(contender: Any, layers: Any, measured: Side, chosen_on: Side) -> tuple[np.ndarray, float]:
    """The best words with learned layers, at the weight that is best on validation captions, and that weight."""

    def told(side, weight):
        of = side.heard.understood, side.sent, side.words, weight
        return said(np.asarray(_say(contender.scheme, contender.params, layers, *of)), side.sent)

    weight = max(PARTS, key=lambda of: scores(chosen_on.sent, told(chosen_on, of)).mean())
    return told(measured, weight), weight


def scores(sent: np.ndarray, words: np.ndarray) -> np.ndarray:
    """BLEU-1 of each sentence."""
    return np.asarray(_bleu(sent, words), np.float64)


_bleu = jax.jit(functools.partial(sentence_bleu, largest=1))


def best_weight(likely: np.ndarray, log_p: np.ndarray, sent: np.ndarray) -> float:
    """The weight of ``fuse_words`` of the largest BLEU-1 on validation captions."""
    return max(WEIGHTS, key=lambda weight: scores(sent, said(fuse_words(log_p, likely, weight), sent)).mean())


def recall(found: np.ndarray, store: KnowledgeStore, of_photograph: np.ndarray, wanted: np.ndarray) -> float:
    """Share of sentences, of photographs ``wanted [n]``, among whose neighbours ``[n, k]`` is another caption of it."""
    owners = np.array([of_photograph[e.id - EARLIER] if e.id >= EARLIER else -1 for e in store.entries])
    return float(((owners[found] == wanted[:, None]) & (found >= 0)).any(1).mean())


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
