"""What the multi-task transceiver minimises: every task's loss over that of guessing, so that tasks weigh alike."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.schemes.scheme import Params, Source
from lvm_mtc.schemes.simulate import forward

_WRONG = 0.15
_GREY_MSE = 1 / 12  # of pixels that are all equally likely, guessed as the middle

Loss = tuple[jax.Array, dict[str, jax.Array]]


def task_loss(
    scheme: Any, params: Params, source: Source, key: jax.Array, link: LinkConfig, point: OperatingPoint,
    weights: Mapping[str, Any],
) -> Loss:  # fmt: skip
    """End to end, of the task of ``scheme.config``; a ``Stage.loss``."""
    return judged(scheme.config.task, forward(scheme, params, source, key, link, point).estimate.data, source)


def judged(task: str, estimate: jax.Array, source: Source) -> Loss:
    """A task's loss over that of guessing, and its ``accuracy`` or ``psnr``.

    Cross-entropy is over the logarithm of how many answers there are, squared error over 1 / 12.
    """
    if task == "picture":
        mse = jnp.mean((estimate - source.data) ** 2, axis=(-3, -2, -1))
        return mse.mean() / _GREY_MSE, {"psnr": -10 * jnp.log10(mse).mean()}
    right = source.hints["labels"] if task == "class" else source.data if task == "text" else source.data["answer"]
    counts = right > 0 if task == "text" else jnp.ones(right.shape, bool)
    entropy = -jnp.take_along_axis(jax.nn.log_softmax(estimate), right[..., None], axis=-1)[..., 0]
    share = lambda x: jnp.sum(jnp.where(counts, x, 0.0)) / counts.sum()  # noqa: E731
    return share(entropy) / math.log(estimate.shape[-1]), {"accuracy": share(jnp.argmax(estimate, axis=-1) == right)}


def backbone_loss(
    scheme: Any, params: Params, source: Source, key: jax.Array, link: LinkConfig, point: OperatingPoint,
    weights: Mapping[str, Any],
) -> Loss:  # fmt: skip
    """End to end: class and pixels of pictures (task ``"class"``), or captions with some wrong words (``"text"``).

    A ``Stage.loss``. Wrong words, 15 % at random, are to be put right, so that the backbone learns what captions say.
    A ValueError for other tasks, which the backbone is not to know.
    """
    task = scheme.config.task
    if task not in ("class", "text"):
        raise ValueError(f"stage 'backbone' learns from the tasks class and text, got task {task!r}")
    where, which, key = jax.random.split(key, 3)
    sent = source
    if task == "text":
        wrong = jax.random.bernoulli(where, _WRONG, source.data.shape) & (source.data > 0)
        words = jax.random.randint(which, source.data.shape, 1, scheme.config.vocabulary)
        sent = Source(jnp.where(wrong, words, source.data))
    estimate = forward(scheme, params, sent, key, link, point).estimate
    loss, told = judged(task, estimate.data, source)
    if task == "class":
        pixels, more = judged("picture", scheme.picture(params, estimate.tells["understood"]), source)
        loss, told = loss + pixels, told | more
    return loss, told
