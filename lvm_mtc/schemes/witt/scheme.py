"""WITT as a scheme: a Swin transformer as joint source-channel codec for whole pictures."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar

from lvm_mtc.schemes import feature_map
from lvm_mtc.schemes.witt.network import CIFAR_SIZES, HIGH_RESOLUTION_SIZES, WittSizes
from lvm_mtc.schemes.witt.network import Witt as Network


@dataclasses.dataclass(frozen=True, kw_only=True)
class WittConfig(feature_map.FeatureMapConfig):
    """The sizes by name; see ``FeatureMapConfig``."""

    codecs: ClassVar[Mapping[str, Any]] = {
        "witt": functools.partial(Network, sizes=CIFAR_SIZES),
        "witt_high_resolution": functools.partial(Network, sizes=HIGH_RESOLUTION_SIZES),
        # For tests.
        "witt_tiny": functools.partial(Network, sizes=WittSizes((1,), (8,), (2,), 2)),
    }
    codec: str = "witt"


@dataclasses.dataclass(frozen=True)
class Witt:
    """The codec over a link."""

    config: WittConfig
    modality: ClassVar[str] = "pictures"
    knobs: ClassVar[Mapping[str, Any]] = {}
    reports: ClassVar[tuple[str, ...]] = ()

    codec = feature_map.codec
    init = feature_map.init
    frames = feature_map.frames
    encode = feature_map.encode
    modulate = feature_map.modulate
    decode = feature_map.decode
    stages = feature_map.stages
