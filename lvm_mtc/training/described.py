"""Training of captioner and painter: pictures with what captions say of them, which stay on the device."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lvm_mtc.config import to_dict
from lvm_mtc.data.captions import Vocabulary, split_words
from lvm_mtc.data.grammar import Facts, describe
from lvm_mtc.models.captioner import CaptionDecoder, CaptionerConfig, see
from lvm_mtc.models.flow import FlowConfig, FlowUNet, flow_loss
from lvm_mtc.models.weights import save_weights
from lvm_mtc.training.config import TrainConfig
from lvm_mtc.training.loop import train
from lvm_mtc.training.mesh import whole_on_host
from lvm_mtc.training.provenance import made_with
from lvm_mtc.training.state import averaged_params


class Described(NamedTuple):
    """Pictures, ``[n, height, width, 3]`` uint8, and what captions say of them, all of it."""

    pictures: np.ndarray
    facts: Facts


def init_painter(config: FlowConfig, seed: int = 0) -> dict[str, Any]:
    """The painter's parameters before training."""
    x = jnp.zeros((1, config.image_size, config.image_size, 3))
    facts = jnp.zeros((1, len(config.facts)), jnp.int32)
    return jax.jit(FlowUNet(config).init)(jax.random.key(seed), x, jnp.zeros(1), facts)["params"]


def train_painter(
    config: FlowConfig, numbers: TrainConfig, described: Described, run_dir: str | Path, progress: bool | None = None
) -> Path:
    """Trains a painter, or goes on where it stopped, as :func:`lvm_mtc.training.train` does.

    Returns:
        The weights file, float32, ``<run_dir>/weights.npz``.
    """
    network = FlowUNet(config)

    def loss(params, batch, key):
        pictures = batch["pictures"].astype(jnp.float32) / 255
        return flow_loss(network, params, pictures, batch["said"], key), {}

    said = np.stack(described.facts, axis=-1).astype(np.int32)
    initial = init_painter(config, numbers.seed)
    return _train({"painter": to_dict(config)}, numbers, loss, described.pictures, said, initial, run_dir, progress)


def init_captioner(config: CaptionerConfig, resnet: Any, seed: int = 0) -> dict[str, Any]:
    """The captioner's parameters before training: the classifier's ``resnet`` as they are, the decoder's drawn."""
    places = jax.eval_shape(see, resnet, jnp.zeros((1, 32, 32, 3)))
    words = jnp.zeros((1, config.num_words), jnp.int32)
    drawn = jax.jit(CaptionDecoder(config).init)(jax.random.key(seed), jnp.zeros(places.shape), words)
    return {"resnet": resnet, "decoder": drawn["params"]}


def train_captioner(
    config: CaptionerConfig, numbers: TrainConfig, described: Described, resnet: Any, run_dir: str | Path,
    progress: bool | None = None,
) -> Path:  # fmt: skip
    """As :func:`train_painter`, a captioner behind a classifier that stays as it is.

    Raises:
        ValueError: if the configuration's words cannot say all captions.
    """
    texts = [split_words(text) for text in describe(described.facts)]
    said, kept = Vocabulary(config.words).encode(texts, config.num_words)
    if not kept.all():
        raise ValueError(f"CaptionerConfig.words cannot say {' '.join(texts[int(np.argmin(kept))])!r}")

    def loss(params, batch, key):
        pictures = batch["pictures"].astype(jnp.float32) / 255
        mirror = jax.random.bernoulli(key, shape=(pictures.shape[0], 1, 1, 1))
        places = see(params["resnet"], jnp.where(mirror, pictures[:, :, ::-1], pictures))
        scores = CaptionDecoder(config).apply({"params": params["decoder"]}, places, batch["said"])
        losses = optax.softmax_cross_entropy_with_integer_labels(scores, batch["said"])
        return losses.mean(), {"word_accuracy": jnp.mean(scores.argmax(-1) == batch["said"])}

    initial = init_captioner(config, resnet, numbers.seed)
    about = {"captioner": to_dict(config)}
    return _train(about, numbers, loss, described.pictures, said, initial, run_dir, progress,
                  lambda name: name.startswith("decoder"))  # fmt: skip


def _train(
    about: Mapping[str, Any], numbers: TrainConfig, loss: Callable, pictures: np.ndarray, said: np.ndarray,
    initial: Any, run_dir: str | Path, progress: bool | None, trainable: Callable[[str], bool] | None = None,
) -> Path:  # fmt: skip
    def draw(data, key):
        index = jax.random.randint(key, (numbers.batch_size,), 0, data["pictures"].shape[0])
        return jax.tree.map(lambda array: array[index], data)

    seen = {"pictures": len(pictures), "sum": int(pictures.sum(dtype=np.uint64))}
    state = train(
        numbers, loss_fn=loss, batch_fn=draw, data={"pictures": pictures, "said": said}, init_params=initial,
        run_dir=run_dir, fingerprint={**about, **seen}, trainable=trainable, progress=progress,
    )  # fmt: skip
    path = Path(run_dir) / "weights.npz"
    metadata = {**about, "data": seen, "training": to_dict(numbers), **made_with()}
    save_weights(path, jax.tree.map(whole_on_host, averaged_params(state)), metadata, dtype="float32")
    return path
