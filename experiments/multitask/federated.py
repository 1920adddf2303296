"""A classifier of CIFAR-10, split at an uplink and learned by four clients: rounds, skew, aggregations, links, traffic.

Clients hold the encoder of the shipped DeepJSCC codec, frozen but for LoRA adapters; the server has a small classifier
of what arrives. Some minutes a skew and link.
"""

import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.multitask.results import FOLDER, add
from experiments.script import DATA, script
from lvm_mtc.data.cifar10 import load_class_folders
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.models.lora import Lora
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.training.federated import FederatedConfig, dirichlet_split, train_federated
from lvm_mtc.training.split import Split, split_scheme
from lvm_mtc.zoo import load_codec

CLIENTS, HIDDEN = 4, 128
LINK = LinkConfig.of(fading="awgn", convention="rx_per_antenna")
SKEWS = {"equal": 100.0, "skewed": 0.3}
AGGREGATES = ("freeze_a", "factors", "product")
LINKS = {"noiseless": 200.0, "5 dB": 5.0}
"""Uplink to its SNR, dB; noise of 200 dB is below the last bit of a float32."""
COMMON = {"batch_size": 32, "learning_rate": 0.05}


def make(snr_db: float) -> tuple[Split, dict, dict]:
    """The network in two parts, and what both start with."""
    scheme, base = load_codec("deepjscc_cifar10_cbr_1_3")
    lora = Lora(rank=4, alpha=8.0, targets=(r"encoder/.*kernel",))
    up = split_scheme(
        scheme, LINK, OperatingPoint(snr_db), lambda *_: (0.0, {}), front=lambda adapters: lora.merge(base, adapters)
    ).front

    def front(adapters, batch, key):
        return up(adapters, Source(batch["pictures"][:, None] / jnp.float32(255), {}), key)

    def back(params, crossing, batch):
        received = crossing[0].symbols
        x = jnp.concatenate([received.real, received.imag], -1).reshape(len(received), -1)
        x = jax.nn.relu(x @ params["in"] + params["in_bias"])
        log_p = jax.nn.log_softmax(x @ params["out"] + params["out_bias"])
        right = jnp.argmax(log_p, -1) == batch["labels"]
        return -jnp.take_along_axis(log_p, batch["labels"][:, None].astype(int), 1).mean(), {"right": right}

    frames, symbols = scheme.frames()
    keys, inputs = jax.random.split(jax.random.key(0), 3), 2 * frames * symbols
    server = {
        "in": jax.random.normal(keys[0], (inputs, HIDDEN)) * (2 / inputs) ** 0.5, "in_bias": jnp.zeros(HIDDEN),
        "out": jax.random.normal(keys[1], (HIDDEN, 10)) * HIDDEN**-0.5, "out_bias": jnp.zeros(10),
    }  # fmt: skip
    return Split(front, back), lora.init(keys[2], base), server


def measure(skew: str, link: str, data: Path, rounds: int, pictures: int, seed: int) -> dict[str, Any]:
    """By the way of learning: accuracy on test pictures after each round, that of each class at the end, traffic."""
    archive = data / "cifar10" / "cifar10_jpeg_{}.tar.xz"
    train, test = (
        load_class_folders(Path(str(archive).format(split)), split, limit_per_class=n)
        for split, n in (("train", pictures), ("test", 100))
    )
    parts = dirichlet_split(train.labels, CLIENTS, SKEWS[skew], seed)
    clients = [{"pictures": train.pictures[part], "labels": train.labels[part]} for part in parts]
    split, adapters, server = make(LINKS[link])
    held_out = {"pictures": jnp.asarray(test.pictures), "labels": jnp.asarray(test.labels)}

    @jax.jit
    def by_class(front, back):
        crossing, _ = split.front(front, held_out, jax.random.key(1))
        right = split.back(back, crossing, held_out)[1]["right"]
        return jnp.zeros(10).at[held_out["labels"]].add(right) / jnp.bincount(held_out["labels"], length=10)

    ways: dict[str, Any] = {name: (clients, {"aggregate": name}) for name in AGGREGATES}
    ways["freeze_a, a server each"] = clients, {"aggregate": "freeze_a", "server": "per_client"}
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *clients)
    ways["central"] = [joined], {"aggregate": "factors", "local_steps": CLIENTS * 10}
    ways["one client alone"] = clients[:1], {"aggregate": "factors", "local_steps": CLIENTS * 10}
    found: dict[str, Any] = {"classes": skew, "link": link, "ways": {}}
    found["examples"] = [np.bincount(train.labels[part], minlength=10).tolist() for part in parts]
    for name, (of, fields) in ways.items():
        config = FederatedConfig(**({"local_steps": 10, **COMMON} | fields), rounds=rounds, seed=seed)
        over_rounds: list[np.ndarray] = []
        run = train_federated(
            config, split, adapters, server, of,
            watch=lambda number, *parts, to=over_rounds: to.append(np.asarray(by_class(*parts))),
        )  # fmt: skip
        found["ways"][name] = {
            "accuracy": [float(of.mean()) for of in over_rounds], "by_class": over_rounds[-1].tolist(),
            "traffic": run.rounds[0].traffic._asdict(),
        }  # fmt: skip
        print(skew, link, name, found["ways"][name]["accuracy"], flush=True)
    return found


@script(skew={"choices": list(SKEWS), "help": "of the clients' classes"},
        link={"choices": list(LINKS), "help": "of the clients to the server"}, data="folder of data sets",
        rounds="of ten steps of 32 pictures of each client", pictures="of each class, dealt out", seed="of all draws",
        out="folder of the study")  # fmt: skip
def main(
    skew: str = "equal", link: str = "5 dB", data: Path = DATA, rounds: int = 20, pictures: int = 500, seed: int = 0,
    out: Path = FOLDER,
) -> None:  # fmt: skip
    """Measure federated split learning of a classifier."""
    add(out, "federated", f"{skew}, {link}", measure(skew, link, data, rounds, pictures, seed))


if __name__ == "__main__":
    sys.exit(main())
