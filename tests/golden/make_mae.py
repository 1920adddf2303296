"""Write mae.npz: a small ViTMAE of transformers with random weights, what it encodes and paints, its fixed positions,
and PyTorch's bicubic rule.

Needs torch and transformers. Run from anywhere: ``python tests/golden/make_mae.py``.
"""

import json
import tempfile
from pathlib import Path

import numpy as np

SIZES = dict(embed_dim=24, depth=2, num_heads=3, decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2)
IMAGE_SIZE, PATCH_SIZE = 32, 8
PIXEL_MEAN, PIXEL_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def published_model(sizes: dict[str, int], image_size: int, patch_size: int, mask_ratio: float, seed: int):
    """transformers' model of given sizes, every tensor random, biases and norms included, in half precision's grid."""
    import torch
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    config = ViTMAEConfig(
        hidden_size=sizes["embed_dim"], num_hidden_layers=sizes["depth"], num_attention_heads=sizes["num_heads"],
        intermediate_size=4 * sizes["embed_dim"], decoder_hidden_size=sizes["decoder_embed_dim"],
        decoder_num_hidden_layers=sizes["decoder_depth"], decoder_num_attention_heads=sizes["decoder_num_heads"],
        decoder_intermediate_size=4 * sizes["decoder_embed_dim"], image_size=image_size, patch_size=patch_size,
        mask_ratio=mask_ratio, layer_norm_eps=1e-6,  # MAE's; the class's default is 1e-12
    )  # fmt: skip
    model = ViTMAEForPreTraining(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim == 1:
                value.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.1, generator=generator)
            else:
                scale = 0.5 if "pos" in name else value[0].numel() ** -0.5
                value.normal_(0, scale, generator=generator)
            value.copy_(value.half())
    return model


def run(model, images: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Encoded tokens, class token first and the kept ones by rising noise, and painted patches.

    Args:
        model: From :func:`published_model`.
        images: ``[batch, height, width, 3]`` in [0, 1].
        noise: ``[batch, num_patches]``; the patches of the smallest are kept.
    """
    import torch

    normalised = (images - np.array(PIXEL_MEAN, np.float32)) / np.array(PIXEL_STD, np.float32)
    pixel_values = torch.tensor(normalised).permute(0, 3, 1, 2)
    with torch.no_grad():
        latent = model.vit(pixel_values, noise=torch.tensor(noise)).last_hidden_state
        painted = model(pixel_values, noise=torch.tensor(noise)).logits
    return latent.numpy(), painted.numpy()


def saved_tensors(model) -> dict[str, np.ndarray]:
    """The tensors under the names that stand in a file of the model."""
    from safetensors.numpy import load_file

    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return load_file(Path(folder) / "model.safetensors")


def cases() -> dict[str, np.ndarray]:
    """Inputs, weights and outputs by name."""
    import torch
    import transformers

    rng = np.random.default_rng(7)
    images = rng.uniform(size=(2, IMAGE_SIZE, IMAGE_SIZE, 3)).astype(np.float32)
    noise = rng.uniform(size=(2, (IMAGE_SIZE // PATCH_SIZE) ** 2)).astype(np.float32)
    positions = rng.normal(size=(1 + 4 * 4, 5)).astype(np.float32)
    model = published_model(SIZES, IMAGE_SIZE, PATCH_SIZE, 0.5, 8)
    latent, painted = run(model, images, noise)
    found = {f"{library.__name__}_version": np.array(library.__version__) for library in (torch, transformers)}
    found |= {"sizes": np.array(json.dumps(SIZES)), "patch_size": np.array(PATCH_SIZE), "images": images}
    found |= {"noise": noise, "latent": latent, "painted": painted, "positions": positions}
    found |= {f"weights/{name}": value.astype(np.float16) for name, value in saved_tensors(model).items()}
    model.decoder.initialize_weights((IMAGE_SIZE // PATCH_SIZE) ** 2)
    found["sincos"] = model.decoder.decoder_pos_embed[0].detach().numpy()
    table = torch.tensor(positions[1:]).reshape(1, 4, 4, 5).permute(0, 3, 1, 2)
    for rows, columns in ((7, 5), (3, 2)):
        resized = torch.nn.functional.interpolate(table, (rows, columns), mode="bicubic", align_corners=False)
        found[f"positions_{rows}x{columns}"] = resized.permute(0, 2, 3, 1).reshape(-1, 5).numpy()
    return found


if __name__ == "__main__":
    np.savez_compressed(Path(__file__).with_name("mae.npz"), **cases())
