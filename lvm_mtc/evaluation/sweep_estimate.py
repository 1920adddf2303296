"""What a sweep will take, measured: its programs are compiled, and one call of each is timed."""

import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax

from lvm_mtc.evaluation import programs
from lvm_mtc.evaluation.sweep_group import Coordinates, Group, Resources
from lvm_mtc.evaluation.sweep_plan import SweepSpec


class Estimate(NamedTuple):
    """What the points will take.

    Attributes:
        programs: Programs that are compiled.
        compile_seconds: For all of them.
        memory_bytes: Of the largest program with its arguments, parameters and draws among them.
        least_seconds: If every point stops at the first test.
        most_seconds: If every point runs its whole budget.
    """

    programs: int
    compile_seconds: float
    memory_bytes: int
    least_seconds: float
    most_seconds: float


def estimate_sweep(spec: SweepSpec, points: Iterable[Coordinates], resources: Resources) -> Estimate:
    """Estimates what points of a sweep will take on this machine as busy as it is now.

    Args:
        spec: The sweep.
        points: Those that are to be computed.
        resources: Memory and devices.

    Returns:
        The estimate; zeros without points.

    Raises:
        ValueError: as ``run_sweep``.
    """
    systems = {scheme.name: scheme.system for scheme in spec.schemes}
    alike: dict[Any, list[Coordinates]] = {}
    for at in points:
        alike.setdefault((at["num_uavs"], systems[at["scheme"]]), []).append(at)
    rule = spec.stopping
    most = rule.max_units
    least = most if rule.target_half_width is None else min(rule.min_units, most)
    compiling, memory, least_seconds, most_seconds = 0.0, 0, 0.0, 0.0
    for members in alike.values():
        seconds, group = _timed(lambda members=members: Group(spec, members[0], resources))
        encoding, group = _timed(lambda members=members: Group(spec, members[0], resources))
        compiling += seconds - encoding
        step = group.steps[0]
        units = range(min(group.units_per_draw, most))
        seconds, draws = _timed(lambda group=group, step=step, units=units: group.draws(step, units))
        drawing, draws = _timed(lambda group=group, step=step, units=units: group.draws(step, units))
        compiling += seconds - drawing
        static, *arguments = group.arguments(step, draws, group.items(members[:1], len(units)), 0)
        seconds, send = _timed(lambda static=static, given=arguments: programs.send.lower(static, *given).compile())
        compiling += seconds
        jax.block_until_ready(send(*arguments))
        sending, _ = _timed(lambda send=send, given=arguments: send(*given))
        needs = send.memory_analysis()
        memory = max(memory, needs.argument_size_in_bytes + needs.output_size_in_bytes + needs.temp_size_in_bytes)
        groups = len({(at["seed"], at["scheme"], at["mask_prob"]) for at in members})
        of_unit = len(group.steps) * (len(members) * sending / group.items_per_call + groups * drawing / len(units))
        least_seconds += groups * encoding + least * of_unit
        most_seconds += groups * encoding + most * of_unit
    distinct = len({num_uavs for num_uavs, _ in alike}) + 2 * len(alike)
    return Estimate(distinct, compiling, memory, least_seconds, most_seconds)


def _timed(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function()
    jax.block_until_ready([step.encoded for step in result.steps] if isinstance(result, Group) else
                          [] if hasattr(result, "memory_analysis") else result)
    return time.perf_counter() - start, result
