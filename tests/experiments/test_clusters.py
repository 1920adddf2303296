"""The plan of a sweep on a cluster: its simulation against closed forms, the script for SLURM, the page."""

import json
import math
import re
from pathlib import Path

import pytest

from experiments.clusters.simulate import Costs, Plan, simulate

DOCS = Path(__file__).resolve().parents[2] / "docs"
FREE = Costs(start=0.0, compile=0.0, encode=0.0, item=1.0, point=0.0, task=0.0)
EVEN = Plan(points=800, units=10, groups=1, workers=20, points_per_task=8, spread=0.0)


def test_equal_tasks_take_as_many_rounds_as_there_are():
    found = simulate(EVEN, FREE)
    assert found.seconds == pytest.approx(5 * 80) and found.busy == pytest.approx(1.0)
    # One task more is a round more, of which one worker has use.
    more = simulate(EVEN._replace(points=808), FREE)
    assert more.seconds == pytest.approx(6 * 80) and more.busy == pytest.approx(101 / 120)


def test_start_compilation_and_encoding_come_on_top():
    costs = FREE._replace(start=3.0, compile=7.0, encode=2.0)
    assert simulate(EVEN, costs).seconds == pytest.approx(3 + 7 + 2 + 5 * 80)  # a group is encoded once on a worker
    apart = simulate(EVEN._replace(groups=100), costs)
    assert apart.seconds == pytest.approx(3 + 7 + 5 * (2 + 80))
    assert apart.encoding == pytest.approx(100 * 2 / (20 * apart.seconds))


def test_a_slow_driver_decides():
    found = simulate(EVEN._replace(workers=100), FREE._replace(item=1e-6, point=0.5, task=1.0))
    assert found.seconds == pytest.approx(800 * 0.5 + 100 * 1.0, rel=0.01) and found.driver > 0.99


def test_work_that_is_lost_is_what_a_memoryless_end_takes():
    """A task of T is lost with probability 1 - e^(-T/L); tries until it is through take (e^(T/L) - 1) L in the mean."""
    length, lifetime = 80.0, 100.0
    found = simulate(EVEN._replace(points=80_000, lifetime=lifetime), FREE)
    expected = (math.expm1(length / lifetime) * lifetime - length) / length
    tries = 10_000 * math.exp(length / lifetime)
    # The time lost in a try is below T, so 5 standard errors of its sum are below 5 T sqrt(tries).
    assert found.lost / found.busy == pytest.approx(expected, abs=5 * math.sqrt(tries) / 10_000)


def test_the_plan_on_the_page_is_what_the_simulation_gives():
    results = json.loads((DOCS / "clusters" / "results.json").read_text())
    costs = Costs(**results["costs"])
    for row in results["plans"][3:4]:
        found = simulate(Plan(**row["plan"] | {"lifetime": row["plan"]["lifetime"] or math.inf}), costs)
        assert found._asdict() == pytest.approx(row["outcome"], rel=1e-6)


def test_the_script_for_slurm_starts_one_worker_with_a_core(capsys):
    from experiments.clusters import slurm  # Dask and dask-jobqueue are in the tests' extra

    assert slurm.main(["--print-only", "--hours", "1.5", "--queue", "short", "--setup", "module load python"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"#SBATCH -p short\n#SBATCH -n 1\n#SBATCH --cpus-per-task=1\n.*\n#SBATCH -t 01:30:00\n", text)
    assert "module load python\n" in text and "--nthreads 1" in text and "--lifetime 85m" in text
    address = re.search(r"dask_worker (tcp://\S+)", text)[1]
    assert f"lvm-mtc sweep --scheduler {address} " in text
