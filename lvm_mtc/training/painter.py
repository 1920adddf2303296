"""Training of the text-to-picture network: pictures with facts that stay on the device."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.config import to_dict
from lvm_mtc.data.grammar import Facts
from lvm_mtc.models.flow import FlowConfig, FlowUNet, flow_loss
from lvm_mtc.models.weights import save_weights
from lvm_mtc.training.config import TrainConfig
from lvm_mtc.training.loop import train
from lvm_mtc.training.mesh import whole_on_host
from lvm_mtc.training.provenance import made_with
from lvm_mtc.training.state import averaged_params


class Described(NamedTuple):
    """Pictures, ``[n, height, width, 3]`` uint8, and what captions say of them."""

    pictures: np.ndarray
    facts: Facts


def init_painter(config: FlowConfig, seed: int = 0) -> dict[str, Any]:
    """Parameters before training."""
    x = jnp.zeros((1, config.image_size, config.image_size, 3))
    facts = jnp.zeros((1, len(config.facts)), jnp.int32)
    return jax.jit(FlowUNet(config).init)(jax.random.key(seed), x, jnp.zeros(1), facts)["params"]


def train_painter(
    config: FlowConfig, numbers: TrainConfig, described: Described, run_dir: str | Path, progress: bool | None = None
) -> Path:
    """Trains the network, or goes on where it stopped, as :func:`lvm_mtc.training.train` does.

    Returns:
        The weights file, float32, ``<run_dir>/weights.npz``.
    """
    network = FlowUNet(config)

    def draw(data, key):
        index = jax.random.randint(key, (numbers.batch_size,), 0, data["pictures"].shape[0])
        return {"pictures": data["pictures"][index], "facts": data["facts"][index]}

    def loss(params, batch, key):
        pictures = batch["pictures"].astype(jnp.float32) / 255
        return flow_loss(network, params, pictures, batch["facts"], key), {}

    data = {"pictures": described.pictures, "facts": np.stack(described.facts, axis=-1).astype(np.int32)}
    about = {"pictures": len(described.pictures), "sum": int(described.pictures.sum(dtype=np.uint64))}
    state = train(
        numbers, loss_fn=loss, batch_fn=draw, data=data, init_params=init_painter(config, numbers.seed),
        run_dir=run_dir, fingerprint={"painter": to_dict(config), **about}, progress=progress,
    )  # fmt: skip
    path = Path(run_dir) / "weights.npz"
    metadata = {"painter": to_dict(config), "data": about, "training": to_dict(numbers), **made_with()}
    save_weights(path, jax.tree.map(whole_on_host, averaged_params(state)), metadata, dtype="float32")
    return path
