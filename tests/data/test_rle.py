import numpy as np
import pytest

from lvm_mtc.data.annotations import AnnotationError, get_mask
from lvm_mtc.data.rle import MAX_PIXELS, Rle, RleError, decode_rle, decompress_counts


def random_mask(seed, height=23, width=31):
    """Blobs: long runs, short ones, and sometimes the first pixel."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), bool)
    for _ in range(rng.integers(0, 6)):
        top, left = rng.integers(0, height), rng.integers(0, width)
        mask[top : top + rng.integers(1, 9), left : left + rng.integers(1, 12)] ^= True
    return mask


def column_runs(mask):
    """Run lengths by walking over the pixels."""
    runs, value = [0], False
    for pixel in mask.T.ravel():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return tuple(runs)


@pytest.mark.parametrize("seed", range(8))
def test_unpacking_is_walking_down_the_columns(seed):
    mask = random_mask(seed)
    np.testing.assert_array_equal(decode_rle(Rle(23, 31, column_runs(mask))), mask)


@pytest.mark.parametrize("mask", [np.zeros((3, 4), bool), np.ones((3, 4), bool), np.eye(5, dtype=bool)])
def test_empty_full_and_first_pixel(mask):
    np.testing.assert_array_equal(decode_rle(Rle(*mask.shape, column_runs(mask))), mask)


@pytest.mark.slow
def test_compressed_text_equals_pycocotools():
    coco = pytest.importorskip("pycocotools.mask")
    for seed in range(40):
        mask = random_mask(seed, 480, 333) if seed % 2 else random_mask(seed)
        text = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
        assert decompress_counts(text, mask.size) == list(column_runs(mask))
        np.testing.assert_array_equal(decode_rle(Rle(*mask.shape, text)), mask)


@pytest.mark.parametrize(
    "rle, reason",
    [
        (Rle(3, 4, (5, 6)), "2 runs add up to 11, not to the 3 x 4"),
        (Rle(3, 4, (14, -2)), "add up to 12"),
        (Rle(3, 4, ()), "0 runs"),
        (Rle(0, 4, ()), "0 x 4 cannot be unpacked"),
        (Rle(10**6, 10**6, "0"), f"at most {MAX_PIXELS}"),
        (Rle(3, 4, "!"), "the character '!'"),
        (Rle(3, 4, "\u20ac"), "expected '0' to 'o'"),
        (Rle(3, 4, "P"), "ends within"),
        (Rle(3, 4, "o" * 99), "more than 60 bits"),
        (Rle(3, 4, "?"), "run 0 is 15"),
        (Rle(3, 4, "O"), "run 0 is -1"),
    ],
)
def test_bad_runs_are_refused_in_one_line(rle, reason):
    with pytest.raises(RleError, match=reason) as caught:
        decode_rle(rle)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "size, counts", [([3], "0"), ([3, 4.0], "0"), ([True, 4], "0"), ([3, 4], None), ([3, 4], [1, "2"]), ([3, 4], [1.5])]
)
def test_what_is_no_rle_is_refused(size, counts):
    with pytest.raises(AnnotationError, match="^a.json: 'segmentation': '(size|counts)' is .*; expected"):
        get_mask({"segmentation": {"size": size, "counts": counts}}, 3, 4, "a.json")
