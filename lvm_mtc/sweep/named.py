"""Contenders by name: the ways of sending pictures that the demo, ``transmit`` and sweeps compare."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from lvm_mtc.config import unknown_name_message
from lvm_mtc.schemes import name_of
from lvm_mtc.schemes.loading import IMPORTANCE_WEIGHTS, PCA_WEIGHTS, load_scheme
from lvm_mtc.schemes.lvm_mtc.scheme import HIGH
from lvm_mtc.schemes.scheme import Masking, Params, Scheme
from lvm_mtc.sweep.contender import Contender

# Key on the command line -> name in tables and legends.
MASKINGS = {
    "object": "object first",
    "uniform": "uniform masking",
    "sharing": "object first, shared tokens",
    "all": "every patch kept",
    "pca": "linear patch-wise PCA, every patch kept",
    "pca-object": "linear patch-wise PCA, object first",
    "importance": "importance, object first",
    "importance-uniform": "importance, uniform",
    "importance-pca": "importance, linear PCA alone",
}


def plain_contender(scheme: Scheme, params: Params) -> Contender:
    """A scheme as it is, under its own name."""
    return Contender(name=getattr(scheme.config, "codec", name_of(scheme)), scheme=scheme, params=params)


def make_contenders(
    names: Sequence[str],
    scheme: Scheme,
    params: Params,
    *,
    keep: float = 0.5,
    mask_prob: float = 0.25,
    scale_aware: bool = False,
    epsilon: float = 0.1,
    importance_db: float = 10.0,
    pca_path: str | os.PathLike = PCA_WEIGHTS,
    importance_path: str | os.PathLike = IMPORTANCE_WEIGHTS,
) -> list[Contender]:
    """Builds contenders by name; those that drop patches, or send by importance, have the same channel uses.

    Args:
        names: Keys of ``MASKINGS``.
        scheme: Trained, and ``Masking``.
        keep: Share of the patches that is kept where patches are dropped, in (0, 1].
        mask_prob: P_r of the object-first schemes, in (0, 1).
        scale_aware: Their P_r follows the object's size, from 2/3 to 4/3 of ``mask_prob`` (``LvmMtc.scale_aware``).
        epsilon: Threshold of the sharing scheme, linear, >= 0.
        importance_db: Weight of errors in the object's patches where symbols go by importance, dB, >= 0.
        pca_path: Weights file of the linear codec; it must be of the scheme's geometry.
        importance_path: Weights file of the importance codec, for pictures of the scheme's size.
    """
    if not isinstance(scheme, Masking):
        raise ValueError(
            f"scheme {', '.join(map(repr, names))} needs weights of a scheme that masks patches, and these are of "
            f"{name_of(scheme)!r}, which is measured as it is: leave the schemes out"
        )
    for name in names:
        if name not in MASKINGS:
            raise ValueError(unknown_name_message(f"scheme {name!r}", name, MASKINGS))
    if not 0.0 < keep <= 1.0:
        raise ValueError(f"keep must lie in (0, 1], got {keep!r}")
    if scale_aware and not HIGH * mask_prob < 1.0:
        reason = f"with scale_aware, which multiplies it by up to {HIGH:.3g}"
        raise ValueError(f"mask_prob must lie in (0, {1 / HIGH:g}) {reason}, got {mask_prob!r}")
    _, every = scheme.patches()
    few = max(1, round(keep * every))
    pca = _load_pca(pca_path, scheme.config) if any(name.startswith("pca") for name in names) else None
    trained = scheme, params
    sent = {  # whose scheme, patches that are kept, P_r, epsilon
        "object": (trained, few, mask_prob, 0.0),
        "uniform": (trained, few, 0.5, 0.0),
        "sharing": (trained, few, mask_prob, epsilon),
        "all": (trained, every, mask_prob, 0.0),
        "pca": (pca, every, mask_prob, 0.0),
        "pca-object": (pca, few, mask_prob, 0.0),
    }
    swept = {"object": ("mask_prob",), "sharing": ("mask_prob", "epsilon"), "pca-object": ("mask_prob",)}

    weighted = None
    if any(name.startswith("importance") for name in names):
        weighted = _load_importance(importance_path, scheme.config.image_size, few * scheme.frames()[1])

    def build(name: str) -> Contender:
        if name.startswith("importance"):
            return _by_importance(name, *weighted, importance_db)
        (of, params), num_kept, probability, threshold = sent[name]
        scheme = of.with_budget(num_kept, scale_aware=scale_aware and name in swept)
        knobs = {"mask_prob": probability, "epsilon": threshold}
        return Contender(name=MASKINGS[name], scheme=scheme, params=params, knobs=knobs, swept=swept.get(name, ()))

    return [build(name) for name in names]


def _by_importance(name: str, scheme: Scheme, params: Params, importance_db: float) -> Contender:
    if name == "importance-pca":
        scheme = dataclasses.replace(scheme, config=dataclasses.replace(scheme.config, network=None))
        params = {"linear": params["linear"]}
    uniform = name == "importance-uniform"
    knobs = {"importance_db": 0.0 if uniform else importance_db}
    swept = () if uniform else ("importance_db",)
    return Contender(name=MASKINGS[name], scheme=scheme, params=params, knobs=knobs, swept=swept)


def _load_importance(path: str | os.PathLike, image_size: int, num_uses: int) -> tuple[Scheme, Params]:
    scheme, params = load_scheme(path)
    if scheme.config.image_size != image_size:
        differs = f"is for {scheme.config.image_size} pixels, the weights for {image_size}"
        raise ValueError(f"the importance codec in {path} {differs}: leave the importance schemes out")
    return dataclasses.replace(scheme, config=dataclasses.replace(scheme.config, num_uses=num_uses)), params


def _load_pca(path: str | os.PathLike, config: Any) -> tuple[Scheme, Params]:
    scheme, params = load_scheme(path)
    for field in ("image_size", "patch_size", "num_symbols"):
        have, want = getattr(scheme.config, field), getattr(config, field)
        if have != want:
            differs = f"has {field} {have}, the weights have {want}"
            raise ValueError(f"the linear PCA codec in {path} {differs}: leave the pca schemes out")
    return scheme, params
