"""Squares and their object in closed form; the chain's rows against the samples that they are read from."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.knowledge_base.object_psnr import ANNOTATED, aim_at, measure_chain
from lvm_mtc.data.squares import cut_squares
from lvm_mtc.link import LinkConfig
from lvm_mtc.results.intervals import paired_difference, student_interval
from lvm_mtc.schemes.lvm_mtc.config import LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.plan import SweepSpec, picture_source
from lvm_mtc.sweep.run import sample_points
from lvm_mtc.sweep.stopping import StoppingRule

pytestmark = pytest.mark.usefixtures("fast_compile")


def test_the_object_that_a_box_means(two_pictures):
    squares = cut_squares(two_pictures, 32)
    np.testing.assert_allclose(squares.objects[0], [[8, 16, 10, 20], [24, 16, 10, 20], [0, 0, 0, 0]])
    # On the second object of the first picture; beside the only one of the second.
    aimed = aim_at(squares, np.float32([[21, 16, 10, 20], [2, 2, 2, 2]]))
    np.testing.assert_allclose(aimed.boxes, [squares.objects[0, 1], squares.boxes[1]])
    np.testing.assert_array_equal(aimed.views, squares.views)


@pytest.fixture(scope="module")
def schemes(fast_compile):
    config = LvmMtcConfig(
        variant="linear", image_size=32, patch_size=8, num_symbols=8, num_kept=8, power_allocation=False
    )
    params = LvmMtc(config).init(jax.random.key(0))
    return [
        Contender(name=name, scheme=LvmMtc(config), params=params, knobs={"mask_prob": prob})
        for name, prob in (("object first", 0.25), ("uniform masking", 0.5))
    ]


def test_rows_are_paired_differences_of_samples(two_pictures, schemes):
    squares = cut_squares(two_pictures, 32)
    elsewhere = np.float32([[24, 16, 10, 20], [5, 5, 6, 6]])
    options = dict(fading=("awgn",), snr_db=(5.0, 15.0), num_realisations=2)
    rows = measure_chain(*schemes, squares, {"same": squares.boxes, "elsewhere": elsewhere}, seed=3, **options)
    assert [row["masks"] for row in rows[:4]] == [ANNOTATED, "same", "elsewhere", "uniform"]
    assert [row["snr_db"] for row in rows] == [5] * 4 + [15] * 4
    assert {row["channel_uses"] for row in rows} == {64}
    by = {(row["masks"], row["snr_db"]): row for row in rows}

    def sampled(contender, loc):
        source = picture_source(np.float32(squares.views)[:, None] / 255, loc[:, None], squares.boxes[:, None])
        spec = SweepSpec(
            schemes=(contender,), links=(LinkConfig(fading="awgn", convention="rx_per_antenna"),), sources={1: source},
            snr_db=(5.0, 15.0), seeds=(3,), metrics=("psnr_inside_db",), stop_metric="psnr_inside_db",
            stopping=StoppingRule(target_half_width=None, max_units=2),
        )  # fmt: skip
        points = sample_points(spec, spec.coordinates())
        return [np.float64(of.metrics["psnr_inside_db"]).mean(axis=0)[:, 0] for of in points]

    reference, other = sampled(schemes[0], squares.boxes), sampled(schemes[0], elsewhere)
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
    fewer = dataclasses.replace(schemes[1].scheme.config, num_kept=4)
    uniform = dataclasses.replace(schemes[1], scheme=LvmMtc(fewer))
    with pytest.raises(ValueError, match=r"different numbers of channel uses: \[32.0, 64.0\]"):
        measure_chain(schemes[0], uniform, cut_squares(two_pictures, 32), {}, fading=("awgn",), snr_db=(5.0, 15.0))
