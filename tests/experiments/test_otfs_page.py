"""The page about OTFS shows what its file of results says, the results say what the page says, and the study runs."""

import copy
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.otfs import grid as study
from experiments.otfs import measure, symbols
from experiments.otfs.page import draw, grouped, largest_difference_db, tables
from lvm_mtc.link import LinkConfig, OfdmIci, OperatingPoint, Otfs
from lvm_mtc.phy import ResourceGrid
from lvm_mtc.report.pages import fill_page

DOCS = Path(__file__).resolve().parents[2] / "docs"
RESULTS = json.loads((DOCS / "otfs" / "results.json").read_text())
PAGE = (DOCS / "otfs.md").read_text()


def value(name, receiver, **at):
    (row,) = (r for r in RESULTS["symbols"] if r["receiver"] == receiver and all(r[k] == v for k, v in at.items()))
    return np.array(row[name])


def test_page_and_results_agree():
    assert fill_page(PAGE, tables(RESULTS)) == PAGE, "run python -m experiments.otfs.measure --page-only"
    drifted = copy.deepcopy(RESULTS)
    drifted["symbols"][3]["ber"][0] = 0.25
    assert fill_page(PAGE, tables(drifted)) != PAGE


def test_the_mean_error_is_one_and_otfs_wins_where_the_page_says(tmp_path):
    assert largest_difference_db(grouped(RESULTS["symbols"], "antennas")) < 1e-3
    for antennas in symbols.ANTENNAS:
        for speed in study.SPEEDS_KMH:
            at = dict(antennas=antennas, speed_kmh=speed, snr_db=20)
            (mean, half), (other, more) = (value("mse", name, **at) for name in ("otfs", "block"))
            assert abs(mean - other) < half + more
            (otfs, wide), (block, half) = (value("ber", name, **at) for name in ("otfs", "block"))
            assert otfs + wide < block - half
            if speed >= 250:  # one tap: interval beside interval, in both senses
                for name in ("ber", "mse"):
                    first, second = value(name, "block", **at), value(name, "one_tap", **at)
                    assert first.sum() < second[0] - second[1]
        floor = [value("mse", "one_tap", antennas=antennas, speed_kmh=500, snr_db=snr)[0] for snr in (20, 30)]
        assert floor[0] < 1.5 * floor[1]
    draw(RESULTS, tmp_path)
    for name in ("figure.png", "pictures.png"):
        assert (tmp_path / name).stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.usefixtures("fast_compile")
def test_frames_of_both_waveforms_lose_the_same_on_average():
    grid = ResourceGrid(fft_size=8, num_ofdm_symbols=5, cyclic_prefix_length=2, subcarrier_spacing=120e3,
                        pilot_symbols=(0,))  # fmt: skip
    at = OperatingPoint(snr_db=jnp.float32(8.0), max_doppler=jnp.float32(12e3))
    found = []
    for carrier in (Otfs(grid=grid), OfdmIci(grid=grid), OfdmIci(grid=grid, receiver="one_tap")):
        link = LinkConfig(fading="exponential", delay_spread=6e-7, num_rx_ant=1, num_tx_ant=1, carrier=carrier)
        found.append(symbols.frames(link, jax.random.key(0), at))
    otfs, block, one_tap = (jax.tree.map(np.asarray, one) for one in found)
    np.testing.assert_allclose(otfs["expected_mse"], block["expected_mse"], rtol=1e-5)
    assert not np.allclose(otfs["mse"], block["mse"], rtol=1e-2)
    assert np.mean(block["mse"]) < np.mean(one_tap["mse"]) and 0 < np.mean(block["ber"]) < 0.3


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--num-frames", "15"], "--num-frames must be a multiple of 10, got 15"),
        (["--parts", "bits"], "unknown --parts bits; known: symbols, estimates, words, deepjscc, token2"),
        (["--parts", "words"], "--parts leaves out deepjscc, estimates, symbols, token2, of which "),
    ],
)
def test_wrong_flags_are_one_line(flags, message, tmp_path, capsys):
    assert measure.main([*flags, "--out", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
