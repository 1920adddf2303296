"""Readers of point clouds: every format gives what was written, and every fault one line."""

import struct

import numpy as np
import pytest

from lvm_mtc.data.clouds import (
    Shape,
    list_clouds,
    load_cloud,
    load_packed_clouds,
    normalize_cloud,
    read_shape,
    sample_surface,
)

RNG = np.random.default_rng(1)
POINTS = np.float32(RNG.normal(size=(20, 3)))
SQUARE = np.float64([[0, 0, 0], [2, 0, 0], [2, 1, 0], [0, 1, 0], [5, 5, 5]])


def text_of(points):
    return "\n".join(" ".join(f"{value:.9g}" for value in row) for row in points)


def ply_bytes(order):
    mark = {"<": "little", ">": "big"}[order]
    head = (
        f"ply\nformat binary_{mark}_endian 1.0\ncomment made\nelement vertex 5\nproperty double x\nproperty uchar red\n"
        "property float y\nproperty float z\nelement face 1\nproperty uchar flag\n"
        "property list uchar int vertex_indices\nend_header\n"
    )
    rows = b"".join(struct.pack(f"{order}dBff", x, 7, y, z) for x, y, z in SQUARE)
    return head.encode() + rows + struct.pack(f"{order}BB4i", 1, 4, 0, 1, 2, 3)


PLY_TEXT = (
    "ply\nformat ascii 1.0\nelement vertex 5\nproperty float x\nproperty float y\nproperty float z\nelement face 1\n"
    f"property list uchar int vertex_index\nend_header\n{text_of(SQUARE)}\n4 0 1 2 3\n"
)


def test_every_format_gives_what_was_written(tmp_path):
    np.savez(tmp_path / "a.npz", other=np.zeros(3), points=POINTS)
    np.savez(tmp_path / "b.npz", only=POINTS)
    (tmp_path / "c.xyz").write_text("# made\n" + text_of(np.hstack([POINTS, POINTS])) + "\n\n")
    for name in ("a.npz", "b.npz", "c.xyz"):
        np.testing.assert_allclose(read_shape(tmp_path / name).vertices, POINTS, rtol=1e-6)
    (tmp_path / "d.off").write_text(f"OFF5 1 0 # as some files have it\n{text_of(SQUARE)}\n4 0 1 2 3\n")
    (tmp_path / "e.ply").write_text(PLY_TEXT)
    (tmp_path / "f.ply").write_bytes(ply_bytes("<"))
    (tmp_path / "g.PLY").write_bytes(ply_bytes(">"))
    for name in ("d.off", "e.ply", "f.ply", "g.PLY"):
        shape = read_shape(tmp_path / name)
        np.testing.assert_array_equal(shape.vertices, SQUARE)
        assert shape.triangles.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert [path.name for path in list_clouds(tmp_path, limit=2)] == ["a.npz", "b.npz"]
    assert list_clouds(tmp_path / "d.off") == [tmp_path / "d.off"]


def test_surfaces_are_sampled_by_their_area():
    corners = np.float64([[0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 9], [1, 0, 9], [0, 1, 9]])
    shape = Shape(corners, np.array([[0, 1, 2], [3, 4, 5]]))
    points = sample_surface(shape, 20000, np.random.default_rng(0))
    low = points[:, 2] == 0
    assert low.mean() == pytest.approx(0.75, abs=0.015)
    np.testing.assert_allclose(points[low].mean(0), [1, 1 / 3, 0], atol=0.02)
    assert np.all(points[low, 0] / 3 + points[low, 1] <= 1 + 1e-12) and np.all(points >= 0)


def test_clouds_come_to_the_unit_ball(tmp_path):
    (tmp_path / "a.xyz").write_text(text_of(POINTS * 7 + 3))
    cloud = load_cloud(tmp_path / "a.xyz", 20)
    np.testing.assert_allclose(cloud, normalize_cloud(POINTS), atol=1e-6)
    assert np.abs(cloud.mean(0)).max() < 1e-6 and np.linalg.norm(cloud, axis=1).max() == pytest.approx(1)
    fewer = load_cloud(tmp_path / "a.xyz", 8, seed=2)
    assert fewer.shape == (8, 3) and not np.array_equal(fewer, load_cloud(tmp_path / "a.xyz", 8, seed=3))
    np.testing.assert_array_equal(fewer, load_cloud(tmp_path / "a.xyz", 8, seed=2))


FAULTS = {
    "few.xyz": ("1 2 3\n4 5 6\n", "few.xyz: has 2 points and no faces, and 8 points"),
    "same.xyz": ("1 2 3\n" * 9, "must not all be the same"),
    "nan.xyz": ("1 2 3\n4 nan 6\n" * 9, "must be finite, point 1"),
    "word.xyz": ("1 2 three\n" * 9, "word.xyz: .*three"),
    "flat.xyz": ("1 2\n" * 6, "line 1 has no three numbers"),
    "ragged.xyz": ("1 2 3\n\n4 5\n" * 6, "line 3 has no three numbers"),
    "far.xyz": ("1e200 2 3\n4 5 6\n" * 9, "too far apart to be squared"),
    "f.off": (f"OFF 5 1 0\n{text_of(SQUARE)}\n-3 0 1 2\n", "a face has -3 corners"),
    "d.ply": (PLY_TEXT.replace("format ascii 1.0\n", ""), "not a readable .ply"),
    "e.ply": (
        PLY_TEXT.replace("property float z\n", "property float z\nelement nothing 1000000000000\n", 1)[:-12],
        "ends before its header says",
    ),
    "a.off": ("PLY 1", "begins with OFF, got 'PLY 1'"),
    "b.off": ("OFF\n3 1 0\n1 2 3\n", "ends before its 3 vertices"),
    "c.off": (f"OFF 5 1 0\n{text_of(SQUARE)}\n3 0 1 9\n", "names vertex 9, and there are 5"),
    "d.off": (f"OFF 5 1 0\n{text_of(SQUARE)}\n3 0 0 1\n", "must have an area"),
    "e.off": (f"OFF 5 2 0\n{text_of(SQUARE)}\n3 0 0 1\n", "not a readable .off"),
    "a.ply": ("off", "begins with ply"),
    "b.ply": (PLY_TEXT[:-12], "ends before its header says"),
    "c.ply": (PLY_TEXT.replace("property float z\n", ""), "not a readable .ply"),
    "a.npz": ("no archive", "a.npz: "),
    "a.stl": ("solid", "suffix '.stl' is none of .ply"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_one_line(tmp_path, name):
    content, message = FAULTS[name]
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        load_cloud(tmp_path / name, 8)
    assert "\n" not in str(caught.value) and name in str(caught.value)


@pytest.mark.parametrize("name", ["a.ply", "a.off", "a.xyz"])
def test_a_byte_order_mark_changes_nothing(tmp_path, name):
    text = {".ply": PLY_TEXT, ".off": f"OFF\n20 0 0\n{text_of(POINTS)}", ".xyz": text_of(POINTS)}[name[1:]]
    (tmp_path / name).write_text(text)
    plain = load_cloud(tmp_path / name, 4)
    (tmp_path / name).write_text(text, encoding="utf-8-sig")
    np.testing.assert_array_equal(load_cloud(tmp_path / name, 4), plain)


def test_packed_clouds_are_checked(tmp_path):
    path = tmp_path / "clouds.npz"
    np.savez(
        path, train=np.stack([normalize_cloud(POINTS)] * 2), test=POINTS[None] * 9, flat=POINTS, whole=[[[1, 2, 3]]]
    )
    assert load_packed_clouds(path, "train").shape == (2, 20, 3)
    for split, message in (("test", "unit ball"), ("flat", r"got \(20, 3\)"), ("whole", "int64"), ("none", "'none'")):
        with pytest.raises(ValueError, match=message):
            load_packed_clouds(path, split)
    with pytest.raises(ValueError, match="no such file"):
        load_packed_clouds(tmp_path / "gone.npz", "train")
    with pytest.raises(ValueError, match="holds no point cloud"):
        (tmp_path / "empty").mkdir()
        list_clouds(tmp_path / "empty")
