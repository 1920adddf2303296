import dataclasses

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from lvm_mtc.evaluation import report
from lvm_mtc.evaluation.sheet import kept_picture, sheet_rows
from lvm_mtc.evaluation.table import read_csv
from lvm_mtc.system import ScaleAware


def test_rows_say_everything(small_results):
    rows = report.table_rows(small_results)
    assert len(rows) == 4 * 6
    row = next(r for r in rows if r["channel"] == "rayleigh" and r["snr_db"] == 10 and r["csi_error_var"] > 0)
    result = small_results[1]
    units = result.metrics["psnr_db"][:, 4].mean(axis=(1, 2))
    np.testing.assert_allclose(row["psnr_db"], units.mean())
    low, high = stats.t.interval(0.95, 2, loc=units.mean(), scale=stats.sem(units))
    np.testing.assert_allclose(row["psnr_db_ci95"], (high - low) / 2, rtol=1e-8)
    mean_mse = result.metrics["mse"][:, 4].mean()
    np.testing.assert_allclose(row["psnr_of_mean_mse_db"], -10 * np.log10(mean_mse))
    assert row["psnr_of_mean_mse_db"] <= row["psnr_db"]
    assert row["snr_convention"] == "rx_per_antenna" and row["num_pictures"] == 6 and row["num_realisations"] == 3


def test_costs(small_results):
    row = report.table_rows(small_results)[0]
    assert row["channel_uses"] == 8 * 8 and row["slots"] == 8 * 2
    np.testing.assert_allclose(row["cbr"], 64 / (32 * 32 * 3))
    with_bits = (64 + row["side_information_bits"]) / (32 * 32 * 3)
    np.testing.assert_allclose(row["cbr_with_side_information"], with_bits, rtol=1e-6)
    assert 0 < row["keep_rate_outside"] < row["keep_rate_inside"] <= 1


def test_views_without_the_object_do_not_count_inside(small_results):
    result = small_results[0]
    has_object = result.has_object.copy()
    has_object[0] = False
    part = result._replace(has_object=has_object)
    want = result.metrics["psnr_inside_db"][:, :, 1:].mean(axis=(2, 3))
    np.testing.assert_allclose(report.per_realisation(part, "psnr_inside_db"), want)
    np.testing.assert_array_equal(
        report.per_realisation(part, "psnr_db"), report.per_realisation(result, "psnr_db")
    )
    nowhere = result._replace(has_object=np.zeros_like(has_object))
    assert report.per_realisation(nowhere, "ssim_inside") is None
    assert report.table_rows([nowhere])[0]["ssim_inside"] is None


def test_gain_is_paired(small_results):
    first, uniform = small_results[0], small_results[2]
    found = report.gain(first, uniform, "psnr_inside_db")
    units = (first.metrics["psnr_inside_db"] - uniform.metrics["psnr_inside_db"]).mean(axis=(2, 3))
    np.testing.assert_allclose(found.mean, units.mean(axis=0))
    assert found.mean[2] > 1.0, "at 20 dB the object's patches are what matters inside"
    with pytest.raises(ValueError, match="must share link and points"):
        report.gain(small_results[0], small_results[3], "psnr_db")


def test_awgn_and_fading_share_axes_under_rx_per_antenna_only(small_results):
    together = report.curve_panels(small_results)
    assert [len(row) for row in together] == [2, 2, 2, 2]
    assert len(together[0][0].curves) == 4
    np.testing.assert_array_equal(together[0][0].curves[0].snr_db, [0, 10, 20])
    esno = [r._replace(link=dataclasses.replace(r.link, convention="esno")) for r in small_results]
    apart = report.curve_panels(esno)
    assert [len(row) for row in apart] == [4, 4, 4, 4]
    assert {curve.label.split(", ")[1] for curve in apart[0][0].curves} == {"awgn"}


def test_kept_picture_shows_the_kept_patches(small_results, small_pictures):
    images, _ = small_pictures
    shown = kept_picture(small_results[0], images, 1, 0)
    removed = small_results[0].mask[1, 0].reshape(4, 4)
    for i in range(4):
        for j in range(4):
            patch = np.s_[8 * i : 8 * i + 8, 8 * j : 8 * j + 8]
            want = 0.5 if removed[i, j] else images[1, 0][patch]
            np.testing.assert_array_equal(shown[patch], np.broadcast_to(want, (8, 8, 3)))


def test_sheet_has_every_snr_at_the_smallest_csi_error(small_results, small_pictures):
    images, loc = small_pictures
    rows, labels = sheet_rows(small_results[:2], images, loc, ["a", "b", "c"], max_rows=4)
    assert labels == ["a, UAV 0\nawgn", "a, UAV 0\nrayleigh", "b, UAV 0\nawgn", "b, UAV 0\nrayleigh"]
    assert [cell.caption.split(":")[0] for cell in rows[1]] == ["original", "kept patches", "0 dB", "10 dB", "20 dB"]
    np.testing.assert_array_equal(rows[1][4].image, small_results[1].pictures[2, 0, 0] / 255.0)


def test_a_whole_report(tmp_path, small_results, small_pictures):
    images, loc = small_pictures
    report.write_report(tmp_path, small_results, images, loc, ["a", "b", "c"], title="test")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "pictures", "sheet.png", "table.csv"]
    assert len(read_csv(tmp_path / "table.csv")) == 24
    assert len(list((tmp_path / "pictures").iterdir())) == 6 * (1 + 2 * 6)
    picture = np.asarray(Image.open(tmp_path / "pictures" / "b-uav1-rayleigh-20dB-csi0.png"))
    np.testing.assert_array_equal(picture, small_results[1].pictures[2, 1, 1])
    found = report.describe(small_results)
    assert found["links"]["awgn"]["convention"] == "rx_per_antenna"
    scheme = small_results[0].scheme
    assert found["masking"][scheme.name] == {"mask_prob": scheme.mask_prob, "scale_aware": False}
    aware = dataclasses.replace(scheme, system=ScaleAware(scheme.system.config))
    found = report.describe([small_results[0]._replace(scheme=aware)])
    assert found["masking"][scheme.name] == {"mask_prob": scheme.mask_prob, "scale_aware": True}
