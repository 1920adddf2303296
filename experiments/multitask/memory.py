r"""The learned fusion of the retrieval study: a decoder whose words attend to retrieved sentences. Minutes.

The shipped text transceiver stays as it is. Lessons are training captions sent over AWGN at -5 to 8 dB, each with the
neighbours of what was decoded without help, in a store like those of the study: the first captions of other
photographs, the earlier captions of a thousand photographs with its own among them, or both. No store holds a sentence
that is sent, and none that is tested is a lesson. A second set of the same layers learns from the same lessons without
their neighbours, to tell what is the store's and what the layers'. The loss is followed on validation captions.

    python -m experiments.multitask.memory --data ../shared/data --out runs/mt/memory.npz
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.multitask import retrieval
from experiments.multitask.retrieval import EARLIER, Captions, decoded, read_captions, said
from experiments.script import DATA, script
from lvm_mtc.cli.sentences import load_text_contender
from lvm_mtc.knowledge.memory import retrieved_words
from lvm_mtc.knowledge.store import Entry, KnowledgeStore
from lvm_mtc.models.weights import save_weights
from lvm_mtc.training.optimizer import OptimizerConfig, make_optimizer

SNR_DB = (-5.0, 8.0)
PHOTOGRAPHS = 1000
"""Of a store of earlier captions."""
BATCH, EVERY = 64, 100


class Lessons(NamedTuple):
    """Sentences, what the decoder made of them ``[n, num_words, width]``, and the words of their neighbours."""

    sent: np.ndarray
    understood: np.ndarray
    words: np.ndarray


def make_lessons(data: Path, contender: Any, vocabulary: Any, draws: int) -> tuple[Lessons, Lessons]:
    """Fifth captions of training photographs, each sent ``draws`` times, and of validation photographs, once."""

    def read(split: str, *files: int) -> Captions:
        num_words = contender.scheme.config.num_words
        return read_captions(data / "multi30k_task2", split, files, 29_000, vocabulary, num_words)

    sent, tested, held_out = (read(split, 5) for split in ("train", "test_2016", "val"))
    sent = sent.without({row.tobytes() for row in (*tested.numbers, *held_out.numbers)})
    secret = {row.tobytes() for of in (sent, tested, held_out) for row in of.numbers}
    first, earlier, own = (
        of.without(secret) for of in (read("train", 1), read("train", 1, 2, 3, 4), read("val", 1, 2, 3, 4))
    )
    others, scenes = first.entries(0), earlier.entries(EARLIER)
    parts = []
    for block in range(29):
        of_block = [of.photographs // PHOTOGRAPHS == block for of in (sent, first, earlier)]
        known = [entry for entry, within in zip(others, of_block[1], strict=True) if not within]
        scene = [entry for entry, within in zip(scenes, of_block[2], strict=True) if within]
        parts.append(teach(contender, np.tile(sent.numbers[of_block[0]], (draws, 1)), known, scene, 1 + block))
        print(f"lessons of photographs from {block * PHOTOGRAPHS} on: {len(parts[-1].sent)}", flush=True)
    joined = Lessons(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    return joined, teach(contender, held_out.numbers, others, own.entries(EARLIER), 30)


def teach(contender: Any, sent: np.ndarray, known: list[Entry], scene: list[Entry], seed: int) -> Lessons:
    """Sends sentences, and looks each up in one store of ``known``, ``scene`` and both, whichever is drawn."""
    rng, sent = np.random.default_rng(seed), sent[: len(sent) // retrieval.STEP * retrieval.STEP]
    heard, kinds = decoded(contender, sent, rng.uniform(*SNR_DB, len(sent)), seed), rng.integers(0, 3, len(sent))
    queries, words = said(heard.log_p, sent), np.zeros((len(sent), retrieval.NEIGHBOURS, sent.shape[1]), np.int32)
    for kind, entries in enumerate((known, scene, known + scene)):
        store = KnowledgeStore.of(entries, contender.scheme.config.vocabulary)
        found = store.search(queries[kinds == kind], retrieval.NEIGHBOURS)
        words[kinds == kind] = retrieved_words(store, found, sent.shape[1])
    return Lessons(sent, heard.understood, words)


class Learned(NamedTuple):
    """Layers, and their loss on held-out lessons, nats a word, at the start and every ``EVERY`` steps."""

    params: Any
    held_out: list[float]


def learn(contender: Any, lessons: Lessons, held_out: Lessons, steps: int, *, stores: bool) -> Learned:
    """Layers after ``steps`` of 64 lessons; not ``stores``: they hear no sentence's neighbours."""
    scheme, fixed = contender.scheme, contender.params
    data, apart = (jax.tree.map(jnp.asarray, of) for of in (lessons, held_out))

    def loss(params, batch):
        sent, valid = batch.sent, batch.sent > 0
        words = batch.words if stores else None
        understood = retrieval.understood_anew(params, fixed["embedding"], batch.understood, sent, words)
        entropy = optax.softmax_cross_entropy_with_integer_labels(scheme.say(fixed, understood, valid.sum(-1)), sent)
        return jnp.where(valid, entropy, 0).sum() / valid.sum()

    optimizer, _ = make_optimizer(OptimizerConfig(learning_rate=1e-3, warmup_steps=50, weight_decay=0.01), steps)

    @jax.jit
    def step(params, state, key, data):
        places = jax.random.randint(key, (BATCH,), 0, len(data.sent))
        gradient = jax.grad(loss)(params, jax.tree.map(lambda leaf: leaf[places], data))
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    some = jax.tree.map(lambda leaf: leaf[:1], data)
    inputs = some.understood, some.sent > 0, fixed["embedding"][some.words], some.words > 0
    params, measure = retrieval.MEMORY.init(jax.random.key(0), *inputs)["params"], jax.jit(loss)
    state, told = optimizer.init(params), [float(measure(params, apart))]
    for number in range(steps):
        params, state = step(params, state, jax.random.fold_in(jax.random.key(1), number), data)
        if (number + 1) % EVERY == 0:
            told.append(float(measure(params, apart)))
            print(f"stores {stores}, step {number + 1}: {told[-1]:.4f} from {told[0]:.4f}", flush=True)
    return Learned(params, told)


@script(
    data="folder of data sets", out="weights file to write", steps="of learning, 64 lessons each",
    draws="times each sentence is sent",
)  # fmt: skip
def main(data: Path = DATA, out: Path = Path("runs/mt/memory.npz"), steps: int = 800, draws: int = 2) -> None:
    """Learn to use retrieved sentences, and the same layers without them."""
    contender, vocabulary = load_text_contender(None)
    lessons, held_out = make_lessons(data, contender, vocabulary, draws)
    learned = {
        name: learn(contender, lessons, held_out, steps, stores=stores)
        for name, stores in (("store", True), ("alone", False))
    }
    about = {
        "steps": steps, "every": EVERY, "lessons": len(lessons.sent), "held_out_lessons": len(held_out.sent),
        "held_out": {name: of.held_out for name, of in learned.items()},
    }  # fmt: skip
    save_weights(out, {name: jax.device_get(of.params) for name, of in learned.items()}, about, dtype="float32")


if __name__ == "__main__":
    sys.exit(main())
