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


def test_pictures_gain_over_one_tap_at_equal_uses_and_little_over_the_other():
    assert {row["uses"] for row in RESULTS["deepjscc"] + RESULTS["token2"]} == {33 * 37}
    assert largest_difference_db(grouped(RESULTS["token2"], "codec")) < 1e-3
    gains = {(row["receiver"], row["speed_kmh"], row["snr_db"]): row["otfs_psnr_gain"] for row in RESULTS["token2"]}
    for speed, least in ((125, 0.1), (500, 2.5), (1000, 5.0)):
        mean, half = gains["one_tap", speed, 20]
        assert mean - half > least
    over_block = {at[1:]: gain for at, gain in gains.items() if at[0] == "block"}
    assert all(-0.45 < mean < 0.6 for mean, _ in over_block.values())
    for snr, sign in ((0, 1), (5, 1), (10, 1), (15, 1), (20, 1), (25, -1), (30, -1)):
        mean, half = over_block[500, snr]
        assert sign * mean > half
    for row in RESULTS["deepjscc"] + RESULTS["token2"]:
        gain, half = row["otfs_accuracy_gain"]
        assert row["receiver"] != "block" or abs(gain) <= half
        if (row["receiver"], row["speed_kmh"]) == ("one_tap", 1000):
            assert gain - half > 0


def test_coded_words_turn_it_round():
    decided = []
    for of in grouped(RESULTS["words"], "rate"):
        (otfs, wide), (block, half), (one_tap, more) = (of[name]["lost"] for name in ("otfs", "block", "one_tap"))
        assert otfs >= block or otfs + wide > block - half
        if otfs - wide > block + half:
            decided.append((of["otfs"]["rate"], of["otfs"]["snr_db"], of["otfs"]["speed_kmh"]))
        if of["otfs"]["speed_kmh"] >= 750:
            assert one_tap - more > max(otfs + wide, block + half)
    assert (0.75, 15, 500) in decided


def test_an_embedded_pilot_wins_at_speed_only():
    at = {(row["estimate"], row["speed_kmh"]): np.array(row["mse"])
          for row in RESULTS["estimates"] if row["snr_db"] == 20}  # fmt: skip
    for speed, first, second in ((250, "impulses", "full"), (500, "full", "impulses"), (500, "full", "reduced"),
                                 (500, "told", "full")):  # fmt: skip
        assert at[first, speed].sum() < at[second, speed][0] - at[second, speed][1]
    assert at["reduced", 1000][0] > 1
    floor = [row["mse"][0] for row in RESULTS["estimates"] if row["estimate"] == "full" and row["snr_db"] >= 25]
    assert len(floor) == 2 and all(10**-1.2 < mse < 0.1 for mse in floor)
    per_frame = {name: sum(carrier.grid.num_ofdm_symbols * [carrier.grid.fft_size + carrier.grid.cyclic_prefix_length])
                 for name, (_, carrier) in study.ESTIMATES.items()}  # fmt: skip
    assert set(per_frame.values()) == {1221}


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
