"""The channel layer: symbols through MIMO fading channels with imperfect CSI. Needs jax and numpy only.

Every function is pure and works under ``jit``, ``vmap``, ``grad`` and on sharded arrays, in complex64 and complex128.

Eight UAVs, each behind a 4x4 Rayleigh channel of its own, hear 100 slots of QPSK:

>>> import functools
>>> import jax
>>> from lvm_mtc import phy
>>> bits = jax.random.bernoulli(jax.random.key(1), shape=(8, 100, 8))
>>> x = phy.qam_map(bits, 2)  # [num_uavs, num_slots, num_tx_ant]
>>> no = phy.noise_variance(10.0, convention="rx_per_antenna", num_tx_ant=4)
>>> key = jax.random.key(0)
>>> out = phy.broadcast(key, x, no=no, csi_error_var=0.01, num_rx_ant=4, equalizer="robust")
>>> out.h.shape, phy.qam_llr(out.x_hat, out.no_eff, 2).shape
((8, 1, 4, 4), (8, 100, 8))

Other fading is another function, with its numbers bound; numbers are traced, so that gradients go through them:

>>> fading = functools.partial(phy.rician, k_factor_db=6.0)
>>> def error(snr_db):
...     no = phy.noise_variance(snr_db)
...     return abs(phy.broadcast(key, x, no=no, fading=fading, num_rx_ant=4).x_hat - x).mean()
>>> bool(jax.grad(error)(10.0) < 0)
True

Links, from symbols to symbols:
    broadcast, joint, mac, mu_mimo, ofdm_link, sampled_link, sweep_lmmse, slope_at_zero; what they give: LinkOutput,
    MuMimoOutput, Observation; what they draw: draw_link, draw_mac, draw_ofdm, draw_sampled, LinkDraws, OfdmDraws,
    SampledDraws, stream_key, Stream, block_layout
Units and what an SNR means:
    noise_variance, snr_db_from_noise_variance, reference_power, measure_snr_db, Snr, SNR_CONVENTIONS, db_to_linear,
    linear_to_db
Flat fading:
    rayleigh, rician, nakagami, fisher_snedecor, rayleigh_magnitude, correlate, exp_corr_mat, largest_correlation,
    rician_k_factor_db, rician_weights, RICIAN_MODELS
Fading of paths, over time and frequency:
    rayleigh_path, rician_path, exponential, exponential_profile, largest_delay_spread, tdl, cdl, DELAY_LINES, Paths,
    frequency_response, bessel_j0
Channel knowledge:
    estimate_csi, estimate_from_pilots, observe_pilots, pilot_matrix, pilot_uses, pilot_error_var, csi_posterior,
    csi_posterior_correlated, aged_posterior, ChannelPrior, CSI_MODELS, error_var_to_nmse_db, nmse_db_to_error_var
Receivers:
    lmmse_equalizer, zf_equalizer, mf_equalizer, no_equalizer, sic_equalizer, pic_detector, k_best_detector,
    exact_detector, Detected, lmmse_matrix, block_lmmse, post_detection_mse, EQUALIZERS, LMMSE_VARIANTS, CANCELLATIONS
Symbols and slots:
    qam_map, qam_points, qam_llr, qam_mean, qam_posterior, qam_ber, fisher_snedecor_ber, BITS_PER_SYMBOL, DEMAPPERS,
    features_to_symbols, symbols_to_features, normalize_power, tokens_to_slots, slots_to_tokens, slots_per_token
Precoding:
    precoder, multicast_beam, PRECODINGS, POWER_CONSTRAINTS, DEMODULATIONS
OFDM and OTFS:
    ResourceGrid, ofdm_modulate, ofdm_demodulate, wiener_estimate, interpolate, default_statistics, GridStatistics,
    INTERPOLATIONS, impulse_rows, EmbeddedPilot, data_cells, interference_power, sfft, isfft, RECEIVERS, SAMPLED_CSI,
    SAMPLED_EQUALIZERS
UAVs at places (TR 36.777):
    air_to_ground, AirToGround, path_loss_db, los_probability, line_of_sight, geometric_line_of_sight, shadowing_std_db,
    draw_environment_height, elevation_k_factor_db, gaussian_field, uniform_field, budget_noise_variance,
    thermal_noise_dbm, SCENARIOS, SPEED_OF_LIGHT
What a channel can carry:
    mimo_capacity, mimo_dispersion, awgn_capacity, awgn_dispersion, finite_rate, finite_error, outage_probability,
    waterfilling_capacity, waterfilling_powers

5G's coded bits are in ``lvm_mtc.phy.coding``.
"""

from lvm_mtc.phy.aerial_link import AirToGround, air_to_ground, budget_noise_variance, thermal_noise_dbm
from lvm_mtc.phy.aerial_tables import SCENARIOS
from lvm_mtc.phy.block_lmmse import block_lmmse
from lvm_mtc.phy.blocks import block_layout
from lvm_mtc.phy.cancellation import CANCELLATIONS, pic_detector, sic_equalizer
from lvm_mtc.phy.capacity import (
    awgn_capacity,
    awgn_dispersion,
    finite_error,
    finite_rate,
    mimo_capacity,
    mimo_dispersion,
    outage_probability,
    waterfilling_capacity,
    waterfilling_powers,
)
from lvm_mtc.phy.correlation import correlate, exp_corr_mat, largest_correlation
from lvm_mtc.phy.csi import (
    CSI_MODELS,
    ChannelPrior,
    csi_posterior,
    csi_posterior_correlated,
    error_var_to_nmse_db,
    estimate_csi,
    estimate_from_pilots,
    nmse_db_to_error_var,
    pilot_error_var,
    pilot_matrix,
    pilot_uses,
)
from lvm_mtc.phy.delay_doppler import interference_power, isfft, sfft
from lvm_mtc.phy.delay_lines import DELAY_LINES, cdl, tdl
from lvm_mtc.phy.detection import Detected, exact_detector, k_best_detector
from lvm_mtc.phy.draws import LinkDraws, draw_link
from lvm_mtc.phy.embedded_pilot import EmbeddedPilot
from lvm_mtc.phy.error_rates import fisher_snedecor_ber, qam_ber
from lvm_mtc.phy.fading import (
    fisher_snedecor,
    line_of_sight,
    nakagami,
    rayleigh,
    rayleigh_magnitude,
    rician,
    rician_weights,
)
from lvm_mtc.phy.geometry import geometric_line_of_sight
from lvm_mtc.phy.impulse_pilots import impulse_rows
from lvm_mtc.phy.k_factor import RICIAN_MODELS, elevation_k_factor_db, rician_k_factor_db
from lvm_mtc.phy.keys import Stream, stream_key
from lvm_mtc.phy.link import LinkOutput, Observation, broadcast, joint
from lvm_mtc.phy.mac import draw_mac, mac
from lvm_mtc.phy.mimo import EQUALIZERS, LMMSE_VARIANTS, lmmse_equalizer, mf_equalizer, no_equalizer, zf_equalizer
from lvm_mtc.phy.modulation import BITS_PER_SYMBOL, DEMAPPERS, qam_llr, qam_map, qam_mean, qam_points, qam_posterior
from lvm_mtc.phy.mu_mimo import DEMODULATIONS, MuMimoOutput, mu_mimo
from lvm_mtc.phy.ofdm import OfdmDraws, draw_ofdm, ofdm_demodulate, ofdm_link, ofdm_modulate
from lvm_mtc.phy.ofdm_estimate import (
    INTERPOLATIONS,
    GridStatistics,
    default_statistics,
    interpolate,
    observe_pilots,
    wiener_estimate,
)
from lvm_mtc.phy.ofdm_knowledge import aged_posterior
from lvm_mtc.phy.path_loss import draw_environment_height, los_probability, path_loss_db, shadowing_std_db
from lvm_mtc.phy.paths import (
    Paths,
    bessel_j0,
    exponential,
    exponential_profile,
    frequency_response,
    largest_delay_spread,
    rayleigh_path,
    rician_path,
)
from lvm_mtc.phy.precoding import POWER_CONSTRAINTS, PRECODINGS, multicast_beam, precoder
from lvm_mtc.phy.receiver_matrix import lmmse_matrix, post_detection_mse
from lvm_mtc.phy.resource_grid import ResourceGrid
from lvm_mtc.phy.sampled_draws import SampledDraws, data_cells, draw_sampled
from lvm_mtc.phy.sampled_link import RECEIVERS, SAMPLED_CSI, SAMPLED_EQUALIZERS, sampled_link
from lvm_mtc.phy.slopes import slope_at_zero
from lvm_mtc.phy.spatial import gaussian_field, uniform_field
from lvm_mtc.phy.sweep import sweep_lmmse
from lvm_mtc.phy.symbols import (
    features_to_symbols,
    normalize_power,
    slots_per_token,
    slots_to_tokens,
    symbols_to_features,
    tokens_to_slots,
)
from lvm_mtc.phy.units import (
    SNR_CONVENTIONS,
    SPEED_OF_LIGHT,
    Snr,
    db_to_linear,
    linear_to_db,
    measure_snr_db,
    noise_variance,
    reference_power,
    snr_db_from_noise_variance,
)

__all__ = [
    "BITS_PER_SYMBOL",
    "CANCELLATIONS",
    "CSI_MODELS",
    "DEMAPPERS",
    "DELAY_LINES",
    "DEMODULATIONS",
    "EQUALIZERS",
    "INTERPOLATIONS",
    "LMMSE_VARIANTS",
    "POWER_CONSTRAINTS",
    "PRECODINGS",
    "RECEIVERS",
    "RICIAN_MODELS",
    "SAMPLED_CSI",
    "SAMPLED_EQUALIZERS",
    "SCENARIOS",
    "SNR_CONVENTIONS",
    "SPEED_OF_LIGHT",
    "AirToGround",
    "ChannelPrior",
    "Detected",
    "EmbeddedPilot",
    "GridStatistics",
    "LinkDraws",
    "LinkOutput",
    "MuMimoOutput",
    "Observation",
    "OfdmDraws",
    "Paths",
    "ResourceGrid",
    "SampledDraws",
    "Snr",
    "Stream",
    "aged_posterior",
    "air_to_ground",
    "awgn_capacity",
    "awgn_dispersion",
    "bessel_j0",
    "block_layout",
    "block_lmmse",
    "broadcast",
    "budget_noise_variance",
    "cdl",
    "correlate",
    "csi_posterior",
    "csi_posterior_correlated",
    "data_cells",
    "db_to_linear",
    "default_statistics",
    "draw_environment_height",
    "draw_link",
    "draw_mac",
    "draw_ofdm",
    "draw_sampled",
    "elevation_k_factor_db",
    "error_var_to_nmse_db",
    "estimate_csi",
    "estimate_from_pilots",
    "exact_detector",
    "exp_corr_mat",
    "exponential",
    "exponential_profile",
    "features_to_symbols",
    "finite_error",
    "finite_rate",
    "fisher_snedecor",
    "fisher_snedecor_ber",
    "frequency_response",
    "impulse_rows",
    "interference_power",
    "interpolate",
    "isfft",
    "joint",
    "k_best_detector",
    "largest_correlation",
    "largest_delay_spread",
    "gaussian_field",
    "geometric_line_of_sight",
    "line_of_sight",
    "linear_to_db",
    "lmmse_equalizer",
    "lmmse_matrix",
    "los_probability",
    "mac",
    "measure_snr_db",
    "mf_equalizer",
    "mimo_capacity",
    "mimo_dispersion",
    "mu_mimo",
    "multicast_beam",
    "nakagami",
    "nmse_db_to_error_var",
    "no_equalizer",
    "noise_variance",
    "normalize_power",
    "observe_pilots",
    "ofdm_demodulate",
    "ofdm_link",
    "ofdm_modulate",
    "outage_probability",
    "path_loss_db",
    "pic_detector",
    "pilot_error_var",
    "pilot_matrix",
    "pilot_uses",
    "post_detection_mse",
    "precoder",
    "qam_ber",
    "qam_llr",
    "qam_map",
    "qam_mean",
    "qam_points",
    "qam_posterior",
    "rayleigh",
    "rayleigh_magnitude",
    "rayleigh_path",
    "reference_power",
    "rician",
    "rician_k_factor_db",
    "rician_path",
    "rician_weights",
    "sampled_link",
    "sfft",
    "shadowing_std_db",
    "sic_equalizer",
    "slope_at_zero",
    "slots_per_token",
    "slots_to_tokens",
    "snr_db_from_noise_variance",
    "stream_key",
    "sweep_lmmse",
    "symbols_to_features",
    "tdl",
    "thermal_noise_dbm",
    "tokens_to_slots",
    "uniform_field",
    "waterfilling_capacity",
    "waterfilling_powers",
    "wiener_estimate",
    "zf_equalizer",
]
