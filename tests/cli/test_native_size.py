"""Pictures as large as they are: what is taken of them, and what the commands make of it."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lvm_mtc.cli import main
from lvm_mtc.cli.pictures import CAMERA_SIZE, find_objects, load_views, on_canvas, size_of
from lvm_mtc.knowledge import Located
from lvm_mtc.results.table import read_csv

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"a.png": (40, 60), "b.png": (50, 36)}  # height, width


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p").mkdir()
    rng = np.random.default_rng(0)
    kept = {name: rng.integers(0, 256, (*size, 3), np.uint8) for name, size in SIZES.items()}
    for name, pixels in kept.items():
        Image.fromarray(pixels).save(tmp_path / "p" / name)
    return kept


def load(**changes):
    options = dict(size=None, num_uavs=1, views="cut", overlap=0.5, boxes=None, limit=None)
    return load_views(Path("p"), **options | changes)


def test_native_views_are_the_pixels_and_lines_say_what_is_taken(pictures, tmp_path, capsys):
    frames = [Image.new("RGB", (30, 20), (i, 0, 0)) for i in (200, 100, 0)]
    frames[0].save("p/c.gif", save_all=True, append_images=frames[1:])
    Image.new("RGBA", (20, 20), (0, 0, 0, 128)).save("p/d.png")
    views = load()
    assert capsys.readouterr().out.splitlines() == [
        "a.png: 60 x 40: whole, every pixel as it is",
        "b.png: 36 x 50: whole, every pixel as it is",
        "c.gif: 30 x 20, the first of 3 frames: whole, every pixel as it is",
        "d.png: 20 x 20, transparency laid over white: whole, every pixel as it is",
    ]
    assert views.images.shape == (4, 1, 50, 60, 3)
    np.testing.assert_array_equal(views.extent[:, 0], [*SIZES.values(), (20, 30), (20, 20)])
    for i, (name, (height, width)) in enumerate(SIZES.items()):
        own = np.pad(pictures[name], [(0, 50 - height), (0, 60 - width), (0, 0)], mode="symmetric")
        np.testing.assert_allclose(views.images[i, 0] * 255, own, atol=1e-4)
    larger = on_canvas(views, 64, 70)
    assert larger.images.shape == (4, 1, 64, 70, 3) and (larger.extent == views.extent).all()
    assert on_canvas(views, 50, 60) is views


def test_cut_views_of_native_size_share_pixels(pictures, tmp_path):
    (tmp_path / "boxes.json").write_text(json.dumps({"a.png": [30, 20, 20, 10]}))
    views = load(num_uavs=4, limit=1, boxes=tmp_path / "boxes.json")
    # 2 x 2 views of 2/3 of either side.
    assert views.images.shape == (1, 4, 26, 40, 3) and views.extent is None
    pixels = pictures["a.png"]
    for view, (top, left) in zip(views.images[0], [(0, 0), (0, 20), (14, 0), (14, 20)], strict=True):
        np.testing.assert_allclose(view * 255, pixels[top : top + 26, left : left + 40], atol=1e-4)
    np.testing.assert_allclose(views.boxes[0, 3], [10, 6, 20, 10])
    resized = load(num_uavs=2, size=(32, 64))
    assert resized.images.shape == (2, 2, 32, 64, 3) and resized.extent is None
    assert size_of("codec", 96) == 96 and size_of("native", 96) is None
    assert size_of("512x768", 96) == (512, 768) and size_of("64", 96) == size_of("64x64", 96) == 64


class Finder:
    """A knowledge base that finds the lower half of what the camera sees, the grey part included."""

    def locate(self, images, task_text):
        loc = np.tile(np.float32([160, 240, 320, 160]), (len(images), 1))
        return Located(loc, "label", "", np.ones(len(images), bool), np.zeros(len(images), int), None)


def test_the_detector_sees_whole_views_and_boxes_come_back_to_their_pixels(pictures):
    views = load()
    camera = views.cameras[0, 0]  # 60 x 40 pixels: 320 x 213, and grey below
    assert camera.shape == (CAMERA_SIZE, CAMERA_SIZE, 3) and (camera[213:] == 114).all()
    assert np.abs(camera[:213].mean((0, 1)) - pictures["a.png"].mean((0, 1))).max() < 3
    loc, _ = find_objects(views, Finder(), "")
    np.testing.assert_allclose(loc[0, 0], [30, 35, 60, 10], atol=1e-4)  # rows 30 to 60 of 40
    np.testing.assert_allclose(loc[1, 0], [18, 37.5, 36, 25], atol=1e-4)
    middle, _ = find_objects(views, None, "")
    np.testing.assert_allclose(middle[:, 0], [[30, 20, 30, 20], [18, 25, 18, 25]])


def transmit(flags, capsys):
    assert main(shlex.split(f"transmit --images p --loc centre --realisations 2 --uavs 1 --snr-db 20 {flags}")) == 0
    return capsys.readouterr().out


@pytest.mark.slow
def test_transmit_at_native_size(folder, fast_compile, pictures, capsys):
    """A picture by itself goes whole through a convolutional codec, two of different sizes in tiles of their own."""
    flags = "--weights codec.npz --channel awgn --size native --memory 0.01"
    said = transmit(f"{flags} --limit 1 --out whole", capsys)
    assert "deepjscc: 60 x 40 whole, 0 and 0 columns and rows mirrored" in said
    (row,) = read_csv(folder / "whole" / "table.csv")
    assert row["channel_uses"] == 10 * 15 * 4 and row["side_information_bits"] == 16 + 32
    assert row["cbr"] == pytest.approx(600 / (40 * 60 * 3))
    said = transmit(f"{flags} --out tiles", capsys)
    assert "deepjscc: up to 60 x 50 in 2 x 2 tiles of 32 x 32, 4 and 14 columns and rows mirrored" in said
    (row,) = read_csv(folder / "tiles" / "table.csv")
    assert row["channel_uses"] == 4 * 64 * 4 and row["side_information_bits"] == 4 * 16 + 32
    assert row["cbr"] == pytest.approx(np.mean([1024 / (3 * height * width) for height, width in SIZES.values()]))
    received = sorted((folder / "tiles" / "pictures").glob("b-uav0-awgn*"))
    assert [Image.open(path).size for path in received] == [(36, 50)]
    # The PSNR of the table is that of the files, over the whole picture.
    errors = []
    for name, pixels in pictures.items():
        (file,) = (folder / "tiles" / "pictures").glob(f"{name[0]}-uav0-awgn*")
        errors.append(np.mean((np.asarray(Image.open(file), float) - pixels) ** 2))
    assert np.mean(-10 * np.log10(np.array(errors) / 255**2)) == pytest.approx(row["psnr_db"], abs=0.3)


def test_what_cannot_be_is_refused_in_one_line(folder, pictures, capsys):
    command = "transmit --images p --uavs 1 --out out --loc centre"
    for flags, words in {
        "--size 8": "--size",
        "--size 96x": "--size",
        "--size native --scale-aware": "scale_aware: P_r follows the object's share",
        "--size native --memory 1e-9": "Resources.memory_budget 1 bytes is less than one channel realisation",
    }.items():
        assert main([*shlex.split(command), *shlex.split(flags)]) == 2
        err = capsys.readouterr().err
        assert words in err and err.count("\n") == 1
    assert main(shlex.split("sweep --store s.sqlite --size native")) == 2
    assert "SweepConfig.boxes, limit and views, and size, are for a folder of pictures" in capsys.readouterr().err


# VmHWM is of this program alone; ru_maxrss of a process starts from the memory of the one that started it.
PEAK = """
import sys
from lvm_mtc.cli import main
code = main(sys.argv[1:])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")))
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not say a process's peak")
def test_a_frame_stays_within_the_memory_that_the_page_states(tmp_path):
    """A process of its own, whose peak is that of this frame alone."""
    text = " ".join((ROOT / "docs" / "native_size.md").read_text().split())
    base, slope = map(float, re.search(r"take at most ([\d.]+) GiB and ([\d.]+) GiB a million pixels", text).groups())
    width, height = 1152, 864
    coarse = np.random.default_rng(0).integers(0, 256, (height // 32, width // 32, 3), np.uint8)
    Image.fromarray(np.kron(coarse, np.ones((32, 32, 1), np.uint8))).save(tmp_path / "frame.png")
    command = "transmit --images frame.png --out result --size native --uavs 1 --snr-db 10 --channel rayleigh"
    more = "--realisations 2 --schemes importance-pca --memory 0.5"
    # Compiled as users compile: programs that nobody optimised take more than twice the memory.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    environment |= {"PYTHONPATH": str(ROOT), "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *f"{command} {more}".split()],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 0.3 < int(done.stdout.split()[-1]) / 2**20 <= base + slope * width * height / 1e6
