"""Systems of the literature, one room each, behind one interface (``schemes.scheme.Scheme``).

``SCHEMES`` is the register: a new scheme is a folder here and a line there. Importing this package loads none of them.
"""

import importlib
import typing
from collections.abc import Mapping
from typing import Any

from lvm_mtc.config import from_dict, unknown_name_message

SCHEMES = {
    "lvm_mtc": "lvm_mtc.schemes.lvm_mtc.scheme:LvmMtc",
    "constellation": "lvm_mtc.schemes.constellation.scheme:Constellation",
    "coded": "lvm_mtc.schemes.constellation.coded:Coded",
    "fa_semcom": "lvm_mtc.schemes.fa_semcom.scheme:FaSemCom",
    "gs_scnet": "lvm_mtc.schemes.gs_scnet.scheme:GsScnet",
    "deepjscc": "lvm_mtc.schemes.deepjscc.scheme:DeepJscc",
    "deepjscc_streams": "lvm_mtc.schemes.deepjscc.streams:DeepJsccStreams",
    "menu": "lvm_mtc.schemes.menu.scheme:Menu",
    "token2": "lvm_mtc.schemes.token2.scheme:Token2",
    "witt": "lvm_mtc.schemes.witt.scheme:Witt",
    "importance": "lvm_mtc.schemes.importance.scheme:Importance",
    "isfr": "lvm_mtc.schemes.isfr.scheme:Isfr",
    "linear": "lvm_mtc.schemes.linear.scheme:Linear",
    "linear_clouds": "lvm_mtc.schemes.point_clouds.linear:LinearClouds",
    "point_clouds": "lvm_mtc.schemes.point_clouds.scheme:PointClouds",
    "multimodal": "lvm_mtc.schemes.multimodal.scheme:Multimodal",
    "multitask": "lvm_mtc.schemes.multitask.scheme:Multitask",
    "sfma": "lvm_mtc.schemes.sfma.scheme:Sfma",
    "context_vq": "lvm_mtc.schemes.progressive.context:ContextVq",
    "progressive": "lvm_mtc.schemes.progressive.scheme:Progressive",
    "pvsc": "lvm_mtc.schemes.pvsc.scheme:Pvsc",
    "softcast": "lvm_mtc.schemes.softcast.scheme:SoftCast",
    "tiled": "lvm_mtc.schemes.tiled:Tiled",
    "tiled_masking": "lvm_mtc.schemes.tiled:TiledMasking",
    "vlm_csc": "lvm_mtc.schemes.vlm_csc.scheme:VlmCsc",
}
"""Name to ``"module:class"``."""


def scheme_class(name: str) -> type:
    """The class of a scheme: a name in ``SCHEMES``, or ``"module:class"`` for one of your own."""
    place = SCHEMES.get(name, name)
    module, _, kind = place.partition(":")
    if not kind:
        raise ValueError(unknown_name_message(f"scheme {name!r}", name, SCHEMES) + "; or module:class")
    try:
        return getattr(importlib.import_module(module), kind)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(f"scheme {name!r}: {error}") from error


def make_scheme(name: str, config: Mapping[str, Any], *, where: str = "config", **fields: Any) -> Any:
    """A scheme of a configuration given as plain values, which stand in ``where``; ``fields`` are its further ones.

    Raises:
        ValueError: for an unknown name or field, or a value that the configuration refuses.
    """
    kind = scheme_class(name)
    return kind(from_dict(typing.get_type_hints(kind)["config"], config, where=where), **fields)


def name_of(scheme: Any) -> str:
    """Under which name :func:`scheme_class` finds a scheme's class."""
    place = f"{type(scheme).__module__}:{type(scheme).__qualname__}"
    return next((name for name, line in SCHEMES.items() if line == place), place)
