"""The compiled programs behind grids and sweeps: encode, draw, send.

Items of a call, each a point with the number of a channel realisation, go through one body one after another
(``lax.map``): what an item gives does not depend on its neighbours, on how many there are or on which device it runs.
"""

import collections
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from lvm_mtc.evaluation import metrics
from lvm_mtc.evaluation.any_link import AnySystem, over_any_link
from lvm_mtc.evaluation.multi_scale import ms_ssim
from lvm_mtc.system import (
    Encoded,
    EncodedPictures,
    Ledger,
    LinkConfig,
    OperatingPoint,
    Output,
    PictureOutput,
    draw_channel,
    uav_keys,
)

ITEMS_AXIS = "items"
TRACES: collections.Counter = collections.Counter()
"""How often each program was traced, which is how often it was compiled."""


class Items(NamedTuple):
    """What is to be sent, ``[num_items]`` each.

    Attributes:
        snr_db: dB under the link's convention.
        csi_error_var: Linear.
        epsilon: Threshold of the comparator, linear.
        link: Number of the link, int32.
        unit: Place of the channel realisation in the draws, int32.
    """

    snr_db: Any
    csi_error_var: Any
    epsilon: Any
    link: Any
    unit: Any


class Arrived(NamedTuple):
    """What became of items, leading axis ``num_items``.

    Attributes:
        metrics: Name to ``[num_items, batch, num_uavs]``.
        realised_snr: ``[num_items]``, linear; NaN where it is not measured.
        ledger: Every entry ``[num_items, batch]``.
        public_share: ``[num_items, batch]``, share of the token slots that are public.
        pictures: ``[num_items, batch, num_uavs, height, width, 3]`` uint8, or None.
    """

    metrics: dict[str, jax.Array]
    realised_snr: jax.Array
    ledger: Ledger
    public_share: jax.Array
    pictures: jax.Array | None


class DrawShape(NamedTuple):
    """What a draw is for.

    Attributes:
        links: The channels.
        batch: Groups of pictures.
        num_uavs: K.
        sizes: (token slots, symbols per token) of every scheme; one that needs fewer slots takes the first ones.
    """

    links: tuple[LinkConfig, ...]
    batch: int
    num_uavs: int
    sizes: tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SendProgram:
    """The static part of sending.

    Attributes:
        system: The scheme's system or codec for whole pictures.
        links: The channels, one of which an item takes.
        metrics: Names in ``MEASURES``.
        judges: What is measured besides ``MEASURES``: name, and a function from (parameters, ``Seen``) to
            ``[batch, num_uavs]``.
        pictures: Return the pictures too.
        mesh: Devices over which the items are split, axis ``ITEMS_AXIS``; None for one.
    """

    system: AnySystem
    links: tuple[LinkConfig, ...]
    metrics: tuple[str, ...]
    judges: tuple[tuple[str, Callable[[Any, "Seen"], jax.Array]], ...] = ()
    pictures: bool = False
    mesh: Mesh | None = None


class Seen(NamedTuple):
    """What the metrics are taken of.

    Attributes:
        images: Originals, ``[batch, num_uavs, height, width, 3]`` float in [0, 1].
        received: Same shape, clipped to [0, 1].
        inside: Pixels of the box, ``[batch, num_uavs, height, width]`` bool.
        out: Of the system.
        labels: Classes of the pictures, ``[batch, num_uavs]`` int32, or None.
    """

    images: jax.Array
    received: jax.Array
    inside: jax.Array
    out: Output | PictureOutput
    labels: jax.Array | None = None


def _nmse_tokens(seen: Seen) -> jax.Array:
    if isinstance(seen.out, PictureOutput):
        return jnp.full(seen.images.shape[:2], jnp.nan)
    valid = seen.out.valid[..., None]
    sent, received = (jnp.where(valid, a, 0.0) for a in (seen.out.tokens_sent, seen.out.tokens_received))
    return metrics.nmse(sent, received, axis=(-2, -1))


MEASURES = {
    "psnr_db": lambda seen: metrics.psnr(seen.images, seen.received),
    "psnr_inside_db": lambda seen: metrics.psnr(seen.images, seen.received, seen.inside),
    "psnr_background_db": lambda seen: metrics.psnr(seen.images, seen.received, ~seen.inside),
    "ssim": lambda seen: metrics.ssim(seen.images, seen.received),
    "ssim_inside": lambda seen: metrics.ssim(seen.images, seen.received, seen.inside),
    "mse": lambda seen: metrics.mse(seen.images, seen.received),
    "ssim_background": lambda seen: metrics.ssim(seen.images, seen.received, ~seen.inside),
    "ms_ssim": lambda seen: ms_ssim(seen.images, seen.received),
    "ms_ssim_inside": lambda seen: ms_ssim(seen.images, seen.received, seen.inside),
    "ms_ssim_background": lambda seen: ms_ssim(seen.images, seen.received, ~seen.inside),
    "nmse_tokens": _nmse_tokens,
    "nmse_symbols": lambda seen: seen.out.link.nmse_symbols,
    "evm": lambda seen: jnp.sqrt(seen.out.link.nmse_symbols),
}
"""Name to what is measured of each picture, ``[batch, num_uavs]``; received pictures are clipped to [0, 1]. Tokens are
compared with those that were sent, NaN for codecs of whole pictures, which estimate none; symbols under the broadcast
topology only, elsewhere NaN."""


@functools.partial(jax.jit, static_argnums=0)
def encode(system: AnySystem, params, images, loc, key, mask_prob) -> Encoded | EncodedPictures:
    """Pictures to tokens; see ``System.encode``."""
    TRACES["encode"] += 1
    return system.encode(params, images, loc, uav_keys(key, images.shape[1]), OperatingPoint(mask_prob=mask_prob))


@functools.partial(jax.jit, static_argnums=0)
def draw(shape: DrawShape, key: jax.Array, units: jax.Array) -> tuple[Any, ...]:
    """Draws of several channel realisations for all links and schemes, one realisation after another.

    Args:
        shape: What for.
        key: Of the channel; realisation u has ``fold_in(key, u)``.
        units: Numbers of the realisations, ``[num_units]`` uint32.

    Returns:
        For each link what ``draw_channel`` gives, with a leading axis ``num_units``.
    """
    # Apart from send: the schemes share it, and its compilation is slow.
    TRACES["draw"] += 1
    keys = jax.vmap(lambda unit: jax.random.fold_in(key, unit))(units)
    sizes = [_largest(shape, link) for link in shape.links]

    def draw_one(key):
        keys = uav_keys(key, shape.num_uavs)
        return tuple(draw_channel(jax.random.clone(keys), link, shape.batch, *size)
                     for link, size in zip(shape.links, sizes, strict=True))

    return jax.lax.map(draw_one, keys)


def draw_bytes(shape: DrawShape) -> int:
    """Memory that the draws of one channel realisation take, bytes."""
    drawn = [_shapes(shape, link, _largest(shape, link)) for link in shape.links]
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(drawn))


def _largest(shape: DrawShape, link: LinkConfig) -> tuple[int, int]:
    return max(shape.sizes, key=lambda size: _shapes(shape, link, size).noise.size)


def _shapes(shape: DrawShape, link: LinkConfig, size: tuple[int, int]):
    def draw_one():
        return draw_channel(jax.random.split(jax.random.key(0), shape.num_uavs), link, shape.batch, *size)

    return jax.eval_shape(draw_one)


@functools.partial(jax.jit, static_argnums=0)
def send(
    program: SendProgram,
    params,
    encoded: Encoded | EncodedPictures,
    images,
    metric_loc,
    draws,
    items: Items,
    judge_params=(),
    labels=None,
) -> Arrived:
    """Sends pictures that are encoded already, and measures what arrives.

    Args:
        program: The static part.
        params: Of the system.
        encoded: ``[batch, num_uavs, ...]``.
        images: Originals, ``[batch, num_uavs, height, width, 3]`` float in [0, 1].
        metric_loc: The box of "inside" and "background", ``[batch, num_uavs, 4]``.
        draws: Of ``draw``.
        items: What to send; with a mesh their number is a multiple of its devices.
        judge_params: Of each judge.
        labels: Classes of the pictures, ``[batch, num_uavs]``, for judges that want them.

    Returns:
        What arrived.
    """
    TRACES["send"] += 1
    several = len(program.links) > 1
    system = over_any_link(program.system)
    inside = metrics.box_mask(metric_loc, *images.shape[2:4])
    unused = jax.random.split(jax.random.key(0), images.shape[1])  # everything random is in draws
    shape = DrawShape(program.links, *images.shape[:2], ())
    size = system.config.capacity, system.config.num_symbols
    own = tuple(_shapes(shape, link, size) for link in program.links)

    constants = params, judge_params, encoded, images, inside, labels, draws

    def send_one(constants, item):
        params, judge_params, encoded, images, inside, labels, draws = constants
        draws = jax.tree.map(lambda a, want: a[item.unit][tuple(map(slice, want.shape))], draws, own)
        point = OperatingPoint(snr_db=item.snr_db, csi_error_var=item.csi_error_var, epsilon=item.epsilon)
        link = program.links, item.link if several else 0
        out = system.transmit(params, encoded, unused, link, point, draws)
        received = jnp.clip(out.images_hat, 0.0, 1.0)
        seen = Seen(images, received, inside, out, labels)
        pictures = jnp.round(received * 255).astype(jnp.uint8) if program.pictures else None
        values = {name: MEASURES[name](seen) for name in program.metrics}
        values |= {name: judge(of, seen) for (name, judge), of in zip(program.judges, judge_params, strict=True)}
        return Arrived(values, out.link.snr, out.ledger, jnp.mean(out.sent.public, axis=-1), pictures)

    def send_all(constants, items):
        return jax.lax.map(functools.partial(send_one, constants), items)

    if program.mesh is not None:
        whole, split = PartitionSpec(), PartitionSpec(ITEMS_AXIS)
        send_all = jax.shard_map(send_all, mesh=program.mesh, in_specs=(whole, split), out_specs=split, check_vma=False)
    return send_all(constants, items)
