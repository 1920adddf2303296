"""The channel layer: units, symbols, fading, CSI, MIMO receivers and the link. Needs jax and numpy only.

Every function is pure and works under ``jit``, ``vmap``, ``grad`` and on sharded arrays, in complex64 and complex128.
"""

from lvm_mtc.phy.blocks import block_layout
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
from lvm_mtc.phy.draws import LinkDraws, draw_link
from lvm_mtc.phy.fading import (
    correlate,
    exp_corr_mat,
    fisher_snedecor,
    line_of_sight,
    nakagami,
    rayleigh,
    rician,
    rician_weights,
)
from lvm_mtc.phy.keys import Stream, stream_key
from lvm_mtc.phy.link import LinkOutput, broadcast, joint
from lvm_mtc.phy.mimo import (
    EQUALIZERS,
    LMMSE_VARIANTS,
    lmmse_equalizer,
    lmmse_matrix,
    mf_equalizer,
    post_detection_mse,
    zf_equalizer,
)
from lvm_mtc.phy.mu_mimo import MuMimoOutput, mu_mimo
from lvm_mtc.phy.precoding import POWER_CONSTRAINTS, PRECODINGS, multicast_beam, precoder
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
    Snr,
    db_to_linear,
    linear_to_db,
    measure_snr_db,
    noise_variance,
    reference_power,
    snr_db_from_noise_variance,
)

__all__ = [
    "CSI_MODELS",
    "EQUALIZERS",
    "LMMSE_VARIANTS",
    "POWER_CONSTRAINTS",
    "PRECODINGS",
    "SNR_CONVENTIONS",
    "ChannelPrior",
    "LinkDraws",
    "LinkOutput",
    "MuMimoOutput",
    "Snr",
    "Stream",
    "block_layout",
    "broadcast",
    "correlate",
    "csi_posterior",
    "csi_posterior_correlated",
    "db_to_linear",
    "draw_link",
    "error_var_to_nmse_db",
    "estimate_csi",
    "estimate_from_pilots",
    "exp_corr_mat",
    "features_to_symbols",
    "fisher_snedecor",
    "joint",
    "line_of_sight",
    "linear_to_db",
    "lmmse_equalizer",
    "lmmse_matrix",
    "measure_snr_db",
    "mf_equalizer",
    "mu_mimo",
    "multicast_beam",
    "nakagami",
    "nmse_db_to_error_var",
    "noise_variance",
    "normalize_power",
    "pilot_error_var",
    "pilot_matrix",
    "pilot_uses",
    "post_detection_mse",
    "precoder",
    "rayleigh",
    "reference_power",
    "rician",
    "rician_weights",
    "slots_per_token",
    "slots_to_tokens",
    "snr_db_from_noise_variance",
    "stream_key",
    "symbols_to_features",
    "tokens_to_slots",
    "zf_equalizer",
]
