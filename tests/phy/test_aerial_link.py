"""The air-to-ground channel against the formulas in tr3gpp's tables, link budgets and statistics of its draws.

The formulas are read from the package as it prints them, in TeX, and evaluated in NumPy. What its tables leave to the
specification's notes (breakpoint distances, which of two slopes applies) is written out here.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tr3gpp import tr36777, tr38901

from lvm_mtc import phy
from lvm_mtc.phy import aerial_link as a2g
from lvm_mtc.phy import k_factor, path_loss
from lvm_mtc.phy.aerial_tables import SCENARIOS

pytestmark = pytest.mark.usefixtures("fast_compile")

FREQUENCY = 2.1e9
BASE = {"RMa-AV": "RMa", "UMa-AV": "UMa", "UMi-AV": "UMi-StreetCanyon"}
# Both sides of every border: 10, 13 (C'), 22.5, 40, 100 m.
HEIGHTS = {
    "RMa-AV": [1.5, 10.0, 10.1, 40.0, 250.0],
    "UMa-AV": [1.5, 20.0, 22.5, 22.6, 150.0],
    "UMi-AV": [1.5, 22.5, 22.6, 120.0, 300.0],
}
# The breakpoints of 1.5 m at 2.1 GHz lie at 2309 m (RMa), 336 m (UMa) and 126 m (UMi).
DISTANCES = [12.0, 80.0, 320.0, 1500.0, 3900.0]

_NAMES = {
    r"d_\{2D-out\}|d_\{2D\}": " d2 ",
    r"d_\{3D\}": " d3 ",
    r"h_\{UT\}": " hut ",
    r"h_\{BS\}": " hbs ",
    r"d'_\{BP\}|d_\{BP\}": " dbp ",
    r"f_c": " fc ",
    r"C'\( hut \)": " cut ",
    r"p_1": " p1 ",
    r"d_1": " d1 ",
    r"PL'": " free ",
    r"PL_\{[^}]*-LOS\}": " los ",
    r"\\log_\{10\}": " log10 ",
    r"\\(exp|max|min|pi)": r" \1 ",
    r"\\(left|right|quad|,|;|text\{[^}]*\})": "",
    r"\\\{|\[": "(",
    r"\\\}|\]": ")",
}
_FUNCTIONS = {"log10": np.log10, "exp": np.exp, "max": np.maximum, "min": np.minimum}


def _evaluate(tex, **values):
    """A TeX expression of the tables, in NumPy."""
    for pattern, name in _NAMES.items():
        tex = re.sub(pattern, name, tex)
    while "\\dfrac" in tex:
        tex = re.sub(r"\\dfrac\{([^{}]*)\}\{([^{}]*)\}", r"((\1)/(\2))", tex)
    tex = re.sub(r"\^\{([^{}]*)\}", r"**(\1)", tex).replace("^", "**")
    tokens = re.findall(r"\d+\.?\d*|[a-zA-Z]\w*|\*\*|[-+*/(),]", tex)
    assert "".join(tokens) == re.sub(r"\s", "", tex), tex
    source = ""
    for before, token in zip(["("] + tokens, tokens, strict=False):
        starts, ends = re.match(r"[\w(]", token), re.match(r"[\w)]", before)
        source += ("*" if starts and ends and before not in _FUNCTIONS else "") + token
    with np.errstate(all="ignore"):
        return eval(source, {}, {**_FUNCTIONS, "pi": np.pi, **values})


def _statements(tex):
    """``name = expression; name = expression`` as a dictionary."""
    tex = re.sub(r",\s*\\text\{[^}]*\}.*?;", ";", tex).replace("\n", " ")
    parts = (part.split("=", 1) for part in tex.split(r"; \quad"))
    return {name.strip(): expression.strip() for name, expression in parts}


def _last_case(tex):
    """The expression of the case that is not 1."""
    return re.search(r"\\\\(.*?)&", tex, re.DOTALL).group(1)


def _bands(rows, field):
    """The rows of TR 36.777 for low and high UAVs; a third for ``100%``."""
    return [getattr(row, field) for row in rows]


def _reference_los(scenario, d2, height):
    annex = tr36777.annex("B").los_probability(scenario=scenario)
    row = SCENARIOS[scenario]
    tex = tr38901.section("7.4").los_probability(scenario=BASE[scenario]).formula
    near = 10 if scenario == "RMa-AV" else 18
    cut = np.where(height <= 13, 0, (np.maximum(height - 13, 0) / 10) ** 1.5)
    low = np.where(d2 <= near, 1, _evaluate(_last_case(tex), d2=d2, cut=cut))
    form = _statements(_bands(annex, "los_probability")[1])
    p1, d1 = (_evaluate(form[name], hut=height) for name in ("p_1", "d_1"))
    high = np.where(d2 <= d1, 1, _evaluate(_last_case(form["Pr_{LOS}"]), d2=d2, p1=p1, d1=d1))
    if len(annex) == 3:
        assert annex[2].los_probability == "100%"
        high = np.where(height > float(re.match(r"[\d.]+", annex[2].height_range).group()), 1, high)
    return np.where(height <= row.border, low, high)


def _geometry(scenario, d2, height):
    bs, fc = SCENARIOS[scenario].bs_height, FREQUENCY / 1e9
    if scenario == "RMa-AV":
        at = 2 * np.pi * bs * height * FREQUENCY / 3e8
    else:
        at = 4 * (bs - 1) * (height - 1) * FREQUENCY / 3e8
    return {"d2": d2, "d3": np.hypot(d2, bs - height), "hut": height, "hbs": bs, "fc": fc, "dbp": at, "h": 5, "W": 20}


def _reference_loss(scenario, d2, height, condition):
    values = _geometry(scenario, d2, height)
    table = tr38901.section("7.4")
    form = _statements(table.pathloss(scenario=BASE[scenario], condition="LOS").formula)
    near, far = form["PL_1"], form["PL_2"]
    if scenario == "RMa-AV":
        assert far == r"PL_1(d_{BP}) + 40\log_{10}(d_{3D}/d_{BP})"
        far = _evaluate(near, **{**values, "d3": values["dbp"]}) + 40 * np.log10(values["d3"] / values["dbp"])
    else:
        far = _evaluate(far, **values)
    low = np.where(d2 <= values["dbp"], _evaluate(near, **values), far)
    annex = tr36777.annex("B")
    free = 20 * np.log10(4 * np.pi * values["d3"] * FREQUENCY / 3e8)
    tex = _bands(annex.pathloss(scenario=scenario, condition="LOS"), "pathloss")[1].split("=", 1)[1]
    high = _evaluate(tex, free=free, **values)
    if condition == "NLOS":
        own = list(_statements(table.pathloss(scenario=BASE[scenario], condition="NLOS").formula).values())[-1]
        low = np.maximum(low, _evaluate(own, **values))
        tex = _bands(annex.pathloss(scenario=scenario, condition="NLOS"), "pathloss")[1].split("=", 1)[1]
        high = _evaluate(tex, los=high, **values)
    return np.where(height <= SCENARIOS[scenario].border, low, high)


def _reference_std(scenario, d2, height, condition):
    values = _geometry(scenario, d2, height)
    entries = tr38901.section("7.4").pathloss(scenario=BASE[scenario], condition=condition).shadow_fading_std_db
    low = np.where(d2 < values["dbp"], entries[0].value_db, entries[-1].value_db)
    tex = _bands(tr36777.annex("B").shadow_fading_std(scenario=scenario, condition=condition), "sf_std")[1]
    high = _evaluate(tex.split("=", 1)[1], hut=height)
    return np.where(height <= SCENARIOS[scenario].border, low, high)


def _ours(scenario, d2, height):
    setting = {"scenario": scenario, "carrier_frequency": FREQUENCY}
    both = [{"los": True, **setting}, {"los": False, **setting}]
    return (
        path_loss.los_probability(d2, height, scenario=scenario),
        *(path_loss.path_loss_db(d2, height, **numbers) for numbers in both),
        *(path_loss.shadowing_std_db(d2, height, **numbers) for numbers in both),
    )


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_tables(scenario):
    height, d2 = (a.reshape(-1) for a in np.meshgrid(HEIGHTS[scenario], DISTANCES))
    expected = (
        _reference_los(scenario, d2, height),
        *(_reference_loss(scenario, d2, height, condition) for condition in ("LOS", "NLOS")),
        *(_reference_std(scenario, d2, height, condition) for condition in ("LOS", "NLOS")),
    )
    compute = jax.jit(lambda d2, height: _ours(scenario, d2, height))
    with jax.enable_x64(True):
        double = compute(d2, height)
    single = compute(d2.astype(np.float32), height.astype(np.float32))
    for ours, rough, reference in zip(double, single, expected, strict=True):
        assert ours.dtype == jnp.float64 and rough.dtype == jnp.float32
        np.testing.assert_allclose(ours, reference, rtol=1e-11)
        np.testing.assert_allclose(rough, reference, rtol=1e-5)
        # The grids see more than one branch: a value from a neighbouring point would be caught.
        assert np.ptp(reference) == 0 or not np.allclose(ours, np.roll(reference, 1), rtol=1e-4)
    los, with_los, without, _, _ = (np.asarray(value) for value in double)
    assert np.all((los >= 0) & (los <= 1)) and np.all(without >= with_los)


def test_jumps_at_the_borders():
    """Documented in phy.path_loss: values at the border (TR 38.901) and just above it (TR 36.777), at 500 m."""
    known = {
        "RMa-AV": (10.0, [0.6126, 0.6207], [93.2, 97.6]),
        "UMa-AV": (22.5, [0.2239, 0.7881], [93.4 + 20 * np.log10(2.1 / 2), 93.4 + 20 * np.log10(2.1 / 2)]),
        "UMi-AV": (22.5, [0.0360, 0.2335], [95.1 + 20 * np.log10(2.1 / 2), 95.15 + 20 * np.log10(2.1 / 2)]),
    }
    for scenario, (border, probabilities, losses) in known.items():
        heights = np.array([border, np.nextafter(np.float32(border), np.float32(99))], np.float32)
        los, loss, *_ = _ours(scenario, np.float32(500), heights)
        np.testing.assert_allclose(los, probabilities, atol=1e-4)
        if scenario != "RMa-AV":
            np.testing.assert_allclose(loss, losses, atol=0.1)
        else:
            assert 4 < loss[1] - loss[0] < 5


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_farther_is_worse_and_about_free_space_in_sight(scenario):
    d2 = np.linspace(0, 4000, 401, dtype=np.float32)
    compute = jax.jit(lambda d2, height: _ours(scenario, d2, height))
    for height in (8.0, 60.0, 200.0):
        los, with_los, without, _, _ = (np.asarray(value) for value in compute(d2, np.float32(height)))
        beyond = d2 >= 10
        far = d2 > 1000
        # C'(h_UT) makes the probability of UMa rise again with the distance, but not at these heights.
        assert np.all(np.diff(los) <= 1e-6)
        assert np.all(np.diff(with_los[beyond]) > -0.02) and np.all(np.diff(without[beyond]) > 0)
        d3 = np.hypot(d2, SCENARIOS[scenario].bs_height - height)
        free = 20 * np.log10(4 * np.pi * d3 * FREQUENCY / phy.units.SPEED_OF_LIGHT)
        # 28 + 22 log10(d) of UMa lies below free space up to 170 m, by 1.9 dB at 20 m.
        assert np.all(with_los[beyond] > free[beyond] - (2 if scenario == "UMa-AV" else 0.1))
        assert np.all(np.abs(with_los[far] - free[far]) < (25 if height < 10 else 5))


def test_environment_height():
    count = 20_000
    d2 = jnp.full(count, 300.0)
    for height, options in ((13.0, []), (13.2, []), (17.0, [12, 15]), (22.5, [12, 15, 18, 21]), (30.0, [])):
        drawn = np.asarray(path_loss.draw_environment_height(jax.random.key(0), d2, jnp.full(count, height)))
        assert set(np.unique(drawn)) <= {1.0, *options}
        chance = 0.0
        if options:
            bump = ((height - 13) / 10) ** 1.5 * 1.25 * 3**3 * np.exp(-2)
            chance = bump / (1 + bump) / len(options)
        for option in options:
            assert abs(np.mean(drawn == option) - chance) < 5 * np.sqrt(chance * (1 - chance) / count)
    near = path_loss.draw_environment_height(jax.random.key(0), jnp.full(100, 18.0), jnp.full(100, 22.0))
    np.testing.assert_array_equal(near, 1.0)


SETTING = {"carrier_frequency": FREQUENCY, "tx_power_dbm": 30.0, "bandwidth": 10e6, "noise_figure_db": 7.0}


def test_thermal_noise():
    np.testing.assert_allclose(a2g.thermal_noise_dbm(1.0), -173.975, atol=5e-4)
    np.testing.assert_allclose(a2g.thermal_noise_dbm(10e6, 7.0), -96.975, atol=5e-4)


def test_budget():
    positions = np.array([[300.0, 400.0, 60.0], [0.0, 0.0, 100.0]])
    out = a2g.air_to_ground(
        None, positions, scenario="UMa-AV", los=True, shadowing=False, antenna_gain_db=np.array([3.0, 0.0]), **SETTING
    )
    d3 = np.hypot([500.0, 0.0], [35.0, 75.0])
    loss = 28 + 22 * np.log10(d3) + 20 * np.log10(2.1)
    noise = 10 * np.log10(1.380649e-23 * 290 * 10e6 * 1e3)
    np.testing.assert_allclose(out.path_loss_db, loss, rtol=1e-6)
    np.testing.assert_allclose(out.snr_db, 30 + np.array([3, 0]) - loss - noise - 7, atol=2e-5)
    np.testing.assert_allclose(out.elevation, np.arctan2([35, 75], [500, 0]), rtol=1e-6)
    np.testing.assert_allclose(out.distance_2d, [500, 0])
    np.testing.assert_allclose(out.distance_3d, d3, rtol=1e-6)
    np.testing.assert_array_equal(out.shadowing_db, 0)
    np.testing.assert_array_equal(out.max_doppler, 0)


@pytest.mark.slow
def test_budget_through_the_link():
    """Measured power on an antenna over the noise is the budget's SNR, whatever the number of antennas that send."""
    num_tx, num_rx, num_slots = 4, 2, 3000
    keys = list(jax.random.split(jax.random.key(1), 4))
    positions = jnp.array([[1500.0, 0.0, 60.0], [200.0, 0.0, 60.0]])
    out = a2g.air_to_ground(
        jax.random.clone(keys[0]), positions, scenario="UMa-AV", los=np.array([False, True]), **SETTING
    )
    no = a2g.budget_noise_variance(out.snr_db, total_power=num_tx)
    np.testing.assert_allclose(
        no, phy.noise_variance(out.snr_db, convention="rx_per_antenna", num_tx_ant=num_tx, num_rx_ant=num_rx), rtol=1e-6
    )
    # The convention esno is the SNR of one stream: 6 dB less.
    np.testing.assert_allclose(phy.snr_db_from_noise_variance(no), out.snr_db - 10 * np.log10(4), atol=1e-4)
    shape = {"num_rx_ant": num_rx, "num_tx_ant": num_tx}
    angles = phy.line_of_sight(keys[3], (2, num_slots), **shape)
    h = phy.rician(keys[1], (2, num_slots), k_factor_db=out.k_factor_db[:, None], los=angles, **shape)
    x = jnp.sign(jax.random.normal(keys[2], (2, num_slots, num_tx))).astype(jnp.complex64)
    link = phy.broadcast(keys[0], x, no=no, h=h, block_length=1, num_rx_ant=num_rx, equalizer="mf")
    clean = np.asarray(phy.broadcast(None, x, no=no, h=h, block_length=1, h_hat=h, noise=0.0, equalizer="mf").y)
    signal = np.mean(np.abs(clean) ** 2, axis=-1)
    noise = np.mean(np.abs(np.asarray(link.y) - clean) ** 2, axis=-1)
    ratio = signal.mean(-1) / noise.mean(-1)
    relative = np.sqrt((signal.var(-1) / signal.mean(-1) ** 2 + noise.var(-1) / noise.mean(-1) ** 2) / num_slots)
    expected = 10 ** (np.asarray(out.snr_db, np.float64) / 10)
    assert np.all(np.abs(ratio / expected - 1) < 5 * relative)
    assert np.all(np.abs(ratio / (expected / num_tx) - 1) > 5 * relative) and np.all(relative < 0.05)


def test_draws():
    """Fraction in line of sight, moments of the shadowing, and UAVs that are independent of each other."""
    count = 20_000
    positions = jnp.broadcast_to(jnp.array([[600.0, 0.0, 50.0], [0.0, 700.0, 30.0]]), (count, 2, 3))
    out = a2g.air_to_ground(jax.random.key(2), positions, scenario="UMa-AV", **SETTING)
    los, shadow = np.asarray(out.los), np.asarray(out.shadowing_db)
    chance = np.asarray(out.los_probability)[0]
    assert np.all(np.abs(los.mean(0) - chance) < 5 * np.sqrt(chance * (1 - chance) / count))
    assert np.all(np.abs(los.mean(0) - chance[::-1]) > 5 * np.sqrt(chance * (1 - chance) / count))
    for uav, height in enumerate((50.0, 30.0)):
        for state, std in ((True, 4.64 * np.exp(-0.0066 * height)), (False, 6.0)):
            drawn = shadow[los[:, uav] == state, uav]
            assert abs(drawn.mean()) < 5 * std / np.sqrt(drawn.size)
            assert abs(drawn.std() - std) < 5 * std / np.sqrt(2 * drawn.size)
    for a, b in ((shadow[:, 0], shadow[:, 1]), (los[:, 0], los[:, 1]), (shadow[:, 0], los[:, 0])):
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(count)
    budget = 30 + 173.97519 - 70 - 7
    np.testing.assert_allclose(out.snr_db, budget - np.asarray(out.path_loss_db) - shadow, atol=1e-3)


@pytest.mark.slow
def test_draws_of_a_uav_depend_on_its_key_only():
    positions = np.random.default_rng(0).uniform([-900, -900, 23], [900, 900, 90], (5, 3)).astype(np.float32)

    def compute(keys, where):
        return a2g.air_to_ground(keys, where, scenario="UMi-AV", **SETTING)

    keys = jax.random.split(jax.random.key(3), 5)
    eager = compute(jax.random.key(3), positions)
    assert len(set(np.asarray(eager.shadowing_db).tolist())) == 5
    compiled = jax.jit(compute)
    alone = [compiled(jax.random.clone(keys)[k : k + 1], positions[k : k + 1]) for k in range(5)]
    for other in (
        compiled(jax.random.key(3), positions),
        jax.tree.map(lambda *fields: jnp.concatenate(fields), *alone),
        jax.tree.map(lambda a: a[:, 0], jax.jit(jax.vmap(compute))(keys[:, None], positions[:, None])),
    ):
        for ours, theirs in zip(eager, other, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-5)


def test_the_key_may_be_that_of_the_link():
    """Large-scale draws share no random bits with the fading that a sampler makes from the same key."""
    key = jax.random.key(4)
    keys = jax.random.split(jax.random.clone(key), 500)
    positions = jnp.broadcast_to(jnp.array([600.0, 0.0, 50.0]), (500, 3))
    out = jax.jit(lambda keys: a2g.air_to_ground(keys, positions, scenario="UMa-AV", **SETTING))(keys)
    draws = phy.draw_link(jax.random.clone(keys), (500,), 1, num_tx_ant=1)
    for fading in (draws.h.real, draws.h.imag, draws.noise.real, draws.csi.real):
        assert abs(np.corrcoef(np.asarray(fading).reshape(-1), out.shadowing_db)[0, 1]) < 5 / np.sqrt(500)


def test_k_factor():
    heights = np.array([5.0, 10.0, 22.5, 50.0, 300.0])
    log_h = np.log10(heights)
    known = {
        ("RMa-AV", "alternative1"): [7, 7, 20, 20, 20],
        ("UMa-AV", "alternative1"): [9, 9, 9, 20, 20],
        ("UMi-AV", "alternative1"): [9, 9, 9, 9, 9],
        ("RMa-AV", "alternative2"): np.where(heights <= 10, 7, 22.55 * log_h - 4.72),
        ("UMa-AV", "alternative2"): np.where(heights <= 22.5, 9, 4.217 * log_h + 5.787),
        ("UMi-AV", "alternative3"): [9, 9, 9, 15, 15],
        ("UMi-AV", "elevation"): [5, 15, 10, 10, 15],
    }
    elevation = jnp.array([0.0, np.pi / 2, np.pi / 4, -np.pi / 4, -np.pi / 2])
    for (scenario, model), expected in known.items():
        ours = k_factor.rician_k_factor_db(jnp.asarray(heights), elevation, scenario=scenario, model=model)
        np.testing.assert_allclose(ours, expected, rtol=1e-6)
    annex, table = tr36777.annex("B"), tr38901.section("7.5")
    for scenario in ("RMa-AV", "UMa-AV"):
        assert annex.alternative_1(scenario=scenario, condition="LOS").desired_k_db == "20"
        tex = annex.alternative_2(scenario=scenario, parameter="K", condition="LOS").mu
        np.testing.assert_allclose(_evaluate(tex, hut=heights)[-1], known[scenario, "alternative2"][-1])
    means = [table.channel_model_parameters(scenario=s, condition="LOS").mu_K for s in ("RMa", "UMa")]
    assert means == ["7", "9"]
    assert table.channel_model_parameters(scenario="UMi - Street Canyon", condition="LOS").mu_K == "9"
    # Linear values lie on an exponential between the two ends.
    k = 10 ** (np.asarray(k_factor.elevation_k_factor_db(np.pi / 6)) / 10)
    np.testing.assert_allclose(k, 10**0.5 * np.exp(2 / np.pi * np.log(10**1.5 / 10**0.5) * np.pi / 6), rtol=1e-6)


def test_k_factor_follows_the_state():
    los = np.array([True, False, True])

    @jax.jit
    def factors(k_factor_db, without):
        positions, both = np.array([[50.0, 0.0, 60.0]] * 3), {"scenario": "UMa-AV", "los": los, "shadowing": False}
        named = a2g.air_to_ground(None, positions, **both, **SETTING)
        given = a2g.air_to_ground(None, positions, rician=k_factor_db, nlos_k_factor_db=without, **both, **SETTING)
        return named.k_factor_db, given.k_factor_db

    named, given = factors(jnp.array([1.0, 2.0, 3.0]), 10.0)
    np.testing.assert_array_equal(named, [20, -np.inf, 20])
    np.testing.assert_array_equal(given, [1, 10, 3])


def test_doppler():
    positions = np.array([[300.0, 0.0, 65.0], [300.0, 0.0, 65.0], [0.0, 0.0, 65.0], [0.0, 30.0, 60.0]])
    velocity = np.array([[-20.0, 0.0, 0.0], [0.0, 7.0, 0.0], [0.0, 0.0, 10.0], [0.0, 0.0, 0.0]])
    out = a2g.air_to_ground(None, positions, scenario="UMa-AV", los=True, shadowing=False, velocity=velocity, **SETTING)
    per_speed = FREQUENCY / 299_792_458
    np.testing.assert_allclose(out.max_doppler, np.array([20, 7, 10, 0]) * per_speed, rtol=1e-6)
    direct = np.array([20 * 300 / np.hypot(300, 40), 0, -10, 0]) * per_speed
    np.testing.assert_allclose(out.los_doppler, direct, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_gradients(scenario):
    # Above the mast, at the corner of C', on and off the borders, far away.
    border = SCENARIOS[scenario].border
    positions = jnp.array([[0.0, 0.0, border], [18.0, 0.0, 13.0], [0.0, 500.0, 1.5], [0.0, 0.0, 300.0], [4e3, 0, 41.0]])

    def budget(where, los):
        out = a2g.air_to_ground(
            jax.random.key(0), where, scenario=scenario, los=los, velocity=jnp.zeros(3), rician="elevation", **SETTING
        )
        fields = (out.snr_db, out.los_probability, out.max_doppler, jnp.where(los, out.k_factor_db, 0))
        return sum(jnp.sum(field) for field in fields)

    gradient = jax.jit(jax.grad(budget))
    if scenario == "UMi-AV":
        positions = positions.at[0, 2].set(border + 0.5)
    for los in (True, False):
        assert np.all(np.isfinite(gradient(positions, jnp.full(5, los))))
    if scenario != "UMa-AV":
        return
    with jax.enable_x64(True):
        where, step = np.array([[700.0, 300.0, 80.0]]), np.array([[1e-3, 2e-3, -1e-3]])
        value = jax.jit(jax.value_and_grad(budget))
        (_, slope), (above, _), (below, _) = (value(where + k * step, np.array([True])) for k in (0, 1, -1))
        np.testing.assert_allclose(2 * np.sum(slope * step), above - below, rtol=1e-5)


def test_traced_heights_outside_the_tables_give_nan():
    positions = jnp.array([[100.0, 0.0, height] for height in (1.4, 1.5, 300.0, 300.1)])
    out = jax.jit(lambda where: a2g.air_to_ground(jax.random.key(0), where, scenario="RMa-AV", **SETTING))(positions)
    for field in (out.los_probability, out.path_loss_db, out.shadowing_db, out.snr_db):
        np.testing.assert_array_equal(np.isfinite(field), [False, True, True, False])


UAV = np.array([[10.0, 0.0, 50.0]])


def _run(positions=UAV, key=None, scenario="UMa-AV", **changes):
    return a2g.air_to_ground(
        key, positions, scenario=scenario, **{"los": True, "shadowing": False, **SETTING, **changes}
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: _run(scenario="UMa"), "unknown scenario 'UMa'; known: RMa-AV, UMa-AV, UMi-AV"),
        (lambda: _run(np.ones(3)), r"positions must be \[..., num_uavs, 3\], got shape \(3,\)"),
        (lambda: _run(UAV * 10), r"positions\[..., 2\] must lie in \[1.5, 300\] m, got \[500"),
        (lambda: _run(shadowing=True), "key is None: give a key, or los together with shadowing=False"),
        (lambda: _run(key=jax.random.split(jax.random.key(0), 2)), r"key must be a scalar or have shape \(1,\)"),
        (lambda: _run(velocity=np.ones((2, 3))), r"velocity must have shape \(1, 3\), got \(2, 3\)"),
        (lambda: _run(bs_position=(0.0, 0.0, 0.0)), r"bs_position\[..., 2\] must be > 1, got 0.0"),
        (lambda: _run(rician="rice"), "unknown Rician model 'rice'; known: alternative1"),
        (lambda: _run(scenario="UMi-AV", rician="alternative2"), "no table for UMi-AV"),
        (lambda: _run(tx_power_dbm=np.ones(2)), r"tx_power_dbm must have shape \(1,\), got \(2,\)"),
        (lambda: _run(bandwidth=0.0), "bandwidth must be > 0, got 0.0"),
        (lambda: _run(carrier_frequency=3.5), r"carrier_frequency must lie in \[5e\+08, 1e\+11\] Hz, got 3.5"),
        (lambda: _run(rician=float("nan")), "rician must be >= -inf, got nan"),
        (lambda: _run(nlos_k_factor_db=float("nan")), "nlos_k_factor_db must be >= -inf, got nan"),
        (lambda: path_loss.los_probability(-1.0, 50.0, scenario="UMa-AV"), "distance_2d must be >= 0, got -1.0"),
        (lambda: path_loss.los_probability(1.0, 1.0, scenario="UMa-AV"), r"height must lie in \[1.5, 300\] m, got 1.0"),
        (
            lambda: path_loss.los_probability(jnp.ones(2), jnp.ones(3), scenario="UMa-AV"),
            r"do not broadcast: {'distance_2d': \(2,\), 'height': \(3,\)}",
        ),
        (
            lambda: path_loss.path_loss_db(9.0, 50.0, los=1, scenario="UMa-AV", carrier_frequency=1e9),
            r"los must be boolean, got int",
        ),
        (lambda: a2g.budget_noise_variance(1.0, total_power=0.0), "total_power must be > 0, got 0.0"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(call)
