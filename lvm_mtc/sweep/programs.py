"""The compiled programs behind sweeps: encode, draw, send.

Items of a call, each a point with the number of a channel realisation, go through one body one after another
(``lax.map``): what an item gives does not depend on its neighbours, on how many there are or on which device it runs.
"""

import collections
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, PartitionSpec

from lvm_mtc import link as links_room
from lvm_mtc.link import Ledger, LinkConfig, OperatingPoint, uav_keys
from lvm_mtc.metrics import known_metrics
from lvm_mtc.metrics.tables import SHOWN
from lvm_mtc.schemes import simulate
from lvm_mtc.schemes.scheme import Params, Scheme, Source

ITEMS_AXIS = "items"
TRACES: collections.Counter = collections.Counter()
"""How often each program was traced, which is how often it was compiled."""


class Items(NamedTuple):
    """What is to be sent, ``[num_items]`` each; ``link`` and ``unit`` are places among links and draws, int32."""

    snr_db: Any
    csi_error_var: Any
    knobs: Mapping[str, Any]
    link: Any
    unit: Any


class Arrived(NamedTuple):
    """What became of items, or of a point on U units; leading axis ``num_items``, or U.

    Attributes:
        metrics: Name to ``[U, batch, num_uavs]``.
        realised_snr: ``[U]``, linear; NaN where it is not measured.
        ledger: Every entry ``[num_items, batch]``, of a point ``[batch]``; likewise the other ``DECIDED_BY_SOURCE``.
        public_share: ``[num_items, batch]``, share of the frames that are public.
        reports: What the scheme reports, name to ``[num_items, batch, num_uavs]``.
        pictures: What arrived, ``[U, batch, num_uavs, ...]`` as in ``metrics.tables.SHOWN``, or None.
        removed: Pixels that were not sent, ``[num_items, batch, num_uavs, height, width]``, bool or the share that each
            lacks, with ``pictures``; None where the scheme treats all alike.
    """

    metrics: dict[str, Any]
    realised_snr: Any
    ledger: Ledger
    public_share: Any
    reports: dict[str, Any]
    pictures: Any = None
    removed: Any = None


DECIDED_BY_SOURCE = ("ledger", "public_share", "reports", "removed")


class DrawShape(NamedTuple):
    """What a draw is for; ``sizes`` are ``Scheme.frames``, and a scheme that needs fewer takes the first ones."""

    links: tuple[LinkConfig, ...]
    batch: int
    num_uavs: int
    sizes: tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SendProgram:
    """The static part of sending.

    Attributes:
        links: One of which an item takes.
        metrics: Names in ``METRICS`` of the scheme's modality.
        judges: What is measured besides: name, and a function from (parameters, source, outcome) to
            ``[batch, num_uavs]``.
        pictures: Return what arrived too.
        mesh: Devices over which the items are split, axis ``ITEMS_AXIS``; None for one.
    """

    scheme: Scheme
    links: tuple[LinkConfig, ...]
    metrics: tuple[str, ...]
    judges: tuple[tuple[str, Callable[[Any, Source, simulate.Outcome], jax.Array]], ...] = ()
    pictures: bool = False
    mesh: Mesh | None = None


@functools.partial(jax.jit, static_argnums=0)
def encode(scheme: Scheme, params: Params, source: Source, key: jax.Array, knobs: Mapping[str, Any]) -> Any:
    """What does not depend on the SNR; see ``Scheme.encode``."""
    TRACES["encode"] += 1
    return simulate.encode(scheme, params, source, key, knobs)


@functools.partial(jax.jit, static_argnums=0)
def draw(shape: DrawShape, key: jax.Array, units: jax.Array) -> tuple[Any, ...]:
    """Draws of several channel realisations for all links and schemes, one realisation after another.

    Realisation u has ``fold_in(key, u)``; ``units`` are their numbers, uint32, and the leading axis of the draws.
    """
    # Apart from send: the schemes share it, and its compilation is slow.
    TRACES["draw"] += 1
    keys = jax.vmap(lambda unit: jax.random.fold_in(key, unit))(units)
    sizes = {link: _largest(shape, link) for link in shape.links}

    def draw_one(key):
        keys = uav_keys(key, shape.num_uavs)
        return tuple(links_room.draw(link, jax.random.clone(keys), shape.batch, *size) for link, size in sizes.items())

    return jax.lax.map(draw_one, keys)


def draw_bytes(shape: DrawShape) -> int:
    """Memory that the draws of one channel realisation take, bytes."""
    return sum(_bytes_of(_shapes(shape, link, _largest(shape, link))) for link in shape.links)


def _bytes_of(drawn: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(drawn))


def _largest(shape: DrawShape, link: LinkConfig) -> tuple[int, int]:
    return max(shape.sizes, key=lambda size: _bytes_of(_shapes(shape, link, size)))


def _shapes(shape: DrawShape, link: LinkConfig, size: tuple[int, int]):
    def draw_one():
        return links_room.draw(link, jax.random.split(jax.random.key(0), shape.num_uavs), shape.batch, *size)

    return jax.eval_shape(draw_one)


@functools.partial(jax.jit, static_argnums=0)
def send(
    program: SendProgram,
    params: Params,
    encoded: Any,
    source: Source,
    draws: tuple[Any, ...],
    items: Items,
    judge_params: tuple[Any, ...] = (),
) -> Arrived:
    """Sends what is encoded already, and measures what arrives; with a mesh items are a multiple of its devices."""
    TRACES["send"] += 1
    scheme = program.scheme
    shape = DrawShape(program.links, *source.lead(), ())
    own = tuple(_shapes(shape, link, scheme.frames()) for link in program.links)
    measures = known_metrics(scheme.modality)
    constants = params, judge_params, encoded, source, draws

    def send_one(constants, item):
        params, judge_params, encoded, source, draws = constants
        draws = jax.tree.map(lambda a, want: a[item.unit][tuple(map(slice, want.shape))], draws, own)
        point = OperatingPoint(snr_db=item.snr_db, csi_error_var=item.csi_error_var, knobs=item.knobs)
        out = simulate.transmit(scheme, params, encoded, program.links, draws, point, item.link)
        values = {name: measures[name](source, out) for name in program.metrics}
        values |= {name: judge(of, source, out) for (name, judge), of in zip(program.judges, judge_params, strict=True)}
        pictures = SHOWN[scheme.modality](out) if program.pictures else None
        removed = out.sent.tells.get("removed") if program.pictures else None
        reports = {name: out.sent.tells[name] for name in scheme.reports}
        return Arrived(values, out.through.snr, out.ledger, out.public_share(), reports, pictures, removed)

    def send_all(constants, items):
        return jax.lax.map(functools.partial(send_one, constants), items)

    if program.mesh is not None:
        whole, split = PartitionSpec(), PartitionSpec(ITEMS_AXIS)
        send_all = jax.shard_map(send_all, mesh=program.mesh, in_specs=(whole, split), out_specs=split, check_vma=False)
    return send_all(constants, items)
