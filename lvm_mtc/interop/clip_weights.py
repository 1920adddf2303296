"""CLIP's weights from other libraries: Hugging Face's layout and OpenCLIP's (which is also OpenAI's).

The weights do not say which activation they were trained with, and with the wrong one the scores stay plausible: it is
read from the configuration file beside the weights, or must be given.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lvm_mtc.interop.rules import Rule, as_kernel, converted, joined, layer, patch_kernel
from lvm_mtc.interop.tensor_files import Source, configured, open_tensors, usual_file
from lvm_mtc.models.clip import CLIP_VARIANTS, ClipVariant
from lvm_mtc.models.transformer import ACTIVATIONS
from lvm_mtc.models.weights import WeightsError

# Tables and settings that some releases store among the weights.
_NO_WEIGHTS = {
    "text_model.embeddings.position_ids", "vision_model.embeddings.position_ids",
    "attn_mask", "input_resolution", "context_length", "vocab_size",
}  # fmt: skip

_FILES = (
    "model.safetensors", "open_clip_model.safetensors", "open_clip_pytorch_model.bin", "pytorch_model.bin",
)  # fmt: skip

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

_ANCHORS = tuple(names["patch"] for names in _NAMES.values())


class ClipWeights(NamedTuple):
    """What :func:`load_clip` finds: arguments of ``models.clip.clip``, and the parameters for its module, float32."""

    variant: str | ClipVariant
    activation: str
    params: dict[str, Any]


def load_clip(
    source: Source, *, activation: str | None = None, variant: str | ClipVariant | None = None
) -> ClipWeights:
    """Reads CLIP's weights from a file, from the folder of a model, or from tensors by name.

    Args:
        source: As ``tensor_files.open_tensors`` takes it, or a folder with a file under its usual name.
        activation: Name of the activation; None takes it from ``config.json`` (Hugging Face) or
            ``open_clip_config.json`` in the same folder.
        variant: Name in ``CLIP_VARIANTS``, or sizes; None: recognised from the tensors' shapes.

    Raises:
        FileNotFoundError: if there is no such file, or none of the usual ones in the folder.
        TensorFileError: if the file cannot be read, or would run code, or an unknown prefix stands before its names.
        WeightsError: if the tensors are not those of a known size, all faults in one line.
        ValueError: if the activation is not known, or not given and not to be found.
    """
    if not isinstance(source, Mapping):
        source = usual_file(source, _FILES)
        activation = activation or _configured_activation(source.parent)
    if activation is None:
        raise ValueError(
            f"activation of {'the tensors' if isinstance(source, Mapping) else source} is not known: there is no "
            "config.json or open_clip_config.json beside it that names it; pass 'quick_gelu' (OpenAI's weights) or "
            "'gelu' (most of OpenCLIP's)"
        )
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    tensors, name = open_tensors(source, _ANCHORS, kind="CLIP's tensors")
    own = any(key.startswith(("vision_model.", "text_model.")) for key in tensors)
    other = any(key.startswith(("visual.", "transformer.")) for key in tensors)
    layout = "openclip" if other and not own else "huggingface"
    if variant is None:
        variant = recognised(tensors, name, layout)
    sizes = CLIP_VARIANTS[variant] if isinstance(variant, str) else variant
    tensors = {key: value for key, value in tensors.items() if key not in _NO_WEIGHTS}
    return ClipWeights(variant, activation, converted(tensors, _rules(sizes, layout), name=name))


def recognised(tensors: Mapping[str, np.ndarray], name: str, layout: str = "huggingface") -> str:
    """The size in ``CLIP_VARIANTS`` whose image tower has the shapes of these tensors; ``WeightsError`` for none."""
    names = _NAMES[layout]
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
    def hugging_face(config):
        # QuickGELU is what transformers fills in where the file is silent.
        activations = {config[tower].get("hidden_act", "quick_gelu") for tower in ("text_config", "vision_config")}
        if len(activations) > 1:
            raise ValueError(f"the towers have different activations {sorted(activations)}")
        return activations.pop()

    def openclip(config):
        return "quick_gelu" if config["model_cfg"].get("quick_gelu", False) else "gelu"

    return configured(folder / "config.json", hugging_face, "CLIP") or configured(
        folder / "open_clip_config.json", openclip, "CLIP"
    )


def _rules(v: ClipVariant, layout: str) -> Iterator[Rule]:
    names = _NAMES[layout]
    yield Rule("logit_scale", (("logit_scale", ()),))
    yield from image_rules(v, v.image_depth, layout)
    yield Rule("text/token_embed/embedding", ((names["text_tokens"], (v.vocab_size, v.text_width)),))
    yield Rule("text/pos_embed", ((names["text_positions"], (v.context_length, v.text_width)),))
    yield from _blocks("text", v.text_width, v.text_depth, layout)
    for tower, width in (("image", v.image_width), ("text", v.text_width)):
        yield from layer(f"{tower}/norm", (names[f"{tower}_norm"],), (width,))
        # OpenCLIP multiplies from the right, so its projection already lies as Flax wants it.
        shape, convert = ((width, v.embed_dim), joined) if layout == "openclip" else ((v.embed_dim, width), as_kernel)
        yield Rule(f"{tower}/head/kernel", ((names[f"{tower}_head"], shape),), convert)


def image_rules(v: ClipVariant, depth: int, layout: str = "huggingface") -> Iterator[Rule]:
    """Of the image tower, group ``image``, all up to its block ``depth``."""
    names, width = _NAMES[layout], v.image_width
    patch_shape = (width, 3, v.patch_size, v.patch_size)
    yield Rule("image/patch_embed/kernel", ((names["patch"], patch_shape),), patch_kernel)
    yield Rule("image/cls_token", ((names["cls"], (width,)),))
    positions = (1 + (v.image_size // v.patch_size) ** 2, width)
    yield Rule("image/pos_embed", ((names["image_positions"], positions),))
    yield from layer("image/norm_pre", (names["image_norm_pre"],), (width,))
    yield from _blocks("image", width, depth, layout)


def _blocks(tower: str, width: int, depth: int, layout: str) -> Iterator[Rule]:
    names = _NAMES[layout]
    for i in range(depth):
        yield from _block(f"{names[f'{tower}_block']}.{i}", f"{tower}/block{i}", width, names, layout)


def _block(source: str, target: str, width: int, names: Mapping[str, str], layout: str) -> Iterator[Rule]:
    for part, shape in (("norm1", (width,)), ("norm2", (width,)), ("proj", (width, width)),
                        ("fc1", (4 * width, width)), ("fc2", (width, 4 * width))):  # fmt: skip
        yield from layer(f"{target}/{part}", (f"{source}.{names[part]}",), shape)
    if layout == "openclip":
        yield Rule(f"{target}/qkv/kernel", ((f"{source}.attn.in_proj_weight", (3 * width, width)),), as_kernel)
        yield Rule(f"{target}/qkv/bias", ((f"{source}.attn.in_proj_bias", (3 * width,)),))
    else:
        parts = tuple(f"{source}.self_attn.{part}_proj" for part in "qkv")
        yield from layer(f"{target}/qkv", parts, (3 * width, width))
