"""Clips from folders of frames and, with PyAV, from video files; what is refused."""

import numpy as np
import pytest
from PIL import Image

from lvm_mtc.data import clips
from lvm_mtc.data.clips import ClipError, import_av, load_clip, load_clips


def frames(count=3, height=40, width=52):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, height, width, 3), np.uint8)


@pytest.fixture
def folder(tmp_path):
    for i, frame in enumerate(frames()):
        Image.fromarray(frame).save(tmp_path / f"shot{i + 8}.png")
    return tmp_path


def test_a_folder_is_read_in_the_order_of_its_numbers(folder):
    np.testing.assert_array_equal(load_clip(folder), frames())
    np.testing.assert_array_equal(load_clip(folder, limit=2), frames()[:2])
    assert load_clip(folder, (32, 48)).shape == (3, 32, 48, 3)
    # The cut is in the middle: of 52 columns 50 have the proportions of 32 x 40.
    np.testing.assert_array_equal(load_clip(folder, (40, 50)), frames()[:, :, 1:-1])


def test_folders_that_are_no_clip_are_refused(folder):
    Image.fromarray(frames()[0, :30]).save(folder / "shot11.png")
    with pytest.raises(ClipError, match="shot11.png: differs in size .* 52 x 30 and 52 x 40"):
        load_clip(folder)
    Image.fromarray(frames()[0]).save(folder / "shot12.bmp")
    with pytest.raises(ClipError, match="several kinds, .bmp, .png"):
        load_clip(folder)


def test_a_clip_that_is_too_long_or_too_large_is_refused_and_not_cut(folder, monkeypatch):
    monkeypatch.setattr(clips, "MAX_FRAMES", 2)
    with pytest.raises(ClipError, match="shot10.png: more than 2 frames; name a limit of so many or fewer"):
        load_clip(folder)
    with pytest.raises(ClipError, match="more than 2 frames"):
        load_clip(folder, limit=3)
    assert len(load_clip(folder, limit=2)) == 2
    monkeypatch.setattr(clips, "MAX_SAMPLES", 40 * 52 * 3)
    with pytest.raises(ClipError, match="shot9.png: 2 frames of 52 x 40 pixels are too large; name a limit"):
        load_clip(folder, limit=2)


def test_video_files(folder, monkeypatch):
    (folder / "no.mp4").write_bytes(b"no video" * 50)
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(ImportError, match=r"no.mp4 is a video file, which needs PyAV: pip install 'lvm-mtc\[video\]'"):
        load_clip(folder / "no.mp4")
    monkeypatch.undo()
    with pytest.raises(ClipError, match="nothing.mp4: does not exist"):
        load_clip(folder / "nothing.mp4")
    pytest.importorskip("av")
    with pytest.raises(ClipError, match="no.mp4: cannot be read as a video"):
        load_clip(folder / "no.mp4")
    av = import_av("a test")
    smooth = np.uint8(np.linspace(0, 255, 64)[None, :, None, None] * np.ones((5, 1, 64, 3)) * [[[[1, 0.5, 0]]]])
    with av.open(str(folder / "ramp.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "bgr0"
        for frame in smooth:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    np.testing.assert_array_equal(load_clip(folder / "ramp.mkv", limit=4), smooth[:4])


def test_packed_clips(tmp_path):
    np.savez(tmp_path / "clips.npz", clips=frames()[None])
    np.testing.assert_array_equal(load_clips(tmp_path / "clips.npz"), frames()[None])
    np.savez(tmp_path / "wrong.npz", clips=np.float32(frames()))
    for name, message in (
        ("wrong.npz", r"clips must be .* uint8, got \(3, 40, 52, 3\) float32"),
        ("none.npz", "no such file of packed clips"),
    ):
        with pytest.raises(ClipError, match=message):
            load_clips(tmp_path / name)
