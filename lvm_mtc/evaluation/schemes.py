"""The schemes that the demo and ``lvm-mtc transmit`` compare, from weights files."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc.config import from_dict, unknown_name_message
from lvm_mtc.evaluation.any_link import AnySystem
from lvm_mtc.evaluation.grid import Scheme
from lvm_mtc.models.weights import WeightsError, check_params, load_weights
from lvm_mtc.system import PictureCodecConfig, PictureCodecSystem, ScaleAware, System, SystemConfig
from lvm_mtc.system.scale_aware import HIGH

SHIPPED = Path(__file__).resolve().parents[1] / "weights"
DEMO_WEIGHTS = SHIPPED / "demo.npz"
PCA_WEIGHTS = SHIPPED / "pca.npz"

# Key on the command line -> name in tables and legends.
SCHEMES = {
    "object": "object first",
    "uniform": "uniform masking",
    "sharing": "object first, shared tokens",
    "all": "every patch kept",
    "pca": "linear patch-wise PCA, every patch kept",
    "pca-object": "linear patch-wise PCA, object first",
}


def load_system(path: str | os.PathLike) -> tuple[AnySystem, dict[str, Any]]:
    """Reads a system, of tokens or of whole pictures, with its parameters from a weights file.

    Args:
        path: File of ``models.weights.save_weights`` whose metadata holds a ``SystemConfig`` under ``"system"`` or a
            ``PictureCodecConfig`` under ``"picture_codec"``.

    Returns:
        system: Of the file's configuration.
        params: Nested dictionaries of ``jax.Array``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a weights file, its configuration is not valid, or its tensors do not fit it.
    """
    params, metadata = load_weights(path)
    found = [name for name in ("system", "picture_codec") if isinstance(metadata.get(name), dict)]
    if len(found) != 1:
        raise WeightsError(f"{path} does not say which system its weights are for (metadata 'system' or "
                           f"'picture_codec'{', of which it has both' if found else ''})")
    name, = found
    kind, make = {"system": (SystemConfig, System), "picture_codec": (PictureCodecConfig, PictureCodecSystem)}[name]
    system = make(from_dict(kind, metadata[name], where=f"{path}: {name}"))
    if name == "system" and system.config.per_uav_params:
        raise WeightsError(f"{path} holds parameters per UAV, which serve only as many UAVs as they were trained for")
    check_params(params, jax.eval_shape(system.init, jax.random.key(0)), name=str(path))
    return system, jax.tree.map(jnp.asarray, params)


def require_tokens(system: AnySystem, what: str) -> None:
    """Raises unless a system sends tokens.

    Args:
        system: Of a weights file.
        what: Needs them, for the message.

    Raises:
        ValueError: if the system is a codec for whole pictures.
    """
    if isinstance(system, PictureCodecSystem):
        raise ValueError(f"{what} needs weights of the token system, and these are of {system.config.codec!r}, a codec "
                         "for whole pictures, which 'lvm-mtc sweep' measures without schemes")


def make_picture_scheme(system: PictureCodecSystem, params: dict[str, Any]) -> Scheme:
    """The one way in which a codec for whole pictures sends them, by the codec's name."""
    return Scheme(name=system.config.codec, system=system, params=params, swept=())


def make_schemes(
    names: Sequence[str],
    system: AnySystem,
    params: dict[str, Any],
    *,
    keep: float = 0.5,
    mask_prob: float = 0.25,
    scale_aware: bool = False,
    epsilon: float = 0.1,
    pca_path: str | os.PathLike = PCA_WEIGHTS,
) -> list[Scheme]:
    """Builds schemes by name; those that drop patches all have the same token budget.

    Args:
        names: Keys of ``SCHEMES``.
        system: The trained system.
        params: Its parameters.
        keep: Share of the patches that is kept where patches are dropped, in (0, 1].
        mask_prob: P_r of the object-first schemes, in (0, 1).
        scale_aware: Their P_r follows the object's size, from 2/3 to 4/3 of ``mask_prob`` (``system.ScaleAware``).
        epsilon: Threshold of the sharing scheme, linear, >= 0.
        pca_path: Weights file of the linear codec.

    Returns:
        One scheme a name.

    Raises:
        ValueError: for an unknown name or a number out of range, if the system is a codec for whole pictures, or if the
            linear codec is of another geometry.
        FileNotFoundError: if the linear codec's file is missing.
    """
    require_tokens(system, f"scheme {', '.join(map(repr, names))}")
    for name in names:
        if name not in SCHEMES:
            raise ValueError(unknown_name_message(f"scheme {name!r}", name, SCHEMES))
    if not 0.0 < keep <= 1.0:
        raise ValueError(f"keep must lie in (0, 1], got {keep!r}")
    if scale_aware and not HIGH * mask_prob < 1.0:
        raise ValueError(f"mask_prob must lie in (0, {1 / HIGH:g}) with scale_aware, which multiplies it by up to "
                         f"{HIGH:.3g}, got {mask_prob!r}")
    num_patches = system.config.num_patches
    some, every = max(1, round(keep * num_patches)), num_patches
    pca = _load_pca(pca_path, system.config) if any(name.startswith("pca") for name in names) else None
    made = {
        "object": lambda: (system, params, some, mask_prob, 0.0),
        "uniform": lambda: (system, params, some, 0.5, 0.0),
        "sharing": lambda: (system, params, some, mask_prob, epsilon),
        "all": lambda: (system, params, every, mask_prob, 0.0),
        "pca": lambda: (*pca, every, mask_prob, 0.0),
        "pca-object": lambda: (*pca, some, mask_prob, 0.0),
    }
    swept = {"object": ("mask_prob",), "sharing": ("mask_prob", "epsilon"), "pca-object": ("mask_prob",)}

    def build(name: str) -> Scheme:
        of, with_params, num_kept, probability, threshold = made[name]()
        kind = ScaleAware if scale_aware and name in swept else System
        kept = kind(dataclasses.replace(of.config, masking="budget", num_kept=num_kept))
        return Scheme(name=SCHEMES[name], system=kept, params=with_params, mask_prob=probability, epsilon=threshold,
                      swept=swept.get(name, ()))

    return [build(name) for name in names]


def _load_pca(path: str | os.PathLike, config: SystemConfig) -> tuple[System, dict[str, Any]]:
    system, params = load_system(path)
    for field in ("image_size", "patch_size", "num_symbols"):
        have, want = getattr(system.config, field), getattr(config, field)
        if have != want:
            raise ValueError(f"the linear PCA codec in {path} has {field} {have}, the weights have {want}: "
                             "leave the pca schemes out")
    return system, params
