"""What a result folder holds, from the points and pictures of a small study."""

import dataclasses

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from lvm_mtc.cli.study import measure_study, study_sweeps, summary
from lvm_mtc.link import LinkConfig
from lvm_mtc.report import study as report
from lvm_mtc.report.sheet import sheet_rows
from lvm_mtc.report.shown import show
from lvm_mtc.results.table import read_csv
from lvm_mtc.sweep.plan import picture_source
from lvm_mtc.sweep.rows import make_point
from lvm_mtc.sweep.run import Resources, sample_points
from lvm_mtc.sweep.stopping import StoppingRule

LINKS = [LinkConfig(fading=fading, convention="rx_per_antenna") for fading in ("awgn", "rayleigh")]
BOTH = ("psnr_db", "psnr_inside_db")
pytestmark = pytest.mark.usefixtures("fast_compile")


@pytest.fixture(scope="module")
def spec(small_scheme, small_pictures):
    """Object first and uniform, over AWGN and Rayleigh."""
    uniform = dataclasses.replace(small_scheme, name="uniform masking", knobs={"mask_prob": 0.5}, swept=())
    (spec,) = study_sweeps(
        (small_scheme, uniform),
        links=tuple(LINKS),
        sources={2: picture_source(*small_pictures)},
        snr_db=(0.0, 10.0, 20.0),
        csi_error_var=(0.0, 0.05),
        seeds=(1,),
        stopping=StoppingRule(target_half_width=None, max_units=3),
    )
    return spec


@pytest.fixture(scope="module")
def measured(spec, fast_compile):
    return measure_study([spec])


@pytest.fixture(scope="module")
def points(measured):
    return measured[0]


@pytest.fixture(scope="module")
def samples(spec, fast_compile):
    """Of every point unit by unit, by scheme, channel, CSI error and SNR."""
    places = list(spec.coordinates())
    found = sample_points(spec, places, resources=Resources(num_devices=1, items_per_device=18))
    keys = [tuple(at[axis] for axis in ("scheme", "channel", "csi_error_var", "snr_db")) for at in places]
    return dict(zip(keys, found, strict=True))


@pytest.fixture(scope="module")
def shown(spec, fast_compile):
    return show(spec, [at for at in spec.coordinates() if at["scheme"] == "object first"])


def test_rows_say_everything(points, samples):
    rows = report.table_rows(points, LINKS)
    assert len(rows) == 4 * 6
    row = next(r for r in rows if r["channel"] == "rayleigh" and r["snr_db"] == 10 and r["csi_error_var"] > 0)
    units = np.float64(samples["object first", "rayleigh", 0.05, 10.0].metrics["psnr_db"]).mean(axis=(1, 2))
    np.testing.assert_allclose(row["psnr_db"], units.mean())
    low, high = stats.t.interval(0.95, 2, loc=units.mean(), scale=stats.sem(units))
    np.testing.assert_allclose(row["psnr_db_ci95"], (high - low) / 2, rtol=1e-8)
    mean_mse = np.float64(samples["object first", "rayleigh", 0.05, 10.0].metrics["mse"]).mean()
    np.testing.assert_allclose(row["psnr_of_mean_mse_db"], -10 * np.log10(mean_mse))
    assert row["psnr_of_mean_mse_db"] <= row["psnr_db"]
    assert row["snr_convention"] == "rx_per_antenna" and row["num_pictures"] == 6 and row["num_realisations"] == 3
    assert row["equalizer"] == "robust" and row["num_uavs"] == 2 and row["mask_prob"] == 0.25


def test_costs(points):
    row = report.table_rows(points, LINKS)[0]
    assert row["channel_uses"] == 8 * 8 and row["slots"] == 8 * 2
    np.testing.assert_allclose(row["cbr"], 64 / (32 * 32 * 3))
    with_bits = (64 + row["side_information_bits"]) / (32 * 32 * 3)
    np.testing.assert_allclose(row["cbr_with_side_information"], with_bits, rtol=1e-6)
    assert 0 < row["keep_rate_outside"] < row["keep_rate_inside"] <= 1


def test_views_without_the_object_do_not_count_inside(spec, samples, small_pictures):
    images, loc = small_pictures
    part, nowhere = loc.copy(), np.zeros_like(loc)
    part[0, :, 2:] = 0
    at = next(spec.coordinates())
    of_point = samples["object first", "awgn", 0.0, 0.0]
    points = [
        make_point(dataclasses.replace(spec, sources={2: picture_source(images, boxes)}), "key", at, of_point)
        for boxes in (loc, part, nowhere)
    ]
    whole, inside = ([point.metrics.get(name) for point in points] for name in BOTH)
    assert whole[0] == whole[1] == whole[2]
    np.testing.assert_allclose(inside[1].mean, np.float64(of_point.metrics["psnr_inside_db"][:, 1:]).mean())
    assert inside[1] != inside[0] and inside[2] is None
    assert report.table_rows(points, LINKS)[2]["ssim_inside"] is None
    assert " 18" not in summary(points[2:], []) and "|     -" in summary(points[2:], [])


def test_gain_is_paired(measured, samples):
    points, gains = measured
    assert [(gain.coordinates["channel"], gain.snr_db) for gain in gains] == [("awgn", 20), ("rayleigh", 20)]
    first, uniform = (
        np.float64(samples[scheme, "rayleigh", 0.0, 20.0].metrics["psnr_inside_db"]).mean(axis=(1, 2))
        for scheme in ("object first", "uniform masking")
    )
    gain = gains[1].metrics["difference_psnr_inside_db"]
    np.testing.assert_allclose(gain.mean, (first - uniform).mean())
    np.testing.assert_allclose(gain.half_width, stats.t.ppf(0.975, 2) * stats.sem(first - uniform), rtol=1e-6)
    assert gain.mean > 1.0, "at 20 dB the object's patches are what matters inside"
    lines = summary(points, gains).splitlines()
    assert lines[-1].endswith(f"rayleigh, 20 dB: {gain.mean:+.1f} +- {gain.half_width:.1f} dB") and len(lines) == 8
    assert f"{points[-1].metrics['psnr_db'].mean:.1f}" not in lines[5], "the summary is of the smallest CSI error"


def test_each_size_has_a_sweep_of_its_own(small_scheme, spec):
    scheme = small_scheme.scheme
    every = dataclasses.replace(
        small_scheme,
        name="all",
        scheme=dataclasses.replace(scheme, config=dataclasses.replace(scheme.config, num_kept=16)),
    )
    last = dataclasses.replace(small_scheme, name="last")
    fields = dict(links=spec.links, sources=spec.sources, snr_db=(0.0,))
    sweeps = study_sweeps((small_scheme, every, last), **fields)
    assert [[contender.name for contender in sweep.schemes] for sweep in sweeps] == [["object first", "last"], ["all"]]
    assert [len(sweep.draw_shape(2, sweep.schemes[0].name).sizes) for sweep in sweeps] == [1, 1]


def test_awgn_and_fading_share_axes_under_rx_per_antenna_only(points):
    together = report.curve_panels(points, LINKS)
    assert [len(row) for row in together] == [2, 2, 2, 2]
    assert len(together[0][0].curves) == 4
    np.testing.assert_array_equal(together[0][0].curves[0].snr_db, [0, 10, 20])
    means = [point.metrics["psnr_db"].mean for point in points[-3:]]
    np.testing.assert_array_equal(together[0][1].curves[3].mean, means)
    styles = [(curve.label, curve.color, curve.linestyle) for curve in together[0][0].curves]
    assert styles[1:3] == [("object first, rayleigh", "C0", "--"), ("uniform masking, awgn", "C1", "-")]
    esno = [dataclasses.replace(link, convention="esno") for link in LINKS]
    apart = report.curve_panels([dataclasses.replace(point, snr_convention="esno") for point in points], esno)
    assert [len(row) for row in apart] == [4, 4, 4, 4]
    assert {curve.label.split(", ")[1] for curve in apart[0][0].curves} == {"awgn"}


def place(shown, error):
    """Of the point over Rayleigh at 20 dB."""
    at = {"channel": "rayleigh", "snr_db": 20.0, "csi_error_var": error}
    return next(number for number, point in enumerate(shown.points) if at.items() <= point.items())


def test_sheet_has_every_snr_at_the_smallest_csi_error(shown, small_pictures):
    _, loc = small_pictures
    rows, labels = sheet_rows(shown, loc, ["a", "b", "c"], max_rows=4)
    assert labels == ["a, UAV 0\nawgn", "a, UAV 0\nrayleigh", "b, UAV 0\nawgn", "b, UAV 0\nrayleigh"]
    assert [cell.caption.split(":")[0] for cell in rows[1]] == ["original", "what is sent", "0 dB", "10 dB", "20 dB"]
    number = place(shown, 0.0)
    np.testing.assert_array_equal(rows[1][4].image, shown.received[number, 0, 0] / 255.0)
    assert rows[1][4].caption == f"20 dB: PSNR {shown.psnr_db[number, 0, 0]:.1f}"


def test_a_whole_report(tmp_path, spec, points, shown, small_pictures):
    _, loc = small_pictures
    report.write_report(tmp_path, points, shown, loc, ["a", "b", "c"], links=LINKS, title="test")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "pictures", "sheet.png", "table.csv"]
    assert len(read_csv(tmp_path / "table.csv")) == 24
    assert len(list((tmp_path / "pictures").iterdir())) == 6 * (1 + 2 * 6)
    picture = np.asarray(Image.open(tmp_path / "pictures" / "b-uav1-rayleigh-20dB-csi0.05.png"))
    np.testing.assert_array_equal(picture, shown.received[place(shown, 0.05), 1, 1])
    aware = dataclasses.replace(spec.schemes[0], scheme=dataclasses.replace(spec.schemes[0].scheme, scale_aware=True))
    for contender, follows in ((spec.schemes[0], False), (aware, True)):
        record = report.describe([contender], LINKS)
        assert record["links"]["awgn"]["convention"] == "rx_per_antenna"
        assert record["masking"] == {"object first": {"mask_prob": 0.25, "scale_aware": follows}}
