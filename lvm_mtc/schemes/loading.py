"""Schemes from weights files, and back."""

import os
from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc.config import to_dict
from lvm_mtc.models.pruning import pruned_shapes
from lvm_mtc.models.weights import SHIPPED, WeightsError, check_params, load_weights
from lvm_mtc.schemes import make_scheme, name_of
from lvm_mtc.schemes.scheme import Params, Scheme

DEMO_WEIGHTS = SHIPPED / "demo.npz"
PCA_WEIGHTS = SHIPPED / "pca.npz"
IMPORTANCE_WEIGHTS = SHIPPED / "importance.npz"
TEXT_WEIGHTS = SHIPPED / "vlm_csc.npz"
CLIP_WEIGHTS = SHIPPED / "pvsc.npz"
CLOUD_WEIGHTS = SHIPPED / "point_clouds.npz"
STEREO_WEIGHTS = SHIPPED / "gs_scnet.npz"
QUESTION_WEIGHTS = SHIPPED / "fa_semcom.npz"
PROGRESSIVE_WEIGHTS = SHIPPED / "progressive.npz"
CONTEXT_VQ_WEIGHTS = SHIPPED / "context_vq.npz"

_OLD_KEYS = {
    "system": lambda config: "lvm_mtc",
    "picture_codec": lambda config: str(config.get("codec", "deepjscc")).split("_")[0],
}
"""Metadata keys of files from before schemes had names: key to the scheme's name."""


def identity(scheme: Scheme) -> dict[str, Any]:
    """What a weights file says of the scheme that its weights are for."""
    return {"scheme": name_of(scheme), "config": to_dict(scheme.config)}


def load_scheme(path: str | os.PathLike) -> tuple[Scheme, Params]:
    """Reads a scheme with its parameters, ``jax.Array``, from a weights file whose metadata holds :func:`identity`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a weights file, its scheme or configuration is not valid, its tensors do not fit it, or
            it holds parameters per UAV.
    """
    params, metadata = load_weights(path)
    named = {key: metadata[key] for key in ("config", *_OLD_KEYS) if isinstance(metadata.get(key), dict)}
    if len(named) != 1 or ("config" in named and not isinstance(metadata.get("scheme"), str)):
        wanted = "give weights of a scheme, such as 'lvm-mtc train' writes"
        raise WeightsError(
            f"{path} does not say which scheme its weights are for (metadata 'scheme' and 'config'): {wanted}"
        )
    ((key, config),) = named.items()
    name = metadata["scheme"] if key == "config" else _OLD_KEYS[key](config)
    scheme = make_scheme(name, config, where=f"{path}: {key}")
    if getattr(scheme, "per_uav", ()):
        raise WeightsError(f"{path} holds parameters per UAV, which serve only as many UAVs as they were trained for")
    shapes = jax.eval_shape(scheme.init, jax.random.key(0))
    if pruned := metadata.get("pruned"):
        shapes = pruned_shapes(shapes, pruned)
    check_params(params, shapes, name=str(path))
    return scheme, jax.tree.map(jnp.asarray, params)
