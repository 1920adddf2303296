"""Principal components of patches: the best linear patch-wise codec, by itself and as a start for learned ones."""

from typing import NamedTuple

import numpy as np

from lvm_mtc.models.patches import patchify

_CROPS = 2048
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
    """Principal components, in float64, of ``patches [num_samples, patch_dim]``, pixels in [0, 1].

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


class Amplitudes(NamedTuple):
    """How components become a token's features of unequal power, and back.

    Attributes:
        encode: ``[num_components, num_features]``.
        decode: Its inverse on the components that are sent, ``[num_features, num_components]``.
        power: Of each feature, which a Wiener receiver knows, ``[num_features]``, linear.
    """

    encode: np.ndarray
    decode: np.ndarray
    power: np.ndarray


def amplitudes(variances: np.ndarray, num_features: int, spread: int = 1) -> Amplitudes:
    """Amplitudes variance^-1/4, the high-SNR limit of reverse water-filling for unit noise; float64.

    Args:
        variances: Of the components, falling, ``[num_components]``, linear; the first ``num_features`` are sent.
        num_features: As of :func:`spreading_matrix`, like ``spread``.
    """
    sent = np.arange(min(num_features, len(variances)))
    floored = np.maximum(variances[sent], _TINY)
    encode, decode = np.zeros((len(variances), num_features)), np.zeros((num_features, len(variances)))
    encode[sent, sent] = floored**-0.25
    decode[sent, sent] = 1 / floored**-0.25
    power = np.full(num_features, _TINY)
    power[sent] = np.sqrt(floored)
    matrix = spreading_matrix(num_features, spread)
    return Amplitudes(encode @ matrix, matrix.T @ decode, (matrix**2).T @ power)


def fit_patches(pictures: np.ndarray, image_size: int, patch_size: int, seed: int = 0) -> PatchPca:
    """Principal components of the patches of random square crops of ``pictures [num, height, width, 3]`` uint8.

    Args:
        image_size: Side of the crops, pixels.
        patch_size: Side of a patch, pixels.

    Raises:
        ValueError: if the pictures are smaller than the crops.
    """
    rng = np.random.default_rng(seed)
    if min(pictures.shape[1:3]) < image_size:
        raise ValueError(
            f"pictures of {pictures.shape[1]} x {pictures.shape[2]} pixels are smaller than image_size {image_size}"
        )
    crops = []
    for i in rng.integers(0, len(pictures), _CROPS):
        top, left = (rng.integers(0, side - image_size + 1) for side in pictures.shape[1:3])
        crops.append(pictures[i, top : top + image_size, left : left + image_size])
    patches = np.asarray(patchify(np.stack(crops), patch_size))
    return fit_pca(patches.reshape(-1, patches.shape[-1]) / 255.0)
