"""The channel layer: units, symbols, fading, CSI, MIMO receivers and the link. Needs jax and numpy only.

Every function is pure and works under ``jit``, ``vmap``, ``grad`` and on sharded arrays, in complex64 and complex128.
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
from lvm_mtc.phy.error_rates import fisher_snedecor_ber, qam_ber
from lvm_mtc.phy.fading import (
    correlate,
    exp_corr_mat,
    fisher_snedecor,
    largest_correlation,
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
from lvm_mtc.phy.sampled_link import (
    RECEIVERS,
    SAMPLED_CSI,
    SAMPLED_EQUALIZERS,
    SampledDraws,
    draw_sampled,
    sampled_link,
)
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
