"""The demo's pictures, clip and furniture are what their readers take, and what the shipped weights are for."""

import numpy as np
import pytest

from lvm_mtc.cli import names
from lvm_mtc.cli.sentences import load_text_contender
from lvm_mtc.data.captions import split_words
from lvm_mtc.data.clips import load_clip
from lvm_mtc.data.clouds import list_clouds, load_cloud
from lvm_mtc.data.colours import COLOURS
from lvm_mtc.data.demo_pictures import DEMO_PICTURES
from lvm_mtc.data.demo_sources import DEMO_SOURCES, FURNITURE, NUM_FRAMES, SMALL_SIZE
from lvm_mtc.data.grammar import CLASS_WORDS, Facts, describe
from lvm_mtc.data.images import list_images, load_image
from lvm_mtc.data.stereo import load_stereo, vertical_mismatch


def test_every_scheme_of_the_demo_has_a_source():
    assert set(names.DEMO_SCHEMES) == set(DEMO_SOURCES)


def test_every_caption_can_be_sent_by_the_shipped_transceiver():
    contender, vocabulary = load_text_contender(None)
    every = Facts(*(a.reshape(-1) for a in np.indices((len(CLASS_WORDS), len(COLOURS), len(COLOURS)))))
    assert vocabulary.encode([split_words(t) for t in describe(every)], contender.scheme.config.num_words)[1].all()


@pytest.mark.usefixtures("photographs")
def test_photographs_are_squares_around_their_objects(tmp_path):
    files = list_images(DEMO_SOURCES["vlm_csc"][1](tmp_path))
    assert [file.stem for file in files] == sorted(picture.name for picture in DEMO_PICTURES)
    assert {load_image(file).shape for file in files} == {(SMALL_SIZE, SMALL_SIZE, 3)}


@pytest.mark.usefixtures("photographs")
def test_the_clip_moves_by_whole_pixels(tmp_path):
    clip = load_clip(DEMO_SOURCES["pvsc"][1](tmp_path)).astype(int)
    assert clip.shape == (NUM_FRAMES, 96, 144, 3)
    # Two frames on, the camera is one pixel lower and four further right.
    assert np.array_equal(clip[2:, :-1, :-4], clip[:-2, 1:, 4:]) and np.any(clip[1:] != clip[:-1])


def test_furniture_is_closed_boxes(tmp_path):
    files = list_clouds(DEMO_SOURCES["point_clouds"][1](tmp_path))
    assert [file.stem for file in files] == sorted(FURNITURE)
    for file in files:
        points = load_cloud(file, 1024)
        assert points.shape == (1024, 3) and np.isclose(np.linalg.norm(points, axis=1).max(), 1, atol=1e-5)
        assert np.ptp(points, axis=0).min() > 0.2


def test_stereo_pairs_are_rectified(tmp_path):
    pairs, names = load_stereo(DEMO_SOURCES["gs_scnet"][1](tmp_path), 64)
    assert names == ("planes0", "planes1") and pairs.pictures.shape == (2, 2, 64, 64, 3)
    for views in pairs.pictures:
        assert vertical_mismatch(views) == 0 and np.any(views[0] != views[1])
