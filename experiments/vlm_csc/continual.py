r"""A text transceiver that learns three kinds of captions one after the other, with each rule of the memory.

Multi30k's captions of dogs, of sport, of streets and rooms; BLEU-1 and BLEU-2 over AWGN and Rayleigh fading on held-out
captions of each kind. Of one seed and channel all rules go on from the same parameters after the first kind. What the
file has is not measured again; five minutes a seed.

    python -m experiments.text.pack_captions --data ../shared/data --out build/captions.npz
    python -m experiments.vlm_csc.continual --captions build/captions.npz --out docs/vlm_csc/continual.json
"""

import functools
import itertools
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
LINKS = {
    name: LinkConfig(fading=name, convention="rx_per_antenna", num_rx_ant=1, num_tx_ant=1)
    for name in ("awgn", "rayleigh")
}
METRICS_SHOWN = ("bleu1", "bleu2")
MEMORY = dict(stm_capacity=500, ltm_capacity=500)
_OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(2e-3))


def captions_of(packed: PackedSentences) -> list[np.ndarray]:
    """Captions of each kind and no other, of the commonest words, ``[n, 16]`` int32; the first are held out."""
    rows = packed.sentences[packed.sentences.max(1) < WORDS].astype(np.int32)
    rows = rows[np.sort(np.unique(rows, axis=0, return_index=True)[1])]
    known = packed.words.tolist()
    numbers = [[known.index(word) + 1 for word in words.split() if word in known] for words in KINDS.values()]
    named = [np.isin(rows, of_kind).any(1) for of_kind in numbers]
    return [rows[one & (np.sum(named, axis=0) == 1)] for one in named]


@functools.partial(jax.jit, static_argnums=0)
def learn(link: LinkConfig, params: Any, batches: jax.Array, key: jax.Array) -> Any:
    """Parameters after the updates of ``batches [steps, n, num_words]``."""
    (stage,) = (stage for stage in SCHEME.stages() if stage.name == "system")

    def update(carry, numbered):
        (params, state), (number, words) = carry, numbered

        def loss(params):
            of_batch = Source(words[:, None]), jax.random.fold_in(key, number), link, OperatingPoint(snr_db=SNR_DB)
            return stage.loss(SCHEME, params, *of_batch, {"word_loss": "cross_entropy"})[0]

        updates, state = _OPTIMIZER.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    steps = jnp.arange(len(batches)), batches
    (params, _), _ = jax.lax.scan(update, (params, _OPTIMIZER.init(params)), steps)
    return params


@functools.partial(jax.jit, static_argnums=0)
def bleu(link: LinkConfig, params: Any, words: jax.Array) -> jax.Array:
    """Mean BLEU-1 and BLEU-2 of ``words [n, num_words]``."""
    source = Source(words[:, None])
    outcome = forward(SCHEME, params, source, jax.random.key(9), link, OperatingPoint(snr_db=SNR_DB))
    return jnp.stack([METRICS["text"][name](source, outcome).mean() for name in METRICS_SHOWN])


@jax.jit
def _features(params: Any, words: jax.Array) -> jax.Array:
    return SCHEME.features(params, words, jnp.full(words.shape[0], SNR_DB))


def learn_first(link: LinkConfig, captions: np.ndarray, steps: int, seed: int) -> Any:
    """Parameters after the first kind, which no rule has a part in."""
    new, random = captions[HELD_OUT:], np.random.default_rng((seed, 0))
    batches = new[random.integers(len(new), size=(steps, BATCH))]
    return learn(link, SCHEME.init(jax.random.key(seed)), batches, jax.random.key(100 * seed))


def learn_kinds(
    rule: str, link: LinkConfig, kinds: list[np.ndarray], first: Any, steps: int, seed: int
) -> Mapping[str, Any]:
    """BLEU of all kinds after each, from parameters after the first, and the memory's size."""
    config, memory, params = MemoryConfig(rule=rule, seed=seed, **MEMORY), empty_memory(kinds[0][0]), first
    after = []
    for number, captions in enumerate(kinds):
        if number:
            random = np.random.default_rng((seed, number))
            batches = [replayed(memory, captions[HELD_OUT:], BATCH, STM_SHARE, random) for _ in range(steps)]
            params = learn(link, params, np.stack(batches), jax.random.key(100 * seed + number))
        after.append([bleu(link, params, other[:HELD_OUT]).tolist() for other in kinds])
        features = functools.partial(_features, params)
        memory = remember(config, memory, captions[HELD_OUT : HELD_OUT + KEPT], features)
    found = np.round(np.moveaxis(np.array(after), -1, 0), 5).tolist()
    return {"rule": rule, **dict(zip(METRICS_SHOWN, found, strict=True)), "kept": len(memory.ltm)}


@script(captions="packed captions of Multi30k", out="JSON file", steps="of 64 captions for each kind", seeds="how many")
def main(captions: Path = CAPTIONS, out: Path = OUT, steps: int = 250, seeds: int = 4) -> None:
    """Learn three kinds of captions one after the other."""
    kinds = captions_of(load_sentences(captions))
    print(*(f"{name}: {len(rows)}" for name, rows in zip(KINDS, kinds, strict=True)))
    rows = json.loads(out.read_text())["rows"] if out.exists() else []
    known = {(row["seed"], row["channel"], row["rule"]) for row in rows}
    about = {"steps": steps, "kinds": list(KINDS), **MEMORY}
    for seed, channel in itertools.product(range(1, seeds + 1), LINKS):
        missing = [rule for rule in RULES if (seed, channel, rule) not in known]
        first = missing and learn_first(LINKS[channel], kinds[0], steps, seed)
        for rule in missing:
            found = learn_kinds(rule, LINKS[channel], kinds, first, steps, seed)
            rows.append({"seed": seed, "channel": channel, **found})
            print(json.dumps(rows[-1]), flush=True)
            with atomic_file(out) as temporary:
                lines = ",\n  ".join(map(json.dumps, rows))
                temporary.write_text(f'{json.dumps(about)[:-1]}, "rows": [\n  {lines}\n]}}\n')


if __name__ == "__main__":
    sys.exit(main())
