"""Schemes made to fit a device: what ``models.compression`` needs of a scheme, measured over a link."""

import operator
import os
import re
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.models.compression import Network, Plan
from lvm_mtc.models.flops import count_flops
from lvm_mtc.models.pruning import find_groups, importance, layers, prune, widths
from lvm_mtc.models.weights import flatten_params, save_weights
from lvm_mtc.schemes.loading import identity
from lvm_mtc.schemes.losses import picture_loss
from lvm_mtc.schemes.scheme import Params, Scheme, Source
from lvm_mtc.schemes.simulate import forward

Measure = Callable[[Params], tuple[jax.Array, dict[str, jax.Array]]]
"""Parameters to a loss and what it says besides, such as ``psnr`` in dB or ``word_accuracy``."""


class Survey(NamedTuple):
    """A scheme as a network that can be compressed, and its loss, compiled, for parameters of the whole shapes."""

    network: Network
    measure: Measure


def measured_on(scheme: Scheme, source: Source, key: jax.Array, link: LinkConfig, point: OperatingPoint) -> Measure:
    """The loss of some examples, always over the same draws, compiled anew for each set of shapes.

    It is the mean squared error of pictures; of all else the loss of the scheme's last stage of training.
    """
    loss, weights = picture_loss, {"image_loss": "mse"}
    if scheme.modality != "pictures":
        stage = scheme.stages()[-1]
        loss = stage.loss
        weights = {name: value[0] if isinstance(value, tuple) else value for name, value in stage.weights.items()}
    compiled = jax.jit(lambda params, source: loss(scheme, params, source, jax.random.clone(key), link, point, weights))
    return lambda params: compiled(params, source)


def survey(
    scheme: Scheme, params: Params, source: Source, key: jax.Array, link: LinkConfig, point: OperatingPoint
) -> Survey:
    """Finds what can be taken out of a scheme and what it costs, and how much each head and unit matters.

    Args:
        source: Calibration examples, ``[batch, num_uavs, ...]``; importance is a mean over ``batch``.
        key: Of masks, channel and noise.

    Raises:
        ValueError: if layers are scanned.
    """
    items = int(np.prod(source.lead()))

    def send(params):
        return forward(scheme, params, source, jax.random.clone(key), link, point).estimate.data

    groups = find_groups(send, params)
    gradients = (
        [jax.device_get(gradient) for gradient in _gradients(scheme, params, source, key, link, point)]
        if groups
        else []
    )
    whole, each = count_flops(send, params), {}
    alike: dict[Any, float] = {}
    for name, group in groups.items():
        kind = re.sub(r"block\d+", "block", name), np.shape(flatten_params(params)[layers(name)[0]])
        if group.count > 1 and kind not in alike:
            smaller = prune(params, {name: group}, {name: np.arange(1)})
            alike[kind] = (whole - count_flops(send, smaller)) / (group.count - 1) / items
        each[name] = alike.get(kind, 0.0)
    network = Network(params, groups, importance(params, gradients, groups), whole // items, each)
    return Survey(network, measured_on(scheme, source, key, link, point))


def _gradients(scheme, params, source, key, link, point):
    """Of the loss of each of the ``batch`` groups of examples, compiled once."""

    @jax.jit
    def gradient(params, one):
        loss = measured_on(scheme, one, key, link, point)
        return jax.grad(lambda params: loss(params)[0])(params)

    for group in range(source.lead()[0]):
        yield gradient(params, jax.tree.map(operator.itemgetter(slice(group, group + 1)), source))


def milliseconds(
    scheme: Scheme, params: Params, source: Source, key: jax.Array, link: LinkConfig, point: OperatingPoint,
    repeats: int = 20, clock: Callable[[], float] = time.perf_counter,
) -> float:  # fmt: skip
    """Median time of one item there and back on this machine, the channel included, after a call to warm up.

    ``clock`` gives seconds; ``time.process_time`` counts those of all cores, and none while other programs run.
    """
    one = jax.tree.map(lambda leaf: leaf[:1, :1], source)
    send = jax.jit(lambda p, x: forward(scheme, p, x, jax.random.clone(key), link, point).estimate.data)
    arguments = jax.device_put(params), one
    times = []
    for _ in range(repeats + 1):
        start = clock()
        jax.block_until_ready(send(*arguments))
        times.append(clock() - start)
    return 1e3 * statistics.median(times[1:])


def save_compressed(
    path: str | os.PathLike, scheme: Scheme, network: Network, plan: Plan, metadata: Mapping[str, Any] = {}
) -> None:
    """Writes a weights file that every command reads: smaller shapes, whole numbers and factors, packed."""
    params = prune(network.params, network.groups, network.kept(plan))
    whole = widths(network.params)
    pruned = {name: width for name, width in widths(params).items() if width != whole[name]}
    about = dict(metadata) | identity(scheme) | ({"pruned": pruned} if pruned else {})
    save_weights(path, jax.device_get(params), about, dtype="float32", packings=network.packings(plan, params))
