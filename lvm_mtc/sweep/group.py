"""The part of a sweep that computes: points that share pictures, masks and scheme, in calls of one size."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.schemes.scheme import Source
from lvm_mtc.sweep import programs
from lvm_mtc.sweep.plan import SweepSpec
from lvm_mtc.sweep.programs import DECIDED_BY_SOURCE, Arrived, DrawShape, Items, SendProgram
from lvm_mtc.sweep.rows import stopping_half_width

_UNITS_AT_ONCE = 16

Coordinates = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resources:
    """What a sweep may use. It changes no number.

    Attributes:
        memory_budget: For the draws that are in memory together, bytes, >= 1; networks and pictures come on top.
        num_devices: Devices over which items are split; None: all that there are.
        items_per_device: Items of a call on each device, >= 1; calls are padded to it, so fewer suit a sweep whose
            groups of points are small.
    """

    memory_budget: int = 2**30
    num_devices: int | None = None
    items_per_device: int = 32

    def __post_init__(self):
        if self.items_per_device < 1:
            raise ValueError(f"Resources.items_per_device must be >= 1, got {self.items_per_device!r}")
        if self.memory_budget < 1:
            raise ValueError(f"Resources.memory_budget must be >= 1 byte, got {self.memory_budget!r}")
        if self.num_devices is not None and not 1 <= self.num_devices <= jax.device_count():
            known = f"1 ... {jax.device_count()}, the devices that there are"
            raise ValueError(f"Resources.num_devices must lie in {known}, got {self.num_devices!r}")

    def mesh(self) -> jax.sharding.Mesh | None:
        """The devices; None for one."""
        count = self.num_devices or jax.device_count()
        return jax.sharding.Mesh(jax.devices()[:count], (programs.ITEMS_AXIS,)) if count > 1 else None

    def items_per_call(self) -> int:
        """Items of a call, the same for all calls."""
        return self.items_per_device * (self.num_devices or jax.device_count())

    def units_per_draw(self, shape: DrawShape) -> int:
        """Channel realisations that are drawn together; ``ValueError`` if not even one fits into the budget."""
        of_one = programs.draw_bytes(shape)
        if of_one > self.memory_budget:
            needs = f"one channel realisation of {shape.batch} x {shape.num_uavs} pictures takes, {of_one}"
            advice = "raise it, or lower SweepSpec.pictures_per_step"
            raise ValueError(f"Resources.memory_budget {self.memory_budget} bytes is less than {needs}: {advice}")
        return min(self.memory_budget // of_one, _UNITS_AT_ONCE)


def check_memory(spec: SweepSpec, resources: Resources) -> None:
    """Raises ``ValueError`` where the draws of some point do not fit into the budget, before anything is done."""
    for num_uavs, contender in itertools.product(spec.sources, spec.schemes):
        resources.units_per_draw(spec.draw_shape(num_uavs, contender.name))


class Group:
    """Points that share sources, seed, scheme and what its encoder reads: encoded once, sent together.

    Args:
        pictures: :meth:`send` gives the pictures that arrive, too.
    """

    def __init__(self, spec: SweepSpec, at: Coordinates, resources: Resources, *, pictures: bool = False):
        self._spec, self._at = spec, at
        self._source = spec.sources[at["num_uavs"]]
        self._contender = spec.contender(at["scheme"])
        self._draw_shape = spec.draw_shape(at["num_uavs"], at["scheme"])
        self.units_per_draw = min(resources.units_per_draw(self._draw_shape), spec.stopping.max_units)
        self.items_per_call = resources.items_per_call()
        self._compiled = tuple(judge for judge in spec.judges if not judge.on_host)
        self._shows = pictures
        judges = tuple((judge.name, judge.measure) for judge in self._compiled)
        pictures = pictures or len(judges) < len(spec.judges)
        measures = dict(metrics=spec.metrics, judges=judges, pictures=pictures)
        scheme, mesh = self._contender.scheme, resources.mesh()
        self._program = SendProgram(scheme=scheme, links=spec.links, mesh=mesh, **measures)
        self._numbers = {link.label: number for number, link in enumerate(spec.links)}

    @functools.cached_property
    def steps(self) -> list["Step"]:
        """All pictures, encoded."""
        return [self._encode(*step) for step in enumerate(self._spec.steps(self._at["num_uavs"]))]

    def _encode(self, number: int, chunk: tuple[int, int, int]) -> "Step":
        start, stop, size = chunk
        take = np.minimum(np.arange(start, start + size), stop - 1)
        key = jax.random.fold_in(jax.random.key(self._at["seed"]), number)
        mask_key, channel_key = jax.random.split(key)
        source = jax.tree.map(lambda array: _on_device(array[take]), self._source)
        early = {name: jnp.float32(self._at[name]) for name in self._contender.early_knobs()}
        encoded = programs.encode(self._contender.scheme, self._contender.params, source, mask_key, early)
        return Step(encoded, source, channel_key, stop - start)

    def measure(
        self,
        points: Sequence[Coordinates],
        advance: Callable[[float], None],
        kept: Sequence[Arrived] | None = None,
    ) -> Iterator[list[tuple[Coordinates, Arrived]]]:
        """Measures until every point has had enough; yields those that have, as soon as they have.

        ``advance`` is called with the number of items that were sent. ``kept`` is what was measured of the points
        before, equally many units of each: they are not sent again.
        """
        rule, units = self._spec.stopping, 0
        at_hand = 0 if kept is None else len(kept[0].realised_snr)
        blocks: dict[int, list[Arrived]] = {number: [] for number in range(len(points))}
        while blocks:
            until = units + rule.next_units(units)
            active = [points[number] for number in blocks]
            if units < at_hand:
                for number, block in blocks.items():
                    block.append(_units(kept[number], units, until))
            for measured in self._portions(active, range(max(units, min(until, at_hand)), until), advance):
                for block, samples in zip(blocks.values(), measured, strict=True):
                    block.append(samples)
            units, done = until, []
            for number in list(blocks):
                joined = join(blocks[number])
                half_width = stopping_half_width(self._spec, self._source, joined.metrics[self._spec.stop_metric])
                if rule.is_done(units, half_width):
                    done.append((points[number], joined))
                    del blocks[number]
                else:
                    blocks[number] = [joined]
            if done:
                yield done

    def units(self, points: Sequence[Coordinates], units: range) -> list[Arrived]:
        """What is measured of each point on a range of channel realisations."""
        return [join(parts) for parts in zip(*self._portions(points, units, lambda _: None), strict=True)]

    def _portions(
        self, points: Sequence[Coordinates], units: range, advance: Callable[[float], None]
    ) -> Iterator[list[Arrived]]:
        for start in range(units.start, units.stop, self.units_per_draw):
            yield self.send(points, range(start, min(start + self.units_per_draw, units.stop)), advance)

    def draws(self, step: "Step", units: Sequence[int]) -> Any:
        """Channel realisations of a step of pictures; fewer than are drawn together are padded with the last one."""
        numbers = np.uint32([*units, *[units[-1]] * (self.units_per_draw - len(units))])
        return programs.draw(self._draw_shape, jax.random.clone(step.channel_key), numbers)

    def arguments(self, step: "Step", draws: Any, items: Items, start: int) -> tuple:
        """Of ``programs.send``, for the items from ``start`` on; the last call is padded."""
        take = np.minimum(np.arange(start, start + self.items_per_call), len(items.unit) - 1)
        items = jax.tree.map(lambda column: column[take], items)
        judges = tuple(judge.params for judge in self._compiled)
        return self._program, self._contender.params, step.encoded, step.source, draws, items, judges

    def send(
        self, points: Sequence[Coordinates], units: range, advance: Callable[[float], None] = lambda _: None
    ) -> list[Arrived]:
        """What is measured of each point on some channel realisations, as many as are drawn together at most."""
        items = self.items(points, len(units))
        count = len(items.unit)
        parts = []
        for step in self.steps:
            draws = self.draws(step, units)
            calls = []
            for start in range(0, count, self.items_per_call):
                calls.append(jax.device_get(programs.send(*self.arguments(step, draws, items, start))))
                advance(min(self.items_per_call, count - start) / len(self.steps))
            part = _of_step(calls, len(points), len(units), step.count)
            parts.append(judged_on_host(self._spec, jax.tree.map(lambda a, n=step.count: a[:n], step.source), part))
            if not self._shows:
                parts[-1] = parts[-1]._replace(pictures=None, removed=None)
        snr = np.mean([part.realised_snr for part in parts], axis=0)
        rest = [part._replace(realised_snr=None) for part in parts]
        joined = jax.tree.map(lambda *a: np.concatenate(a, axis=2), *rest)._replace(realised_snr=snr)
        return [_costs_once(jax.tree.map(lambda a, i=i: a[i], joined)) for i in range(len(points))]

    def items(self, points: Sequence[Coordinates], num_units: int) -> Items:
        """Every point on every unit, units fastest."""

        def column(name):
            return np.repeat(np.asarray([at[name] for at in points], np.float32), num_units)

        knobs = {name: column(name) for name in self._contender.knobs}
        links = np.repeat(np.asarray([self._numbers[at["channel"]] for at in points], np.int32), num_units)
        units = np.tile(np.arange(num_units, dtype=np.int32), len(points))
        return Items(column("snr_db"), column("csi_error_var"), knobs, links, units)


def judged_on_host(spec: SweepSpec, source: Source, arrived: Arrived) -> Arrived:
    """With the metrics of the judges that are no part of the program, from the pictures that arrived."""
    judges = [judge for judge in spec.judges if judge.on_host]
    if not judges:
        return arrived
    source = jax.tree.map(np.asarray, source)
    more = {judge.name: judge.measure(judge.params, source, arrived.pictures) for judge in judges}
    return arrived._replace(metrics=arrived.metrics | more)


class Step(NamedTuple):
    """Groups that go through the networks together."""

    encoded: Any
    source: Source
    channel_key: jax.Array
    count: int  # the rest is padding


def _on_device(array: np.ndarray) -> jax.Array:
    return jnp.asarray(array, jnp.int32 if np.issubdtype(array.dtype, np.integer) else jnp.float32)


def _of_step(calls: Sequence[Arrived], num_points: int, num_units: int, count: int) -> Arrived:
    """All that some calls gave, ``[num_points, num_units, count, ...]``; the SNR without the last axis."""

    def join(*parts):
        whole = np.concatenate(parts)[: num_points * num_units]
        return whole.reshape(num_points, num_units, *whole.shape[1:])[:, :, :count]

    snr = join(*(call.realised_snr[:, None] for call in calls))[..., 0]
    return jax.tree.map(join, *(call._replace(realised_snr=None) for call in calls))._replace(realised_snr=snr)


def _costs_once(samples: Arrived) -> Arrived:
    """Without the units' axis where the source alone decides."""
    first = {name: jax.tree.map(lambda a: a[0], getattr(samples, name)) for name in DECIDED_BY_SOURCE}
    return samples._replace(**first)


def _units(samples: Arrived, start: int, stop: int) -> Arrived:
    """Some of a point's units."""
    metrics = {name: values[start:stop] for name, values in samples.metrics.items()}
    return samples._replace(metrics=metrics, realised_snr=samples.realised_snr[start:stop])


def join(blocks: Sequence[Arrived]) -> Arrived:
    """What was measured of a point in several portions of its units, one after another."""
    first = blocks[0]
    per_unit = [(block.metrics, block.realised_snr) for block in blocks]
    metrics, snr = jax.tree.map(lambda *parts: np.concatenate(parts), *per_unit)
    return first._replace(metrics=metrics, realised_snr=snr)
