"""The queue of trainings: its mixture, equal budgets, resumption bit for bit, the service and what it tells."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from experiments.queue import entries, mixture, serve, training
from lvm_mtc.models.weights import SHIPPED, load_weights
from lvm_mtc.schemes.loading import load_scheme
from lvm_mtc.training.checkpoint import CheckpointError
from lvm_mtc.training.log import read_log

ROOT = Path(__file__).resolve().parents[2]
TINY = entries.Entry(codec="token2", config=dict(variant="tiny", image_size=32, num_symbols=4), pictures=8 * 64)


def test_crops_are_cut_out_of_reduced_photographs():
    columns = np.broadcast_to(np.arange(160, dtype=np.uint8)[None, :, None], (100, 160, 3))
    crops = mixture.small_crops(columns, 30, np.random.default_rng(0))
    assert crops.shape == (30, 32, 32, 3) and crops.dtype == np.uint8
    steps = np.diff(np.float64(crops[:, 16, 2:-2, 0]), axis=-1).mean(
        -1
    )  # columns of the photograph a column of the crop
    assert steps.min() > 1.6 and steps.max() < 100 / 32 + 0.1 and np.ptp(steps) > 0.5


def test_batches_hold_each_kind_in_its_share_and_half_of_the_pictures_mirrored():
    data = {}
    for value, kind in enumerate(mixture.SHARES):
        pictures = np.full((7, 32, 32, 3), 10 * value, np.uint8)
        pictures[:, :, 0] += 1
        data[kind] = pictures
    drawn = np.round(np.asarray(mixture.draw_pictures(data, jax.random.key(0), 200)) * 255)
    kinds = drawn[:, 0, 16, 0]
    assert [int((kinds == 10 * value).sum()) for value in range(3)] == [80, 80, 40]
    assert len(set(kinds[:10].tolist())) > 1, "in random order"
    mirrored = int((drawn[:, 0, -1, 0] > kinds).sum())
    assert abs(mirrored - 100) < 5 * np.sqrt(200) / 2


def test_hold_out_and_its_copies_stay_out_of_the_mixture(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    lossless = rng.integers(0, 256, (510, 32, 32, 3), dtype=np.uint8)
    copies = np.clip(np.int32(lossless)[::-1] + rng.integers(-3, 4, lossless.shape), 0, 255).astype(np.uint8)
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "photograph.png")
    photograph = type("Source", (), dict(path=tmp_path / "photograph.png", holdout=False))
    held = type("Source", (), dict(path=tmp_path / "missing.png", holdout=True))
    monkeypatch.setattr(mixture, "load_cifar10_sheets", lambda folder: type("L", (), dict(pictures=lossless)))
    monkeypatch.setattr(mixture, "load_class_folders", lambda *_: type("L", (), dict(pictures=copies)))
    monkeypatch.setattr(mixture, "training_sources", lambda data: [photograph, held])

    mixture.pack_mixture(tmp_path, tmp_path / "mixture.npz")
    data, holdout = mixture.load_mixture(tmp_path / "mixture.npz")

    np.testing.assert_array_equal(holdout, lossless[-500:])
    np.testing.assert_array_equal(data["lossless"], lossless[:10])
    np.testing.assert_array_equal(data["copies"], copies[-10:])
    assert len(data["crops"]) == mixture.CROPS_PER_PHOTOGRAPH


@pytest.mark.parametrize("suffix", ["", "_long"])
@pytest.mark.parametrize("ratio", entries.RATIOS)
def test_codecs_of_a_ratio_and_round_have_equal_budgets(ratio, suffix):
    compared = [e for name, e in entries.ENTRIES.items() if name.endswith(f"_{ratio}{suffix}")]
    assert {e.codec for e in compared} >= {"token2", "deepjscc"}
    same = {
        (e.pictures, e.seed, e.training.batch_size, e.config["num_symbols"], e.training.ema_decay) for e in compared
    }
    assert len(same) == 1


def test_entries_come_behind_what_they_start_from():
    names = list(entries.ENTRIES)
    for name, entry in entries.ENTRIES.items():
        if entry.start is not None:
            before = entries.ENTRIES[entry.start]
            assert names.index(entry.start) < names.index(name)
            assert (before.codec, before.config) == (entry.codec, entry.config)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder with a small mixture, and a queue of two equal entries of eight steps, which save every second one."""
    rng = np.random.default_rng(0)
    kinds = {kind: rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8) for kind in (*mixture.SHARES, "holdout")}
    np.savez(tmp_path / mixture.FILE, **kinds)
    monkeypatch.setattr(training, "ENTRIES", {"tiny": TINY, "other": TINY})
    optimizer = dataclasses.replace(entries.KINDS["token2"].optimizer, warmup_steps=2)
    kind = entries.Kind(optimizer=optimizer, checkpoint_every=2, validate_every=3)
    monkeypatch.setattr(entries, "KINDS", {"token2": kind})
    monkeypatch.setattr(entries, "LOG_EVERY", 1)
    return tmp_path


class Killed(BaseException):
    """Ends a training between two steps."""


@pytest.mark.slow
def test_killed_entry_goes_on_bit_for_bit(home, fast_compile, monkeypatch):
    training.train_to_weights("other", home)
    real = training.make_validation

    def killing(*arguments):
        validate = real(*arguments)

        def until_step_six(params, step):
            if step == 6:
                raise Killed
            return validate(params, step)

        return until_step_six

    monkeypatch.setattr(training, "make_validation", killing)
    with pytest.raises(Killed):
        training.train_to_weights("tiny", home)
    assert not serve.weights_of(home, "tiny").exists()
    monkeypatch.setattr(training, "make_validation", real)
    training.train_to_weights("tiny", home)

    params, about = load_weights(serve.weights_of(home, "tiny"))
    others, _ = load_weights(serve.weights_of(home, "other"))
    jax.tree.map(np.testing.assert_array_equal, params, others)
    log, undisturbed = (read_log(home / name / "log.jsonl", wall_times=False) for name in ("tiny", "other"))
    assert log == undisturbed
    curve = [record for record in log if record["event"] == "validation"]
    assert [record["step"] for record in curve] == [3, 6, 8]
    assert {f"psnr_{link}_{snr}" for link in ("awgn", "rayleigh") for snr in (1, 4, 7, 10, 13)} <= set(curve[-1])
    scheme, _ = load_scheme(serve.weights_of(home, "tiny"))
    assert scheme.config.num_symbols == 4 and about["entry"]["pictures"] == 512

    wider = entries.Entry(codec="token2", config=dict(TINY.config, num_symbols=8), pictures=512)
    monkeypatch.setattr(training, "ENTRIES", {"tiny": wider})
    with pytest.raises(CheckpointError, match="run.config.num_symbols was 4, now it is 8"):
        training.train_to_weights("tiny", home)


STAND_IN = """
import pathlib, signal, sys, time
home, name = pathlib.Path(sys.argv[1]), sys.argv[2]
with open(home / "order", "a") as file:
    print(name, file=file)
if name == "slow":
    def stop(*_):
        (home / "saved").touch()
        sys.exit(0)
    signal.signal(signal.SIGTERM, stop)
    (home / "started").touch()
    time.sleep(60)
if name == "flaky" and not (home / "once").exists():
    (home / "once").touch()
    sys.exit(1)
if name == "broken":
    sys.exit(1)
(home / name).mkdir()
(home / name / "weights.npz").touch()
"""


def stand_in(home):
    return [sys.executable, "-c", STAND_IN, str(home)]


def test_service_trains_in_order_tries_again_and_leaves_what_is_done(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(serve, "RETRY_SECONDS", 0.0)
    assert serve.serve(["flaky", "first", "second"], tmp_path, stand_in(tmp_path)) == 0
    assert (tmp_path / "order").read_text().split() == ["flaky", "first", "second", "flaky"]
    assert "flaky ended with status 1" in capfd.readouterr().out
    assert serve.serve(["flaky", "first"], tmp_path, stand_in(tmp_path)) == 0
    assert (tmp_path / "order").read_text().split()[4:] == []
    assert serve.serve(["broken", "third"], tmp_path, stand_in(tmp_path)) == 1
    assert (tmp_path / "order").read_text().split()[4:] == ["broken", "third", "broken", "broken"]


def test_service_takes_for_trained_what_the_package_brings(tmp_path):
    (tmp_path / mixture.FILE).touch()
    begun = tmp_path / "deepjscc_1_3"
    begun.mkdir()
    states = {line.split()[0]: line.split()[-1] for line in serve.status_lines(entries.ENTRIES, tmp_path)[1:]}
    assert (states["token2_1_3"], states["deepjscc_1_3"], states["token2_1_12"]) == ("shipped", "waits", "waits")
    serve.prepare_home(tmp_path, tmp_path)
    taken = serve.weights_of(tmp_path, "token2_1_3").read_bytes()
    assert taken == (SHIPPED / "token2_cifar10_cbr_1_3.npz").read_bytes()
    assert not list(begun.iterdir()), "a training that was begun goes on"


def wait_for(path, seconds=60.0):
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"no {path.name} after {seconds} s"
        time.sleep(0.05)


def test_service_that_is_stopped_stops_its_training_and_lets_go(tmp_path):
    code = f"import pathlib, sys; from experiments.queue.serve import serve; home = pathlib.Path({str(tmp_path)!r}); "
    code += f"sys.exit(serve(['slow', 'next'], home, {stand_in(tmp_path)!r}))"
    service = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    try:
        wait_for(tmp_path / "started")
        assert serve.serve(["next"], tmp_path, stand_in(tmp_path)) == 1, "one service at a time"
        assert serve.stop_service(tmp_path)
        assert service.wait(60) == 128 + signal.SIGTERM
    finally:
        service.kill()
    assert (tmp_path / "saved").exists() and (tmp_path / "order").read_text().split() == ["slow"]
    assert not serve.stop_service(tmp_path)


def test_status_tells_where_each_entry_stands(tmp_path):
    folder = tmp_path / "begun"
    folder.mkdir()
    records = [
        dict(step=50, event="train", pictures_per_second=80.5),
        dict(step=50, event="validation", psnr_awgn_1=24.004, psnr_awgn_7=27.5, psnr_awgn_13=29.25),
        dict(step=100, event="train", pictures_per_second=None),
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (folder / "lock").touch()
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "weights.npz").touch()
    table = {name: entries.Entry(codec="token2", config={}) for name in ("begun", "done", "later")}

    _, begun, done, later = (line.split() for line in serve.status_lines(table, tmp_path))
    assert begun == ["begun", "6,400/", "400,000", "24.00", "27.50", "29.25", "80.5", "stopped"]
    assert done[-1] == "done" and later[-2:] == ["-", "waits"]
    with serve.held(folder / "lock") as free:
        assert free and serve.status_lines(table, tmp_path)[1].split()[-1] == "runs"


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="the scheduler of Linux alone has an idle class")
@pytest.mark.parametrize("own_session", [False, True])
def test_service_runs_at_the_lowest_priority_and_leaves_other_sessions_alone(own_session):
    """What the kernel says of the process's group before and after: nothing where it has no groups or shows none."""
    code = (
        "import os; from pathlib import Path; from experiments.queue.serve import become_idle\n"
        "group = Path('/proc/self/autogroup')\n"
        "read = lambda: group.read_text().split()[-1:] if group.exists() else []\n"
        "before = read(); become_idle(); print(before, read(), sep='|')\n"
        "print(os.nice(0), os.sched_getscheduler(0) == os.SCHED_IDLE, flush=True)\n"
        "os._exit(0)"  # an orderly end has to wait for a core that nobody wants
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        start_new_session=own_session,
    )
    groups, priority = told.stdout.splitlines()
    before, after = groups.split("|")
    assert priority == "19 True"
    assert after == ("['19']" if before != "[]" and own_session else before)


def test_a_system_without_an_idle_class_says_so(monkeypatch, capsys):
    monkeypatch.setattr(os, "nice", lambda step: step)
    monkeypatch.delattr(os, "SCHED_IDLE", raising=False)
    monkeypatch.setattr(os, "getsid", lambda pid: -1)
    serve.become_idle()
    assert capsys.readouterr().err == (
        "queue: this system has no idle class for it: the service runs at the lowest nice value\n"
    )


def test_a_system_that_binds_no_process_to_a_core_says_so(monkeypatch, capsys):
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    serve.start_on_one_core()
    assert (
        capsys.readouterr().err == "queue: this system binds no process to a core: the training may use all of them\n"
    )


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes can be bound to cores on Linux only")
def test_training_has_one_worker_that_may_run_anywhere():
    code = (
        "import os, sys; sys.argv = ['serve']; from experiments.queue.serve import start_on_one_core\n"
        "cores = os.sched_getaffinity(0); start_on_one_core()\n"
        "own = [t for t in os.listdir('/proc/self/task') if os.sched_getaffinity(int(t)) != cores]\n"
        "print(len(own))"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["0"]
