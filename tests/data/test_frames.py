import json
import math

import numpy as np
import pytest
from PIL import Image

from lvm_mtc.data import FramesError, ImageError, load_frames
from lvm_mtc.data.frames import FramePosition, local_metres, neighbours, read_positions

GOOD = [{"file": f"f{i}.png", "lat": 46.84, "lon": -91.99 + i * 1e-4 * (1 + 0.2 * i), "alt": 100.0} for i in range(5)]


def haversine(first, second):
    """Great-circle distance in metres on the sphere of 6,378,137 m."""
    lat1, lon1, lat2, lon2 = map(math.radians, (first.lat, first.lon, second.lat, second.lon))
    root = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * 6_378_137 * math.asin(math.sqrt(root))


@pytest.fixture
def survey(tmp_path):
    for i in range(5):
        Image.new("RGB", (60, 40), (50 * i, 0, 0)).save(tmp_path / f"f{i}.png")
    (tmp_path / "positions.json").write_text(json.dumps(GOOD))
    return tmp_path


def test_local_metres_agree_with_the_great_circle():
    rng = np.random.default_rng(0)
    for lat, lon in ((46.8, -92.0), (-33.0, 151.0), (0.0, 179.9999), (69.0, 18.0)):
        places = [
            FramePosition(str(i), lat + dy, (lon + dx + 180) % 360 - 180, 10.0 + i)
            for i, (dy, dx) in enumerate(rng.uniform(-1e-3, 1e-3, (6, 2)))
        ]
        metres = local_metres(places)
        for place, offset in zip(places[1:], metres[1:], strict=True):
            assert math.hypot(offset[0], offset[1]) == pytest.approx(haversine(places[0], place), rel=1e-3)
        np.testing.assert_allclose(metres[:, 2], np.arange(6))


def test_east_and_north_have_their_signs():
    metres = local_metres(
        [FramePosition("a", 10, 10, 5), FramePosition("b", 10.001, 10, 5), FramePosition("c", 10, 10.001, 7)]
    )
    assert metres[1, 1] > 100 and abs(metres[1, 0]) < 1e-6
    assert metres[2, 0] > 100 and abs(metres[2, 1]) < 1e-6 and metres[2, 2] == 2


def test_the_nearest_frames_are_chosen(survey):
    positions = read_positions(survey / "positions.json")
    for start in positions:
        by_distance = sorted(positions, key=lambda other: haversine(start, other))
        assert neighbours(positions, 3, start=start.file) == by_distance[:3]
    assert load_frames(survey, 2, size=8).names == ("f0.png", "f1.png")  # the gaps widen from frame to frame


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_positions_with_a_byte_order_mark_are_read(survey, encoding):
    (survey / "positions.json").write_text(json.dumps(GOOD), encoding=encoding)
    assert [position.file for position in read_positions(survey / "positions.json")] == [f"f{i}.png" for i in range(5)]


def test_views_boxes_and_positions_belong_to_the_names(survey):
    frames = load_frames(survey, 3, size=16, start="f3.png")
    assert frames.names == ("f3.png", "f2.png", "f4.png")
    assert frames.views.shape == (3, 16, 16, 3)
    np.testing.assert_array_equal(frames.views[:, 0, 0, 0], [150, 100, 200])
    np.testing.assert_array_equal(frames.boxes, [[8, 8, 8, 8]] * 3)
    assert frames.positions[1, 0] < 0 < frames.positions[2, 0]
    assert load_frames(survey, 1, size=16).views.shape == (1, 16, 16, 3)


def test_two_frames_at_one_place_keep_the_first_first():
    twins = [FramePosition(name, 1.0, 1.0, 0.0) for name in "abc"]
    assert [item.file for item in neighbours(twins, 2, start="c")] == ["c", "a"]


def with_entry(**changes):
    entry = {**GOOD[0], **changes}
    return json.dumps(GOOD[1:] + [{name: value for name, value in entry.items() if value is not ...}])


BAD_POSITIONS = {
    "empty file": ("", "is empty"),
    "no json": ("lat lon", "is not JSON"),
    "cut off": (json.dumps(GOOD)[:90], "is not JSON"),
    "binary": (b"\xff\xfe\xff", "is not JSON"),
    "nested without end": ("[" * 100_000, "is not JSON"),
    "an object": (json.dumps({"frames": GOOD}), "holds no list of frames"),
    "an empty list": ("[]", "holds no list of frames"),
    "a list of names": ('["f0.png"]', "entry 0 is no object"),
    "no file": (with_entry(file=...), "entry 4 has file None"),
    "no latitude": (with_entry(lat=...), "entry 4 .f0.png. has lat None"),
    "no altitude": (with_entry(alt=...), "has alt None"),
    "text for a number": (with_entry(lon="-91.99"), "has lon '-91.99'"),
    "true for a number": (with_entry(lat=True), "has lat True"),
    "nan": (with_entry(lat=float("nan")), "has lat nan"),
    "infinite": (with_entry(alt=float("inf")), "has alt inf"),
    "beyond the pole": (with_entry(lat=90.5), r"has lat 90.5; expected a number in \[-90, 90\]"),
    "beyond the date line": (with_entry(lon=181), "has lon 181"),
    "a path": (with_entry(file="../f0.png"), "has file '../f0.png'"),
    "an absolute path": (with_entry(file="/etc/passwd"), "has file '/etc/passwd'"),
    "dots": (with_entry(file=".."), r"has file '\.\.'"),
    "a name twice": (with_entry(file="f1.png"), "names 'f1.png' twice"),
}


@pytest.mark.parametrize("case", BAD_POSITIONS)
def test_bad_positions_are_refused_in_one_line(survey, case):
    content, reason = BAD_POSITIONS[case]
    (survey / "positions.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(FramesError, match=reason) as caught:
        load_frames(survey, 2, size=8)
    assert "\n" not in str(caught.value) and "positions.json" in str(caught.value)


def test_bad_requests_are_refused(survey, tmp_path):
    for arguments, reason in (
        ({"num_uavs": 6}, "names 5 frames; expected at least 6"),
        ({"num_uavs": 0}, "num_uavs must be a positive integer, got 0"),
        ({"num_uavs": 1.5}, "num_uavs must be a positive integer, got 1.5"),
        ({"size": -1}, "size must be a positive integer"),
        ({"start": "f9.png"}, "start 'f9.png' is not in positions.json; expected one of f0.png to f4.png"),
    ):
        with pytest.raises(ValueError, match=reason):
            load_frames(survey, **{"num_uavs": 2, "size": 8, **arguments})
    with pytest.raises(FramesError, match="does not exist; expected a folder"):
        load_frames(tmp_path / "missing", 2, size=8)
    (survey / "f1.png").unlink()
    with pytest.raises(ImageError, match="f1.png: does not exist"):
        load_frames(survey, 2, size=8)
    (survey / "positions.json").unlink()
    with pytest.raises(FramesError, match="positions.json: does not exist"):
        load_frames(survey, 2, size=8)


def best_match(template, view):
    """Largest normalised cross-correlation of a square template over all places in a view."""
    template = template - template.mean()
    windows = np.lib.stride_tricks.sliding_window_view(view, template.shape)
    windows = windows - windows.mean(axis=(-1, -2), keepdims=True)
    power = (windows**2).sum(axis=(-1, -2)) * (template**2).sum()
    return float(((windows * template).sum(axis=(-1, -2)) / np.sqrt(power)).max())


def test_real_neighbours_show_the_same_ground(shared_data):
    """A piece of the first frame is found again in its two neighbours, and not in the most distant frame."""
    frames = load_frames(shared_data / "uav_brighton_beach", 18, size=96)
    distance = np.linalg.norm(frames.positions[:, :2], axis=1)
    assert (np.diff(distance) >= 0).all() and distance[2] < 20 and distance[17] > 40
    first, *others = (frames.views[k].astype(float).mean(axis=-1) for k in (0, 1, 2, 17))
    pieces = [first[i : i + 32, j : j + 32] for i in (0, 32, 64) for j in (0, 32, 64)]
    near_one, near_two, distant = (max(best_match(piece, view) for piece in pieces) for view in others)
    assert min(near_one, near_two) > 0.88 and distant < 0.8, (near_one, near_two, distant)
