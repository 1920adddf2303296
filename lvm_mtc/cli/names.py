"""Names that flags and files choose from. Imports nothing heavy; a test holds them to the library's own."""

from lvm_mtc.interop.sionna import CHANNELS as SIONNA_CHANNELS

CHANNELS = (
    "awgn", "rayleigh", "rayleigh_magnitude", "rician", "nakagami", "fisher_snedecor", "exponential", "tdl_a", "tdl_b",
    "tdl_c", "tdl_d", "tdl_e", "cdl_a", "cdl_b", "cdl_c", "cdl_d", "cdl_e", *SIONNA_CHANNELS,
)  # fmt: skip
CONVENTIONS = ("esno", "rx_per_antenna", "received_total")
EQUALIZERS = ("paper", "unbiased", "robust", "zf", "mf", "none")
CONTENDERS = (
    "object", "uniform", "sharing", "all", "pca", "pca-object", "importance", "importance-uniform", "importance-pca",
)  # fmt: skip
GOAL_FILTERS = ("score", "label", "classifier-words", "clip")
CLIP_ACTIVATIONS = ("quick_gelu", "gelu")
DEMO_SCHEMES = ("vlm_csc", "pvsc", "point_clouds", "gs_scnet", "fa_semcom")
LOCS = ("knowledge-base", "centre")
VIEWS = ("cut", "folder")
STYLES = ("report", "paper")
