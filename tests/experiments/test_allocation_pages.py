"""The pages about allocation, groups by importance and superposed users: from their stores, and what they claim."""

import functools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from experiments.allocation import measure
from experiments.allocation import page as allocation_page
from experiments.isfr import page as isfr_page
from experiments.sfma import page as sfma_page
from lvm_mtc.report.pages import fill_page
from lvm_mtc.results.intervals import student_interval

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = {"allocation": allocation_page, "isfr": isfr_page, "sfma": sfma_page}


def results(name):
    return json.loads((DOCS / name / "results.json").read_text())


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_its_results_say(name):
    page = (DOCS / f"{name}.md").read_text()
    filled = fill_page(page, PAGES[name].tables(results(name)))
    assert filled == page, f"run python -m experiments.{name}.measure --page-only"


def test_optimisers_are_as_good_as_the_page_says():
    of = results("allocation")
    tokens, groups, pairs = of["token_lengths"], of["protection"], of["superposition"]
    assert len(tokens) == 50 and all(
        row["monotone"] and max(row["over_equal"], row["over_common"]) < 1e-12 for row in tokens
    )
    many = of["many_token_lengths"]
    assert len(many) == 50 and all(
        row["monotone"] and max(row["over_equal"], row["over_common"]) < 1e-12 for row in many
    )
    assert len(groups) == 100 and np.mean([row["gap"] < 1e-7 for row in groups]) >= 0.95
    assert max(row["gap"] for row in groups) < 0.05 and max(row["seconds"] for row in of["large_protection"]) < 1
    assert len(pairs) == 20 and of["users"] == 6
    assert all(row["monotone"] and row["feasible"] for row in pairs)
    assert sum(row["over_best_pairing"] > -0.01 for row in pairs) >= 18
    assert all(row["over_equal"] > 0 for row in pairs)


def test_the_store_repeats_itself():
    of = results("allocation")
    many = functools.partial(measure.token_lengths, users=6, lengths=measure.MANY_LENGTHS)
    for name, solve in (
        ("token_lengths", measure.token_lengths), ("many_token_lengths", many), ("protection", measure.protection)
    ):  # fmt: skip
        for seed in (0, 3):
            again = solve(seed)
            for key, value in again.items():
                assert value == pytest.approx(of[name][seed][key], abs=1e-9)


def test_the_superposed_network_has_the_leak_and_the_similarities_that_were_measured():
    of, measured = results("allocation"), measure.superposed(results("sfma"))
    network = measure.network_of(0, 6, measured)
    assert tuple(of["leak"]) == measured["leak"] == network.leak == tuple(results("sfma")["leak"]["coefficients"])
    (page,) = re.findall(r"its leak, \((.*?)\)", (DOCS / "allocation.md").read_text())
    assert page == ", ".join(f"{value:.2f}" for value in measured["leak"])
    apart = network.similarity[np.triu_indices(6, 1)]
    assert np.isin(apart, measured["similarities"]).all() and len(set(apart)) > 5
    assert network.power / 3 == 1.0  # of a pair, as where the leak was measured


def test_water_filling_is_the_optimum_of_a_general_solver():
    gain, power, bandwidth = np.array([2.0, 30.0, 0.3, 9.0]), 1.0, 2.0
    found = minimize(
        lambda p: -(bandwidth / 4 * np.log2(1 + p * gain / (bandwidth / 4))).sum(), np.full(4, power / 4),
        bounds=[(0, None)] * 4, constraints={"type": "eq", "fun": lambda p: p.sum() - power},
    )  # fmt: skip
    assert found.x.min() < 1e-6  # the weakest gets nothing
    assert measure.water_filling(gain, power, bandwidth) == pytest.approx(-found.fun, rel=1e-6)


@pytest.mark.parametrize("part", allocation_page.AXES)
def test_the_optimiser_is_above_given_pairs_and_equal_shares_everywhere(part):
    networks, axis = results("allocation")[part], part.removeprefix("over_")
    assert len(networks) == 5 and len({tuple(row[axis] for row in of) for of in networks}) == 1
    for row in (row for of in networks for row in of):
        for name in ("random pairs", "most alike pairs", "equal shares"):
            assert row[name] is None or row["optimised"] >= row[name] * (1 - 1e-9)


def test_restructured_groups_with_joint_allocation_gain_at_low_snr():
    rows = results("isfr")["rows"]
    for snr_db in (0.0, 5.0):
        gain = isfr_page.psnr(rows, "restructured", "joint", snr_db) - isfr_page.psnr(
            rows, "control", "uniform", snr_db
        )
        mean, half, pictures = student_interval(gain)
        assert pictures == 24 and mean - half > 0
    assert all(row["uses"] <= results("isfr")["uses"] for row in rows)


def test_similar_pairs_gain_over_a_plain_network_trained_as_long_and_others_hardly_change():
    rows = results("sfma")["rows"]
    assert {uses for row in rows for uses in row["uses"].values()} == {4608.0}
    for link in ("awgn", "rayleigh"):
        for snr_db in (0.0, 5.0, 10.0, 20.0):
            at = rows, link, snr_db
            for worse in ("plain", "closed"):
                mean, half, pictures = student_interval(sfma_page.gains(*at, 0.8, 1.01, "exchange", worse))
                assert pictures == 24 and mean - half > 0
            assert abs(sfma_page.gains(*at, -0.01, 0.1, "exchange", "closed").mean()) < 0.01
            assert -0.2 < sfma_page.gains(*at, -0.01, 0.1, "exchange", "plain").mean() < 0


def test_bits_have_the_symbols_of_the_features():
    of = results("sfma")["digital"]
    assert {uses for row in of for uses in row["uses"].values()} == {4608.0}
    assert {(row["pair"], row["snr_db"]) for row in of} == {
        (kind, snr_db) for kind in ("0 px", "two pictures") for snr_db in (0.0, 5.0, 10.0, 20.0)
    }
