r"""A text transceiver that learns three kinds of captions one after the other, with each rule of the memory.

Multi30k's captions of dogs, of sport, of streets and rooms; BLEU-1 over AWGN on held-out captions of each kind. A rule
that the file has is not measured again.

    python -m experiments.text.pack_captions --data ../shared/data --out build/captions.npz
    python -m experiments.vlm_csc.continual --captions build/captions.npz --out docs/vlm_csc/continual.json
"""

import functools
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.script import script
from lvm_mtc.data.captions import PackedSentences, load_sentences
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.metrics.tables import METRICS
from lvm_mtc.results.files import atomic_file
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import forward
from lvm_mtc.schemes.vlm_csc.scheme import VlmCsc, VlmCscConfig
from lvm_mtc.training.memory import RULES, MemoryConfig, empty_memory, remember, replayed

CAPTIONS, OUT = Path("build/captions.npz"), Path("docs/vlm_csc/continual.json")
KINDS = {
    "dogs": "dog dogs puppy",
    "sport": "player soccer football baseball basketball ball team game tennis snow bike bicycle surfer wave",
    "streets": "street city building sidewalk store market restaurant table room kitchen food cooking shop bus car",
}
WORDS, SNR_DB, BATCH, HELD_OUT, KEPT, STM_SHARE = 1000, 5.0, 64, 300, 1500, 0.5
SCHEME = VlmCsc(VlmCscConfig(vocabulary=WORDS, width=64, depth=1, num_heads=4, hidden=128, noise_attention="none"))
LINK = LinkConfig(fading="awgn", convention="rx_per_antenna")
MEMORY = dict(stm_capacity=500, ltm_capacity=300)
_OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(2e-3))


def captions_of(packed: PackedSentences) -> list[np.ndarray]:
    """Captions of each kind and no other, of the commonest words, ``[n, 16]`` int32; the first are held out."""
    rows = packed.sentences[packed.sentences.max(1) < WORDS].astype(np.int32)
    rows = rows[np.sort(np.unique(rows, axis=0, return_index=True)[1])]
    known = packed.words.tolist()
    numbers = [[known.index(word) + 1 for word in words.split() if word in known] for words in KINDS.values()]
    named = [np.isin(rows, of_kind).any(1) for of_kind in numbers]
    return [rows[one & (np.sum(named, axis=0) == 1)] for one in named]


@jax.jit
def learn(params: Any, batches: jax.Array, key: jax.Array) -> Any:
    """Parameters after the updates of ``batches [steps, n, num_words]``."""
    (stage,) = (stage for stage in SCHEME.stages() if stage.name == "system")

    def update(carry, numbered):
        (params, state), (number, words) = carry, numbered

        def loss(params):
            of_batch = Source(words[:, None]), jax.random.fold_in(key, number), LINK, OperatingPoint(snr_db=SNR_DB)
            return stage.loss(SCHEME, params, *of_batch, {"word_loss": "cross_entropy"})[0]

        updates, state = _OPTIMIZER.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    steps = jnp.arange(len(batches)), batches
    (params, _), _ = jax.lax.scan(update, (params, _OPTIMIZER.init(params)), steps)
    return params


@jax.jit
def bleu(params: Any, words: jax.Array) -> jax.Array:
    """Mean BLEU-1 of ``words [n, num_words]``."""
    source = Source(words[:, None])
    outcome = forward(SCHEME, params, source, jax.random.key(9), LINK, OperatingPoint(snr_db=SNR_DB))
    return METRICS["text"]["bleu1"](source, outcome).mean()


@jax.jit
def _features(params: Any, words: jax.Array) -> jax.Array:
    return SCHEME.features(params, words, jnp.full(words.shape[0], SNR_DB))


def learn_kinds(rule: str, kinds: list[np.ndarray], first: Any, steps: int) -> Mapping[str, Any]:
    """BLEU-1 of all kinds after each, from parameters after the first, and the memory's size."""
    config, memory, params = MemoryConfig(rule=rule, **MEMORY), empty_memory(kinds[0][0]), first
    after = []
    for number, captions in enumerate(kinds):
        if number:
            random = np.random.default_rng((1, number))
            batches = [replayed(memory, captions[HELD_OUT:], BATCH, STM_SHARE, random) for _ in range(steps)]
            params = learn(params, np.stack(batches), jax.random.key(number))
        after.append([float(bleu(params, other[:HELD_OUT])) for other in kinds])
        features = functools.partial(_features, params)
        memory = remember(config, memory, captions[HELD_OUT : HELD_OUT + KEPT], features)
    return {"rule": rule, "bleu1": after, "kept": len(memory.ltm)}


@script(captions="packed captions of Multi30k", out="JSON file", steps="of 64 captions for each kind")
def main(captions: Path = CAPTIONS, out: Path = OUT, steps: int = 250) -> None:
    """Learn three kinds of captions one after the other."""
    kinds = captions_of(load_sentences(captions))
    print(*(f"{name}: {len(rows)}" for name, rows in zip(KINDS, kinds, strict=True)))
    random = np.random.default_rng((1, 0))
    batches = kinds[0][HELD_OUT:][random.integers(len(kinds[0]) - HELD_OUT, size=(steps, BATCH))]
    first = learn(SCHEME.init(jax.random.key(0)), batches, jax.random.key(0))
    rows = json.loads(out.read_text())["rows"] if out.exists() else []
    for rule in RULES:
        if rule in (row["rule"] for row in rows):
            continue
        rows.append(learn_kinds(rule, kinds, first, steps))
        print(json.dumps(rows[-1]), flush=True)
        with atomic_file(out) as temporary:
            temporary.write_text(json.dumps({"steps": steps, "kinds": list(KINDS), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
