"""The page on schemes and channels of one's own: its files run as they stand, and give a sweep with both in it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lvm_mtc.results.store import ResultStore

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "add_a_scheme.md").read_text()
FILES = dict(re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)```", TEXT, re.DOTALL))


def run(folder, name):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    done = subprocess.run(
        [sys.executable, name], cwd=folder, env=environment, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("somebody")
    for name, code in FILES.items():
        # Less training and fewer channels: what is tested is that it runs.
        if name == "study.py":
            code = code.replace("total_steps=200", "total_steps=60")
            code = code.replace("metrics=", "stopping=StoppingRule(target_half_width=None, max_units=4), metrics=")
            code = "from lvm_mtc.sweep.stopping import StoppingRule\n" + code
        (folder / name).write_text(code)
    return folder


def test_the_codec_with_its_training_and_sweep_takes_less_than_80_lines():
    assert list(FILES) == ["my_codec.py", "my_fading.py", "study.py"]
    assert sum(len(FILES[name].splitlines()) for name in ("my_codec.py", "study.py")) < 80


@pytest.mark.slow
def test_the_page_runs_and_its_sweep_holds_the_codec_beside_the_shipped_one_on_both_channels(folder):
    lines = run(folder, "study.py")
    with ResultStore(folder / "sweep.sqlite") as store:
        (sweep,) = store.sweeps()
        found = {}
        for point in store.read(sweep.config_hash):
            at = point.coordinates
            found[at["scheme"], at["channel"], at.get("peak"), at["snr_db"]] = point.metrics["psnr_db"].mean
    mine = {key: value for key, value in found.items() if key[0] == "mine"}
    assert len(lines) == len(found) == 8 + 4 and len(mine) == 8
    assert {key[1] for key in found} == {"rayleigh", "shadowed"}
    for name, channel, peak, snr_db in mine:
        if snr_db == 0.0:
            assert found[name, channel, peak, 20.0] > found[name, channel, peak, 0.0] + 1
    # Its own knob and its own fading do something.
    assert (
        mine["mine", "rayleigh", 3.0, 0.0] != mine["mine", "rayleigh", 0.7, 0.0] != mine["mine", "shadowed", 0.7, 0.0]
    )
    described = sweep.config["links"]["shadowed"]["fading"], sweep.config["schemes"]["mine"]
    assert [about["code"] for about in described] == ["my_fading:shadowed", "my_codec:MyCodec"]


@pytest.mark.slow
def test_started_again_it_computes_nothing(folder):
    store = folder / "sweep.sqlite"
    assert store.exists(), "the test before this one makes it"
    before = store.read_bytes()
    run(folder, "study.py")
    assert store.read_bytes() == before
