"""Networks made to fit a device: whole heads and units out, numbers in fewer bits, thin factors, or a mix of the three.

A network is cut into parts: the groups of ``models.pruning``, and each further matrix of its own. What each action on
each part alone does to a loss is measured once; then actions are taken greedily, the least rise of the loss for what
they save first, until a budget holds, and what room is left is spent on milder ones. Where a uniform plan of a single
method fits, its room is spent likewise. Rises do not add, so every candidate is measured as a whole at the end, the
uniform plans among them: none that fits is better on the examples that are measured on.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from lvm_mtc.models.packed import Packing, pack, stored_bits, unpack
from lvm_mtc.models.pruning import Groups, grow, layers, prune
from lvm_mtc.models.weights import flatten_params, unflatten_params

LEVELS = {"share": (0.75, 0.5, 0.25), "bits": (8, 6, 4, 3), "rank": (0.5, 0.25)}
"""What an action may set a field of a :class:`Choice` to, mildest first."""

_LEAST_NUMBERS = 256  # Smaller matrices are left alone, and vectors are.


class Choice(NamedTuple):
    """What is done to a part.

    Attributes:
        share: Of a group's heads or units that stay, in (0, 1], at least one.
        bits: As ``Packing.bits``.
        rank: Of the factors of each matrix over the smaller of its sides; 1, and where factors would not be smaller:
            no factors.
    """

    share: float = 1.0
    bits: int = 32
    rank: float = 1.0


Plan = Mapping[str, Choice]
"""By part; nothing is done to one that is left out."""


class Budget(NamedTuple):
    """What a device allows.

    Attributes:
        size: Bytes of the stored parameters.
        flops: Floating-point operations of one item, as ``models.flops`` counts them.
    """

    size: float = math.inf
    flops: float = math.inf


class Cost(NamedTuple):
    """Bytes and operations, to be held against a :class:`Budget`."""

    size: int
    flops: int

    def within(self, budget: Budget) -> bool:
        """Whether both hold."""
        return self.size <= budget.size and self.flops <= budget.flops


@dataclasses.dataclass(frozen=True)
class Network:
    """What is compressed.

    Attributes:
        params: Of the whole network.
        groups: From ``pruning.find_groups``.
        importance: From ``pruning.importance``; the least important heads and units go first.
        flops: Operations of one item in the whole network.
        flops_each: Of them those that one head or unit of a group takes.
    """

    params: Mapping[str, Any]
    groups: Groups
    importance: Mapping[str, np.ndarray]
    flops: int = 0
    flops_each: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def parts(self) -> dict[str, tuple[str, ...]]:
        """Matrices of each part: the two of a group, or one of its own name."""
        parts = {group: layers(group) for group in self.groups}
        taken = {name for names in parts.values() for name in names}
        return parts | {
            name: (name,) for name, shape in self._shapes.items() if name not in taken and _is_matrix(shape)
        }

    def kept(self, plan: Plan) -> dict[str, np.ndarray]:
        """Heads and units that stay, for ``pruning.prune``."""
        found = {}
        for name, choice in plan.items():
            if name in self.groups and choice.share < 1:
                order = np.argsort(-self.importance[name], kind="stable")
                found[name] = np.sort(order[: _count(self.groups[name].count, choice.share)])
        return found

    def packings(self, plan: Plan, params: Mapping[str, Any] | None = None) -> dict[str, Packing]:
        """How the matrices of pruned ``params`` are stored, for ``weights.save_weights``."""
        flat = flatten_params(prune(self.params, self.groups, self.kept(plan)) if params is None else params)
        return {
            name: packing
            for part, names in self.parts.items()
            for name in names
            if (packing := _packing(plan.get(part, Choice()), np.shape(flat[name]))) != Packing()
        }

    def compressed(self, plan: Plan) -> dict[str, Any]:
        """Parameters in their smaller shapes, rounded as they will be stored; float32."""
        params = prune(self.params, self.groups, self.kept(plan))
        flat = dict(flatten_params(params))
        for name, packing in self.packings(plan, params).items():
            flat[name] = unpack(pack(flat[name], packing), packing, flat[name].shape)
        return unflatten_params(flat)

    def same_shapes(self, plan: Plan) -> dict[str, Any]:
        """:meth:`compressed` with zeros for what is gone: the same function, for a program that is compiled already."""
        return grow(self.compressed(plan), self.params, self.groups, self.kept(plan))

    def cost(self, plan: Plan) -> Cost:
        """Of a plan; vectors and small matrices count with 32 bits a number."""
        size, flops = sum(32 * math.prod(shape) for shape in self._shapes.values()), float(self.flops)
        for part, choice in plan.items():
            more, fewer = self._change(part, choice)
            size, flops = size + more, flops + fewer
        return Cost(math.ceil(size / 8), round(flops))

    def _change(self, part: str, choice: Choice) -> tuple[float, float]:
        """Bits and operations that come by a choice for one part; negative where they go."""
        shapes, names = self._shapes, self.parts[part]
        before = sum(32 * math.prod(shapes[name]) for name in names)
        if part not in self.groups:
            return sum(stored_bits(shapes[n], _packing(choice, shapes[n])) for n in names) - before, 0.0
        group = self.groups[part]
        gone = group.count - _count(group.count, choice.share)
        (rows, wide), (_, columns) = (shapes[name] for name in names)
        blocks, left = wide // (group.count * group.size), (group.count - gone) * group.size
        small = (rows, blocks * left), (left, columns)
        after = sum(stored_bits(shape, _packing(choice, shape)) for shape in small)
        beside = 32 * gone * group.size * blocks if f"{part}/bias" in shapes else 0
        bias = shapes.get(f"{part.rpartition('/')[0]}/position_bias") if part.endswith("qkv") else None
        beside += 32 * gone * bias[0] if bias else 0
        return after - before - beside, -gone * self.flops_each.get(part, 0.0)

    @functools.cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: np.shape(leaf) for name, leaf in flatten_params(self.params).items()}


def _is_matrix(shape: tuple[int, ...]) -> bool:
    return len(shape) > 1 and math.prod(shape) >= _LEAST_NUMBERS


def _count(count: int, share: float) -> int:
    return max(1, round(count * share))


def _packing(choice: Choice, shape: tuple[int, ...]) -> Packing:
    inputs, outputs = math.prod(shape[:-1]), shape[-1]
    rank = max(1, round(choice.rank * min(inputs, outputs)))
    smaller = choice.rank < 1 and rank * (inputs + outputs) < inputs * outputs
    return Packing(choice.bits, rank if smaller else None)


def uniform(network: Network, field: str, level: float) -> dict[str, Choice]:
    """One method at one level on every part that it can be used on: ``"share"``, ``"bits"`` or ``"rank"``."""
    where = network.groups if field == "share" else network.parts
    return {part: Choice()._replace(**{field: level}) for part in where}


Rises = dict[tuple[str, str, float], float]
"""How much the loss rises by one action alone: part, field, level."""


def measure_rises(network: Network, loss: Callable[[Any], float]) -> Rises:
    """Every action on its own; ``loss`` takes parameters of the network's shapes."""
    base = loss(network.params)
    rises = {}
    for part in network.parts:
        for field, levels in LEVELS.items():
            for level in levels if field != "share" or part in network.groups else ():
                choice = Choice()._replace(**{field: level})
                rises[part, field, level] = float(loss(network.same_shapes({part: choice})) - base)
    return rises


def tighten(network: Network, rises: Rises, budget: Budget) -> dict[str, Choice]:
    """Takes the action of the least rise for what it saves, one after the other, until the budget holds.

    Saved is counted in the budget that is exceeded most, and no more than is needed. Rises are taken to add, and a fall
    costs nothing.

    Raises:
        ValueError: if all actions together are not enough; it names what they reach.
    """
    plan: dict[str, Choice] = {}
    now = network.cost(plan)
    while not now.within(budget):
        which = max(range(2), key=lambda i: now[i] / budget[i])
        need, best = now[which] - budget[which], None
        for (part, field, level), rise in rises.items():
            old = plan.get(part, Choice())
            before = getattr(old, field)
            if level >= before:
                continue
            new = old._replace(**{field: level})
            saved = _saved(network, part, old, new, which)
            more = max(rise - rises.get((part, field, before), 0.0), 0.0)
            if saved > 0 and (best is None or (more + 1e-12) / min(saved, need) < best[0]):
                best = (more + 1e-12) / min(saved, need), part, new
        if best is None:
            what = Budget._fields[which]
            raise ValueError(f"Budget.{what} {budget[which]:,.0f} cannot be met: all actions reach {now[which]:,}")
        plan[best[1]] = best[2]
        now = network.cost(plan)
    return plan


def relax(network: Network, rises: Rises, budget: Budget, plan: Plan) -> dict[str, Choice]:
    """Makes a plan that fits milder, a level at a time, where it lowers the loss most for the room that it takes.

    Room is what the plan leaves of each budget, of which the one counts that more is taken of. Rises are taken to add.
    """
    plan = dict(plan)
    while True:
        now, best = network.cost(plan), None
        for part, old in plan.items():
            for field in LEVELS:
                level = getattr(old, field)
                milder = min((n for p, f, n in rises if (p, f) == (part, field) and n > level),
                             default=Choice._field_defaults[field])  # fmt: skip
                fall = rises.get((part, field, level), 0.0) - rises.get((part, field, milder), 0.0)
                if milder == level or fall <= 0:
                    continue
                new = old._replace(**{field: milder})
                taken = max(-_saved(network, part, old, new, i) / max(budget[i] - now[i], 1e-9) for i in range(2))
                if taken <= 1 and (best is None or fall / max(taken, 1e-12) > best[0]):
                    best = fall / max(taken, 1e-12), part, new
        if best is None:
            return plan
        plan[best[1]] = best[2]


def _saved(network: Network, part: str, old: Choice, new: Choice, which: int) -> float:
    before, after = (network._change(part, choice)[which] for choice in (old, new))
    return (before - after) / (8 if which == 0 else 1)


class Candidate(NamedTuple):
    """A plan with what it costs and the loss that was measured."""

    name: str
    plan: dict[str, Choice]
    cost: Cost
    loss: float


def singles(network: Network, loss: Callable[[Any], float]) -> list[Candidate]:
    """Each method alone at each of its levels, and nothing at all, measured."""
    plans = {"none": {}} | {
        f"{field} {level:g}": uniform(network, field, level) for field, levels in LEVELS.items() for level in levels
    }
    return [Candidate(name, plan, network.cost(plan), _measured(network, plan, loss)) for name, plan in plans.items()]


def adapt(
    network: Network, rises: Rises, budget: Budget, loss: Callable[[Any], float], known: list[Candidate]
) -> Candidate:
    """The plan of the smallest measured loss within a budget.

    Measured are :func:`tighten`'s plan, that plan and each of the ``known`` ones that fit as :func:`relax` has them,
    and those known ones.

    Raises:
        ValueError: as :func:`tighten`.
    """
    fits = [candidate for candidate in known if candidate.cost.within(budget)]
    tight = tighten(network, rises, budget)
    plans = [tight, *(relax(network, rises, budget, plan) for plan in (tight, *(of.plan for of in fits)))]
    found = [Candidate("adaptive", plan, network.cost(plan), _measured(network, plan, loss)) for plan in plans]
    return min((*found, *fits), key=lambda candidate: candidate.loss)


def _measured(network: Network, plan: Plan, loss: Callable[[Any], float]) -> float:
    return float(loss(network.same_shapes(plan) if plan else network.params))
