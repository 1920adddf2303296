"""DeepJSCC as a scheme: a convolutional joint source-channel codec for whole pictures."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from lvm_mtc.schemes import feature_map
from lvm_mtc.schemes.deepjscc.network import DeepJscc as Network


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeepJsccConfig(feature_map.FeatureMapConfig):
    """The one codec; see ``FeatureMapConfig``."""

    codecs: ClassVar[Mapping[str, Any]] = {"deepjscc": Network}
    codec: str = "deepjscc"


@dataclasses.dataclass(frozen=True)
class DeepJscc:
    """The codec over a link."""

    config: DeepJsccConfig
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
