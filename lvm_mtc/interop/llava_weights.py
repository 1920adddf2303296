"""LLaVA's vision tower and projector from Hugging Face's layout (``LlavaForConditionalGeneration``, 1.5 and 1.6)."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lvm_mtc.interop.clip_weights import image_rules, recognised
from lvm_mtc.interop.rules import converted, layer
from lvm_mtc.interop.tensor_files import Source, TensorFileError, configured, read_tensors, usual_file
from lvm_mtc.models.clip import CLIP_VARIANTS, ClipVariant
from lvm_mtc.models.weights import WeightsError

_FILES = ("model.safetensors", "pytorch_model.bin")
_INDEX = "model.safetensors.index.json"
_BORDER = re.compile(r"(?:model\.)?(?:vision_tower\.(?:vision_model\.)?|(?=multi_modal_projector\.))")
_PROJECTOR = "multi_modal_projector.linear_"


class LlavaWeights(NamedTuple):
    """Arguments of ``models.llava.LlavaBorder``, and its parameters, float32."""

    sizes: ClipVariant
    activation: str
    width: int
    projector: str
    params: dict[str, Any]


def load_llava(
    source: Source, *, activation: str | None = None, variant: str | ClipVariant | None = None
) -> LlavaWeights:
    """Reads what of LLaVA stands before its language model, which is not looked at.

    Args:
        source: A file that ``tensor_files.read_tensors`` takes, the folder of a model, in one file or in several with
            their index, or tensors by name.
        activation: Of the tower; None takes it from ``config.json`` in the folder, else ``"quick_gelu"``.
        variant: Name in ``CLIP_VARIANTS``, or sizes; None: recognised.

    Raises:
        FileNotFoundError: if there is no such file, or none of the usual ones in the folder.
        TensorFileError: if a file cannot be read.
        WeightsError: if the tensors are not those of a tower of known size and of a projector, all faults in one line.
    """
    name = "LLaVA's tensors" if isinstance(source, Mapping) else str(source)
    tensors = dict(source) if isinstance(source, Mapping) else _read(Path(source))
    if activation is None and not isinstance(source, Mapping):
        folder = Path(source) if Path(source).is_dir() else Path(source).parent
        activation = configured(folder / "config.json", _tower_activation, "LLaVA")
    border = {_own_name(key): value for key, value in tensors.items() if _BORDER.match(key)}
    variant = variant or recognised(border, name)
    sizes = CLIP_VARIANTS[variant] if isinstance(variant, str) else variant
    depth = sizes.image_depth - 1
    behind = ("vision_model.post_layernorm.", f"vision_model.encoder.layers.{depth}.")
    border = {key: value for key, value in border.items() if not key.startswith(behind) and "position_ids" not in key}
    if f"{_PROJECTOR}1.weight" not in border:
        raise WeightsError(f"{name} holds no projector of LLaVA: it lacks {_PROJECTOR}1.weight")
    width = len(border[f"{_PROJECTOR}1.weight"])
    projector = "mlp" if f"{_PROJECTOR}2.weight" in border else "linear"
    rules = [*image_rules(sizes, depth), *layer("linear_1", (f"{_PROJECTOR}1",), (width, sizes.image_width))]
    if projector == "mlp":
        rules += layer("linear_2", (f"{_PROJECTOR}2",), (width, width))
    params = converted(border, rules, name=name)
    return LlavaWeights(sizes, activation or "quick_gelu", width, projector, params)


def _own_name(key: str) -> str:
    """A tensor's name as in CLIP, or the projector's, whichever release of transformers wrote it."""
    return _BORDER.sub(lambda found: "vision_model." if "vision_tower" in found[0] else "", key, count=1)


def _tower_activation(config: Any) -> str:
    if config.get("vision_feature_layer", -2) != -2 or config.get("projector_hidden_act", "gelu") != "gelu":
        raise ValueError("another layer than the last but one, or another projector")
    return config["vision_config"].get("hidden_act", "quick_gelu")


def _read(path: Path) -> dict[str, np.ndarray]:
    """Tensors of a file or folder; of several files those that hold some of the border."""
    index = path / _INDEX
    if not index.is_file():
        return read_tensors(usual_file(path, _FILES))
    try:
        places = json.loads(index.read_bytes())["weight_map"]
        files = sorted({file for key, file in places.items() if _BORDER.match(key)})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TensorFileError(f"{index}: is no index of tensors") from error
    return {key: value for file in files for key, value in read_tensors(path / file).items()}
