"""The page about the digital side says what its results say, and its bits are those of packets made anew."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from experiments.digital.page import KINDS, ideal_gaps, tables
from experiments.digital.pictures import FILLED_BY, USES, fill, staircases
from lvm_mtc.report.pages import fill_page
from lvm_mtc.schemes.progressive import packets

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "digital.md").read_text()
RESULTS = json.loads((DOCS / "digital" / "results.json").read_text())


def test_page_and_results_agree():
    assert fill_page(PAGE, tables(RESULTS)) == PAGE
    changed = copy.deepcopy(RESULTS)
    changed["codec"]["psnr_db"][0] += 0.1
    assert fill_page(PAGE, tables(changed)) != PAGE


def test_short_codes_stay_above_the_least_that_is_possible():
    found = RESULTS["short"]
    error = 5 * np.sqrt(0.25 / found["num_words"])
    assert np.all(np.array(found["measured"]) > np.array(found["least"]) - error)


@pytest.mark.parametrize("kind", KINDS)
def test_the_adaptive_link_keeps_below_its_limits(kind):
    found = RESULTS["adaptation"][kind]
    for harq, single, limit in zip(found["harq"], found["single"], found["limits"], strict=True):
        assert harq["goodput"] < limit["capacity"] and single["goodput"] < limit["outage"]
        assert harq["goodput"] > 0.99 * single["goodput"] - 2 * harq["goodput_deviation"]
        words = harq["coded_bits"] / (RESULTS["adaptation"]["slots"] * harq["bits_per_symbol"])
        assert words == round(words) >= RESULTS["adaptation"]["num_words"]


def test_heic_is_beside_avif_and_ahead_of_webp():
    (webp, avif, heic), progressive = RESULTS["files"].values(), RESULTS["codec"]["psnr_db"]
    rows = list(zip(webp, avif, heic, progressive, strict=True))
    assert list(RESULTS["files"]) == ["webp", "avif", "heic"]
    assert heic[0][0] is None and all(abs(two[0] - three[0]) < 0.3 for _, two, three, _ in rows[1:])
    assert all(three[0] - one[0] > 1.4 for one, _, three, _ in rows[2:])
    assert (avif[1][0] - progressive[1], avif[7][0] - progressive[7]) == pytest.approx((1.7, 4.2), abs=0.06)


def test_every_stage_adds_and_entropy_stands_beside_distortion():
    codec = RESULTS["codec"]
    assert np.all(np.diff(codec["psnr_db"]) > 0.2)
    assert np.all(np.diff([row["sqnr_db"] for row in codec["books"]]) > 0.2)
    assert all(row["entropy"] <= np.log2(codec["codebook_size"]) for row in codec["books"])
    assert np.all(np.diff(codec["bits"]) == 1152)


@pytest.mark.parametrize("kind", KINDS)
def test_booked_bits_are_those_of_the_packets(kind):
    curves = RESULTS[f"pictures_{kind}"]["curves"]
    for t in (1, 4, 8):
        plan = [fill(t, 1152, USES)]
        (ledger,) = curves[f"{t} stages, one packet"]["ledgers"]
        assert packets.book(plan)._asdict() == ledger and ledger["channel_uses"] <= USES
        sent = packets.send_packets(np.zeros((1, ledger["payload_bits"]), np.uint8), plan)
        assert sent.shape[1] == ledger["channel_uses"]
    for name in ("staircase", "staircase, told the SNR"):
        for ledger, plan in zip(curves[name]["ledgers"], curves[name]["packets"], strict=True):
            assert ledger["payload_bits"] == 1152 * len(plan) and ledger["channel_uses"] <= USES


@pytest.mark.parametrize("kind", KINDS)
def test_told_the_snr_the_staircase_is_within_a_decibel_of_every_single_rate(kind):
    found = RESULTS[f"pictures_{kind}"]
    told = np.array(found["curves"]["staircase, told the SNR"]["psnr_db"])
    assert np.all(told > np.array(found["envelope"]) - 1)
    for name, row in found["curves"].items():
        if name.endswith("one packet"):
            assert np.all(np.array(row["psnr_db"]) <= np.array(found["envelope"]) + 1e-9)


def test_what_the_page_says_of_the_curves():
    awgn, rayleigh = (RESULTS[f"pictures_{kind}"] for kind in KINDS)
    told = np.array(awgn["curves"]["staircase, told the SNR"]["psnr_db"])
    assert np.all(told > np.array(awgn["envelope"]) - 0.5)
    digital = [row["psnr_db"] for name, row in rayleigh["curves"].items() if name != "analogue"]
    ahead = np.array(rayleigh["curves"]["analogue"]["psnr_db"]) > np.max(digital, axis=0)
    np.testing.assert_array_equal(ahead, 2 * [False] + 3 * [True] + 2 * [False])
    gaps = np.array(rayleigh["envelope"]) - rayleigh["curves"]["staircase"]["psnr_db"]
    assert round(gaps.mean(), 1) == 1.1 and round(gaps[0], 1) == 2.9 == round(gaps.max(), 1)
    told = np.array(rayleigh["envelope"]) - rayleigh["curves"]["staircase, told the SNR"]["psnr_db"]
    assert round(told.mean(), 1) == 0.1


def test_no_plan_of_packets_one_after_the_other_follows_the_envelope():
    awgn = RESULTS["pictures_awgn"]
    ideal, envelope = ideal_gaps(awgn), np.array(awgn["envelope"])
    assert ideal.max() == pytest.approx(2.65, abs=0.005)
    strong, plan = (envelope - awgn["curves"][name]["psnr_db"] for name in ("1 stages, one packet", "staircase"))
    assert (round(strong.max(), 1), round(plan.max(), 1)) == (6.1, 10.4) and strong.mean() > plan.mean()
    assert ideal.max() < strong.max() and ideal.mean() < strong.mean()
    # Of two stages and symbols for the second only where the first is cheap: capacities 1 and 4 bits.
    small = dict(snr_db=[0.0, 10 * np.log10(15)], levels=[10.0, 20, 24], envelope=[20.0, 24], uses=125,
                 curves={"1 stages, one packet": {"ledgers": [{"payload_bits": 100}]}})  # fmt: skip
    np.testing.assert_array_equal(ideal_gaps(small), [0, 0])
    np.testing.assert_array_equal(ideal_gaps(small | {"uses": 124}), [0, 4])


def test_what_the_page_says_of_repeats():
    rows = RESULTS["adaptation"]["rayleigh"]
    gain = np.array(
        [one["goodput"] / other["goodput"] for one, other in zip(rows["harq"], rows["single"], strict=True)]
    )
    assert round(gain[2:].min(), 1) == 1.2 and round(gain.max(), 1) == 2.5
    later = np.array([row["latency"] for row in rows["harq"][2:]]) / RESULTS["adaptation"]["slots"] - 1
    assert (round(100 * later.min()), round(100 * later.max())) == (4, 14)
    lost = np.array([row["first_errors"] for row in rows["harq"]])
    assert (lost[0], lost[1:].min(), lost[1:].max()) == (0.16, 0.04, 0.13)
    assert all(row["latency_99"] >= 968 for row in rows["harq"])


def test_plans_and_what_to_expect_of_them():
    """A strong level of 1000 symbols that arrives from the first SNR on, a weak one of 400 from the second."""
    arrive, uses, levels = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([1000, 400]), np.array([10.0, 20.0, 24.0, 27.0])
    plans, expected = staircases(arrive, uses, levels, together=True)
    assert set(plans) == {(0,), (1,), (0, 0), (0, 1), (1, 1), (0, 1, 1), (1, 1, 1)}
    np.testing.assert_array_equal(expected[plans.index((0, 1, 1))], [20, 27])
    np.testing.assert_array_equal(expected[plans.index((1, 1, 1))], [10, 27])
    half = np.array([[0.5, 1.0], [0.5, 1.0]])
    plans, expected = staircases(half, uses, levels, together=False)
    assert expected[plans.index((0, 1))][0] == 10 + 0.5 * 10 + 0.25 * 4
    assert [fill(1, 1152, USES // count).num_symbols for count in FILLED_BY[:3]] == [2304, 1152, 768]
