"""x264 and x265: what is counted, and the search for the best that fits."""

import functools

import numpy as np
import pytest

from lvm_mtc.data import video_codecs
from lvm_mtc.data.video_codecs import best_within, encode_clip


def clip():
    rng = np.random.default_rng(0)
    scene = np.kron(rng.integers(0, 256, (12, 12, 3)), np.ones((8, 8, 1)))
    return np.uint8([scene[t : t + 64, 2 * t : 2 * t + 64] for t in range(4)])


def test_codecs_that_are_not_there(monkeypatch):
    with pytest.raises(ValueError, match="codec 'vtm' is unknown; known: x264, x265"):
        encode_clip(clip(), "vtm", 30)
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(ImportError, match=r"codec 'x264' .* pip install 'lvm-mtc\[video\]'"):
        encode_clip(clip(), "x264", 30)


def test_the_encoders_note_is_no_picture():
    packet = b"\0\0\1\6note\0\0\1\x65picture"
    assert video_codecs._coded(packet) == b"\0\0\1\x65picture"
    assert video_codecs._coded(b"\0\0\0\1\x41more") == b"\0\0\0\1\x41more"


@pytest.mark.parametrize("codec", ["x264", "x265"])
def test_the_best_that_fits_is_found(codec, monkeypatch):
    """Each rate factor is coded once, for search and test alike: x265 gives other bits each time."""
    pytest.importorskip("av")
    once = functools.cache(lambda crf: encode_clip(clip(), codec, crf))
    monkeypatch.setattr(video_codecs, "encode_clip", lambda frames, codec, crf: once(crf))
    budget = 6000
    found = best_within(clip(), codec, budget)
    assert found.frames.shape == clip().shape and found.num_bits <= budget
    assert once(found.crf - 0.25).num_bits > budget
    errors = [np.mean((once(crf).frames - np.float32(clip())) ** 2) for crf in (found.crf, 51)]
    assert errors[0] < errors[1] / 2
    assert best_within(clip(), codec, 50) is None
