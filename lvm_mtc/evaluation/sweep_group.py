"""The part of a sweep that computes: points that share pictures, masks and scheme, in calls of one size."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.evaluation import programs
from lvm_mtc.evaluation.grid import Scheme
from lvm_mtc.evaluation.programs import Arrived, DrawShape, Items, SendProgram
from lvm_mtc.evaluation.sweep_plan import SweepSpec
from lvm_mtc.evaluation.sweep_rows import Samples, stopping_half_width
from lvm_mtc.system import Encoded, EncodedPictures

_UNITS_AT_ONCE = 16

Coordinates = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resources:
    """What a sweep may use. It changes no number.

    Attributes:
        memory_budget: For the draws that are in memory together, bytes; networks and pictures come on top.
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
            raise ValueError(f"Resources.num_devices must lie in 1 ... {jax.device_count()}, the devices that there "
                             f"are, got {self.num_devices!r}")

    def mesh(self) -> jax.sharding.Mesh | None:
        """The devices; None for one."""
        count = jax.device_count() if self.num_devices is None else self.num_devices
        return jax.sharding.Mesh(jax.devices()[:count], (programs.ITEMS_AXIS,)) if count > 1 else None

    def items_per_call(self) -> int:
        """Items of a call, the same for all calls."""
        mesh = self.mesh()
        return self.items_per_device * (1 if mesh is None else mesh.size)

    def units_per_draw(self, shape: DrawShape) -> int:
        """Channel realisations that are drawn together.

        Raises:
            ValueError: if not even one fits into the budget.
        """
        of_one = programs.draw_bytes(shape)
        if of_one > self.memory_budget:
            raise ValueError(f"Resources.memory_budget {self.memory_budget} bytes is less than one channel realisation "
                             f"of {shape.batch} x {shape.num_uavs} pictures takes, {of_one}: raise it, or lower "
                             "SweepSpec.pictures_per_step")
        return min(self.memory_budget // of_one, _UNITS_AT_ONCE)


class Group:
    """Points that share pictures, seed, scheme and P_r: encoded once, sent together.

    Args:
        spec: The sweep.
        at: Coordinates of one of the points.
        resources: Memory and devices.

    Attributes:
        steps: Pictures that go through the networks together, encoded.
        units_per_draw: Channel realisations that are drawn together.
        items_per_call: Items of a call of ``programs.send``.
    """

    def __init__(self, spec: SweepSpec, at: Coordinates, resources: Resources):
        self._spec, self._at = spec, at
        self._pictures = spec.pictures[at["num_uavs"]]
        self._scheme: Scheme = next(scheme for scheme in spec.schemes if scheme.name == at["scheme"])
        self._draw_shape = spec.draw_shape(at["num_uavs"])
        self.units_per_draw = resources.units_per_draw(self._draw_shape)
        self.items_per_call = resources.items_per_call()
        self._program: SendProgram = spec.send_program(self._scheme, resources.mesh())
        self._numbers = {link.fading: number for number, link in enumerate(spec.links)}
        self.steps = [self._encode(*step) for step in enumerate(spec.steps(at["num_uavs"]))]

    def _encode(self, number: int, step: tuple[int, int, int]) -> "Step":
        start, stop, size = step
        take = np.minimum(np.arange(start, start + size), stop - 1)
        key = jax.random.fold_in(jax.random.key(self._at["seed"]), number)
        mask_key, channel_key = jax.random.split(key)
        metric_loc = self._pictures.loc if self._pictures.metric_loc is None else self._pictures.metric_loc
        images, loc, metric_loc = (
            jnp.asarray(a[take], jnp.float32) for a in (self._pictures.images, self._pictures.loc, metric_loc)
        )
        encoded = programs.encode(
            self._scheme.system, self._scheme.params, images, loc, mask_key, jnp.float32(self._at["mask_prob"])
        )
        labels = None if self._pictures.labels is None else jnp.asarray(self._pictures.labels[take], jnp.int32)
        return Step(encoded, images, metric_loc, labels, channel_key, stop - start)

    def measure(
        self, points: Sequence[Coordinates], advance: Callable[[float], None]
    ) -> Iterator[list[tuple[Coordinates, Samples]]]:
        """Measures until every point has had enough; yields those that have, as soon as they have.

        Args:
            points: Of this group.
            advance: Called with the number of items that were sent.
        """
        rule, units = self._spec.stopping, 0
        blocks: dict[int, list[Samples]] = {number: [] for number in range(len(points))}
        while blocks:
            until = units + rule.next_units(units)
            active = [points[number] for number in blocks]
            for start in range(units, until, self.units_per_draw):
                found = self._send(active, range(start, min(start + self.units_per_draw, until)), advance)
                for kept, samples in zip(blocks.values(), found, strict=True):
                    kept.append(samples)
            units, done = until, []
            for number in list(blocks):
                joined = _join(blocks[number])
                half_width = stopping_half_width(self._spec, self._pictures, joined.metrics[self._spec.stop_metric])
                if rule.is_done(units, half_width):
                    done.append((points[number], joined))
                    del blocks[number]
                else:
                    blocks[number] = [joined]
            if done:
                yield done

    def draws(self, step: "Step", units: Sequence[int]) -> Any:
        """Channel realisations of a step of pictures; fewer than are drawn together are padded with the last one."""
        numbers = np.uint32([*units, *[units[-1]] * (self.units_per_draw - len(units))])
        return programs.draw(self._draw_shape, jax.random.clone(step.channel_key), numbers)

    def arguments(self, step: "Step", draws: Any, items: Items, start: int) -> tuple:
        """Of ``programs.send``, for the items from ``start`` on; the last call of some is padded."""
        take = np.minimum(np.arange(start, start + self.items_per_call), len(items.unit) - 1)
        some = Items(*(column[take] for column in items))
        judges = tuple(judge.params for judge in self._spec.judges)
        return (self._program, self._scheme.params, step.encoded, step.images, step.metric_loc, draws, some, judges,
                step.labels)

    def _send(self, points: Sequence[Coordinates], units: range, advance: Callable[[float], None]) -> list[Samples]:
        """What is measured of each point on some channel realisations."""
        items = self.items(points, len(units))
        count = len(items.unit)
        parts = []
        for step in self.steps:
            draws = self.draws(step, units)
            calls = []
            for start in range(0, count, self.items_per_call):
                calls.append(jax.device_get(programs.send(*self.arguments(step, draws, items, start))))
                advance(min(self.items_per_call, count - start) / len(self.steps))
            parts.append(_arrived(calls, len(points), len(units), step.count))
        return [_samples(of_point, self.steps) for of_point in zip(*parts, strict=True)]

    def items(self, points: Sequence[Coordinates], num_units: int) -> Items:
        """Every point on every unit, units fastest."""

        def column(values, dtype):
            return np.repeat(np.asarray(values, dtype), num_units)

        return Items(
            *(column([at[name] for at in points], np.float32) for name in ("snr_db", "csi_error_var", "epsilon")),
            column([self._numbers[at["channel"]] for at in points], np.int32),
            np.tile(np.arange(num_units, dtype=np.int32), len(points)),
        )


class Step(NamedTuple):
    """Groups of pictures that go through the networks together."""

    encoded: Encoded | EncodedPictures
    images: jax.Array
    metric_loc: jax.Array
    labels: jax.Array | None
    channel_key: jax.Array
    count: int  # the rest is padding


def _arrived(calls: Sequence[Arrived], num_points: int, num_units: int, count: int) -> list[Arrived]:
    """Each point's part of some calls; metrics ``[num_units, count, K]``, what a group costs ``[count]``."""

    def join(*parts):
        whole = np.concatenate(parts)[: num_points * num_units]
        return whole.reshape(num_points, num_units, *whole.shape[1:])

    joined = jax.tree.map(join, *calls)
    return [
        Arrived(
            {name: values[number, :, :count] for name, values in joined.metrics.items()},
            joined.realised_snr[number],
            jax.tree.map(lambda a, i=number: a[i, 0, :count], joined.ledger),  # the tokens alone decide it
            joined.public_share[number, 0, :count],
            None,
        )
        for number in range(num_points)
    ]


def _samples(parts: Sequence[Arrived], steps: Sequence[Step]) -> Samples:
    """A point's pictures, step after step."""

    def of_encoder(name):
        return np.concatenate([np.asarray(getattr(step.encoded, name))[: step.count] for step in steps])

    return Samples(
        {name: np.concatenate([part.metrics[name] for part in parts], axis=1) for name in parts[0].metrics},
        np.mean([part.realised_snr for part in parts], axis=0),
        jax.tree.map(lambda *a: np.concatenate(a), *(part.ledger for part in parts)),
        np.concatenate([part.public_share for part in parts]),
        of_encoder("keep_rate_inside"),
        of_encoder("keep_rate_outside"),
    )


def _join(blocks: Sequence[Samples]) -> Samples:
    """Units one after another."""
    first = blocks[0]
    metrics = {name: np.concatenate([block.metrics[name] for block in blocks]) for name in first.metrics}
    return first._replace(metrics=metrics, realised_snr=np.concatenate([block.realised_snr for block in blocks]))
