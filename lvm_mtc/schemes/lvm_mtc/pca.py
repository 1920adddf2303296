"""Principal components as the start of the linear path.

With ``variant="linear"`` the chain *is* the linear patch-wise codec: components in the order of their variance, power
proportional to variance^-1/4 in amplitude, one scalar L-MMSE estimate per feature. It passes through the same link,
power constraint and ledger as every other scheme.
"""

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.models.pca import PatchPca, amplitudes


def init_from_pca(params: dict, pca: PatchPca, spread: int = 1) -> dict:
    """Parameters whose linear path is the PCA codec; all other leaves stay as they are.

    The symbols' features have the amplitudes of ``models.pca.amplitudes``, the decoder inverts them, and the Wiener
    receiver knows their power.

    Args:
        params: From ``LvmMtc.init`` with ``linear_path``; parameters per UAV keep their leading axis.
        pca: Of patches of the same size.
        spread: Symbols over which each component is spread (``models.pca.spreading_matrix``).
    """
    if "linear_path" not in params["encoder"]:
        raise ValueError("init_from_pca needs LvmMtcConfig.linear_path True")
    patch_dim, embed_dim = params["encoder"]["linear_path"]["kernel"].shape[-2:]
    if patch_dim != len(pca.mean):
        raise ValueError(f"the parameters are for patches of {patch_dim} numbers, the PCA for {len(pca.mean)}")
    num_features = params["channel_encoder"]["linear"]["kernel"].shape[-1]
    kept = min(embed_dim, patch_dim)
    basis = np.zeros((patch_dim, embed_dim))
    basis[:, :kept] = pca.basis[:, :kept]
    encode, decode = np.zeros((embed_dim, num_features)), np.zeros((num_features, embed_dim))
    encode[:kept], decode[:, :kept], power = amplitudes(pca.variances[:kept], num_features, spread)

    values = {
        ("encoder", "linear_path", "kernel"): basis,
        ("encoder", "linear_path", "bias"): -pca.mean @ basis,
        ("channel_encoder", "linear", "kernel"): encode,
        ("channel_encoder", "linear", "bias"): np.zeros(num_features),
        ("public_encoder", "linear", "kernel"): encode,
        ("public_encoder", "linear", "bias"): np.zeros(num_features),
        ("channel_decoder", "linear", "kernel"): decode,
        ("channel_decoder", "linear", "bias"): np.zeros(embed_dim),
        ("channel_decoder", "log_power"): np.log(power),
        ("decoder", "linear_path", "kernel"): basis.T,
        ("decoder", "linear_path", "bias"): pca.mean,
    }

    def replace(path, leaf):
        name = tuple(part.key for part in path)
        return leaf if name not in values else jnp.broadcast_to(jnp.asarray(values[name], leaf.dtype), leaf.shape)

    return jax.tree_util.tree_map_with_path(replace, params)
