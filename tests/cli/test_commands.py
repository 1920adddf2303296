import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lvm_mtc
from lvm_mtc.cli import main
from lvm_mtc.cli.pictures import load_pictures
from lvm_mtc.evaluation.table import read_csv
from lvm_mtc.training.recipe import Recipe

pytestmark = pytest.mark.usefixtures("fast_compile")

SEND = "transmit --images photos --weights small.npz --schemes object --channel awgn --realisations 2 --uavs 1"


def test_version_and_help(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"lvm-mtc {lvm_mtc.__version__}\n"
    for command in ([], ["demo"], ["transmit"], ["train"]):
        assert main([*command, "--help"]) == 0
        assert "example" in capsys.readouterr().out or not command


def test_transmit(folder, capsys):
    assert main(shlex.split(f"{SEND} --out out --snr-db -5,20 --csi-error 0")) == 0
    out, err = capsys.readouterr()
    assert err == "" and "out/table.csv" in out and "3 x 1 pictures, 2 realisations" in out
    made = sorted(path.name for path in (folder / "out").iterdir())
    assert made == ["curves.png", "lvm-mtc-result.json", "pictures", "sheet.png", "table.csv"]
    assert not list(folder.glob(".out*"))
    rows = read_csv(folder / "out" / "table.csv")
    assert [row["snr_db"] for row in rows] == [-5, 20]
    record = json.loads((folder / "out" / "lvm-mtc-result.json").read_text())
    assert record["command"]["snr_db"] == [-5, 20] and record["links"]["awgn"]["num_rx_ant"] == 4
    picture = Image.open(folder / "out" / "pictures" / "p1-uav0-awgn--5dB-csi0.png")
    assert picture.size == (32, 32)

    # The same again, in place of the old; a stale file of the old result is gone.
    (folder / "out" / "stale.txt").touch()
    table = (folder / "out" / "table.csv").read_bytes()
    assert main(shlex.split(f"{SEND} --out out --snr-db -5,20 --csi-error 0 --overwrite")) == 0
    assert sorted(path.name for path in (folder / "out").iterdir()) == made
    assert (folder / "out" / "table.csv").read_bytes() == table

    # Other masks and channels.
    assert main(shlex.split(f"{SEND} --out other --snr-db -5,20 --csi-error 0 --seed 1 --views folder")) == 0
    assert (folder / "other" / "table.csv").read_bytes() != table


def test_demo_finds_its_weights_or_says_what_is_missing(folder, capsys, monkeypatch):
    from lvm_mtc.cli import study

    monkeypatch.setattr(study, "DEMO_WEIGHTS", Path("no-such-weights.npz"))
    assert main(["demo", "--out", "out"]) == 2
    assert "no-such-weights.npz" in capsys.readouterr().err
    assert not (folder / "out").exists()


def load(folder, **changes):
    options = dict(size=32, num_uavs=2, views="cut", overlap=0.5, boxes=None, limit=None)
    return load_pictures(folder / "photos" / changes.pop("path", ""), **(options | changes))


def test_cut_views_overlap(folder):
    found = load(folder)
    assert found.labels == ("p0", "p1", "p2") and found.images.shape == (3, 2, 32, 32, 3)
    # Neighbours share half of their side; resampling at the seams aside, the pixels agree.
    left, right = found.images[0, 0, :, 16:], found.images[0, 1, :, :16]
    assert np.median(np.abs(left - right)) < 0.02
    assert np.median(np.abs(found.images[0, 0] - found.images[0, 1])) > 0.05


def test_folder_views_are_the_pictures(folder):
    found = load(folder, views="folder", num_uavs=3)
    assert found.labels == ("p0",) and found.images.shape == (1, 3, 32, 32, 3)
    np.testing.assert_allclose(found.loc[0, 0], [16, 16, 16, 16])
    assert load(folder, views="folder", num_uavs=1, limit=2).labels == ("p0", "p1")


def test_boxes_follow_their_picture(folder):
    (folder / "boxes.json").write_text(json.dumps({"p1.png": [50, 40, 20, 10]}))
    found = load(folder, views="folder", num_uavs=3, boxes=folder / "boxes.json")
    np.testing.assert_allclose(found.loc[0, 0], [16, 16, 16, 16])
    # 100 x 80 pixels: the middle 80 x 80 become 32 x 32.
    np.testing.assert_allclose(found.loc[0, 1], [16, 16, 8, 4], rtol=1e-5)
    cut = load(folder, boxes=folder / "boxes.json")
    assert np.all(cut.loc[1, :, 2:] > 0)


def test_one_picture_and_equal_stems(folder):
    one = load(folder, path="p0.png")
    assert one.labels == ("p0",)
    Image.open(folder / "photos" / "p0.png").save(folder / "photos" / "p0.bmp")
    assert load(folder).labels == ("p0.bmp", "p0.png", "p1", "p2")


STAGE = dict(batch_size=4, total_steps=2)
RECIPE = dict(system=dict(variant="tiny", image_size=32, num_symbols=8), scenarios=[dict(num_groups=2, num_uavs=2)],
              token=STAGE, channel=STAGE, end_to_end=STAGE)


@pytest.fixture
def train_call(folder, monkeypatch):
    calls = []

    def run_stage(recipe, stage, data, run_dir, **_):
        calls.append((recipe, stage, Path(data), Path(run_dir)))
        return Path(run_dir) / stage / "weights.npz"

    monkeypatch.setattr("lvm_mtc.training.recipe.run_stage", run_stage)
    np.savez(folder / "pictures.npz", pictures=np.zeros((3, 40, 40, 3), np.uint8))
    (folder / "recipe.json").write_text(json.dumps(RECIPE))
    (folder / "recipe.py").write_text(f"def get_config():\n    return {RECIPE!r}\n")
    return calls


@pytest.mark.parametrize("config", ["recipe.json", "recipe.py"])
def test_train_hands_the_recipe_on(train_call, capsys, config):
    command = f"train --config {config} --stage token --data pictures.npz --run-dir runs/a --set token.total_steps=7"
    assert main(shlex.split(command)) == 0
    ((recipe, stage, data, run_dir),) = train_call
    assert isinstance(recipe, Recipe) and recipe.system.num_symbols == 8
    assert recipe.token.total_steps == 7 and recipe.channel.total_steps == 2
    assert (stage, data, run_dir) == ("token", Path("pictures.npz"), Path("runs/a"))
    assert capsys.readouterr().out == "weights: runs/a/token/weights.npz\n"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("--set token.total_step=7", ["Recipe.token.total_step", "did you mean 'total_steps'"]),
        ("--set token.total_steps=many", ["Recipe.token.total_steps", "'many'"]),
        ("--set system.image_size=33", ["image_size 33", "patch_size 8"]),
        ("--set token.batch_size=5", ["token.batch_size 5", "4 pictures"]),
        ("--data nothing.npz", ["nothing.npz"]),
        ("--data small.npz", ["small.npz", "packed pictures"]),
        ("--run-dir small.npz", ["--run-dir small.npz", "not a folder"]),
    ],
)
def test_wrong_training_input(train_call, folder, capsys, change, words):
    before = sorted(folder.rglob("*"))
    command = f"train --config recipe.json --stage token --data pictures.npz --run-dir runs/a {change}"
    assert main(shlex.split(command)) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and all(word in err for word in words), err
    assert not train_call and sorted(folder.rglob("*")) == before
