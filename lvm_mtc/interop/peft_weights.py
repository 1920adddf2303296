"""LoRA adapters that Hugging Face's ``peft`` saved, merged into the weights that they are for.

What comes out are the base model's tensors under their own names, so every reader of weights here (``load_clip``,
``load_mae``) takes them. Layout: ``adapter_config.json`` and ``adapter_model.safetensors`` with tensors
``base_model.model.<module>.lora_A.weight`` ``[rank, inputs]`` and ``.lora_B.weight`` ``[outputs, rank]``.

Source: PEFT's documentation, "PEFT checkpoint format".
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lvm_mtc.config import require_number
from lvm_mtc.interop.tensor_files import Source, TensorFileError, read_tensors, usual_file

_FILES = ("adapter_model.safetensors", "adapter_model.bin")
_FACTOR = re.compile(r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<factor>[AB])\.weight")

# transformers, from 5.24 on at the latest, calls ViT's modules otherwise than the files that it writes, and peft takes
# the modules' names.
_IN_FILES = (
    (r"decoder_layers\.(\d+)\.", r"decoder_encoder.layer.\1."),
    (r"\blayers\.(\d+)\.", r"encoder.layer.\1."),
    (r"attention\.([qkv])_proj$", lambda found: f"attention.attention.{_PARTS[found[1]]}"),
    (r"attention\.o_proj$", "attention.output.dense"),
    (r"mlp\.fc1$", "intermediate.dense"),
    (r"mlp\.fc2$", "output.dense"),
)
_PARTS = {"q": "query", "k": "key", "v": "value"}


def merge_adapter(base: Source, adapter: str | Path) -> dict[str, np.ndarray]:
    """Tensors of ``base`` with ``weight + scale B A`` where the adapter has factors.

    Args:
        base: File of the base model's weights, or its tensors by name, as PyTorch has them.
        adapter: Folder that ``peft`` saved.

    Returns:
        All tensors by their names; adapted ones float32, the others as they are.

    Raises:
        FileNotFoundError: if the folder lacks a file.
        TensorFileError: if a file is damaged, the adapter is not plain LoRA, or does not fit the base.
    """
    folder = Path(adapter)
    merged = dict(base if isinstance(base, Mapping) else read_tensors(base))
    config, factors = _read_config(folder / "adapter_config.json"), _read_factors(usual_file(folder, _FILES))
    for module, pair in factors.items():
        name = _weight_of(module, merged, folder)
        update = _update(pair["A"], pair["B"], transposed=bool(config.get("fan_in_fan_out")))
        weight = np.asarray(merged[name], np.float64)
        if update.shape != weight.shape:
            raise TensorFileError(f"{folder}: adapter of {module} is for {update.shape}, and {name} is {weight.shape}")
        merged[name] = (weight + _scale(config, module, len(pair["A"])) * update).astype(np.float32)
    return merged


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_bytes())
        kind, plain = config["peft_type"], not config.get("use_dora") and config.get("bias", "none") == "none"
        whole, patterns = not config.get("modules_to_save"), config.get("alpha_pattern") or {}
        for name, alpha in ({"lora_alpha": config["lora_alpha"]} | patterns).items():
            re.compile(name)
            require_number("adapter", name, alpha)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, re.error) as error:
        described = " ".join(f"{type(error).__name__}: {error}".split())
        raise TensorFileError(f"{path}: is no configuration of a LoRA adapter ({described})") from error
    if kind != "LORA" or not plain or not whole:
        wanted = "LORA without use_dora, with bias 'none' and no modules_to_save"
        raise TensorFileError(f"{path}: peft_type {kind!r} of a kind that is not read; expected {wanted}")
    return config


def _read_factors(path: Path) -> dict[str, dict[str, np.ndarray]]:
    factors: dict[str, dict[str, np.ndarray]] = {}
    for name, tensor in read_tensors(path).items():
        if (match := _FACTOR.fullmatch(name)) is None:
            raise TensorFileError(f"{path}: tensor {name!r} is neither lora_A.weight nor lora_B.weight of a module")
        factors.setdefault(match["module"], {})[match["factor"]] = np.asarray(tensor, np.float64)
    for module, pair in factors.items():
        shapes = [pair[factor].shape for factor in "AB" if factor in pair]
        if len(shapes) != 2 or {len(shape) for shape in shapes} not in ({2}, {4}) or shapes[0][0] != shapes[1][1]:
            raise TensorFileError(
                f"{path}: factors of {module} have shapes {shapes}, expected [r, inputs], [outputs, r]"
            )
    return factors


def _weight_of(module: str, tensors: Mapping[str, Any], folder: Path) -> str:
    """Name of a module's weight; wrappers may stand before it in either."""
    in_file = module
    for theirs, written in _IN_FILES:
        in_file = re.sub(theirs, written, in_file)
    wanted, other = f"{module}.weight", f"{in_file}.weight"
    if wanted in tensors:
        return wanted
    found = [n for n in tensors if n == other or n.endswith((f".{wanted}", f".{other}")) or wanted.endswith(f".{n}")]
    if len(found) != 1:
        raise TensorFileError(f"{folder}: {wanted} fits {len(found)} of the base model's tensors, expected one")
    return found[0]


def _update(a: np.ndarray, b: np.ndarray, *, transposed: bool) -> np.ndarray:
    if a.ndim == 4:  # of a convolution: A has its kernel, B is 1 x 1
        return np.einsum("or,rihw->oihw", b[:, :, 0, 0], a)
    return (b @ a).T if transposed else b @ a


def _scale(config: Mapping[str, Any], module: str, rank: int) -> float:
    alpha = _by_pattern(config.get("alpha_pattern") or {}, module, config["lora_alpha"])
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _by_pattern(patterns: Mapping[str, float], module: str, default: float) -> float:
    """The value of the first pattern that the end of a module's name matches."""
    return next((v for pattern, v in patterns.items() if re.fullmatch(rf"(.*\.)?({pattern})", module)), default)
