import numpy as np
import pytest
from PIL import Image

from experiments.demo import pack_pictures as pack_pictures_script
from lvm_mtc.data import center_to_corners, load_packed, pack_pictures, packing, save_packed, training_sources
from lvm_mtc.data.packing import PackedPictures, pack_picture, square_window

BOX = (11, 1, 30, 40)  # xmin, ymin, xmax, ymax as VOC counts them


def picture(path, height=40, width=60, color=(9, 9, 9)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), color).save(path)


@pytest.fixture
def data(tmp_path):
    """A data folder of the real one's layout: 41 photographs, 2 x 20 aerial ones, 3 + 1 of VOC, and test material."""
    root = tmp_path / "data"
    for index in range(41):
        picture(root / "imagenet1000_160" / f"n{index:04d}.png", color=(index, 0, 0))
    for scene in ("Beach", "Airport"):
        for index in range(20):
            picture(root / "aid150" / scene / f"{index:02d}.png", 50, 50, color=(0, index, len(scene)))
    picture(root / "kodak" / "kodim01.png")
    picture(root / "uav_brighton_beach" / "DJI_0018.png")
    voc = root / "voc2012_320"
    objects = {"v1": [BOX, (41, 1, 45, 5)], "v2": [], "v3": [(1, 1, 60, 40)], "v4": [(41, 21, 60, 40)]}
    for name, boxes in objects.items():
        picture(voc / "JPEGImages" / f"{name}.jpg")
        edges = "".join(
            "<object><name>dog</name><bndbox>"
            + "".join(f"<{e}>{v}</{e}>" for e, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
            + "</bndbox></object>"
            for box in boxes
        )
        (voc / "Annotations").mkdir(exist_ok=True)
        size = "<size><width>60</width><height>40</height></size>"
        (voc / "Annotations" / f"{name}.xml").write_text(f"<annotation>{size}{edges}</annotation>")
    (voc / "ImageSets" / "Main").mkdir(parents=True)
    (voc / "ImageSets" / "Main" / "train.txt").write_text("v1\nv2\nv3\n")
    (voc / "ImageSets" / "Main" / "val.txt").write_text("v4\n")
    return root


def test_every_20th_picture_and_the_val_list_are_held_out(data):
    sources = training_sources(data)
    held = [item.name for item in sources if item.holdout]
    photographs = [f"imagenet1000_160/n{index:04d}.png" for index in (19, 39)]
    aerial = ["aid150/Airport/19.png", "aid150/Beach/19.png"]
    assert held == photographs + aerial + ["voc2012_320/JPEGImages/v4.jpg"]
    assert len(sources) == 41 + 40 + 4 and len({item.name for item in sources}) == len(sources)


def test_test_material_is_never_packed(data):
    names = " ".join(item.name for item in training_sources(data))
    assert "kodak" not in names and "brighton" not in names and "voc2012_320" in names


def test_packed_pictures_belong_to_their_names_and_boxes(data):
    packed = pack_pictures(training_sources(data), 20)
    assert packed.pictures.shape == (80, 20, 20, 3) and packed.holdout_pictures.shape == (5, 20, 20, 3)
    assert packed.pictures.dtype == np.uint8 and packed.boxes.dtype == np.float32
    rows = {name: row for row, name in enumerate(packed.source)}
    assert (packed.pictures[rows["imagenet1000_160/n0007.png"]] == [7, 0, 0]).all()
    assert (packed.pictures[rows["aid150/Beach/03.png"]] == [0, 3, 5]).all()
    assert (packed.holdout_pictures[1] == [39, 0, 0]).all()
    np.testing.assert_array_equal(packed.boxes[rows["aid150/Beach/03.png"]], [10, 10, 10, 10])
    np.testing.assert_array_equal(packed.boxes[rows["voc2012_320/JPEGImages/v2.jpg"]], [10, 10, 10, 10])
    # v1: pixels 10 to 30 of 60; the centred square 10 to 50 holds them; scale 1/2
    np.testing.assert_allclose(packed.boxes[rows["voc2012_320/JPEGImages/v1.jpg"]], [5, 10, 10, 20])
    # v4: pixels 40 to 60: the square moves to 20 to 60
    np.testing.assert_allclose(packed.holdout_boxes[-1], [15, 15, 10, 10])
    assert packed.annotated.sum() == 2 and packed.holdout_annotated.tolist() == [False] * 4 + [True]


def test_the_square_keeps_the_object_and_moves_no_further_than_it_must():
    rng = np.random.default_rng(2)
    for _ in range(500):
        height, width = (int(v) for v in rng.integers(50, 300, 2))
        w, h = rng.uniform(5, width), rng.uniform(5, height)
        box = (rng.uniform(w / 2, width - w / 2), rng.uniform(h / 2, height - h / 2), w, h)
        left, top, right, bottom = square_window(height, width, box)
        side = min(height, width)
        assert right - left == pytest.approx(side) and bottom - top == pytest.approx(side)
        assert left >= 0 and top >= 0 and right <= width + 1e-9 and bottom <= height + 1e-9
        corners = center_to_corners(box)
        for low, high, start, length in ((0, 2, left, width), (1, 3, top, height)):
            middle = (length - side) / 2
            if corners[high] - corners[low] <= side:
                assert start <= corners[low] + 1e-9 and corners[high] <= start + side + 1e-9
                if start > middle + 1e-9:
                    assert start + side == pytest.approx(corners[high])
                if start < middle - 1e-9:
                    assert start == pytest.approx(corners[low])
            else:
                assert corners[low] - 1e-9 <= start and start + side <= corners[high] + 1e-9
    assert square_window(100, 160) == (30, 0, 130, 100)


def test_the_packed_box_lies_where_the_object_is_painted():
    image = np.zeros((90, 150, 3), np.uint8)
    image[20:60, 100:140, 1] = 255
    packed, box = pack_picture(image, 60, (120, 40, 40, 40))
    rows, columns = np.nonzero(packed[..., 1] > 127)
    measured = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(center_to_corners(box), measured, atol=1)
    assert np.abs(center_to_corners(box) + 3 - measured).min() > 1


def test_saving_and_loading_changes_nothing(data, tmp_path):
    packed = pack_pictures(training_sources(data), 16)
    save_packed(tmp_path / "new" / "a.npz", packed)
    for name, array in load_packed(tmp_path / "new" / "a.npz")._asdict().items():
        np.testing.assert_array_equal(array, getattr(packed, name))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.npz"]


def test_an_interrupted_save_leaves_the_old_file(data, tmp_path, monkeypatch):
    packed = pack_pictures(training_sources(data), 16)
    path = tmp_path / "a.npz"
    path.write_bytes(b"old")

    def interrupted(stream, **_):
        stream.write(b"half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(packing.np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_packed(path, packed)
    assert path.read_bytes() == b"old" and sorted(item.name for item in tmp_path.iterdir()) == ["a.npz", "data"]


def arrays(**changes):
    whole = {}
    for prefix in ("", "holdout_"):
        whole[prefix + "pictures"] = np.zeros((3, 8, 8, 3), np.uint8)
        whole[prefix + "boxes"] = np.zeros((3, 4), np.float32)
        whole[prefix + "source"] = np.array(["a", "b", "c"])
        whole[prefix + "annotated"] = np.zeros(3, bool)
    whole.update(changes)
    return {name: array for name, array in whole.items() if array is not None}


BAD_ARCHIVES = {
    "lacks a part": (arrays(holdout_boxes=None), "lacks holdout_boxes; expected a file of experiments/demo/"),
    "float pictures": (arrays(pictures=np.zeros((3, 8, 8, 3))), "pictures is float64"),
    "grey pictures": (arrays(holdout_pictures=np.zeros((3, 8, 8), np.uint8)), "holdout_pictures is uint8 .3, 8, 8."),
    "too few boxes": (arrays(boxes=np.zeros((2, 4))), r"boxes has shape \(2, 4\); expected \(3, 4\)"),
    "objects": (arrays(source=np.array([{}, {}, {}], dtype=object)), "no whole archive of plain arrays"),
}


@pytest.mark.parametrize("case", BAD_ARCHIVES)
def test_bad_archives_are_refused(tmp_path, case):
    content, reason = BAD_ARCHIVES[case]
    np.savez(tmp_path / "a.npz", **content)
    with pytest.raises(ValueError, match=reason) as caught:
        load_packed(tmp_path / "a.npz")
    assert "a.npz" in str(caught.value) and "\n" not in str(caught.value)


def test_damaged_and_missing_archives_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(ValueError, match="a.npz: does not exist"):
        load_packed(path)
    np.savez(path, **arrays())
    assert isinstance(load_packed(path), PackedPictures)
    content = path.read_bytes()
    flipped = content[:400] + bytes([content[400] ^ 1]) + content[401:]  # a sample of the first picture
    for damaged in (content[:500], content[: len(content) // 2], b"no archive", flipped):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="a.npz: is no whole archive") as caught:
            load_packed(path)
        assert "\n" not in str(caught.value)


def test_damage_anywhere_is_an_archive_or_a_refusal(tmp_path):
    rng = np.random.default_rng(11)
    path = tmp_path / "a.npz"
    np.savez(path, **arrays())
    content = path.read_bytes()
    refused = 0
    for _ in range(150):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 3):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            load_packed(path)
        except ValueError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 50


def test_a_set_without_held_out_pictures_is_refused(data):
    sources = [item for item in training_sources(data) if not item.holdout]
    with pytest.raises(ValueError, match="80 pictures to train on and 0 held out"):
        pack_pictures(sources, 8)


def test_a_picture_of_another_shape_than_its_annotation_is_refused(data):
    picture(data / "voc2012_320" / "JPEGImages" / "v3.jpg", 50, 60)
    with pytest.raises(ValueError, match=r"v3.jpg: has shape \(50, 60\); expected \(40, 60\), as annotated"):
        pack_pictures(training_sources(data), 8)


def test_the_script_packs(data, tmp_path, capsys):
    out = tmp_path / "out" / "pictures.npz"
    assert pack_pictures_script.main(["--data", str(data), "--out", str(out), "--size", "24"]) == 0
    assert "80 pictures, 5 held out" in capsys.readouterr().out
    assert load_packed(out).pictures.shape == (80, 24, 24, 3)


def test_the_script_refuses_in_one_line_and_leaves_nothing(data, tmp_path, capsys):
    out = tmp_path / "out" / "pictures.npz"
    (data / "aid150" / "Beach" / "07.png").write_bytes(b"broken")
    for arguments, reason in (
        (["--data", str(tmp_path / "missing")], "imagenet1000_160: does not exist"),
        (["--data", str(data)], "07.png: is not a picture"),
        (["--data", str(data), "--size", "0"], "size must be a positive integer"),
    ):
        assert pack_pictures_script.main([*arguments, "--out", str(out)]) == 2
        lines = capsys.readouterr().err.replace("\r", "\n").strip().splitlines()
        assert lines[-1].startswith("python -m experiments.demo.pack_pictures: ") and reason in lines[-1]
        assert not out.parent.exists()


def test_the_real_folders_give_the_stated_numbers(shared_data):
    sources = training_sources(shared_data)
    held = [item for item in sources if item.holdout]
    assert (len(sources) - len(held), len(held)) == (950 + 570 + 1200, 50 + 30 + 200)
    assert all(item.path.is_file() for item in sources)
