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
    """The codec over a link.

    Attributes:
        config: Shapes.
        size: Height and width of the pictures, pixels; None: those that it was trained on.
    """

    config: DeepJsccConfig
    size: tuple[int, int] | None = None
    modality: ClassVar[str] = "pictures"
    knobs: ClassVar[Mapping[str, Any]] = {}
    reports: ClassVar[tuple[str, ...]] = ()

    multiple: ClassVar[int] = Network.reduction

    codec = feature_map.codec
    init = feature_map.init
    frames = feature_map.frames
    encode = feature_map.encode
    modulate = feature_map.modulate
    decode = feature_map.decode
    stages = feature_map.stages

    def with_size(self, height: int, width: int) -> "DeepJscc":
        """As ``AnySize.with_size``: the layers are convolutions."""
        return dataclasses.replace(self, size=(height, width))
