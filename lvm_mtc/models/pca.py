"""The best linear patch-wise codec: principal components of patches, as a start for the token codec and as a scheme.

With ``variant="linear"`` the chain *is* this codec: components in the order of their variance, power proportional to
variance^-1/4 in amplitude, one scalar L-MMSE estimate per feature. It passes through the same link, power constraint
and ledger as every other scheme.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_TINY = 1e-8


class PatchPca(NamedTuple):
    """Principal components of patches.

    Attributes:
        mean: ``[patch_dim]``.
        basis: ``[patch_dim, patch_dim]``, orthonormal columns in the order of falling variance.
        variances: ``[patch_dim]``, linear.
    """

    mean: np.ndarray
    basis: np.ndarray
    variances: np.ndarray


def fit_pca(patches: np.ndarray) -> PatchPca:
    """Principal components in float64.

    Args:
        patches: ``[num_samples, patch_dim]``, pixels in [0, 1].

    Raises:
        ValueError: if there are fewer samples than numbers in a patch.
    """
    patches = np.asarray(patches, np.float64)
    num_samples, patch_dim = patches.shape
    if num_samples <= patch_dim:
        raise ValueError(f"fit_pca needs more than {patch_dim} patches of {patch_dim} numbers, got {num_samples}")
    mean = patches.mean(0)
    centred = patches - mean
    variances, basis = np.linalg.eigh(centred.T @ centred / num_samples)
    return PatchPca(mean, basis[:, ::-1], np.maximum(variances[::-1], 0.0))


def spreading_matrix(num_features: int, spread: int) -> np.ndarray:
    """Orthogonal matrix that spreads every component over neighbouring symbols, which go over different antennas.

    With one component a feature a fading stream takes whole components with it, the largest one of every so-manyth
    token among them. Spread, each is seen through ``spread`` streams. Over AWGN the two differ in the receiver's
    scaling alone.

    Args:
        num_features: Real features of a token, F.
        spread: Symbols over which a component is spread, a power of two; 1 leaves all as it is.

    Returns:
        ``[F, F]``: row the component, column the feature. Components m, m + F / spread, ... share the real (or the
        imaginary) parts of ``spread`` neighbouring symbols, with the signs of a Hadamard matrix.

    Raises:
        ValueError: if ``spread`` is no power of two, or ``2 * spread`` does not divide ``num_features``.
    """
    if spread < 1 or spread & (spread - 1) or num_features % (2 * spread):
        raise ValueError(f"spread must be a power of two and divide half of the {num_features} features, got {spread}")
    hadamard = np.ones((1, 1))
    while len(hadamard) < spread:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]]) / np.sqrt(2)
    sets, matrix = num_features // spread, np.zeros((num_features, num_features))
    for number in range(sets):
        symbol, part = divmod(number, 2)
        features = 2 * (spread * symbol + np.arange(spread)) + part
        matrix[np.ix_(number + sets * np.arange(spread), features)] = hadamard
    return matrix


def init_from_pca(params: dict, pca: PatchPca, spread: int = 1) -> dict:
    """Parameters whose linear path is the PCA codec; all other leaves stay as they are.

    Amplitudes of the symbols' features are variance^-1/4 of their components (the high-SNR limit of reverse
    water-filling for unit noise), the decoder inverts them, and the Wiener receiver knows their power.

    Args:
        params: From ``System.init`` with ``linear_path``; parameters per UAV keep their leading axis.
        pca: Of patches of the same size.
        spread: Symbols over which each component is spread (:func:`spreading_matrix`).

    Returns:
        New parameters, same structure.

    Raises:
        ValueError: if the parameters have no linear path, or patches of another size, or ``spread`` does not fit.
    """
    if "linear_path" not in params["encoder"]:
        raise ValueError("init_from_pca needs SystemConfig.linear_path True")
    patch_dim, embed_dim = params["encoder"]["linear_path"]["kernel"].shape[-2:]
    if patch_dim != len(pca.mean):
        raise ValueError(f"the parameters are for patches of {patch_dim} numbers, the PCA for {len(pca.mean)}")
    num_features = params["channel_encoder"]["linear"]["kernel"].shape[-1]
    kept = min(embed_dim, patch_dim)
    basis = np.zeros((patch_dim, embed_dim))
    basis[:, :kept] = pca.basis[:, :kept]
    used = min(num_features, kept)
    amplitude = np.maximum(pca.variances[:used], _TINY) ** -0.25
    encode = np.zeros((embed_dim, num_features))
    encode[np.arange(used), np.arange(used)] = amplitude
    decode = np.zeros((num_features, embed_dim))
    decode[np.arange(used), np.arange(used)] = 1 / amplitude
    power = np.full(num_features, _TINY)
    power[:used] = np.sqrt(np.maximum(pca.variances[:used], _TINY))
    matrix = spreading_matrix(num_features, spread)
    encode, decode, power = encode @ matrix, matrix.T @ decode, (matrix**2).T @ power

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
