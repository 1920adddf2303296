"""MAE's weights as parameters of the token codec: the original layout and Hugging Face's ViTMAE.

MAE sees and paints pictures normalised with ImageNet's mean and deviation; the codec's pixels lie in [0, 1]. The
conversion is affine and so is folded into the patch embedding and into the prediction head.

What a decoder paints is not written in its tensors: ``mae_visualize_vit_*`` paints pixels, but the decoder of
``mae_pretrain_vit_*_full`` paints each patch normalised by its own mean and deviation, which no receiver knows. It is
read from the file's name or from the configuration beside it, or must be given.

Source: He et al., Masked Autoencoders Are Scalable Vision Learners (2022), and its published checkpoints.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lvm_mtc.interop.rules import Rule, converted, layer, patch_kernel
from lvm_mtc.interop.tensor_files import Source, configured, open_tensors, usual_file
from lvm_mtc.models.transformer import resize_positions
from lvm_mtc.models.variants import VARIANTS, Variant
from lvm_mtc.models.weights import WeightsError

PREDICTIONS = ("pixels", "normalized_patches")
"""What a decoder was trained to paint: ImageNet-normalised pixels, or patches normalised one by one."""

_PIXEL_MEAN = np.array((0.485, 0.456, 0.406))
_PIXEL_STD = np.array((0.229, 0.224, 0.225))
_SIZES = ("base", "large", "huge")
_FILES = ("model.safetensors", "pytorch_model.bin")

_NAMES = {
    "original": {
        "cls": "cls_token", "positions": "pos_embed", "patch": "patch_embed.proj", "blocks": "blocks", "norm": "norm",
        "decoder_positions": "decoder_pos_embed", "decoder_embed": "decoder_embed", "mask": "mask_token",
        "decoder_blocks": "decoder_blocks", "decoder_norm": "decoder_norm", "pred": "decoder_pred",
        "block": {
            "norm1": ("norm1",), "norm2": ("norm2",), "qkv": ("attn.qkv",), "proj": ("attn.proj",),
            "fc1": ("mlp.fc1",), "fc2": ("mlp.fc2",),
        },
    },
    "huggingface": {
        "cls": "vit.embeddings.cls_token", "positions": "vit.embeddings.position_embeddings",
        "patch": "vit.embeddings.patch_embeddings.projection", "blocks": "vit.encoder.layer", "norm": "vit.layernorm",
        "decoder_positions": "decoder.decoder_pos_embed", "decoder_embed": "decoder.decoder_embed",
        "mask": "decoder.mask_token", "decoder_blocks": "decoder.decoder_layers",
        "decoder_norm": "decoder.decoder_norm", "pred": "decoder.decoder_pred",
        "block": {
            "norm1": ("layernorm_before",), "norm2": ("layernorm_after",),
            "qkv": tuple(f"attention.attention.{part}" for part in ("query", "key", "value")),
            "proj": ("attention.output.dense",), "fc1": ("intermediate.dense",), "fc2": ("output.dense",),
        },
    },
}  # fmt: skip

_ANCHORS = (
    "vit.embeddings.patch_embeddings.projection.weight", "embeddings.patch_embeddings.projection.weight",
    "patch_embed.proj.weight",
)  # fmt: skip


class MaeWeights(NamedTuple):
    """What :func:`load_mae` finds.

    Attributes:
        variant: Size, of ``models.variants``.
        patch_size: Side of a patch, pixels.
        grid: Rows and columns of patches that the positions are for.
        encoder: Flax parameters of ``TokenEncoder`` without linear path, float32.
        decoder: Flax parameters of ``TokenDecoder``; None if the file holds none (``mae_pretrain_vit_*``).
    """

    variant: str | Variant
    patch_size: int
    grid: tuple[int, int]
    encoder: dict[str, Any]
    decoder: dict[str, Any] | None


def load_mae(
    source: Source,
    *,
    predicts: str | None = None,
    grid: tuple[int, int] | None = None,
    send_class_token: bool = False,
    variant: str | Variant | None = None,
) -> MaeWeights:
    """Reads MAE's weights from a file, from the folder of a Hugging Face model, or from tensors by name.

    Args:
        source: As ``tensor_files.open_tensors`` takes it, or a folder with a file under its usual name; an encoder with
            or without decoder.
        predicts: What the decoder paints, one of :data:`PREDICTIONS`; with ``"normalized_patches"`` its output is left
            as it is. None takes it from the file's name (``mae_visualize_*`` or ``*_full``) or from ``config.json``
            beside it, and refuses ``"normalized_patches"``.
        grid: Rows and columns of patches wanted; None: the square grid of the file. Positions are interpolated.
        send_class_token: As in the codec's modules. MAE's decoder gets the encoder's class token; where none is sent it
            learns one, which here starts at what the centre of the encoder's last norm is embedded to.
        variant: Name in ``VARIANTS``, or sizes; None: recognised.

    Returns:
        Size and parameters, of looped layers (``models.transformer.stack_layers`` turns them into scanned ones).

    Raises:
        FileNotFoundError: if there is no such file, or none of the usual ones in the folder.
        TensorFileError: if the file cannot be read, or would run code, or an unknown prefix stands before its names.
        WeightsError: if the tensors are not those of a known size, all faults in one line; or if the decoder paints
            normalised patches and ``predicts`` does not ask for them.
        ValueError: if ``variant``, or what the decoder paints, is not known.
    """
    if isinstance(variant, str) and variant not in VARIANTS:
        raise ValueError(f"variant must be one of {', '.join(VARIANTS)}, got {variant!r}")
    path = None if isinstance(source, Mapping) else usual_file(source, _FILES)
    tensors, name = open_tensors(source if path is None else path, _ANCHORS, kind="MAE's tensors")
    has_decoder = any(key.startswith(("decoder", "mask_token")) for key in tensors)
    tensors, names = _in_one_layout(tensors)
    kernel = np.shape(tensors.get(f"{names['patch']}.weight", ()))
    if len(kernel) != 4:
        raise WeightsError(f"{name} does not hold MAE's weights: it lacks {names['patch']}.weight of four axes")
    variant = variant or next((size for size in _SIZES if VARIANTS[size].embed_dim == kernel[0]), None)
    if variant is None:
        sizes = ", ".join(_SIZES)
        raise WeightsError(f"{name} holds an MAE of another size than {sizes}: its patch kernel is {kernel}")
    if has_decoder and predicts is None and path is not None:
        predicts = _declared_prediction(path)
        if predicts == "normalized_patches":
            raise WeightsError(
                f"{name}: its decoder paints patches normalised by their own mean and deviation, not pictures: take "
                "mae_visualize_vit_*, or pass predicts='normalized_patches' to have it as it is"
            )
    if has_decoder and predicts not in PREDICTIONS:
        raise ValueError(
            f"predicts must be one of {', '.join(PREDICTIONS)}, got {predicts!r}: the tensors of {name} do not say "
            "what their decoder paints"
        )
    # The positions are for a square grid; where they are for none, their check will tell.
    shape = np.shape(tensors.get(names["positions"], ()))
    stored_grid = (math.isqrt(max(shape[1] - 1, 1)) if len(shape) == 3 else 14,) * 2
    grid = grid or stored_grid

    sizes = VARIANTS[variant] if isinstance(variant, str) else variant
    params = converted(tensors, _rules(sizes, names, kernel[-1], stored_grid, has_decoder), name=name)
    for part in params.values():
        part["pos_embed"] = resize_positions(part["pos_embed"], stored_grid, grid)
    encoder, decoder = params["encoder"], params.get("decoder")
    encoder["patch_embed"] = _taking_pixels(encoder["patch_embed"])
    if decoder and predicts == "pixels":
        decoder["pred"] = _giving_pixels(decoder["pred"])
    if decoder and not send_class_token:
        embed = decoder["decoder_embed"]
        decoder["cls_token"] = encoder["norm"]["bias"] @ embed["kernel"] + embed["bias"]
    return MaeWeights(variant, kernel[-1], grid, encoder, decoder)


def _taking_pixels(dense: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A layer for (pixel - mean) / deviation as one for pixels."""
    mean, std = (np.tile(values, len(dense["kernel"]) // 3) for values in (_PIXEL_MEAN, _PIXEL_STD))
    kernel = dense["kernel"] / std[:, None]
    return {"kernel": kernel.astype(np.float32), "bias": (dense["bias"] - mean @ kernel).astype(np.float32)}


def _giving_pixels(dense: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A layer that gives (pixel - mean) / deviation as one that gives pixels."""
    mean, std = (np.tile(values, len(dense["bias"]) // 3) for values in (_PIXEL_MEAN, _PIXEL_STD))
    kernel, bias = dense["kernel"] * std, dense["bias"] * std + mean
    return {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}


def _declared_prediction(path: Path) -> str | None:
    if "visualize" in path.stem:
        return "pixels"
    if "_full" in path.stem:
        return "normalized_patches"
    # False is what transformers fills in where the file is silent.
    return configured(
        path.with_name("config.json"),
        lambda config: "normalized_patches" if config.get("norm_pix_loss", False) else "pixels",
        "ViTMAE",
    )


def _in_one_layout(tensors: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tensors and the names of their layout; two spellings of Hugging Face's names become the published one."""
    if not any(name.startswith(("vit.", "embeddings.", "decoder.")) for name in tensors):
        return dict(tensors), _NAMES["original"]
    published = {}
    for name, tensor in tensors.items():
        if name.startswith(("embeddings.", "encoder.", "layernorm.")):  # an encoder that was saved alone
            name = f"vit.{name}"
        # So do releases from 5 on write the decoder's layers.
        published[name.replace("decoder.decoder_encoder.layer.", "decoder.decoder_layers.")] = tensor
    return published, _NAMES["huggingface"]


def _rules(
    v: Variant, names: Mapping[str, Any], patch_size: int, grid: tuple[int, int], has_decoder: bool
) -> Iterator[Rule]:
    tokens, width = 1 + grid[0] * grid[1], v.embed_dim
    patch_shape = (width, 3, patch_size, patch_size)
    yield Rule("encoder/patch_embed/kernel", ((f"{names['patch']}.weight", patch_shape),), patch_kernel)
    yield Rule("encoder/patch_embed/bias", ((f"{names['patch']}.bias", (width,)),))
    yield Rule("encoder/cls_token", ((names["cls"], (1, 1, width)),), np.squeeze)
    yield Rule("encoder/pos_embed", ((names["positions"], (1, tokens, width)),), np.squeeze)
    yield from _blocks(names, "blocks", "encoder", v.depth, width)
    yield from layer("encoder/norm", (names["norm"],), (width,))
    if not has_decoder:
        return
    width = v.decoder_embed_dim
    yield from layer("decoder/decoder_embed", (names["decoder_embed"],), (width, v.embed_dim))
    yield Rule("decoder/mask_token", ((names["mask"], (1, 1, width)),), np.squeeze)
    yield Rule("decoder/pos_embed", ((names["decoder_positions"], (1, tokens, width)),), np.squeeze)
    yield from _blocks(names, "decoder_blocks", "decoder", v.decoder_depth, width)
    yield from layer("decoder/norm", (names["decoder_norm"],), (width,))
    yield from layer("decoder/pred", (names["pred"],), (3 * patch_size**2, width))


def _blocks(names: Mapping[str, Any], blocks: str, target: str, depth: int, width: int) -> Iterator[Rule]:
    shapes = {"qkv": (3 * width, width), "proj": (width, width), "fc1": (4 * width, width), "fc2": (width, 4 * width)}
    for i in range(depth):
        for part, ends in names["block"].items():
            sources = tuple(f"{names[blocks]}.{i}.{end}" for end in ends)
            yield from layer(f"{target}/block{i}/{part}", sources, shapes.get(part, (width,)))
