"""Sweeps on workers, here threads of this process: the bits of one process, and an answer to every fault."""

import dataclasses
import itertools
import pickle
import re
import sys
import time
import types

import pytest

distributed = pytest.importorskip("distributed")

from lvm_mtc.cli import main  # noqa: E402
from lvm_mtc.results.store import ResultStore  # noqa: E402
from lvm_mtc.sweep import cluster  # noqa: E402
from lvm_mtc.sweep.clients import ClusterError  # noqa: E402
from lvm_mtc.sweep.cluster import DaskWorkers, difference  # noqa: E402
from lvm_mtc.sweep.run import Resources, run_sweep  # noqa: E402
from lvm_mtc.sweep.stopping import StoppingRule  # noqa: E402
from lvm_mtc.sweep.tasks import Groups, Task  # noqa: E402

# Three units are drawn together, so that a sweep of three has the programs of one of six.
ONE = Resources(num_devices=1, items_per_device=8, memory_budget=16_000)
pytestmark = pytest.mark.usefixtures("fast_compile", "users_emitters")


@pytest.fixture(scope="module")
def client():
    options = dict(processes=False, threads_per_worker=1, dashboard_address=":0", memory_limit=0)
    with distributed.LocalCluster(n_workers=2, **options) as of, distributed.Client(of) as client:
        yield client


@pytest.fixture
def workers(client):
    said = []
    return DaskWorkers(client, points_per_task=2, patience_s=60.0, say=said.append), said


@pytest.fixture(scope="module")
def alone(small_spec, tmp_path_factory):
    path = tmp_path_factory.mktemp("alone") / "s.sqlite"
    with ResultStore(path) as store:
        key = run_sweep(small_spec, store, resources=ONE)
        return key, store.read(key), kept(store)


def kept(store):
    found = [one for key in store.sweeps(parts=True) for one in store.measurements(key.config_hash)]
    return sorted(found, key=lambda one: (one.config_hash, str(one.coordinates)))


def check(spec, path, workers, wanted, **options):
    with ResultStore(path) as store:
        key = run_sweep(spec, store, resources=ONE, workers=workers, **options)
        assert (key, store.read(key), kept(store)) == wanted


def test_rows_and_units_are_those_of_one_process(small_spec, alone, workers, tmp_path):
    seen = []
    check(small_spec, tmp_path / "s.sqlite", workers[0], alone, progress=seen.append)
    assert seen[-1].points_done == seen[-1].points == 24 and seen[-1].items_done == seen[-1].items == 24 * 6
    assert workers[1] == []


def test_more_units_go_on_behind_those_that_are_there(small_spec, alone, workers, tmp_path, monkeypatch):
    few = dataclasses.replace(small_spec, stopping=StoppingRule(target_half_width=None, max_units=3))
    sent = []
    with ResultStore(tmp_path / "s.sqlite") as store:
        run_sweep(few, store, resources=ONE, workers=workers[0])
        key = run_sweep(small_spec, store, resources=ONE, workers=workers[0], progress=sent.append)
        assert store.read(key) == alone[1]
    assert sent[-1].items_done == 24 * 3


def test_ranges_of_units_are_put_together(small_spec, alone, client, tmp_path):
    """Of six units in ranges of four and two, or of which three are there and the others come one by one."""
    seen, split = [], DaskWorkers(client, points_per_task=3, units_per_task=4)
    assert [task.units for task in Task([], ()).split(small_spec.stopping, 4)] == [range(4), range(4, 6)]
    check(small_spec, tmp_path / "s.sqlite", split, alone, progress=seen.append)
    assert seen[-1].points_done == seen[-1].points == 24 and seen[-1].items_done == seen[-1].items == 24 * 6
    few = dataclasses.replace(small_spec, stopping=StoppingRule(target_half_width=None, max_units=3))
    single = DaskWorkers(client, points_per_task=6, units_per_task=1)
    with ResultStore(tmp_path / "t.sqlite") as store:
        run_sweep(few, store, resources=ONE)
        key = run_sweep(small_spec, store, resources=ONE, workers=single)
        assert store.read(key) == alone[1] and kept(store)[-24:]
        assert [one for one in kept(store) if one.config_hash in {of.config_hash for of in alone[2]}] == alone[2]


def test_points_with_a_target_are_not_split():
    rule = StoppingRule(target_half_width=0.1, max_units=100)
    task = Task([{"snr_db": 0.0}], ("mse",))
    assert list(task.split(rule, 10)) == [task]


def test_a_worker_of_other_versions_is_refused_by_name(small_spec, client, workers, tmp_path, monkeypatch):
    ours = cluster.versions()
    # The driver is the first to ask itself.
    answers = itertools.chain([ours], itertools.repeat(ours | {"jax": "0.9.1", "python": "3.12.0"}))
    monkeypatch.setattr(cluster, "versions", lambda: next(answers))
    with ResultStore(tmp_path / "s.sqlite") as store, pytest.raises(ClusterError) as caught:
        run_sweep(small_spec, store, resources=ONE, workers=workers[0])
    assert f"has jax 0.9.1, the driver {ours['jax']}, python 3.12.0, the driver {ours['python']}" in str(caught.value)
    assert any(address in str(caught.value) for address in client.nthreads()) and "1 more worker" in str(caught.value)


@pytest.mark.parametrize("name", ["jax", "numpy", "lvm_mtc", "python"])
def test_each_version_counts(name):
    ours = cluster.versions()
    assert difference("tcp://w:1", ours, ours) is None
    assert difference("tcp://w:1", ours | {name: "0.0"}, ours).startswith(
        f"worker tcp://w:1 has {name} 0.0, the driver"
    )
    assert f"{name} None" in difference("tcp://w:1", {of: ours[of] for of in ours if of != name}, ours)


def test_workers_share_out_groups_and_stay_with_theirs():
    """Nobody leaves a group before its end, and who has none goes where the fewest are."""
    left = Groups([[(group, i) for i in range(4)] for group in "abc"])
    workers = ["u", "v"]
    taken = [[left.take(worker, workers) for worker in workers] for _ in range(4)]
    assert taken == [[("a", i), ("b", i)] for i in range(4)]
    assert left.take("u", workers) == ("c", 0) and left
    # A worker that has gone no longer counts: its group needs another one.
    left = Groups([[1, 2], [3, 4]])
    assert [left.take(worker, ["u", "v"]) for worker in "uv"] == [1, 3]
    assert [left.take("w", ["u", "w"]), left.take("u", ["u", "w"]), left.take("u", ["u", "w"])] == [4, 2, None]
    assert not left and Groups([[], [5]]).take("u", ["u"]) == 5


REAL = cluster._do
BEFORE = {}
DONE = []


def recorded(*args, only_compile=False):
    """A task whose program is noted when it has ended, and whether it was to be compiled alone."""
    answer = REAL(*args, only_compile=only_compile)
    at = pickle.loads(args[3]).points[0]
    DONE.append((only_compile, at["num_uavs"], at["scheme"]))
    return answer


def test_every_program_is_compiled_once_and_before_its_tasks(small_spec, alone, client, tmp_path, monkeypatch):
    DONE.clear()
    monkeypatch.setattr(cluster, "_do", recorded)
    workers = DaskWorkers(client, points_per_task=2, patience_s=60.0, share_programs=True)
    check(small_spec, tmp_path / "s.sqlite", workers, alone)
    programs = set(itertools.product(small_spec.sources, (one.name for one in small_spec.schemes)))
    compiled = [about for compiles, *about in DONE if compiles]
    assert sorted(map(tuple, compiled)) == sorted(programs)
    for about in programs:
        assert DONE.index((True, *about)) < DONE.index((False, *about))


def do(*args, **options):
    """A task that does something before; with a value of that it is done."""
    answer = BEFORE["hook"](next(BEFORE["begun"]))
    return REAL(*args, **options) if answer is None else answer


def tampered(monkeypatch, hook):
    """Hooks every task, with its number in the order in which they begin."""
    monkeypatch.setattr(cluster, "_do", do)
    BEFORE.update(hook=hook, begun=itertools.count())


def test_a_worker_that_differs_and_comes_late_is_sent_away(small_spec, alone, workers, tmp_path, monkeypatch):
    away = []
    monkeypatch.setattr(workers[0]._client, "retire_workers", away.append)
    tampered(
        monkeypatch, lambda i: cluster._Answer("inproc://w", "worker inproc://w has jax 1", b"") if i == 3 else None
    )
    check(small_spec, tmp_path / "s.sqlite", workers[0], alone)
    assert away == [["inproc://w"]] and workers[1] == ["worker inproc://w has jax 1; it is sent away"]


@pytest.mark.slow
def test_a_task_without_an_answer_goes_to_another_worker(small_spec, alone, client, tmp_path, monkeypatch):
    said, released = [], []

    def hang(i):
        while i == 1 and not released:
            time.sleep(0.05)

    tampered(monkeypatch, hang)
    workers = DaskWorkers(client, points_per_task=8, patience_s=2.0, say=said.append)
    try:
        check(small_spec, tmp_path / "s.sqlite", workers, alone)
    finally:
        released.append(True)
    assert said and all(
        re.match(r"no answer for \d+ s from inproc://.*: its task goes elsewhere", line) for line in said
    )


def ends(i):
    raise distributed.KilledWorker("task", types.SimpleNamespace(address="tcp://w:1"), 3)


def test_a_task_whose_workers_end_is_given_out_again_and_at_last_named(
    small_spec, alone, workers, client, tmp_path, monkeypatch
):
    tampered(monkeypatch, lambda i: ends(i) if i in (0, 2, 5) else None)
    check(small_spec, tmp_path / "s.sqlite", workers[0], alone)
    tampered(monkeypatch, lambda i: ends(i) if i > 3 else None)
    with ResultStore(tmp_path / "t.sqlite") as store:
        with pytest.raises(ClusterError, match="the task of 2 points from .*'snr_db': .* ends every worker"):
            run_sweep(small_spec, store, resources=ONE, workers=DaskWorkers(client, points_per_task=2))
        there = store.read(alone[0])
        assert 0 < len(there) < 24 and all(point in alone[1] for point in there)


def test_a_fault_of_the_sweep_itself_is_told_as_it_is(small_spec, workers, tmp_path, monkeypatch):
    def fails(i):
        raise ValueError("the field and the value")

    tampered(monkeypatch, fails)
    with ResultStore(tmp_path / "s.sqlite") as store, pytest.raises(ValueError, match="the field and the value"):
        run_sweep(small_spec, store, resources=ONE, workers=workers[0])


@pytest.mark.parametrize(("field", "value"), [("points_per_task", 0), ("units_per_task", 0), ("patience_s", 0.0)])
def test_wrong_numbers_are_named(field, value):
    with pytest.raises(ValueError, match=f"DaskWorkers.{field} must be .*{value}"):
        DaskWorkers(None, **{field: value})


def test_the_command_line_says_what_is_wrong(monkeypatch, capsys, tmp_path):
    sweep = ["sweep", "--store", str(tmp_path / "s.sqlite")]
    assert main([*sweep, "--workers", "2", "--scheduler", "tcp://127.0.0.1:1"]) == 2
    assert "--workers and --scheduler: give one of them" in capsys.readouterr().err
    assert main([*sweep, "--workers", "0"]) == 2
    assert "--workers" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main([*sweep, "--workers", "2"]) == 2
    assert capsys.readouterr().err == (
        "lvm-mtc: error: workers need Dask, which is not installed: pip install 'lvm-mtc[cluster]'\n"
    )
