"""Squares and their object in closed form; the chain's rows against the grid that they are read from."""

import dataclasses

import jax
import numpy as np
import pytest
from object_psnr import ANNOTATED, aim_at, cut_squares, measure_chain

from lvm_mtc.data.resizing import resize_image
from lvm_mtc.evaluation.grid import Scheme, run_grid
from lvm_mtc.evaluation.intervals import paired_difference, student_interval
from lvm_mtc.system import LinkConfig, System, SystemConfig

pytestmark = pytest.mark.usefixtures("fast_compile")


def test_the_object_is_the_largest_in_the_square(two_pictures):
    wide = two_pictures._replace(boxes=two_pictures.boxes.copy(), valid=two_pictures.valid.copy())
    # In a picture of 24 x 32 the square is 4 to 28; of the wide box 4 x 24 are left in it, of the other 10 x 10.
    wide.boxes[1, :2] = [0, 12, 16, 24], [16, 12, 10, 10]
    wide.valid[1, 1] = True
    squares = cut_squares(wide, 48)
    np.testing.assert_array_equal(squares.whole[0], two_pictures.pictures[0])
    for size, got in ((32, squares.whole[1]), (48, squares.views[1])):
        want = resize_image(two_pictures.pictures[1, :24], size, window=(4, 0, 28, 24))
        np.testing.assert_array_equal(got, want)
    np.testing.assert_allclose(squares.boxes, [[12, 24, 15, 30], [24, 24, 20, 20]])
    np.testing.assert_array_equal(squares.label, [two_pictures.labels[0, 0], two_pictures.labels[1, 1]])
    np.testing.assert_array_equal(squares.alone, [False, False])
    assert cut_squares(two_pictures, 48).alone.tolist() == [False, True]


def test_the_object_that_a_box_means(two_pictures):
    squares = cut_squares(two_pictures, 32)
    np.testing.assert_allclose(squares.objects[0], [[8, 16, 10, 20], [24, 16, 10, 20], [0, 0, 0, 0]])
    # On the second object of the first picture; beside the only one of the second.
    aimed = aim_at(squares, np.float32([[21, 16, 10, 20], [2, 2, 2, 2]]))
    np.testing.assert_allclose(aimed.boxes, [squares.objects[0, 1], squares.boxes[1]])
    np.testing.assert_array_equal(aimed.views, squares.views)


@pytest.fixture(scope="module")
def schemes(fast_compile):
    config = SystemConfig(
        variant="linear", image_size=32, patch_size=8, num_symbols=8, num_kept=8, power_allocation=False
    )
    params = System(config).init(jax.random.key(0))
    return [
        Scheme(name=name, system=System(config), params=params, mask_prob=prob)
        for name, prob in (("object first", 0.25), ("uniform masking", 0.5))
    ]


def test_rows_are_paired_differences_of_the_grid(two_pictures, schemes):
    squares = cut_squares(two_pictures, 32)
    elsewhere = np.float32([[24, 16, 10, 20], [5, 5, 6, 6]])
    options = dict(fading=("awgn",), snr_db=(5.0, 15.0), num_realisations=2)
    rows = measure_chain(*schemes, squares, {"same": squares.boxes, "elsewhere": elsewhere}, seed=3, **options)
    assert [row["masks"] for row in rows[:4]] == [ANNOTATED, "same", "elsewhere", "uniform"]
    assert [row["snr_db"] for row in rows] == [5] * 4 + [15] * 4
    assert {row["channel_uses"] for row in rows} == {64}
    by = {(row["masks"], row["snr_db"]): row for row in rows}

    def grid(scheme, loc):
        result = run_grid(
            scheme, np.float32(squares.views)[:, None] / 255, loc[:, None], jax.random.key(3),
            LinkConfig(fading="awgn", convention="rx_per_antenna"), snr_db=(5.0, 15.0), csi_error_var=(0.0,),
            num_realisations=2, metric_loc=squares.boxes[:, None],
        )  # fmt: skip
        return result.metrics["psnr_inside_db"].mean(axis=0)[:, :, 0]

    reference, other = grid(schemes[0], squares.boxes), grid(schemes[0], elsewhere)
    for point, snr_db in enumerate((5.0, 15.0)):
        of_all = by["elsewhere", snr_db]["all"]
        assert of_all["psnr_inside_db"] == pytest.approx(student_interval(other[point])[:2])
        want = paired_difference(other[point], reference[point])
        assert of_all["minus_annotated_db"] == pytest.approx(want[:2]) and abs(want.mean) > 0.01
        assert by["same", snr_db]["all"]["minus_annotated_db"] == (0, 0)
        # Two pictures: the group of those with one object is one, of which there is no interval.
        assert "alone" not in by["same", snr_db] and "on" not in by["elsewhere", snr_db]
        assert by["same", snr_db]["on"]["pictures"] == 2 and by["same", snr_db]["on_object"].value == 1
        assert by["elsewhere", snr_db]["on_object"].value == 0 and "on_object" not in by["uniform", snr_db]


def test_other_numbers_of_channel_uses_are_refused(two_pictures, schemes):
    fewer = dataclasses.replace(schemes[1].system.config, num_kept=4)
    uniform = dataclasses.replace(schemes[1], system=System(fewer))
    with pytest.raises(ValueError, match=r"different numbers of channel uses: \[32.0, 64.0\]"):
        measure_chain(schemes[0], uniform, cut_squares(two_pictures, 32), {}, fading=("awgn",), snr_db=(5.0, 15.0))
