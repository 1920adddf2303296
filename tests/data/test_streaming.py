"""Streams of pictures: equal for equal seeds and steps, with and without workers; every file in turn; wrong input."""

import builtins
import itertools

import numpy as np
import pytest
from PIL import Image

from lvm_mtc.data.streaming import PictureStream


@pytest.fixture
def files(tmp_path):
    """Pictures of one colour each."""
    found = []
    for i in range(6):
        path = tmp_path / f"{i}.png"
        Image.fromarray(np.full((40 + i, 50, 3), 40 * i, np.uint8)).save(path)
        found.append(path)
    return found


def test_a_step_is_a_function_of_seed_and_step(files):
    stream, again, other = (PictureStream(files, 16, 4, seed=seed, num_workers=0) for seed in (1, 1, 2))
    five = list(itertools.islice(stream.batches(), 5))
    assert all(batch["pictures"].shape == (4, 16, 16, 3) and batch["pictures"].dtype == np.uint8 for batch in five)
    for step in (0, 3, 4):
        np.testing.assert_array_equal(again.batch(step)["pictures"], five[step]["pictures"])
    np.testing.assert_array_equal(next(again.batches(3))["pictures"], five[3]["pictures"])
    assert any(np.any(other.batch(step)["pictures"] != five[step]["pictures"]) for step in range(5))
    assert stream.empty()["pictures"].shape == five[0]["pictures"].shape


def test_every_file_once_before_any_again(files):
    stream = PictureStream(files, 8, 3, num_workers=0)
    shown = np.concatenate([stream.batch(step)["pictures"][:, 0, 0, 0] // 40 for step in range(6)])
    for epoch in shown.reshape(3, 6):
        assert sorted(epoch) == list(range(6))
    assert np.any(shown[:6] != shown[6:12])


@pytest.mark.slow
def test_workers_change_no_pixel(files):
    alone, workers = (PictureStream(files, 16, 4, num_workers=count) for count in (0, 2))
    for step, batch in zip(range(2, 7), workers.batches(2), strict=False):
        np.testing.assert_array_equal(batch["pictures"], alone.batch(step)["pictures"])


def test_crops_are_squares_of_the_picture_mirrored_at_random(tmp_path):
    """Of a ramp from left to right the mean slope tells how large the square was, its sign whether it was mirrored."""
    ramp = np.broadcast_to(np.arange(100, dtype=np.uint8)[None, :, None] * 2, (60, 100, 3))
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    stream = PictureStream([tmp_path / "ramp.png"], 20, 64, zoom=(0.5, 1.0), num_workers=0)
    rows = np.float64(stream.batch(0)["pictures"]).mean(axis=(1, 3))
    slope = (rows[:, 15] - rows[:, 4]) / 11 * 20 / 2  # pixels of the picture across the square
    assert np.all((np.abs(slope) > 29) & (np.abs(slope) < 61))
    assert np.abs(slope).min() < 35 and np.abs(slope).max() > 55
    assert 16 <= np.sum(slope < 0) <= 48


def test_wrong_input(files, tmp_path, monkeypatch):
    for arguments, message in (
        (([], 16, 4), "files is empty"),
        ((files, 0, 4), "0"),
        ((files, 16, 0), "PictureStream.batch_size must be >= 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            PictureStream(*arguments)
    with pytest.raises(ValueError, match=r"PictureStream.zoom must be two ascending shares in \(0, 1\], got \(0.5"):
        PictureStream(files, 16, 4, zoom=(0.5, 1.2))
    with pytest.raises(ValueError, match="PictureStream.num_workers must be >= 0, got -1"):
        PictureStream(files, 16, 4, num_workers=-1)
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    with pytest.raises(Exception, match=r"bad\.jpg"):
        PictureStream([tmp_path / "bad.jpg"], 16, 1, num_workers=0).batch(0)
    original = builtins.__import__
    monkeypatch.setattr(
        builtins,
        "__import__",
        lambda name, *a, **k: (_ for _ in ()).throw(ImportError()) if name == "grain" else original(name, *a, **k),
    )
    with pytest.raises(ValueError, match=r"pip install 'lvm-mtc\[stream\]'"):
        PictureStream(files, 16, 4)
