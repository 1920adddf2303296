"""Write llava.npz: patch features and picture tokens of transformers' LLaVA at a tiny size, and sizes of LLaVA-1.6.

Needs torch and transformers. Run from anywhere: ``python tests/golden/make_llava.py``.
"""

import json
from pathlib import Path

import numpy as np

SIZES = dict(
    image_size=24, patch_size=8, image_width=24, image_depth=2, image_heads=3, text_width=8, text_depth=1,
    text_heads=1, embed_dim=8,
)  # fmt: skip
"""Of CLIP, as ``models.clip.ClipVariant`` takes them; there is no text tower."""
WIDTH, PICTURE_TOKEN, VOCABULARY = 16, 40, 48
PICTURES = (
    (336, 336), (380, 640), (640, 380), (192, 320), (1080, 1920), (100, 900), (900, 100), (333, 500), (672, 1008),
    (1200, 1201),
)  # fmt: skip
"""Heights and widths of pictures."""


def published_model():
    """transformers' model of the sizes, with random weights; biases and norms too."""
    import torch
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    s = SIZES
    vision = dict(
        model_type="clip_vision_model", hidden_size=s["image_width"], intermediate_size=4 * s["image_width"],
        num_hidden_layers=s["image_depth"], num_attention_heads=s["image_heads"], image_size=s["image_size"],
        patch_size=s["patch_size"], hidden_act="quick_gelu", projection_dim=s["embed_dim"],
    )  # fmt: skip
    text = dict(
        model_type="llama", vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=PICTURE_TOKEN)
    model, rng = LlavaForConditionalGeneration(config).eval(), np.random.default_rng(3)
    with torch.no_grad():
        for name, value in model.named_parameters():
            numbers = rng.normal(scale=0.3, size=tuple(value.shape)) + (value.ndim == 1 and name.endswith("weight"))
            value.copy_(torch.tensor(np.float32(np.float16(numbers))))
    return model


def border_weights(model) -> dict[str, np.ndarray]:
    """Tensors of tower and projector under their published names."""
    parts = ("vision_tower", "multi_modal_projector")
    own = {name.removeprefix("model."): value.numpy() for name, value in model.state_dict().items()}
    return {name: np.float16(value) for name, value in own.items() if name.startswith(parts) and value.ndim}


def features(model, images: np.ndarray) -> np.ndarray:
    """Patch features of the last block but one."""
    import torch

    with torch.no_grad():
        pixels = torch.tensor(images).permute(0, 3, 1, 2)
        out = model.model.vision_tower(pixels, output_hidden_states=True)
    return out.hidden_states[-2][:, 1:].numpy()


def tokens(model, images: np.ndarray) -> np.ndarray:
    """What ``get_image_features`` gives."""
    import torch

    with torch.no_grad():
        found = model.get_image_features(pixel_values=torch.tensor(images).permute(0, 3, 1, 2))
    found = getattr(found, "pooler_output", found)
    return np.stack([np.asarray(one) for one in found])


def grids(pinpoints) -> np.ndarray:
    """Of each picture: height and width that LLaVA-1.6 resizes it to, rows and columns of patches without border."""
    import torch
    from transformers.models.llava_next.modeling_llava_next import get_anyres_image_grid_shape, unpad_image

    rows = []
    for size in PICTURES:
        squares = get_anyres_image_grid_shape(size, [list(one) for one in pinpoints], 336)
        patches = torch.zeros(1, *(24 * side for side in squares))
        rows.append((*(336 * side for side in squares), *unpad_image(patches, size).shape[1:]))
    return np.array(rows)


def cases() -> dict[str, np.ndarray]:
    """Inputs, weights and outputs by name."""
    import torch
    import transformers

    from lvm_mtc.models.llava import PINPOINTS

    side = SIZES["image_size"]
    images = np.random.default_rng(4).normal(size=(2, side, side, 3)).astype(np.float32)
    found = {f"{library.__name__}_version": np.array(library.__version__) for library in (torch, transformers)}
    model = published_model()
    found |= {"sizes": np.array(json.dumps(SIZES)), "images": images, "pictures": np.array(PICTURES)}
    found |= {"features": features(model, images), "tokens": tokens(model, images), "grids": grids(PINPOINTS)}
    return found | {f"weights/{name}": value for name, value in border_weights(model).items()}


if __name__ == "__main__":
    np.savez_compressed(Path(__file__).with_name("llava.npz"), **cases())
