"""Sizes of the token codec, by name."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variant:
    """Widths and depths of the token codec's two transformers (all in tokens' elements, layers or heads)."""

    embed_dim: int
    depth: int
    num_heads: int
    decoder_embed_dim: int
    decoder_depth: int
    decoder_num_heads: int


_MAE_DECODER = {"decoder_embed_dim": 512, "decoder_depth": 8, "decoder_num_heads": 16}

VARIANTS = {
    # No transformer at all: only the linear path, which makes the codec a linear patch-wise transform (models/pca.py).
    "linear": Variant(embed_dim=192, depth=0, num_heads=1, decoder_embed_dim=192, decoder_depth=0, decoder_num_heads=1),
    # For tests.
    "tiny": Variant(embed_dim=64, depth=2, num_heads=2, decoder_embed_dim=48, decoder_depth=1, decoder_num_heads=2),
    # The shipped weights; trains on two cores.
    "small": Variant(embed_dim=192, depth=4, num_heads=3, decoder_embed_dim=192, decoder_depth=4, decoder_num_heads=3),
    # He et al. (2022), models_mae.py: mae_vit_base_patch16, mae_vit_large_patch16 (the paper's) and
    # mae_vit_huge_patch14.
    "base": Variant(embed_dim=768, depth=12, num_heads=12, **_MAE_DECODER),
    "large": Variant(embed_dim=1024, depth=24, num_heads=16, **_MAE_DECODER),
    "huge": Variant(embed_dim=1280, depth=32, num_heads=16, **_MAE_DECODER),
}
