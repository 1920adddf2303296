"""The page about constellations says what its results say; for symbols of known law plain NumPy finds the same."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from experiments.constellation.page import tables
from lvm_mtc import phy
from lvm_mtc.phy.constellation import mutual_information
from lvm_mtc.report.pages import fill_page

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "constellation.md").read_text()
WORDS = " ".join(PAGE.split())
RESULTS = json.loads((DOCS / "constellation" / "results.json").read_text())
SHAPING_LIMIT_DB = 10 * np.log10(np.pi * np.e / 6)


def law(name, count, snr_db):
    (row,) = [r for r in RESULTS["laws"] if (r["law"], r["points"], r["snr_db"]) == (name, count, snr_db)]
    return row


def test_page_and_results_agree():
    assert fill_page(PAGE, tables(RESULTS)) == PAGE
    changed = copy.deepcopy(RESULTS)
    changed["laws"][0]["learned"] += 0.1
    assert fill_page(PAGE, tables(changed)) != PAGE


def test_gains_of_64_points_that_the_page_names():
    codec = RESULTS["codecs"]["token codec"]
    gains = {link: dict(zip(codec["snr_db"], values, strict=True)) for link, values in codec["gains"]["64"].items()}
    for snr_db in (10.0, 20.0):
        mean, half_width = gains["awgn"][snr_db]
        assert mean >= 1.5 and mean - half_width > 1
    named = [f"{gains[link][snr_db][0]:.2f}" for link, snr_db in (("awgn", 10.0), ("awgn", 20.0), ("rayleigh", 10.0))]
    assert "gain {} dB at 10 dB and {} dB at 20 dB over AWGN, and {} dB at 10 dB under Rayleigh".format(*named) in WORDS
    gained = [mean for of in codec["gains"].values() for link in of.values() for mean, _ in link]
    assert 2.25 < min(gained) and max(gained) < 3.45
    for count in (16, 64):
        for link in ("awgn", "rayleigh"):
            both = (np.array(codec["levels"][f"{kind} {count}"][link])[:, 0] for kind in ("learned", "clustered"))
            assert np.all(abs(np.subtract(*both)) < 0.16)
    learned, clustered = (np.array(codec["levels"][f"{kind} 64"]["awgn"])[:, 0] for kind in ("learned", "clustered"))
    assert max(learned - clustered) == pytest.approx(0.13, abs=0.006)
    for row in RESULTS["laws"]:
        gain = row["learned"] - row["qam"]
        assert gain < 0.15 if row["law"] == "uniform" else gain > 0.15
        assert -0.01 < gain and row["learned"] < 10 * np.log10(1 + 10 ** (row["snr_db"] / 10))


DENSITIES = {  # of one real dimension, of variance 1/2
    "laplace": lambda f: np.exp(-2 * np.abs(f)),
    "gauss": lambda f: np.exp(-(f**2)),
    "uniform": lambda f: np.where(np.abs(f) < np.sqrt(1.5), 1.0, 0.0),
}


def scaled_qam_sdr_db(name, count, snr_db):
    """Square QAM at its best scale with the posterior's mean, by integrals over one of its two equal dimensions."""
    values, found = np.linspace(-12, 12, 24001), []
    weight = DENSITIES[name](values)
    weight /= weight.sum()
    power = weight @ values**2
    levels = np.arange(1 - count**0.5, count**0.5, 2)
    for scale in np.geomspace(0.15, 0.8, 80):
        points = scale * levels
        chosen = np.searchsorted((points[1:] + points[:-1]) / 2, values)
        use = np.bincount(chosen, weight, len(points))
        means = np.bincount(chosen, weight * values, len(points)) / np.maximum(use, 1e-30)
        no = 2 * use @ points**2 / 10 ** (snr_db / 10)
        y = np.linspace(points[0] - 4 * no**0.5, points[-1] + 4 * no**0.5, 601)
        joint = np.maximum(use, 1e-30) * np.exp(-((y[:, None] - points) ** 2) / no) / np.sqrt(np.pi * no)
        told = np.sum((joint @ means) ** 2 / joint.sum(1)) * (y[1] - y[0])  # E of the posterior mean's square
        found.append(power / (power - told))
    return 10 * np.log10(max(found))


@pytest.mark.parametrize("row", RESULTS["laws"], ids=lambda row: f"{row['law']}-{row['points']}-{row['snr_db']:g}")
def test_scaled_qam_has_the_sdr_of_its_integrals(row):
    """The fit tries 18 scales and sends 100,000 symbols."""
    assert -0.12 < row["qam"] - scaled_qam_sdr_db(row["law"], row["points"], row["snr_db"]) < 0.03


def clustered_sdr_db(points, fit, test):
    """Means of clusters of symbols from these points on, sent over AWGN at 20 dB: noise was not even looked at."""

    def nearest(symbols, points):
        return np.argmin(np.abs(points) ** 2 - 2 * np.real(symbols[:, None] * points.conj()), axis=1)

    for _ in range(30):
        chosen = nearest(fit, points)
        count = np.bincount(chosen, minlength=64)
        sums = np.bincount(chosen, fit.real, 64) + 1j * np.bincount(chosen, fit.imag, 64)
        points = np.where(count > 0, sums / np.maximum(count, 1), points)
    use = np.maximum(count, 1) / count.sum()
    no = use @ np.abs(points) ** 2 / 100
    noise = np.random.default_rng(12).normal(size=(len(test), 2)) @ [1, 1j] * np.sqrt(no / 2)
    received = points[nearest(test, points)] + noise
    likely = use * np.exp(-(np.abs(received[:, None] - points) ** 2) / no)
    estimate = likely @ points / likely.sum(1)
    return 10 * np.log10(np.mean(np.abs(test) ** 2) / np.mean(np.abs(test - estimate) ** 2))


def test_plain_clustering_gains_as_much_on_laplacian_symbols():
    """From symbols, and from QAM that reaches over most of them, where the fit starts, too."""
    fit, test = (np.random.default_rng(seed).laplace(size=(40_000, 2)) @ [0.5, 0.5j] for seed in (10, 11))
    of_symbols, of_qam = (clustered_sdr_db(start, fit, test) for start in (fit[:64], 2 * phy.qam_points(6)))
    row, qam_db = law("laplace", 64, 20.0), scaled_qam_sdr_db("laplace", 64, 20.0)
    assert abs(of_qam - row["learned"]) < 0.15 and 0 < row["learned"] - of_symbols < 0.35
    assert 1.65 < of_symbols - qam_db < of_qam - qam_db < 1.95
    assert f"QAM at its best scale has {qam_db:.2f} dB" in WORDS
    assert f"{of_symbols:.1f} or {of_qam:.1f} dB by where they start" in WORDS
    assert row["learned"] - row["qam"] == pytest.approx(2.01, abs=0.005)


@pytest.mark.parametrize(
    ("name", "count", "gains"), [("token2", 64, True), ("token2", 16, True), ("token codec", 16, False)]
)
def test_learned_points_shape_by_less_than_the_limit(name, count, gains):
    """Against square QAM of equal use, at equal power and equal mutual information."""
    snr_db = np.arange(2.0, 20.0, 3)
    square = phy.qam_points(count.bit_length() - 1)
    even = mutual_information(square, np.full(count, 1 / count), 10 ** (snr_db / 10))
    book = RESULTS["codecs"][name]["books"][f"learned {count}"]
    points, use = np.array(book["points"]) @ [1, 1j], np.array(book["use"])
    learned = mutual_information(points, use / use.sum(), 10 ** (snr_db / 10))
    assert np.all(learned <= np.log2(1 + 10 ** (snr_db / 10)) + 2e-4) and learned[-1] <= book["entropy_bits"] + 1e-3
    gain_db = np.interp(learned, even, snr_db, right=np.nan) - snr_db
    assert np.nanmax(gain_db) < SHAPING_LIMIT_DB and (np.nanmax(gain_db) > 0.3) == gains
    assert np.nanmax(gain_db) < 0.75 and "up to 0.7 dB" in WORDS
