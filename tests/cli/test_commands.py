import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lvm_mtc
from lvm_mtc.cli import main, names
from lvm_mtc.cli.pictures import CAMERA_SIZE, Views, find_objects, load_views, read_boxes
from lvm_mtc.cli.train import read_config
from lvm_mtc.data.detection_packing import DetectionSet, save_detection_sets
from lvm_mtc.knowledge import FILTERS, Located
from lvm_mtc.link.config import CONVENTIONS
from lvm_mtc.link.fading import FADINGS
from lvm_mtc.models.detection import Detections
from lvm_mtc.phy.mimo import EQUALIZERS
from lvm_mtc.report.choices import STYLES
from lvm_mtc.results.table import read_csv
from lvm_mtc.sweep.named import MASKINGS
from lvm_mtc.training.recipe import Recipe

pytestmark = pytest.mark.usefixtures("fast_compile")

SEND = "transmit --images photos --weights small.npz --schemes object --channel awgn --realisations 2 --uavs 1"
CENTRE = f"{SEND} --loc centre"


def test_version_and_help(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"lvm-mtc {lvm_mtc.__version__}\n"
    for command in ([], ["demo"], ["transmit"], ["train"]):
        assert main([*command, "--help"]) == 0
        assert "example" in capsys.readouterr().out or not command


def test_transmit(folder, capsys):
    assert main(shlex.split(f"{CENTRE} --out out --snr-db -5,20 --csi-error 0")) == 0
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
    assert main(shlex.split(f"{CENTRE} --out out --snr-db -5,20 --csi-error 0 --overwrite")) == 0
    assert sorted(path.name for path in (folder / "out").iterdir()) == made
    assert (folder / "out" / "table.csv").read_bytes() == table

    # Other masks and channels.
    assert main(shlex.split(f"{CENTRE} --out other --snr-db -5,20 --csi-error 0 --seed 1 --views folder")) == 0
    assert (folder / "other" / "table.csv").read_bytes() != table


@pytest.mark.slow
def test_uavs_at_places(folder, fast_compile, capsys):
    """The carrier is the scene's, whose picture from above stands below the sheet."""
    assert main(shlex.split(f"{CENTRE} --out out --snr-db 10 --positions place.json --carrier 2e9")) == 0
    assert "out/scene.png" in capsys.readouterr().out
    record = json.loads((folder / "out" / "lvm-mtc-result.json").read_text())
    assert record["links"]["awgn"]["scene"]["carrier_frequency"] == 2e9
    sheet, scene = (np.asarray(Image.open(folder / "out" / name).convert("RGB")) for name in ("sheet.png", "scene.png"))
    width, height = min(sheet.shape[1], scene.shape[1]), scene.shape[0]
    left = [(picture.shape[1] - width) // 2 for picture in (sheet, scene)]
    below, alone = (part[:, start : start + width] for part, start in zip((sheet[-height:], scene), left, strict=True))
    assert sheet.shape[0] > height and np.array_equal(below, alone)
    (folder / "mapped.json").write_text('{"positions": [[100, 0, 50]], "carrier_frequency": 3e9}')
    assert main(shlex.split(f"{CENTRE} --out more --positions mapped.json --carrier 2e9")) == 2
    assert "carrier_frequency 3000000000.0 already" in capsys.readouterr().err


@pytest.mark.slow
def test_transmit_sends_whole_pictures(folder, capsys):
    command = (
        "transmit --images photos --weights codec.npz --channel rayleigh,awgn --realisations 2 --uavs 1 --loc centre "
        "--snr-db 20,5 --out out"
    )
    assert main(shlex.split(command)) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in out if line.startswith("deepjscc, ")] == ["rayleigh", "awgn"]
    rows = read_csv(folder / "out" / "table.csv")
    assert [(row["scheme"], row["channel"], row["snr_db"]) for row in rows] == [
        ("deepjscc", channel, snr_db) for channel in ("rayleigh", "awgn") for snr_db in (20, 5)
    ]
    for row in rows:
        assert [row[name] for name in ("mask_prob", "epsilon", "kept_patches", "keep_rate_inside")] == [None] * 4
        assert row["channel_uses"] == 8 * 8 * 4 and row["num_pictures"] == 3 and row["psnr_inside_db"] > 0
    assert len(list((folder / "out" / "pictures").iterdir())) == 3 * (1 + 2 * 2)
    record = json.loads((folder / "out" / "lvm-mtc-result.json").read_text())
    assert record["systems"]["deepjscc"]["num_symbols"] == 4 and record["masking"] == {}
    assert main([*shlex.split(command), "--overwrite", "--schemes", "object"]) == 2
    assert "scheme 'object' needs weights of a scheme that masks patches" in capsys.readouterr().err


def test_names_on_the_command_line_are_the_librarys():
    assert set(names.CHANNELS) == set(FADINGS) and names.CONVENTIONS == CONVENTIONS
    assert set(names.EQUALIZERS) == set(EQUALIZERS)
    assert set(names.CONTENDERS) == set(MASKINGS) and set(names.GOAL_FILTERS) == set(FILTERS)
    assert set(names.STYLES) == set(STYLES)


def test_demo_finds_its_weights_or_says_what_is_missing(folder, capsys, monkeypatch):
    from lvm_mtc.cli import sending

    monkeypatch.setattr(sending, "DEMO_WEIGHTS", Path("no-such-weights.npz"))
    assert main(["demo", "--out", "out"]) == 2
    assert "no-such-weights.npz" in capsys.readouterr().err
    assert not (folder / "out").exists()


def load(folder, **changes):
    options = dict(size=32, num_uavs=2, views="cut", overlap=0.5, boxes=None, limit=None)
    return load_views(folder / "photos" / changes.pop("path", ""), **(options | changes))


def test_cut_views_overlap(folder):
    found = load(folder)
    assert found.labels == ("p0", "p1", "p2") and found.images.shape == (3, 2, 32, 32, 3)
    # Neighbours share half of their side; resampling at the seams aside, the pixels agree.
    left, right = found.images[0, 0, :, 16:], found.images[0, 1, :, :16]
    assert np.median(np.abs(left - right)) < 0.02
    assert np.median(np.abs(found.images[0, 0] - found.images[0, 1])) > 0.05


@pytest.mark.parametrize("views", ["cut", "folder"])
def test_cameras_show_the_same_with_more_pixels(folder, views):
    found = load(folder, views=views, num_uavs=3)
    assert found.cameras.shape == (*found.images.shape[:2], CAMERA_SIZE, CAMERA_SIZE, 3)
    small = found.cameras.reshape(-1, 3, 32, CAMERA_SIZE // 32, 32, CAMERA_SIZE // 32, 3).mean((3, 5)) / 255
    assert np.abs(small - found.images).mean() < 0.03


def test_folder_views_are_the_pictures(folder):
    found = load(folder, views="folder", num_uavs=3)
    assert found.labels == ("p0",) and found.images.shape == (1, 3, 32, 32, 3)
    assert np.isnan(found.boxes).all()
    assert load(folder, views="folder", num_uavs=1, limit=2).labels == ("p0", "p1")


def test_groups_follow_the_numbers_and_are_named(folder, capsys):
    (folder / "shots").mkdir()
    colours = {f"shot{number}.png": 20 * number for number in range(1, 13)}
    for name, colour in colours.items():
        Image.new("RGB", (40, 40), (colour, 0, 0)).save(folder / "shots" / name)
    options = dict(size=32, num_uavs=4, views="folder", overlap=0.5, boxes=None)
    found = load_views(folder / "shots", limit=8, **options)
    assert capsys.readouterr().out == (
        "group shot1: shot1.png, shot2.png, shot3.png, shot4.png\n"
        "group shot5: shot5.png, shot6.png, shot7.png, shot8.png\n"
        "shot1.png and 7 more: 40 x 40: whole, resized to 32 x 32\n"
    )
    np.testing.assert_allclose(found.images[:, :, 0, 0, 0] * 255, [[20, 40, 60, 80], [100, 120, 140, 160]], atol=1e-3)
    assert load_views(folder / "shots", limit=None, **options).labels == ("shot1", "shot5", "shot9")
    capsys.readouterr()
    load(folder)
    assert capsys.readouterr().out == "p0.png and 2 more: 100 x 80: 2 views of 67 x 67, resized to 32 x 32\n"


@pytest.mark.slow
def test_transmit_says_which_pictures_make_each_group(folder, capsys):
    assert main(shlex.split(f"{CENTRE} --out out --views folder --snr-db 20 --limit 2")) == 0
    assert "group p0: p0.png\ngroup p1: p1.png\n" in capsys.readouterr().out


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_json_of_other_programs_is_understood(folder, encoding):
    (folder / "boxes.json").write_text(json.dumps({"p1.png": [50, 40, 20, 10]}), encoding=encoding)
    assert read_boxes(folder / "boxes.json", ["p1.png"]) == {"p1.png": [50, 40, 20, 10]}
    (folder / "recipe.json").write_text(json.dumps(RECIPE), encoding=encoding)
    assert read_config(folder / "recipe.json", []) == RECIPE


@pytest.mark.parametrize("head", [b"\xef\xbb\xbf", b"# -*- coding: latin-1 -*-\n# caf\xe9\n"])
def test_a_python_configuration_is_read_as_python_reads_it(folder, head):
    (folder / "recipe.py").write_bytes(head + f"def get_config():\n    return {RECIPE!r}\n".encode())
    assert read_config(folder / "recipe.py", []) == RECIPE


def test_boxes_follow_their_picture(folder):
    (folder / "boxes.json").write_text(json.dumps({"p1.png": [50, 40, 20, 10]}))
    found = load(folder, views="folder", num_uavs=3, boxes=folder / "boxes.json")
    # 100 x 80 pixels: the middle 80 x 80 become 32 x 32.
    np.testing.assert_allclose(found.boxes[0, 1], [16, 16, 8, 4], rtol=1e-5)
    assert np.isnan(found.boxes[0, [0, 2]]).all()
    cut = load(folder, boxes=folder / "boxes.json")
    assert np.all(cut.boxes[1, :, 2:] > 0) and np.isnan(cut.boxes[[0, 2]]).all()


class Finder:
    """A knowledge base that finds one box in bright pictures and nothing in dark ones."""

    def __init__(self, name="label", note=""):
        self.name, self.note, self.sizes = name, note, []

    def locate(self, images, task_text):
        self.sizes.append(len(images))
        found = images.mean((1, 2, 3)) > 127
        loc = np.where(found[:, None], [60, 80, 100, 40], [160, 160, 160, 160])
        return Located(np.float32(loc), self.name, self.note, found, np.int32(found) - 1, None)


def brightness(bright, boxes=None):
    """Views that are bright or dark; boxes where they are given."""
    bright = np.asarray(bright, bool)
    pixels = np.where(bright, 200, 10)[..., None, None, None]
    cameras = np.broadcast_to(np.uint8(pixels), (*bright.shape, CAMERA_SIZE, CAMERA_SIZE, 3))
    images = np.zeros((*bright.shape, 32, 32, 3), np.float32)
    return Views(("a",) * len(bright), images, cameras, np.full((*bright.shape, 4), np.nan) if boxes is None else boxes)


def test_objects_are_given_or_found_or_in_the_middle():
    boxes = np.full((2, 2, 4), np.nan, np.float32)
    boxes[0, 1] = [1, 2, 3, 4]
    views = brightness([[1, 1], [0, 1]], boxes)
    loc, source = find_objects(views, Finder(), "a dog")
    np.testing.assert_allclose(loc, [[[6, 8, 10, 4], [1, 2, 3, 4]], [[16, 16, 16, 16], [6, 8, 10, 4]]])
    assert source == (
        "boxes given for 1 of 4 views, knowledge base, filter 'label' for 'a dog': an object in 2 of 3 "
        "views, the middle of 1"
    )
    loc, source = find_objects(views, None, "")
    np.testing.assert_allclose(loc[1], [[16, 16, 16, 16]] * 2)
    assert source == "boxes given for 1 of 4 views, the middle of 3 views"
    assert find_objects(brightness([[1]], np.ones((1, 1, 4))), None, "").source == "boxes given for 1 of 1 views"


@pytest.mark.parametrize(
    ("name", "note", "text", "words"),
    [
        ("score", "", "a dog", "filter 'score' (which does not read the text 'a dog'): an object in 1 of 1 views"),
        ("score", "the task text is empty", "", "filter 'score' (the task text is empty)"),
        ("clip", "", "a dog", "filter 'clip' for 'a dog'"),
    ],
)
def test_the_filter_is_named(name, note, text, words):
    assert words in find_objects(brightness([[1]]), Finder(name, note), text).source


def test_many_views_go_in_equal_parts():
    finder = Finder()
    bright = np.arange(70).reshape(35, 2) % 3 > 0
    loc = find_objects(brightness(bright), finder, "").loc
    assert finder.sizes == [24, 24, 24]
    np.testing.assert_array_equal(loc[..., 0] == 6, bright)


@pytest.mark.slow
@pytest.mark.parametrize("text", ["a dog", ""])
def test_transmit_asks_the_shipped_detector(folder, capsys, text):
    command = shlex.split(f"{SEND} --out out --snr-db 20 --limit 1") + ["--task", text]
    assert main(command) == 0
    why = f"which does not read the text '{text}'" if text else "the task text is empty"
    assert f"loc: knowledge base, filter 'score' ({why}): an object in" in capsys.readouterr().out
    record = json.loads((folder / "out" / "lvm-mtc-result.json").read_text())
    assert record["loc"]["source"].startswith("knowledge base") and np.shape(record["loc"]["boxes"]) == (1, 1, 4)
    assert record["command"]["task"] == text


def test_one_picture_and_equal_stems(folder):
    one = load(folder, path="p0.png")
    assert one.labels == ("p0",)
    Image.open(folder / "photos" / "p0.png").save(folder / "photos" / "p0.bmp")
    assert load(folder).labels == ("p0.bmp", "p0.png", "p1", "p2")


STAGE = dict(batch_size=4, total_steps=2)
RECIPE = dict(
    scheme="lvm_mtc",
    config=dict(variant="tiny", image_size=32, num_symbols=8),
    scenarios=[dict(num_groups=2, num_uavs=2)],
    stages=dict(token=STAGE, channel=STAGE, system=STAGE),
)


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
    command = f"train --config {config} --stage token --data pictures.npz --run-dir runs/a"
    command += " --set stages.token.total_steps=7"
    assert main(shlex.split(command)) == 0
    ((recipe, stage, data, run_dir),) = train_call
    assert isinstance(recipe, Recipe) and recipe.config["num_symbols"] == 8
    assert recipe.stages["token"].total_steps == 7 and recipe.stages["channel"].total_steps == 2
    assert (stage, data, run_dir) == ("token", Path("pictures.npz"), Path("runs/a"))
    assert capsys.readouterr().out == "weights: runs/a/token/weights.npz\n"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("--set stages.token.total_step=7", ["Recipe.stages.token.total_step", "did you mean 'total_steps'"]),
        ("--set stages.token.total_steps=many", ["Recipe.stages.token.total_steps", "'many'"]),
        ("--set ranges.knobs.mask_probs=[0.1,0.2]", ["Recipe.ranges.knobs.mask_probs", "did you mean 'mask_prob'"]),
        ("--stage tokens", ["stage 'tokens' is unknown", "token, channel, system"]),
        ("--set token.total_steps=7", ["token is now stages.token"]),
        ("--set system.num_symbols=4", ["recipe.json", "system is now scheme", "config"]),
        ("--set scheme=lvm_mtd", ["scheme 'lvm_mtd'", "did you mean 'lvm_mtc'"]),
        ("--set config.image_size=33", ["image_size 33", "patch_size 8"]),
        ("--set stages.token.batch_size=5", ["stages.token.batch_size 5", "4 pictures"]),
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


@pytest.fixture
def detector_call(folder, monkeypatch):
    calls = []

    def run(recipe, packs, run_dir, **others):
        calls.append((recipe, packs, Path(run_dir), others))
        return Path(run_dir) / "phase0_32" / "weights.npz"

    monkeypatch.setattr("lvm_mtc.cli.train_detector.run_detector_training", run)
    for size, count in ((32, 3), (40, 2)):
        boxes = np.tile(np.float32([16, 16, 8, 8]), (count, 1, 1))
        packed = DetectionSet(
            np.zeros((count, size, size, 3), np.uint8),
            np.full((count, 2), size, np.int32),
            boxes,
            np.zeros((count, 1), np.int32),
            np.ones((count, 1), bool),
            np.array(["a/b.jpg"] * count),
        )
        save_detection_sets(folder / f"{size}.npz", {"train": packed, "val": packed})
    phase = dict(size=32, train=dict(batch_size=2, total_steps=2))
    (folder / "detector.json").write_text(json.dumps({"about": {"teacher": "none"}, "phases": [phase]}))
    return calls


def test_the_detector_is_a_stage_of_train(detector_call, capsys):
    command = "train --config detector.json --stage detector --data 32.npz 40.npz --run-dir runs/d --set num_classes=2"
    assert main(shlex.split(command)) == 0
    ((recipe, packs, run_dir, others),) = detector_call
    assert recipe.num_classes == 2 and recipe.phases[0].size == 32 and run_dir == Path("runs/d")
    assert [len(pack.pictures) for pack in packs] == [3, 2] and len(others["held_out"].pictures) == 2
    assert others["about"] == {"teacher": "none"} and others["guide"] is None
    found = Detections(
        np.tile(np.float32([16, 16, 8, 8]), (2, 1, 1)),
        np.ones((2, 1), np.float32),
        np.zeros((2, 1), np.int32),
        np.ones((2, 1), bool),
    )
    assert others["judge"](found, 40) == {"recall_at_10": 1, "top_box": 1, "ap50": pytest.approx(1), "size": 40}
    assert capsys.readouterr().out == "weights: runs/d/phase0_32/weights.npz\n"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("--stage token", ["--stage token", "--data", "--stage detector"]),
        ("--processes 2", ["--processes 2", "one process"]),
        ("--data small.npz", ["small.npz"]),
        ("--set phases=[]", ["phases"]),
        ("--set num_class=3", ["DetectorRecipe.num_class", "num_classes"]),
        ("--guide foreign.npz", ["foreign.npz"]),
        ("--run-dir small.npz", ["--run-dir small.npz", "not a folder"]),
    ],
)
def test_wrong_input_for_the_detector(detector_call, folder, capsys, change, words):
    before = sorted(folder.rglob("*"))
    command = f"train --config detector.json --stage detector --data 32.npz 40.npz --run-dir runs/d {change}"
    assert main(shlex.split(command)) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and all(word in err for word in words), err
    assert not detector_call and sorted(folder.rglob("*")) == before


def test_a_missing_guide_is_named(detector_call, folder, capsys):
    phase = dict(size=32, guide_weight=1.0, train=dict(batch_size=2, total_steps=2))
    (folder / "guided.json").write_text(json.dumps({"phases": [phase]}))
    assert main(shlex.split("train --config guided.json --stage detector --data 32.npz --run-dir runs/d")) == 2
    assert "--guide" in capsys.readouterr().err
