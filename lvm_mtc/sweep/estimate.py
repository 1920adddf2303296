"""What a sweep will take, measured: its programs are compiled, and one call of each is timed."""

import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax

from lvm_mtc.sweep import programs
from lvm_mtc.sweep.group import Coordinates, Group, Resources
from lvm_mtc.sweep.plan import SweepSpec


class Estimate(NamedTuple):
    """What the points will take: least if each stops at the first test, most if each runs its whole budget.

    Attributes:
        programs: Programs that are compiled, in ``compile_seconds`` together.
        memory_bytes: Of the largest program with its arguments, parameters and draws among them.
    """

    programs: int
    compile_seconds: float
    memory_bytes: int
    least_seconds: float
    most_seconds: float


def estimate_sweep(spec: SweepSpec, points: Iterable[Coordinates], resources: Resources) -> Estimate:
    """Estimates what points of a sweep will take on this machine as busy as it is now."""
    schemes = {contender.name: contender.scheme for contender in spec.schemes}
    alike: dict[Any, list[Coordinates]] = {}
    for at in points:
        alike.setdefault((at["num_uavs"], schemes[at["scheme"]]), []).append(at)
    rule = spec.stopping
    most = rule.max_units
    least = most if rule.target_half_width is None else min(rule.min_units, most)
    compiling, memory, least_seconds, most_seconds = 0.0, 0, 0.0, 0.0
    for members in alike.values():
        seconds, _ = _timed(Group, spec, members[0], resources)
        encoding, group = _timed(Group, spec, members[0], resources)
        compiling += seconds - encoding
        step = group.steps[0]
        units = range(group.units_per_draw)
        seconds, _ = _timed(group.draws, step, units)
        drawing, draws = _timed(group.draws, step, units)
        compiling += seconds - drawing
        static, *arguments = group.arguments(step, draws, group.items(members[:1], len(units)), 0)
        seconds, send = _timed(lambda static=static, given=arguments: programs.send.lower(static, *given).compile())
        compiling += seconds
        jax.block_until_ready(send(*arguments))
        sending, _ = _timed(send, *arguments)
        needs = send.memory_analysis()
        memory = max(memory, needs.argument_size_in_bytes + needs.output_size_in_bytes + needs.temp_size_in_bytes)
        groups = len({spec.encoded_group(at) for at in members})
        of_unit = len(group.steps) * (len(members) * sending / group.items_per_call + groups * drawing / len(units))
        least_seconds += groups * encoding + least * of_unit
        most_seconds += groups * encoding + most * of_unit
    distinct = len({(num_uavs, scheme.frames()) for num_uavs, scheme in alike}) + 2 * len(alike)
    return Estimate(distinct, compiling, memory, least_seconds, most_seconds)


def _timed(function: Callable, *args: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function(*args)
    jax.block_until_ready([step.encoded for step in result.steps] if isinstance(result, Group) else result)
    return time.perf_counter() - start, result
