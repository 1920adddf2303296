"""Write clip.npz: token numbers of two reference tokenizers, and features of two PyTorch implementations of CLIP.

Needs torch, transformers, ftfy, regex and the files of clip-anytorch (OpenAI's own code; of it only the model and the
tokenizer are loaded, so that torchvision can be absent). Run from anywhere: ``python tests/golden/make_clip.py``.
"""

import importlib.metadata
import importlib.util
import json
import tempfile
from pathlib import Path

import numpy as np

TEXTS = (
    "a photo of a dog", "", "   ", "A  Dog\tand\na CAT!!", "naïve café résumé", "cafe\u0301 e\u0301",
    "Ünïcödé straße İstanbul", "日本語の犬 汉字", "😀 a dog 🐕\u200d🦺👩🏽\u200d🚀",
    "it's the dogs' bowl, they've I'll don't", "¿qué? ¡sí! §12 ½ ²3 Ⅷ 1234", "a_b-c/d\\e <|endoftext|> x",
    "don'T IT'S 'S's !'s?'ll", "мир مرحبا कुत्ता собака", "x" * 300, "dog " * 200,
    "supercalifragilisticexpialidocious", "\u3000wide\u00a0space",
)  # fmt: skip
SIZES = dict(
    image_size=24, patch_size=8, image_width=24, image_depth=2, image_heads=3, text_width=16, text_depth=2,
    text_heads=2, embed_dim=12, context_length=10, vocab_size=40,
)  # fmt: skip


def hugging_face_tokens(folder: Path) -> np.ndarray:
    """What transformers' tokenizer makes of the texts, ``[num_texts, 77]``; it pads with the end token."""
    from transformers import CLIPTokenizer

    from lvm_mtc.data.clip_tokenizer import ClipTokenizer, read_merges

    merges = read_merges()
    (folder / "vocab.json").write_text(json.dumps(ClipTokenizer(merges)._ids))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n")
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    return np.array(tokenizer(list(TEXTS), truncation=True, max_length=77, padding="max_length")["input_ids"])


def openai_module(name: str):
    """One file of OpenAI's code, without its package, which would import torchvision."""
    file = next(f for f in importlib.metadata.files("clip-anytorch") if str(f) == f"clip/{name}.py").locate()
    spec = importlib.util.spec_from_file_location(f"openai_clip_{name}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def openai_tokens() -> np.ndarray:
    """What OpenAI's tokenizer, with its own copy of the vocabulary, makes of the texts; padded with 0."""
    tokenizer, tokens = openai_module("simple_tokenizer").SimpleTokenizer(), np.zeros((len(TEXTS), 77), np.int32)
    for row, text in zip(tokens, TEXTS, strict=True):
        content = [49406, *tokenizer.encode(text)[:75], 49407]
        row[: len(content)] = content
    return tokens


def hugging_face_model(activation: str):
    """A CLIPModel of the golden's sizes."""
    from transformers import CLIPConfig, CLIPModel

    s = SIZES
    text = dict(
        vocab_size=s["vocab_size"], hidden_size=s["text_width"], intermediate_size=4 * s["text_width"],
        num_hidden_layers=s["text_depth"], num_attention_heads=s["text_heads"], hidden_act=activation,
        max_position_embeddings=s["context_length"], eos_token_id=s["vocab_size"] - 1,
    )  # fmt: skip
    vision = dict(
        hidden_size=s["image_width"], intermediate_size=4 * s["image_width"], num_hidden_layers=s["image_depth"],
        num_attention_heads=s["image_heads"], image_size=s["image_size"], patch_size=s["patch_size"],
        hidden_act=activation,
    )  # fmt: skip
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=s["embed_dim"])
    return CLIPModel(config).eval()


def openai_model():
    """OpenAI's model of the golden's sizes; it knows QuickGELU only. OpenCLIP's tensors have the same names."""
    module, s = openai_module("model"), SIZES
    model = module.CLIP(
        s["embed_dim"], s["image_size"], s["image_depth"], 64, s["patch_size"], s["context_length"], s["vocab_size"],
        s["text_width"], s["text_heads"], s["text_depth"],
    )  # fmt: skip
    # Its constructor fixes 64 features per head.
    model.visual = module.VisionTransformer(
        s["image_size"], s["patch_size"], s["image_width"], s["image_depth"], s["image_heads"], s["embed_dim"]
    )
    return model.eval()


def random_weights(model, seed: int) -> dict[str, np.ndarray]:
    """Fills every tensor of a model with float16 numbers, biases and norms too, and returns them."""
    import torch

    rng, state = np.random.default_rng(seed), {}
    for name, value in model.state_dict().items():
        if not value.is_floating_point() or name == "attn_mask":
            continue
        numbers = rng.normal(scale=0.3, size=tuple(value.shape)) + (value.ndim == 1 and name.endswith("weight"))
        state[name] = np.asarray(numbers, np.float16)
    model.load_state_dict({n: torch.tensor(v.astype(np.float32)) for n, v in state.items()}, strict=False)
    return state


def cases() -> dict[str, np.ndarray]:
    """Inputs, weights and outputs by name."""
    import torch
    import transformers

    rng = np.random.default_rng(4)
    images = rng.normal(size=(3, SIZES["image_size"], SIZES["image_size"], 3)).astype(np.float32)
    tokens = rng.integers(0, SIZES["vocab_size"] - 1, (4, SIZES["context_length"]))
    # First end token at different places; twice in one row; last in another.
    for row, places in enumerate(((3,), (2, 6), (9,), (1,))):
        tokens[row, list(places)] = SIZES["vocab_size"] - 1
    found = {f"{library.__name__}_version": np.array(library.__version__) for library in (torch, transformers)}
    found["clip_anytorch_version"] = np.array(importlib.metadata.version("clip-anytorch"))
    found |= {"images": images, "tokens": tokens, "sizes": np.array(json.dumps(SIZES)), "texts": np.array(TEXTS)}
    with tempfile.TemporaryDirectory() as folder:
        found["tokens_huggingface"] = hugging_face_tokens(Path(folder)).astype(np.int32)
    found["tokens_openai"] = openai_tokens()
    pictures, texts = torch.tensor(images).permute(0, 3, 1, 2), torch.tensor(tokens)
    with torch.no_grad():
        for activation in ("quick_gelu", "gelu"):
            model = hugging_face_model(activation)
            weights = random_weights(model, 5)
            out = model(input_ids=texts, pixel_values=pictures)
            found[f"huggingface/{activation}/logits"] = out.logits_per_image.numpy()
            found[f"huggingface/{activation}/image"] = out.image_embeds.numpy()
            found[f"huggingface/{activation}/text"] = out.text_embeds.numpy()
            found |= {f"huggingface/weights/{name}": value for name, value in weights.items()}
        model = openai_model()
        weights = random_weights(model, 6)
        found["openai/logits"] = model(pictures, texts)[0].numpy()
        found["openai/image"] = model.encode_image(pictures).numpy()
        found["openai/text"] = model.encode_text(texts).numpy()
        found |= {f"openai/weights/{name}": value for name, value in weights.items()}
    return found


if __name__ == "__main__":
    np.savez_compressed(Path(__file__).with_name("clip.npz"), **cases())
