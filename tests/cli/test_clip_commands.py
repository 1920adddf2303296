"""A clip through ``lvm-mtc transmit --video`` and ``sweep --video``."""

import json
import shlex

import jax
import numpy as np
import pytest
from PIL import Image

from lvm_mtc.cli import main
from lvm_mtc.cli.parser import build_parser
from lvm_mtc.cli.sweep import sweep_config
from lvm_mtc.cli.sweep_config import make_spec
from lvm_mtc.models.weights import save_weights
from lvm_mtc.report.study import CLIP_METRICS
from lvm_mtc.results.table import read_csv
from lvm_mtc.schemes.loading import identity
from lvm_mtc.schemes.pvsc.scheme import Pvsc, PvscConfig

pytestmark = pytest.mark.usefixtures("fast_compile")

SCHEME = Pvsc(PvscConfig(size=(48, 48), num_frames=2, gop=2, num_uses=36, features=8, intra_factor=1.5))
SEND = "transmit --video clip --weights clip.npz --uavs 1 --channel awgn --realisations 2 --snr-db 0,20"
SWEEP = "sweep --video clip --set weights=clip.npz --channel awgn --units 2 --snr-db 0,20 --uavs 1"


@pytest.fixture
def clip(folder):
    """The common folder with weights for clips, a clip of five frames, and one of two sizes."""
    save_weights(folder / "clip.npz", jax.device_get(SCHEME.init(jax.random.key(0))), identity(SCHEME), dtype="float32")
    rows = np.linspace(0, 200, 50)[:, None, None] * np.ones((1, 100, 3))
    for name, height in (("clip", 50), ("odd", 49)):
        (folder / name).mkdir()
        for i in range(5):
            Image.fromarray(np.uint8(rows[: height if i == 4 else 50] + 5 * i)).save(folder / name / f"{i}.png")
    (folder / "small").mkdir()
    Image.new("RGB", (40, 60)).save(folder / "small" / "0.png")
    return folder


@pytest.mark.slow
def test_transmit_sends_a_clip_and_shows_frames(clip, capsys):
    assert main(shlex.split(f"{SEND} --out out")) == 0
    out, err = capsys.readouterr()
    assert err == "" and "1 x 4 frames of 96 x 48 pixels, 2 realisations" in out
    made = sorted(path.name for path in (clip / "out").iterdir())
    assert made == ["curves.png", "frames", "lvm-mtc-result.json", "player.html", "sheet.png", "table.csv"]
    assert sorted(path.name for path in (clip / "out" / "frames").iterdir()) == [
        "awgn-0dB-csi0",
        "awgn-20dB-csi0",
        "original",
    ]
    original = np.asarray(Image.open(clip / "out" / "frames" / "original" / "0003.png"))
    assert original.shape == (48, 96, 3)
    rows = read_csv(clip / "out" / "table.csv")
    assert [row["snr_db"] for row in rows] == [0, 20] and rows[0]["num_clips"] == 1
    assert rows[0]["channel_uses"] == 4 * 72 and rows[0]["psnr_db"] < rows[1]["psnr_db"]
    assert f"PSNR {rows[1]['psnr_db']:.2f}" in out
    record = json.loads((clip / "out" / "lvm-mtc-result.json").read_text())
    assert record["systems"]["pvsc"]["size"] == [48, 96] and record["systems"]["pvsc"]["num_uses"] == 72


def test_a_sweep_is_made_of_it(clip):
    options = build_parser().parse_args(shlex.split(f"{SWEEP} --store s.sqlite --set knobs.loss=[0,0.5]"))
    spec = make_spec(sweep_config(options))
    assert spec.metrics == CLIP_METRICS and spec.sources[1].data.shape == (1, 1, 4, 48, 96, 3)
    assert [at["loss"] for at in spec.coordinates()] == [0, 0, 0.5, 0.5]


def test_a_sweep_measures_the_learned_distance_of_clips(clip, shared_data):
    path = shared_data / "weights" / "stlpips_alex_fp16.npz"
    options = build_parser().parse_args(shlex.split(f"{SWEEP} --store s.sqlite --set perceptual={path}"))
    assert make_spec(sweep_config(options)).measured == (*CLIP_METRICS, "perceptual")


# Command line -> words that its one line must hold.
WRONG = {
    f"{SEND} --out o --task dog": ["--task is for pictures", "--video sends clips"],
    f"{SEND} --out o --text notes": ["--video", "not allowed with", "--text"],
    "transmit --video clip --weights small.npz --out o": ["small.npz", "'lvm_mtc' sends pictures", "a clip"],
    "transmit --images photos --weights clip.npz --out o": ["clip.npz", "'pvsc' sends clips"],
    f"{SEND} --out o --limit 1": ["clip", "holds 1 frames", "a group of 2 for each of 1 UAVs"],
    "transmit --video odd --weights clip.npz --uavs 1 --out o": ["4.png", "100 x 49 and 100 x 50"],
    "transmit --video small --weights clip.npz --uavs 1 --out o": ["small", "40 x 60 pixels", "48 or more"],
    "transmit --video nothing --weights clip.npz --uavs 1 --out o": ["nothing", "does not exist"],
    f"{SWEEP} --store s.sqlite --images photos": ["SweepConfig.images is for pictures", "SweepConfig.video"],
    f"{SWEEP} --store s.sqlite --text notes": ["SweepConfig.video is for clips", "SweepConfig.text sends sentences"],
    f"{SWEEP},2 --store s.sqlite": ["SweepConfig.num_uavs (1, 2)", "differ in length"],
}


@pytest.mark.parametrize("command", WRONG)
def test_wrong_input_is_one_line(clip, capsys, command):
    assert main(shlex.split(command)) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and not (clip / "o").exists()
    for word in WRONG[command]:
        assert word in err
