"""CLIP's weights from other libraries: Hugging Face's layout and OpenCLIP's (which is also OpenAI's).

The weights do not say which activation they were trained with, and with the wrong one the scores stay plausible: it is
read from the configuration file beside the weights, or must be given.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from lvm_mtc.interop.tensor_files import TensorFileError, read_tensors
from lvm_mtc.models.clip import ACTIVATIONS, CLIP_VARIANTS, ClipVariant
from lvm_mtc.models.weights import WeightsError, check_params, unflatten_params

LAYOUTS = ("huggingface", "openclip")
"""The names under which the tensors may stand."""

# Tables and settings that some releases store among the weights.
_NO_WEIGHTS = {
    "text_model.embeddings.position_ids", "vision_model.embeddings.position_ids",
    "attn_mask", "input_resolution", "context_length", "vocab_size",
}  # fmt: skip

_FILES = (
    "model.safetensors", "open_clip_model.safetensors", "open_clip_pytorch_model.bin", "pytorch_model.bin",
)  # fmt: skip


class ClipWeights(NamedTuple):
    """What :func:`load_clip` finds: arguments of ``models.clip.clip``, and the parameters for its module.

    Attributes:
        variant: Name of the size.
        activation: Name of the activation.
        params: Flax parameters, float32: the value of the collection "params".
    """

    variant: str
    activation: str
    params: dict[str, Any]


class _Rule(NamedTuple):
    target: str
    sources: tuple[tuple[str, tuple[int, ...]], ...]
    convert: Callable[[list[np.ndarray]], np.ndarray]


def load_clip(path: str | Path, *, activation: str | None = None) -> ClipWeights:
    """Reads CLIP's weights from a file or from the folder of a model.

    Args:
        path: A safetensors file, a PyTorch file, or a folder with one under its usual name. The size is recognised
            from the tensors' shapes.
        activation: Name of the activation; None takes it from ``config.json`` (Hugging Face) or
            ``open_clip_config.json`` in the same folder.

    Returns:
        Size, activation and parameters.

    Raises:
        FileNotFoundError: if there is no such file, or none of the usual ones in the folder.
        TensorFileError: if the file cannot be read, or would run code.
        WeightsError: if the tensors are not those of a known size; all that are missing, not known or of another shape
            are listed.
        ValueError: if the activation is not known, or not given and not to be found.
    """
    path = Path(path)
    if path.is_dir():
        found = [path / name for name in _FILES if (path / name).is_file()]
        if not found:
            raise FileNotFoundError(f"folder {path} holds none of {', '.join(_FILES)}")
        path = found[0]
    if activation is None:
        activation = _configured_activation(path.parent)
        if activation is None:
            raise ValueError(
                f"activation of {path} is not known: there is no config.json or open_clip_config.json beside it that "
                "names it; pass 'quick_gelu' (OpenAI's weights) or 'gelu' (most of OpenCLIP's)"
            )
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    tensors = read_tensors(path)
    variant = _recognise(tensors, str(path))
    return ClipWeights(variant, activation, clip_params(tensors, variant, name=str(path)))


def clip_params(
    tensors: Mapping[str, np.ndarray], variant: str | ClipVariant, *, name: str = "CLIP's tensors"
) -> dict[str, Any]:
    """Flax parameters of ``models.clip.Clip`` from tensors under their original names.

    Args:
        tensors: Arrays by name, in the layout of Hugging Face's ``CLIPModel`` or of OpenCLIP and OpenAI.
        variant: Name in ``CLIP_VARIANTS``, or sizes.
        name: What to call the tensors in a message.

    Returns:
        Nested dictionaries of float32 arrays.

    Raises:
        WeightsError: listing all missing, superfluous and misshapen tensors.
    """
    sizes = CLIP_VARIANTS[variant] if isinstance(variant, str) else variant
    rules = list(_rules(sizes, layout_of(tensors)))
    want = {source: jax.ShapeDtypeStruct(shape, np.float32) for rule in rules for source, shape in rule.sources}
    check_params({key: value for key, value in tensors.items() if key not in _NO_WEIGHTS}, want, name=name)
    flat = {}
    for rule in rules:
        arrays = [np.asarray(tensors[source], np.float32) for source, _ in rule.sources]
        flat[rule.target] = np.ascontiguousarray(rule.convert(arrays)) if arrays[0].ndim else arrays[0]
    return unflatten_params(flat)


def layout_of(tensors: Mapping[str, Any]) -> str:
    """Which of :data:`LAYOUTS` the names follow: Hugging Face's unless OpenCLIP's prefixes occur and its do not."""
    own = any(name.startswith(("vision_model.", "text_model.")) for name in tensors)
    other = any(name.startswith(("visual.", "transformer.")) for name in tensors)
    return "openclip" if other and not own else "huggingface"


def _recognise(tensors: Mapping[str, np.ndarray], name: str) -> str:
    names = _NAMES[layout_of(tensors)]
    missing = [key for key in (names["patch"], names["image_positions"]) if key not in tensors]
    if missing:
        raise WeightsError(f"{name} does not hold CLIP's weights: it lacks {', '.join(missing)}")
    kernel, positions = (np.shape(tensors[names[key]]) for key in ("patch", "image_positions"))
    for variant, sizes in CLIP_VARIANTS.items():
        tokens = 1 + (sizes.image_size // sizes.patch_size) ** 2
        patch = (sizes.image_width, 3, sizes.patch_size, sizes.patch_size)
        if (kernel, positions) == (patch, (tokens, sizes.image_width)):
            return variant
    raise WeightsError(
        f"{name} holds a CLIP of another size than {', '.join(CLIP_VARIANTS)}: its patch kernel is {kernel}, its image "
        f"positions {positions}"
    )


def _configured_activation(folder: Path) -> str | None:
    for file, find in (("config.json", _hugging_face_activation), ("open_clip_config.json", _openclip_activation)):
        try:
            return find(json.loads((folder / file).read_text(encoding="utf-8")))
        except FileNotFoundError:
            continue
        except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as error:
            raise TensorFileError(f"{folder / file}: is no configuration of a CLIP model") from error
    return None


def _hugging_face_activation(config: Mapping[str, Any]) -> str:
    # QuickGELU is what transformers fills in where the file is silent.
    found = {config[tower].get("hidden_act", "quick_gelu") for tower in ("text_config", "vision_config")}
    if len(found) > 1:
        raise ValueError(f"the towers have different activations {sorted(found)}")
    return found.pop()


def _openclip_activation(config: Mapping[str, Any]) -> str:
    return "quick_gelu" if config["model_cfg"].get("quick_gelu", False) else "gelu"


_NAMES = {
    "huggingface": {
        "patch": "vision_model.embeddings.patch_embedding.weight",
        "cls": "vision_model.embeddings.class_embedding",
        "image_positions": "vision_model.embeddings.position_embedding.weight",
        "image_norm_pre": "vision_model.pre_layrnorm",  # the original's spelling
        "image_block": "vision_model.encoder.layers",
        "image_norm": "vision_model.post_layernorm",
        "image_head": "visual_projection.weight",
        "text_tokens": "text_model.embeddings.token_embedding.weight",
        "text_positions": "text_model.embeddings.position_embedding.weight",
        "text_block": "text_model.encoder.layers",
        "text_norm": "text_model.final_layer_norm",
        "text_head": "text_projection.weight",
        "norm1": "layer_norm1", "norm2": "layer_norm2", "proj": "self_attn.out_proj", "fc1": "mlp.fc1",
        "fc2": "mlp.fc2",
    },
    "openclip": {
        "patch": "visual.conv1.weight",
        "cls": "visual.class_embedding",
        "image_positions": "visual.positional_embedding",
        "image_norm_pre": "visual.ln_pre",
        "image_block": "visual.transformer.resblocks",
        "image_norm": "visual.ln_post",
        "image_head": "visual.proj",
        "text_tokens": "token_embedding.weight",
        "text_positions": "positional_embedding",
        "text_block": "transformer.resblocks",
        "text_norm": "ln_final",
        "text_head": "text_projection",
        "norm1": "ln_1", "norm2": "ln_2", "proj": "attn.out_proj", "fc1": "mlp.c_fc", "fc2": "mlp.c_proj",
    },
}  # fmt: skip


def _rules(v: ClipVariant, layout: str) -> Iterator[_Rule]:
    """Where each parameter comes from."""
    names = _NAMES[layout]
    patch_shape = (v.image_width, 3, v.patch_size, v.patch_size)
    yield _Rule("image/patch_embed/kernel", ((names["patch"], patch_shape),), _patch_kernel)
    yield _Rule("image/cls_token", ((names["cls"], (v.image_width,)),), _same)
    yield _Rule("text/token_embed/embedding", ((names["text_tokens"], (v.vocab_size, v.text_width)),), _same)
    yield _Rule("logit_scale", (("logit_scale", ()),), _same)
    yield from _norm_rules(names["image_norm_pre"], "image/norm_pre", v.image_width)
    num_patches = (v.image_size // v.patch_size) ** 2
    for tower, width, depth, num_tokens in (
        ("image", v.image_width, v.image_depth, 1 + num_patches),
        ("text", v.text_width, v.text_depth, v.context_length),
    ):
        yield _Rule(f"{tower}/pos_embed", ((names[f"{tower}_positions"], (num_tokens, width)),), _same)
        for i in range(depth):
            yield from _block_rules(f"{names[f'{tower}_block']}.{i}", f"{tower}/block{i}", width, names, layout)
        yield from _norm_rules(names[f"{tower}_norm"], f"{tower}/norm", width)
        # OpenCLIP multiplies from the right, so its projection already lies as Flax wants it.
        shape, convert = ((width, v.embed_dim), _same) if layout == "openclip" else ((v.embed_dim, width), _transposed)
        yield _Rule(f"{tower}/head/kernel", ((names[f"{tower}_head"], shape),), convert)


def _block_rules(source: str, target: str, width: int, names: Mapping[str, str], layout: str) -> Iterator[_Rule]:
    yield from _norm_rules(f"{source}.{names['norm1']}", f"{target}/norm1", width)
    yield from _norm_rules(f"{source}.{names['norm2']}", f"{target}/norm2", width)
    for layer, inputs, outputs in (("proj", width, width), ("fc1", width, 4 * width), ("fc2", 4 * width, width)):
        origin = f"{source}.{names[layer]}"
        yield _Rule(f"{target}/{layer}/kernel", ((f"{origin}.weight", (outputs, inputs)),), _transposed)
        yield _Rule(f"{target}/{layer}/bias", ((f"{origin}.bias", (outputs,)),), _same)
    if layout == "openclip":
        kernels = ((f"{source}.attn.in_proj_weight", (3 * width, width)),)
        biases = ((f"{source}.attn.in_proj_bias", (3 * width,)),)
    else:
        kernels = tuple((f"{source}.self_attn.{part}_proj.weight", (width, width)) for part in "qkv")
        biases = tuple((f"{source}.self_attn.{part}_proj.bias", (width,)) for part in "qkv")
    yield _Rule(f"{target}/qkv/kernel", kernels, _transposed)
    yield _Rule(f"{target}/qkv/bias", biases, _same)


def _norm_rules(source: str, target: str, width: int) -> Iterator[_Rule]:
    yield _Rule(f"{target}/scale", ((f"{source}.weight", (width,)),), _same)
    yield _Rule(f"{target}/bias", ((f"{source}.bias", (width,)),), _same)


def _same(arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(arrays)


def _transposed(arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(arrays).T


def _patch_kernel(arrays: list[np.ndarray]) -> np.ndarray:
    """``[width, 3, patch, patch]`` to ``[patch * patch * 3, width]``, the order of ``models.patches.patchify``."""
    return arrays[0].transpose(2, 3, 1, 0).reshape(-1, arrays[0].shape[0])
