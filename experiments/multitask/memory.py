r"""The learned fusion of the retrieval study: a decoder whose words attend to retrieved sentences. Minutes.

The shipped text transceiver stays as it is. Lessons are training captions sent over AWGN at -5 to 8 dB, each with the
neighbours of what was decoded without help, in a store like those of the study: the first captions of other
photographs, the earlier captions of a thousand photographs with its own among them, or both; the sentence itself is in
none. A second set of the same layers learns without sentences, to tell what is the store's and what the layers'.

    python -m experiments.multitask.memory --data ../shared/data --out runs/mt/memory.npz
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.multitask.retrieval import MEMORY, NEIGHBOURS, STEP, Captions, decoded, said
from experiments.script import DATA, script
from lvm_mtc.cli.sentences import load_text_contender
from lvm_mtc.knowledge.memory import retrieved_words
from lvm_mtc.knowledge.store import KnowledgeStore
from lvm_mtc.models.weights import save_weights
from lvm_mtc.training.optimizer import OptimizerConfig, make_optimizer

SNR_DB = (-5.0, 8.0)
PHOTOGRAPHS = 1000
"""Of a store of earlier captions."""
BATCH = 64


class Lessons(NamedTuple):
    """What is learned from: sentences, what the decoder made of them ``[n, num_words, width]``, their neighbours."""

    sent: np.ndarray
    understood: np.ndarray
    words: np.ndarray


def make_lessons(data: Path, contender: Any, vocabulary: Any, draws: int) -> Lessons:
    """Fifth captions of training photographs, each ``draws`` times."""
    folder, rng, parts = data / "multi30k_task2", np.random.default_rng(0), []
    make = dict(limit=29_000, vocabulary=vocabulary, num_words=contender.scheme.config.num_words)
    sent, first, earlier = (
        Captions(folder, "train", files, **make) for files in (range(5, 6), range(1, 2), range(1, 5))
    )
    secret = {row.tobytes() for row in sent.numbers}
    others, scenes = first.entries(0, secret), earlier.entries(10**6, secret)
    of_other, of_scene = (
        of.photographs[[row.tobytes() not in secret for row in of.numbers]] // PHOTOGRAPHS for of in (first, earlier)
    )
    for block in range(29):
        numbers = np.tile(sent.numbers[sent.photographs // PHOTOGRAPHS == block], (draws, 1))
        numbers = numbers[: len(numbers) // STEP * STEP]
        heard = decoded(contender, numbers, rng.uniform(*SNR_DB, len(numbers)), seed=1 + block)
        queries, kinds = said(heard.log_p, numbers), rng.integers(0, 3, len(numbers))
        known = [e for e, b in zip(others, of_other, strict=True) if b != block]
        own = [e for e, b in zip(scenes, of_scene, strict=True) if b == block]
        words = np.zeros((len(numbers), NEIGHBOURS, numbers.shape[1]), np.int32)
        for kind, entries in enumerate((known, own, known + own)):
            store = KnowledgeStore.of(entries, vocabulary.size)
            words[kinds == kind] = retrieved_words(
                store, store.search(queries[kinds == kind], NEIGHBOURS), numbers.shape[1]
            )
        parts.append(Lessons(numbers, heard.understood, words))
        print(f"lessons of {PHOTOGRAPHS} photographs: {len(numbers)}", flush=True)
    return Lessons(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def learn(contender: Any, lessons: Lessons, steps: int, stores: bool) -> Any:
    """Parameters of ``MEMORY`` after ``steps`` of 64 sentences; not ``stores``: no sentence's neighbours are heard."""
    scheme, fixed = contender.scheme, contender.params
    data = jax.tree.map(jnp.asarray, lessons)

    def outputs(params, understood, sent, words):
        return MEMORY.apply({"params": params}, understood, sent > 0, fixed["embedding"][words], (words > 0) & stores)

    def loss(params, batch):
        scores = scheme.say(fixed, outputs(params, batch.understood, batch.sent, batch.words), (batch.sent > 0).sum(-1))
        entropy = optax.softmax_cross_entropy_with_integer_labels(scores, batch.sent)
        return jnp.where(batch.sent > 0, entropy, 0).sum() / (batch.sent > 0).sum()

    optimizer, _ = make_optimizer(OptimizerConfig(learning_rate=1e-3, warmup_steps=50, weight_decay=0.01), steps)

    @jax.jit
    def step(params, state, key, data):
        batch = jax.tree.map(lambda leaf: leaf[jax.random.randint(key, (BATCH,), 0, len(leaf))], data)
        value, gradient = jax.value_and_grad(loss)(params, batch)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    some = jax.tree.map(lambda leaf: leaf[:1], data)
    inputs = some.understood, some.sent > 0, fixed["embedding"][some.words], some.words > 0
    params = MEMORY.init(jax.random.key(0), *inputs)["params"]
    state, told = optimizer.init(params), []
    for number in range(steps):
        params, state, value = step(params, state, jax.random.fold_in(jax.random.key(1), number), data)
        told.append(value)
        if (number + 1) % 100 == 0:
            print(f"stores {stores}, step {number + 1}: {np.mean(told[-100:]):.4f}", flush=True)
    return params


@script(
    data="folder of data sets", out="weights file to write", steps="of learning, 64 sentences each",
    draws="times each sentence is sent",
)  # fmt: skip
def main(data: Path = DATA, out: Path = Path("runs/mt/memory.npz"), steps: int = 800, draws: int = 2) -> None:
    """Learn to use retrieved sentences, and the same layers without them."""
    contender, vocabulary = load_text_contender(None)
    lessons = make_lessons(data, contender, vocabulary, draws)
    params = {name: learn(contender, lessons, steps, stores) for name, stores in (("store", True), ("alone", False))}
    out.parent.mkdir(parents=True, exist_ok=True)
    about = {"steps": steps, "batch": BATCH, "lessons": len(lessons.sent), "sentences": len(lessons.sent) // draws}
    save_weights(out, jax.device_get(params), about, dtype="float32")


if __name__ == "__main__":
    sys.exit(main())
