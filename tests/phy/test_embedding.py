"""Inside the programs of others: strict dtype promotion, and keys of every kind."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import phy

GRID = phy.ResourceGrid(fft_size=16, num_ofdm_symbols=4, cyclic_prefix_length=4, pilot_symbols=(0, 2))
TWO = {"num_rx_ant": 2, "num_tx_ant": 2}
AIR = {"scenario": "UMa-AV", "carrier_frequency": 3.5e9}
TIMES = np.arange(3) * 1e-3
PILOTS = {"csi": "pilots_lmmse", "num_pilots": 4}


SAMPLED = {"grid": GRID, "paths": phy.rayleigh_path, "statistics": phy.default_statistics(GRID, 2)}
SAMPLED_KINDS = (
    {"csi_error_var": 0.1},
    {"csi": "mmse", "csi_error_var": 0.1, "statistics": SAMPLED["statistics"]},
    {"csi": "pilots_lmmse", "statistics": SAMPLED["statistics"]},
    {"waveform": "ofdm", "receiver": "one_tap", "equalizer": "unbiased"},
)
EMBEDDED = {
    "grid": phy.ResourceGrid(fft_size=16, num_ofdm_symbols=4, pilot_symbols=()),
    "embedded": phy.EmbeddedPilot(max_delay=1, max_doppler=0),
}


def _ones(*shape):
    return jnp.ones(shape, jnp.complex64)


def _bits(*shape):
    return jnp.ones(shape, bool)


def _equalize(name):
    equalize = phy.EQUALIZERS[name]
    out = [equalize(_ones(3, 4), _ones(3, 4, 4), 1, np.float32(0.2), active=_bits(4), noise_cov=jnp.eye(4))]
    if name != "none":
        out += [equalize(_ones(600, 4), _ones(600, 4, 4), 0.1, active=_bits(600, 4))]
        out += [equalize(_ones(3, 12), _ones(3, 12, 9), 0.1)]
    if name not in ("none", "zf"):
        out += [equalize(_ones(3, 2), _ones(3, 2, 4), 0.1, active=_bits(4))]
    return out


def _link(send, key, shape, **options):
    kinds = ({"csi_error_var": 0.1}, {"csi": "mmse", "csi_error_var": jnp.float32(0.1)}, {"csi": "pilots_ls"}, PILOTS)
    return [
        send(
            key, _ones(*shape), no=1, active=_bits(*shape), equalizer=equalizer, **({"num_pilots": 4} | kind), **options
        )
        for equalizer in ("paper", "robust")
        for kind in kinds
    ]


def _ofdm(key):
    send = [{"csi_error_var": 0.1}, {"csi": "mmse"}, {"csi": "pilots_ls"}, {"csi": "pilots_lmmse", "joint": True}]
    return [
        phy.ofdm_link(key, _ones(2, 9, 2), no=0.1, grid=GRID, paths=phy.rayleigh_path, active=_bits(2, 9, 2), **kind)
        for kind in send
    ]


# Of every public function, calls with the numbers that a user has: Python integers and floats, NumPy, JAX.
CALLS = {
    "aged_posterior": lambda key: phy.aged_posterior(_ones(3, 2, 2), 0.1, jnp.full(3, 0.9), model="mmse"),
    "air_to_ground": lambda key: phy.air_to_ground(
        key, [[100, 0, 50]], tx_power_dbm=30, bandwidth=10e6, noise_figure_db=7, velocity=np.array([1, 2, 0]), **AIR
    ),
    "awgn_capacity": lambda key: phy.awgn_capacity([1, 2], num_streams=2),
    "awgn_dispersion": lambda key: phy.awgn_dispersion([1, 2], num_streams=2),
    "bessel_j0": lambda key: phy.bessel_j0([0, 1]),
    "block_lmmse": lambda key: phy.block_lmmse(_ones(3, 20), _ones(3, 20, 18), 1),
    "block_layout": lambda key: phy.block_layout(7, 3),
    "broadcast": lambda key: (
        _link(phy.broadcast, key, (2, 5, 4))
        + [phy.broadcast(key, _ones(2, 5, 2), no=0.1, csi_error_var=0.1, fading=None)]
        + [phy.broadcast(key, _ones(2, 5, 2), no=0.1, csi_error_var=0.1, prior=phy.ChannelPrior(_ones(2, 2), 0.5))]
    ),
    "budget_noise_variance": lambda key: phy.budget_noise_variance([0, 10], total_power=4),
    "cdl": lambda key: phy.cdl(key, (2,), model="d", times=TIMES, delay_spread=1e-7, max_doppler=5, **TWO),
    "correlate": lambda key: phy.correlate(_ones(3, 2, 2), rx_corr=phy.exp_corr_mat(0.5, 2), tx_corr=jnp.eye(2)),
    "csi_posterior": lambda key: phy.csi_posterior(_ones(2, 2), 1, prior=phy.ChannelPrior(_ones(2, 2), 0.5)),
    "csi_posterior_correlated": lambda key: phy.csi_posterior_correlated(
        _ones(3, 2, 2), jnp.full(3, 0.1), prior=phy.ChannelPrior(1, rx_corr=phy.exp_corr_mat(0.5, 2))
    ),
    "data_cells": lambda key: phy.data_cells(GRID, None, 2),
    "db_to_linear": lambda key: phy.db_to_linear([0, 10]),
    "default_statistics": lambda key: phy.default_statistics(GRID, 2)[:2],
    "draw_environment_height": lambda key: phy.draw_environment_height(key, 100, 15.0, scenario="UMa-AV"),
    "draw_link": lambda key: phy.draw_link(key, (2,), 5, num_tx_ant=2, demodulation_slots=3),
    "draw_mac": lambda key: phy.draw_mac(key, (2,), 5, 3, num_rx_ant=2),
    "draw_ofdm": lambda key: phy.draw_ofdm(key, (2,), 5, grid=GRID, paths=phy.rayleigh_path, num_tx_ant=2),
    "draw_sampled": lambda key: phy.draw_sampled(key, (2,), 5, **SAMPLED, **TWO),
    "elevation_k_factor_db": lambda key: phy.elevation_k_factor_db(0.5, horizon_db=5),
    "error_var_to_nmse_db": lambda key: phy.error_var_to_nmse_db([1, 2]),
    "estimate_csi": lambda key: [
        phy.estimate_csi(_ones(2, 2), _ones(2, 2), np.float32(0.1), model=m) for m in ("additive", "mmse")
    ],
    "estimate_from_pilots": lambda key: phy.estimate_from_pilots(
        _ones(2, 4), phy.pilot_matrix(2, 4), 0.1, estimator="lmmse"
    ),
    "exact_detector": lambda key: phy.exact_detector(
        _ones(3, 2), _ones(2, 2), 1, 2, prior=jnp.ones((3, 4)), noise_cov=jnp.eye(2)
    ),
    "exp_corr_mat": lambda key: phy.exp_corr_mat(0.5, 3),
    "exponential": lambda key: phy.exponential(
        key, (2,), times=TIMES, num_taps=3, sample_duration=1e-6, delay_spread=5e-7, max_doppler=5, **TWO
    ),
    "exponential_profile": lambda key: phy.exponential_profile(3, 1, 0.5),
    "features_to_symbols": lambda key: phy.features_to_symbols(jnp.ones((3, 4))),
    "finite_error": lambda key: phy.finite_error(jnp.ones(2), 1, 100, [[1], [2]]),
    "finite_rate": lambda key: phy.finite_rate(jnp.ones(2), 1, [[100], [200]], 0.1),
    "fisher_snedecor": lambda key: phy.fisher_snedecor(key, (2,), m_f=2, m_s=3, **TWO),
    "fisher_snedecor_ber": lambda key: phy.fisher_snedecor_ber([1, 10], m_f=5, m_s=4),
    "frequency_response": lambda key: phy.frequency_response(
        phy.Paths(_ones(2, 3, 2, 2), jnp.ones(2)), GRID.frequencies
    ),
    "gaussian_field": lambda key: phy.gaussian_field(key, [[0, 1], [2, 3]], 50),
    "geometric_line_of_sight": lambda key: phy.geometric_line_of_sight(
        [[100, 0, 50]], [0, 0, 25], times=TIMES, velocity=np.array([1, 2, 0]), carrier_frequency=3.5e9, **TWO
    ),
    "impulse_rows": lambda key: phy.impulse_rows(GRID, 2, 2),
    "interference_power": lambda key: phy.interference_power([0, 100], GRID),
    "interpolate": lambda key: [phy.interpolate(_ones(1, 2, 16, 1), GRID, 2, m) for m in phy.INTERPOLATIONS],
    "isfft": lambda key: phy.isfft(_ones(2, 4, 16, 2)),
    "joint": lambda key: _link(phy.joint, key, (5, 4)) + _link(phy.joint, key, (5, 4), num_rx_ant=2),
    "k_best_detector": lambda key: [
        phy.k_best_detector(_ones(3, 2), _ones(3, 2, 2), jnp.ones(3), bits, method=m)
        for bits in (2, 4)
        for m in phy.DEMAPPERS
    ],
    "largest_correlation": lambda key: phy.largest_correlation(3),
    "largest_delay_spread": lambda key: phy.largest_delay_spread(3, 1e-6),
    "line_of_sight": lambda key: phy.line_of_sight(key, (2,), **TWO),
    "linear_to_db": lambda key: phy.linear_to_db([1, 2]),
    "lmmse_equalizer": lambda key: [_equalize(name) for name in phy.LMMSE_VARIANTS],
    "lmmse_matrix": lambda key: phy.lmmse_matrix(_ones(3, 2), 1, 0.1, noise_cov=jnp.eye(3)),
    "los_probability": lambda key: [phy.los_probability(100, 20.5, scenario=name) for name in phy.SCENARIOS],
    "mac": lambda key: [
        phy.mac(key, _ones(4, 5, 2), no=jnp.ones(4), power=[1, 2], csi_error_var=0.1, active=_bits(4, 5, 2)),
        phy.mac(key, _ones(5, 2), no=1, csi="pilots_ls", num_pilots=3, pilot_power=2, block_length=5),
        phy.mac(key, _ones(5, 2), no=1, csi_error_var=0.1, prior=phy.ChannelPrior(1, rx_corr=phy.exp_corr_mat(0.5, 2))),
    ],
    "measure_snr_db": lambda key: phy.measure_snr_db(
        _ones(2, 2), _ones(2, 3), _ones(2, 3), convention="ebno", bits_per_symbol=2, code_rate=0.5
    ),
    "mf_equalizer": lambda key: _equalize("mf"),
    "mimo_capacity": lambda key: phy.mimo_capacity(_ones(3, 2, 2), 1),
    "mimo_dispersion": lambda key: phy.mimo_dispersion(_ones(3, 2, 2), 1),
    "mu_mimo": lambda key: [
        phy.mu_mimo(key, _ones(5, 2), no=1, num_tx_ant=4, common=_bits(5), active=_bits(5, 2), method=method, **kind)
        for method in phy.PRECODINGS
        for kind in ({"tx_csi_error_var": 0.1}, PILOTS, {"demodulation": "genie", "equalizer": "paper"})
    ],
    "multicast_beam": lambda key: phy.multicast_beam(_ones(3, 4, 2), total_power=2),
    "nakagami": lambda key: phy.nakagami(key, (2,), m=2, **TWO),
    "nmse_db_to_error_var": lambda key: phy.nmse_db_to_error_var([-10, 0]),
    "no_equalizer": lambda key: _equalize("none"),
    "noise_variance": lambda key: [
        phy.noise_variance([0, 10], convention=name, bits_per_symbol=2, code_rate=0.5, **TWO)
        for name in phy.SNR_CONVENTIONS
    ],
    "normalize_power": lambda key: phy.normalize_power(_ones(3, 4), _bits(3)),
    "observe_pilots": lambda key: phy.observe_pilots(_ones(1, 2, 16, 1, 2), _ones(1, 2, 16, 1, 2), 0.1),
    "ofdm_demodulate": lambda key: phy.ofdm_demodulate(_ones(40), GRID),
    "ofdm_link": _ofdm,
    "ofdm_modulate": lambda key: phy.ofdm_modulate(_ones(2, 16), GRID),
    "outage_probability": lambda key: phy.outage_probability(jnp.ones(4), [1, 2]),
    "path_loss_db": lambda key: [phy.path_loss_db(100, 50, los=True, **(AIR | {"scenario": s})) for s in phy.SCENARIOS],
    "pic_detector": lambda key: phy.pic_detector(_ones(3, 2), _ones(2, 2), 0.1, 4, prior=jnp.ones((3, 8))),
    "pilot_error_var": lambda key: [phy.pilot_error_var(1, 4, estimator=e) for e in ("ls", "lmmse")],
    "pilot_matrix": lambda key: phy.pilot_matrix(2, 4),
    "pilot_uses": lambda key: phy.pilot_uses(4, 2),
    "post_detection_mse": lambda key: phy.post_detection_mse(_ones(2, 3), _ones(3, 2), 1, 0.1, noise_cov=jnp.eye(3)),
    "precoder": lambda key: phy.precoder(_ones(3, 2, 4), no=1, total_power=2, error_var=0.1, constraint="per_antenna"),
    "qam_ber": lambda key: [phy.qam_ber(1), phy.qam_ber([1, 10], 4)],
    "qam_llr": lambda key: [phy.qam_llr(_ones(4), 1, bits, m) for bits in (2, 8) for m in phy.DEMAPPERS],
    "qam_map": lambda key: phy.qam_map([0, 1], 2),
    "qam_mean": lambda key: phy.qam_mean(jnp.ones((3, 8)), 4),
    "qam_points": lambda key: phy.qam_points(2),
    "qam_posterior": lambda key: phy.qam_posterior(_ones(3), jnp.ones(3), 4),
    "rayleigh": lambda key: phy.rayleigh(key, (2,), rx_corr=phy.exp_corr_mat(0.5, 2), **TWO),
    "rayleigh_magnitude": lambda key: phy.rayleigh_magnitude(key, (2,), **TWO),
    "rayleigh_path": lambda key: phy.rayleigh_path(key, (2,), times=TIMES, max_doppler=5, **TWO),
    "reference_power": lambda key: phy.reference_power("esno"),
    "rician": lambda key: phy.rician(key, (2,), k_factor_db=3, **TWO),
    "rician_k_factor_db": lambda key: [
        phy.rician_k_factor_db(jnp.full(2, 50.0), jnp.ones(2), scenario="UMa-AV", model=m) for m in phy.RICIAN_MODELS
    ],
    "rician_path": lambda key: phy.rician_path(key, (2,), times=TIMES, k_factor_db=3, max_doppler=np.ones(2), **TWO),
    "rician_weights": lambda key: phy.rician_weights(3),
    "sampled_link": lambda key: (
        [
            phy.sampled_link(_ones(2, 9, 2), phy.draw_sampled(key, (2,), 9, **SAMPLED, **TWO), no=1, grid=GRID, **kind)
            for kind in SAMPLED_KINDS
        ]
        + [
            phy.sampled_link(
                _ones(2, 9, 2), phy.draw_sampled(key, (2,), 9, **(SAMPLED | EMBEDDED), **TWO), no=1, csi=csi, **EMBEDDED
            )
            for csi in ("pilots_ls", "mmse")
        ]
    ),
    "sfft": lambda key: phy.sfft(_ones(2, 4, 16, 2)),
    "shadowing_std_db": lambda key: phy.shadowing_std_db(100, 50, los=False, **AIR),
    "sic_equalizer": lambda key: [
        phy.sic_equalizer(_ones(3, 2), _ones(2, 2), 0.1, 2, cancellation=name) for name in phy.CANCELLATIONS
    ],
    "slope_at_zero": lambda key: phy.slope_at_zero(
        lambda draws, s: jnp.real(phy.estimate_csi(draws.h, draws.csi, s)).sum(),
        phy.LinkDraws(_ones(3, 2, 2), _ones(3, 2, 2), _ones(3, 2)),
    ),
    "slots_per_token": lambda key: phy.slots_per_token(5, 2),
    "slots_to_tokens": lambda key: phy.slots_to_tokens(_ones(3, 2, 4), 6),
    "snr_db_from_noise_variance": lambda key: phy.snr_db_from_noise_variance([1, 2]),
    "stream_key": lambda key: phy.stream_key(key, phy.Stream.FADING),
    "sweep_lmmse": lambda key: phy.sweep_lmmse(
        _ones(6, 2),
        phy.LinkDraws(_ones(6, 2, 2), _ones(6, 2, 2), _ones(6, 2)),
        jnp.ones(2),
        jnp.ones(3),
        lambda x_hat, no_eff: jnp.mean(no_eff),
    ),
    "symbols_to_features": lambda key: phy.symbols_to_features(_ones(3)),
    "tdl": lambda key: phy.tdl(key, (2,), model="E", times=TIMES, delay_spread=1e-7, max_doppler=5, **TWO),
    "thermal_noise_dbm": lambda key: phy.thermal_noise_dbm(10_000_000, 7),
    "tokens_to_slots": lambda key: phy.tokens_to_slots(_ones(3, 6), 4),
    "uniform_field": lambda key: phy.uniform_field(key, [[0, 1, 2]], 50.0),
    "waterfilling_capacity": lambda key: phy.waterfilling_capacity(_ones(3, 2, 2), 1, 2),
    "waterfilling_powers": lambda key: phy.waterfilling_powers(jnp.ones(3), 2),
    "wiener_estimate": lambda key: phy.wiener_estimate(
        _ones(1, 2, 16, 1), 0.1, GRID, 2, phy.default_statistics(GRID, 2)._replace(max_doppler=30)
    ),
    "zf_equalizer": lambda key: _equalize("zf"),
}


def test_every_public_function_is_here():
    functions = {name for name in phy.__all__ if inspect.isfunction(getattr(phy, name))}
    assert functions == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_strict_promotion_changes_nothing(name):
    def run(key):
        return [
            leaf if isinstance(leaf, jax.Array) else jnp.asarray(leaf) for leaf in jax.tree.leaves(CALLS[name](key))
        ]

    with jax.debug_key_reuse(False):
        usual = jax.eval_shape(run, jax.random.key(0))
        with jax.numpy_dtype_promotion("strict"):
            strict = jax.eval_shape(run, jax.random.key(0))
    assert usual == strict


def test_strict_promotion_would_be_noticed():
    with jax.numpy_dtype_promotion("strict"), pytest.raises(jax.dtypes.TypePromotionError):
        jax.eval_shape(lambda: _ones(3) * jnp.ones(3))


TAKE_KEYS = [name for name in CALLS if "key" in inspect.signature(getattr(phy, name)).parameters]


@pytest.mark.parametrize("key", [0, jax.random.PRNGKey(0), np.zeros(2, np.uint32)], ids=["int", "old", "numpy"])
@pytest.mark.parametrize("name", TAKE_KEYS)
def test_keys_that_are_none(name, key):
    with pytest.raises(ValueError, match=r"key must be a typed key, use jax.random.key\(seed\); got"):
        CALLS[name](key)


def test_snr_of_a_list():
    np.testing.assert_allclose(phy.noise_variance([0, 10]), [1, 0.1], rtol=1e-6)
    with jax.numpy_dtype_promotion("strict"):
        snr = phy.Snr(value_db=[0, 10], convention="received_total").to("esno", **TWO)
        np.testing.assert_allclose(snr.value_db, [-10 * np.log10(4), 10 - 10 * np.log10(4)], rtol=1e-5)
