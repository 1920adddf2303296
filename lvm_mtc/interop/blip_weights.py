"""The weights of BLIP's captioner in Hugging Face's layout.

Number of heads and epsilons are not read from ``config.json``: early copies of it say 8 heads, but the weights were
trained with 12 (transformers issue 22625), and with the wrong number captions stay plausible and are worse.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from lvm_mtc.interop.rules import Rule, converted, layer, patch_kernel
from lvm_mtc.interop.tensor_files import Source, open_tensors, usual_file
from lvm_mtc.models.blip import BLIP_VARIANTS, BlipVariant
from lvm_mtc.models.weights import WeightsError

_FILES = ("model.safetensors", "pytorch_model.bin")
_IMAGE, _TEXT = "vision_model", "text_decoder.bert"
_PATCH = f"{_IMAGE}.embeddings.patch_embedding.weight"
_POSITIONS = f"{_IMAGE}.embeddings.position_embedding"
_WORDS, _BIAS = f"{_TEXT}.embeddings.word_embeddings.weight", "text_decoder.cls.predictions.bias"
_TIED = {
    "text_decoder.cls.predictions.decoder.weight": _WORDS,
    "text_decoder.cls.predictions.decoder.bias": _BIAS,
}
# Tables that some releases store among the weights.
_NO_WEIGHTS = {f"{_TEXT}.embeddings.position_ids"}


class BlipWeights(NamedTuple):
    """What :func:`load_blip` finds: sizes by name or as they were given, and parameters of ``models.blip.Blip``."""

    variant: str | BlipVariant
    params: dict[str, Any]


def load_blip(source: Source, *, variant: str | BlipVariant | None = None) -> BlipWeights:
    """Reads the weights of BLIP's captioner from a file, from the folder of a model, or from tensors by name.

    Args:
        source: As ``tensor_files.open_tensors`` takes it, or a folder with a file under its usual name.
        variant: Name in ``BLIP_VARIANTS``, or sizes; None: recognised from the tensors' shapes.

    Raises:
        FileNotFoundError: if there is no such file, or none of the usual ones in the folder.
        TensorFileError: if the file cannot be read, or would run code, or an unknown prefix stands before its names.
        WeightsError: if the tensors are not those of a captioner of a known size, all faults in one line, or the output
            layer is not the words' embedding.
        ValueError: if the variant is not known.
    """
    if isinstance(variant, str) and variant not in BLIP_VARIANTS:
        raise ValueError(f"variant must be one of {', '.join(BLIP_VARIANTS)}, got {variant!r}")
    if not isinstance(source, Mapping):
        source = usual_file(source, _FILES)
    tensors, name = open_tensors(source, (_PATCH,), kind="BLIP's tensors")
    tensors = _without_copies({key: tensors[key] for key in tensors if key not in _NO_WEIGHTS}, name)
    variant = variant or _recognise(tensors, name)
    sizes = BLIP_VARIANTS[variant] if isinstance(variant, str) else variant
    return BlipWeights(variant, converted(tensors, _rules(sizes), name=name))


def _without_copies(tensors: dict[str, Any], name: str) -> dict[str, Any]:
    """Some files hold a tied tensor under both of its names, some under the one or the other."""
    for copy, original in _TIED.items():
        if copy not in tensors:
            continue
        values = tensors.pop(copy)
        if not np.array_equal(tensors.setdefault(original, values), values):
            raise WeightsError(f"{name}: {copy} differs from {original}, to which BLIP ties it")
    return tensors


def _recognise(tensors: Mapping[str, Any], name: str) -> str:
    keys = (_PATCH, _POSITIONS, _WORDS)
    missing = [key for key in keys if key not in tensors]
    if missing:
        raise WeightsError(f"{name} does not hold the weights of BLIP's captioner: it lacks {', '.join(missing)}")
    found = tuple(np.shape(tensors[key]) for key in keys)
    shapes = {variant: dict(source for rule in _rules(v) for source in rule.sources)
              for variant, v in BLIP_VARIANTS.items()}  # fmt: skip
    for variant, expected in shapes.items():
        if found == tuple(expected[key] for key in keys):
            return variant
    raise WeightsError(
        f"{name} holds a BLIP of another size than {', '.join(BLIP_VARIANTS)}: its patch kernel is {found[0]}, its "
        f"image positions {found[1]}, its words {found[2]}"
    )


def _rules(v: BlipVariant) -> Iterator[Rule]:
    width, places = v.image_width, 1 + (v.image_size // v.patch_size) ** 2
    yield Rule("image/patch_embed/kernel", ((_PATCH, (width, 3, v.patch_size, v.patch_size)),), patch_kernel)
    yield Rule("image/patch_embed/bias", ((_PATCH.replace("weight", "bias"), (width,)),))
    yield Rule("image/cls_token", ((f"{_IMAGE}.embeddings.class_embedding", (1, 1, width)),), np.squeeze)
    yield Rule("image/pos_embed", ((_POSITIONS, (1, places, width)),), np.squeeze)
    for i in range(v.image_depth):
        source, target = f"{_IMAGE}.encoder.layers.{i}", f"image/block{i}"
        for part, end, shape in (
            ("norm1", "layer_norm1", (width,)), ("qkv", "self_attn.qkv", (3 * width, width)),
            ("proj", "self_attn.projection", (width, width)), ("norm2", "layer_norm2", (width,)),
            ("fc1", "mlp.fc1", (4 * width, width)), ("fc2", "mlp.fc2", (width, 4 * width)),
        ):  # fmt: skip
            yield from layer(f"{target}/{part}", (f"{source}.{end}",), shape)
    yield from layer("image/norm", (f"{_IMAGE}.post_layernorm",), (width,))
    width = v.text_width
    yield Rule("text/token_embed", ((_WORDS, (v.vocab_size, width)),))
    yield Rule("text/pos_embed", ((f"{_TEXT}.embeddings.position_embeddings.weight", (v.context_length, width)),))
    yield from layer("text/norm", (f"{_TEXT}.embeddings.LayerNorm",), (width,))
    for i in range(v.text_depth):
        yield from _decoder_block(f"{_TEXT}.encoder.layer.{i}", f"text/block{i}", width, v.image_width)
    yield from layer("text/head", ("text_decoder.cls.predictions.transform.dense",), (width, width))
    yield from layer("text/head_norm", ("text_decoder.cls.predictions.transform.LayerNorm",), (width,))
    yield Rule("text/head_bias", ((_BIAS, (v.vocab_size,)),))


def _decoder_block(source: str, target: str, width: int, seen: int) -> Iterator[Rule]:
    said, look = f"{source}.attention.self", f"{source}.crossattention.self"
    for part, sources, shape in (
        ("qkv", (f"{said}.query", f"{said}.key", f"{said}.value"), (3 * width, width)),
        ("proj", (f"{source}.attention.output.dense",), (width, width)),
        ("norm1", (f"{source}.attention.output.LayerNorm",), (width,)),
        ("query", (f"{look}.query",), (width, width)),
        ("key_value", (f"{look}.key", f"{look}.value"), (2 * width, seen)),
        ("seen_proj", (f"{source}.crossattention.output.dense",), (width, width)),
        ("norm2", (f"{source}.crossattention.output.LayerNorm",), (width,)),
        ("fc1", (f"{source}.intermediate.dense",), (4 * width, width)),
        ("fc2", (f"{source}.output.dense",), (width, 4 * width)),
        ("norm3", (f"{source}.output.LayerNorm",), (width,)),
    ):
        yield from layer(f"{target}/{part}", sources, shape)
