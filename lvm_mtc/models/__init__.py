"""Networks in flax.linen: token codec, channel codec, comparator; and the linear codec that they start from."""

from lvm_mtc.models.channel_codec import RECEIVERS, ChannelDecoder, ChannelEncoder, PowerAllocation
from lvm_mtc.models.comparator import Sharing, compare_tokens, cosine_discrepancy, intensity, intensity_discrepancy
from lvm_mtc.models.masking import (
    KeptPatches,
    keep_bernoulli,
    keep_budget,
    keep_rates,
    keep_scores,
    patches_in_box,
    restore,
    scale_aware_mask_prob,
)
from lvm_mtc.models.patches import patchify, unpatchify
from lvm_mtc.models.pca import PatchPca, fit_pca, init_from_pca
from lvm_mtc.models.token_codec import TokenDecoder, TokenEncoder
from lvm_mtc.models.variants import VARIANTS, Variant

__all__ = [
    "RECEIVERS",
    "VARIANTS",
    "ChannelDecoder",
    "ChannelEncoder",
    "KeptPatches",
    "PatchPca",
    "PowerAllocation",
    "Sharing",
    "TokenDecoder",
    "TokenEncoder",
    "Variant",
    "compare_tokens",
    "cosine_discrepancy",
    "fit_pca",
    "init_from_pca",
    "intensity",
    "intensity_discrepancy",
    "keep_bernoulli",
    "keep_budget",
    "keep_rates",
    "keep_scores",
    "patches_in_box",
    "patchify",
    "restore",
    "scale_aware_mask_prob",
    "unpatchify",
]
