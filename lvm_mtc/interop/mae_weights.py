"""MAE's weights as parameters of the token codec: the original layout and Hugging Face's ViTMAE.

MAE sees and paints pictures normalised with ImageNet's mean and deviation; the codec's pixels lie in [0, 1]. The
conversion is affine and so is folded into the patch embedding and into the prediction head.

What a decoder paints is not written in its tensors: ``mae_visualize_vit_*`` paints pixels, but the decoder of
``mae_pretrain_vit_*_full`` paints each patch normalised by its own mean and deviation, which no receiver knows. It is
read from the file's name or from the configuration beside it, or must be given.

Source: He et al., Masked Autoencoders Are Scalable Vision Learners (2022), and its published checkpoints.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from lvm_mtc.interop.tensor_files import TensorFileError, read_tensors
from lvm_mtc.models.transformer import resize_positions
from lvm_mtc.models.variants import VARIANTS, Variant
from lvm_mtc.models.weights import WeightsError, check_params, unflatten_params

PREDICTIONS = ("pixels", "normalized_patches")
"""What a decoder was trained to paint: ImageNet-normalised pixels, or patches normalised one by one."""

_PIXEL_MEAN = np.array((0.485, 0.456, 0.406))
_PIXEL_STD = np.array((0.229, 0.224, 0.225))
_SIZES = ("base", "large", "huge")
_FILES = ("model.safetensors", "pytorch_model.bin")


class MaeWeights(NamedTuple):
    """What :func:`load_mae` finds.

    Attributes:
        variant: Name of the size in ``models.VARIANTS``.
        patch_size: Side of a patch, pixels.
        grid: Rows and columns of patches that the positions are for.
        encoder: Flax parameters of ``TokenEncoder``, float32.
        decoder: Flax parameters of ``TokenDecoder``; None if the file holds none (``mae_pretrain_vit_*``).
    """

    variant: str
    patch_size: int
    grid: tuple[int, int]
    encoder: dict[str, Any]
    decoder: dict[str, Any] | None


class _Rule(NamedTuple):
    target: str
    sources: tuple[tuple[str, tuple[int, ...]], ...]
    convert: Callable[[np.ndarray], np.ndarray]


def load_mae(
    path: str | Path,
    *,
    predicts: str | None = None,
    grid: tuple[int, int] | None = None,
    send_class_token: bool = False,
) -> MaeWeights:
    """Reads MAE's weights from a file or from the folder of a Hugging Face model; the size is recognised.

    Args:
        path: A PyTorch or safetensors file, or a folder with one under its usual name.
        predicts: What the decoder paints, one of :data:`PREDICTIONS`; None takes it from the file's name
            (``mae_visualize_*`` or ``*_full``) or from ``config.json`` beside it, and refuses ``"normalized_patches"``.
        grid: Rows and columns of patches wanted; None: those of the file.
        send_class_token: As in the codec's modules.

    Returns:
        Size and parameters, of looped layers (``models.transformer.stack_layers`` turns them into scanned ones).

    Raises:
        FileNotFoundError: if there is no such file, or none of the usual ones in the folder.
        TensorFileError: if the file cannot be read, or would run code.
        WeightsError: if the tensors are not those of a known size, all faults in one line; or if the decoder paints
            normalised patches and ``predicts`` does not ask for them.
        ValueError: if what the decoder paints is not known.
    """
    path = Path(path)
    if path.is_dir():
        found = [path / file for file in _FILES if (path / file).is_file()]
        if not found:
            raise FileNotFoundError(f"folder {path} holds none of {', '.join(_FILES)}")
        path = found[0]
    tensors = read_tensors(path)
    variant, patch_size, stored_grid = _recognise(tensors, str(path))
    if predicts is None and _has_decoder(tensors):
        predicts = _declared_prediction(path)
        if predicts == "normalized_patches":
            raise WeightsError(
                f"{path}: its decoder paints patches normalised by their own mean and deviation, not pictures: take "
                "mae_visualize_vit_*, or pass predicts='normalized_patches' to have it as it is"
            )
    options = dict(patch_size=patch_size, predicts=predicts, grid=grid, send_class_token=send_class_token)
    params = mae_params(tensors, variant, name=str(path), **options)
    return MaeWeights(variant, patch_size, grid or stored_grid, params["encoder"], params.get("decoder"))


def mae_params(
    tensors: Mapping[str, np.ndarray],
    variant: str | Variant,
    *,
    patch_size: int = 16,
    predicts: str | None = None,
    grid: tuple[int, int] | None = None,
    send_class_token: bool = False,
    name: str = "MAE's tensors",
) -> dict[str, Any]:
    """Flax parameters of the token codec, without linear path, from tensors under their original names.

    Args:
        tensors: Arrays by name, in the original layout or Hugging Face's, of an encoder with or without decoder.
        variant: Name in ``VARIANTS``, or sizes.
        patch_size: Side of a patch, pixels.
        predicts: What the decoder paints, one of :data:`PREDICTIONS`; needed if there is one. With
            ``"normalized_patches"`` its output is left as it is.
        grid: Rows and columns of patches wanted; None: the square grid of the tensors. Positions are interpolated.
        send_class_token: As in the codec's modules. MAE's decoder gets the encoder's class token; where none is sent it
            learns one, which here starts at what the centre of the encoder's last norm is embedded to.
        name: What to call the tensors in a message.

    Returns:
        ``{"encoder": ..., "decoder": ...}``, the latter if there is one; nested dictionaries of float32 arrays.

    Raises:
        WeightsError: listing all missing, superfluous and misshapen tensors, or all that are not finite, in one line.
        ValueError: if ``variant`` is not known, or ``predicts`` is none of :data:`PREDICTIONS` and there is a decoder.
    """
    if isinstance(variant, str) and variant not in VARIANTS:
        raise ValueError(f"variant must be one of {', '.join(VARIANTS)}, got {variant!r}")
    sizes = VARIANTS[variant] if isinstance(variant, str) else variant
    has_decoder = _has_decoder(tensors)
    if has_decoder and predicts not in PREDICTIONS:
        raise ValueError(
            f"predicts must be one of {', '.join(PREDICTIONS)}, got {predicts!r}: the tensors of {name} do not say "
            "what their decoder paints"
        )
    tensors, names = _in_one_layout(tensors)
    stored_grid = _stored_grid(tensors, names)
    rules = list(_rules(sizes, names, patch_size, stored_grid, has_decoder))
    want = {source: jax.ShapeDtypeStruct(shape, np.float32) for rule in rules for source, shape in rule.sources}
    check_params(tensors, want, name=name)
    if faulty := [key for key in want if not np.isfinite(np.asarray(tensors[key], np.float32)).all()]:
        raise WeightsError(f"{name}: {len(faulty)} not of finite numbers: {', '.join(faulty)}")

    flat = {}
    for rule in rules:
        arrays = [np.asarray(tensors[source], np.float32) for source, _ in rule.sources]
        flat[rule.target] = np.ascontiguousarray(rule.convert(np.concatenate(arrays)))
    params = unflatten_params(flat)
    for part in params.values():
        part["pos_embed"] = resize_positions(part["pos_embed"], stored_grid, grid or stored_grid)
    encoder, decoder = params["encoder"], params.get("decoder")
    encoder["patch_embed"] = _taking_pixels(encoder["patch_embed"])
    if decoder and predicts == "pixels":
        decoder["pred"] = _giving_pixels(decoder["pred"])
    if decoder and not send_class_token:
        embed = decoder["decoder_embed"]
        decoder["cls_token"] = encoder["norm"]["bias"] @ embed["kernel"] + embed["bias"]
    return params


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


def _has_decoder(tensors: Mapping[str, Any]) -> bool:
    return any(name.startswith(("decoder", "mask_token")) for name in tensors)


def _declared_prediction(path: Path) -> str | None:
    if "visualize" in path.stem:
        return "pixels"
    if "_full" in path.stem:
        return "normalized_patches"
    config = path.with_name("config.json")
    if not config.is_file():
        return None
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
        # False is what transformers fills in where the file is silent.
        return "normalized_patches" if content.get("norm_pix_loss", False) else "pixels"
    except (ValueError, AttributeError, OSError, RecursionError) as error:
        raise TensorFileError(f"{config}: is no configuration of a ViTMAE model") from error


def _recognise(tensors: Mapping[str, np.ndarray], name: str) -> tuple[str, int, tuple[int, int]]:
    tensors, names = _in_one_layout(tensors)
    kernel = np.shape(tensors.get(f"{names['patch']}.weight", ()))
    if len(kernel) != 4:
        raise WeightsError(f"{name} does not hold MAE's weights: it lacks {names['patch']}.weight of four axes")
    for variant in _SIZES:
        if VARIANTS[variant].embed_dim == kernel[0]:
            return variant, kernel[-1], _stored_grid(tensors, names)
    raise WeightsError(f"{name} holds an MAE of another size than {', '.join(_SIZES)}: its patch kernel is {kernel}")


def _stored_grid(tensors: Mapping[str, np.ndarray], names: Mapping[str, str]) -> tuple[int, int]:
    """The square grid that the positions are for; where they are for none, one whose check will tell."""
    shape = np.shape(tensors.get(names["positions"], ()))
    side = math.isqrt(max(shape[1] - 1, 1)) if len(shape) == 3 else 14
    return side, side


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


def _in_one_layout(tensors: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tensors and the names of their layout; two spellings of Hugging Face's names become the published one."""
    if not any(name.startswith(("vit.", "embeddings.", "decoder.")) for name in tensors):
        return dict(tensors), _NAMES["original"]
    found = {}
    for name, tensor in tensors.items():
        if name.startswith(("embeddings.", "encoder.", "layernorm.")):  # an encoder that was saved alone
            name = f"vit.{name}"
        # So do releases from 5 on write the decoder's layers.
        found[name.replace("decoder.decoder_encoder.layer.", "decoder.decoder_layers.")] = tensor
    return found, _NAMES["huggingface"]


def _rules(v: Variant, names: Mapping[str, Any], patch_size: int, grid: tuple[int, int], decoder: bool) -> Iterator:
    """Where each parameter comes from."""
    tokens, width = 1 + grid[0] * grid[1], v.embed_dim
    patch_shape = (width, 3, patch_size, patch_size)
    yield _Rule("encoder/patch_embed/kernel", ((f"{names['patch']}.weight", patch_shape),), _patch_kernel)
    yield _Rule("encoder/patch_embed/bias", ((f"{names['patch']}.bias", (width,)),), np.asarray)
    yield _Rule("encoder/cls_token", ((names["cls"], (1, 1, width)),), np.squeeze)
    yield _Rule("encoder/pos_embed", ((names["positions"], (1, tokens, width)),), np.squeeze)
    yield from _block_rules(names, "blocks", "encoder", v.depth, width)
    yield from _pair("encoder/norm", (names["norm"],), "scale", (width,))
    if not decoder:
        return
    width = v.decoder_embed_dim
    yield from _pair("decoder/decoder_embed", (names["decoder_embed"],), "kernel", (width, v.embed_dim))
    yield _Rule("decoder/mask_token", ((names["mask"], (1, 1, width)),), np.squeeze)
    yield _Rule("decoder/pos_embed", ((names["decoder_positions"], (1, tokens, width)),), np.squeeze)
    yield from _block_rules(names, "decoder_blocks", "decoder", v.decoder_depth, width)
    yield from _pair("decoder/norm", (names["decoder_norm"],), "scale", (width,))
    yield from _pair("decoder/pred", (names["pred"],), "kernel", (3 * patch_size**2, width))


def _block_rules(names: Mapping[str, Any], blocks: str, target: str, depth: int, width: int) -> Iterator[_Rule]:
    shapes = {"qkv": (3 * width, width), "proj": (width, width), "fc1": (4 * width, width), "fc2": (width, 4 * width)}
    for i in range(depth):
        for layer, parts in names["block"].items():
            sources = tuple(f"{names[blocks]}.{i}.{part}" for part in parts)
            kind, shape = ("kernel", shapes[layer]) if layer in shapes else ("scale", (width,))
            yield from _pair(f"{target}/block{i}/{layer}", sources, kind, shape)


def _pair(target: str, sources: tuple[str, ...], kind: str, shape: tuple[int, ...]) -> Iterator[_Rule]:
    """Weight and bias of a layer, whose rows may stand in several tensors of the same size."""
    shape = (shape[0] // len(sources), *shape[1:])
    yield _Rule(f"{target}/{kind}", tuple((f"{source}.weight", shape) for source in sources), np.transpose)
    yield _Rule(f"{target}/bias", tuple((f"{source}.bias", shape[:1]) for source in sources), np.asarray)


def _patch_kernel(array: np.ndarray) -> np.ndarray:
    """``[width, 3, patch, patch]`` to ``[patch * patch * 3, width]``, the order of ``models.patches.patchify``."""
    return array.transpose(2, 3, 1, 0).reshape(-1, array.shape[0])
