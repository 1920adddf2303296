"""Write blip.npz: logits and captions of transformers' BLIP, tokens and texts of its BERT tokenizer, and pixels.

Needs torch and transformers. Run from anywhere: ``python tests/golden/make_blip.py``.
"""

import copy
import json
import tempfile
from pathlib import Path

import numpy as np

# The widths differ: what stands crosswise would not fit.
SIZES = dict(
    image_size=24, patch_size=8, image_width=40, image_depth=2, image_heads=4, text_width=32, text_depth=2,
    text_heads=4, context_length=24,
)  # fmt: skip
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
WORDS = (
    "the a man woman dog dogs play on beach with of in red photo picture un ##aff ##able ##ing ##s ##ff do not cafe "
    "日 ##本 σ ##σ ##ς ß ##ß straße ½ # ## …"
)
TEXTS = (
    "a photo of", "", "   ", "A  Dog\tand\na CAT!!", "naïve café résumé", "cafe\u0301 e\u0301 ÉCOLE",
    "Ünïcödé straße STRASSE İstanbul", "日本語の犬 汉字 日本", "😀 a dog 🐕\u200d🦺👩🏽\u200d🚀", "don't I'm they've",
    "¿qué? ¡sí! §12 ½ ²3 Ⅷ ١٢", "unaffable unaffableq playing dogs", "[SEP] a[MASK]b [sep] [DEC] [[CLS]]",
    "a" * 100, "a" * 101, "x\u200by\u00adz\u0000w a\ufffdb", "\u2028a\u2029b\u0085c \u1680a\u3000b\u00a0c",
    "ΟΔΟΣ σς ΣΑΣ", "ﬁ Å Ǆ", "…—“a” a_b-c/d\\e ^$`|~ ## #a", "\u0378a \ue000b", "한국어 मर мир",
)  # fmt: skip
NUMBERS = ((5, 6), (41, 42), (76, 5, 76), (5, 109, 100), (2, 5, 3, 0, 0), (900, 5), (1, 5, 1), ())
# Of the captions: prompt, and arguments of `generate`.
RULES = (
    ("", dict(max_length=12)),
    ("a photo of", dict(max_length=16, min_length=9, repetition_penalty=1.7)),
)


def vocabulary() -> list[str]:
    """A small one with pieces of every kind."""
    signs = [chr(code) for code in range(33, 127) if not chr(code).isalnum()]
    inner = [f"##{letter}" for letter in LETTERS]
    return list(dict.fromkeys([*SPECIAL, *LETTERS, *inner, *signs, *WORDS.split()]))


def tokenizer(pieces: list[str]):
    """transformers' BERT tokenizer of uncased text."""
    from transformers import BertTokenizer

    return BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)})


def published_model(sizes: dict[str, int], vocab_size: int, end_token: int, seed: int):
    """transformers' captioner, every tensor random, biases and norms included."""
    import torch
    from transformers import BlipConfig, BlipForConditionalGeneration

    s = sizes
    config = BlipConfig(
        text_config=dict(
            vocab_size=vocab_size, hidden_size=s["text_width"], intermediate_size=4 * s["text_width"],
            num_hidden_layers=s["text_depth"], num_attention_heads=s["text_heads"], bos_token_id=vocab_size - 2,
            max_position_embeddings=s["context_length"], sep_token_id=end_token,
        ),
        vision_config=dict(
            hidden_size=s["image_width"], intermediate_size=4 * s["image_width"], num_hidden_layers=s["image_depth"],
            num_attention_heads=s["image_heads"], image_size=s["image_size"], patch_size=s["patch_size"],
        ),
    )  # fmt: skip
    model = BlipForConditionalGeneration(config).eval()
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            norm = "norm" in name.lower() and name.endswith("weight")
            scale = value.shape[-1] ** -0.5 if value.ndim == 2 else 0.3
            numbers = rng.normal(float(norm), 2.0 * scale if value.ndim > 1 else scale, tuple(value.shape))
            value.copy_(torch.tensor(np.float32(np.float16(numbers))))
        model.text_decoder.cls.predictions.bias[end_token] = 3.5  # some captions end
    return model


def run(model, images: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Logits of pictures ``[batch, height, width, 3]`` and tokens ``[batch, words]``."""
    import torch

    with torch.no_grad():
        return model(torch.tensor(images).permute(0, 3, 1, 2), torch.tensor(tokens)).logits.numpy()


def say(model, images: np.ndarray, prompt: list[int], **options) -> np.ndarray:
    """Greedy captions ``[batch, max_length]``, filled up with 0."""
    import torch

    given = {}
    if prompt:  # what stands in for [CLS] and [SEP] is replaced and cut off
        given["input_ids"] = torch.tensor([[0, *prompt, 0]] * len(images))
    pixels = torch.tensor(images).permute(0, 3, 1, 2)
    said = model.generate(pixels, **given, num_beams=1, do_sample=False, **options).numpy()
    return np.pad(said, ((0, 0), (0, options["max_length"] - said.shape[1])))


def published_pixels(images: np.ndarray, size: int) -> np.ndarray:
    """What BLIP's preprocessing makes of 8-bit pictures, ``[batch, size, size, 3]``."""
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    process = BlipImageProcessorPil(size={"height": size, "width": size})
    return process(list(images), return_tensors="np")["pixel_values"].transpose(0, 2, 3, 1)


def saved_tensors(model) -> dict[str, np.ndarray]:
    """The tensors under the names that stand in a file of the model."""
    from safetensors.numpy import load_file

    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return load_file(Path(folder) / "model.safetensors")


def cases() -> dict[str, np.ndarray]:
    """Inputs, weights and outputs by name; logits in double precision, so that every processor finds the same ones."""
    import torch
    import transformers

    rng = np.random.default_rng(3)
    pieces = vocabulary()
    theirs, end = tokenizer(pieces), pieces.index("[SEP]")
    model = published_model(SIZES, len(pieces) + 2, end, 2)
    images = rng.normal(size=(6, SIZES["image_size"], SIZES["image_size"], 3)).astype(np.float16).astype(np.float32)
    tokens = rng.integers(0, len(pieces) + 2, (6, 9))
    photographs = rng.integers(0, 256, (2, 37, 50, 3), np.uint8)
    found = {f"{library.__name__}_version": np.array(library.__version__) for library in (torch, transformers)}
    found |= {"sizes": np.array(json.dumps(SIZES | {"vocab_size": len(pieces) + 2})), "pieces": np.array(pieces)}
    logits = np.float32(run(copy.deepcopy(model).double(), np.float64(images), tokens))
    found |= {"images": images.astype(np.float16), "tokens": tokens, "logits": logits}
    found |= {"photographs": photographs, "pixels": published_pixels(photographs, SIZES["image_size"])}
    found["texts"] = np.array(json.dumps(TEXTS))
    found["encoded"] = np.array(json.dumps(theirs(list(TEXTS), add_special_tokens=False)["input_ids"]))
    found["numbers"] = np.array(json.dumps(NUMBERS))
    decoded = [theirs.decode(list(row), skip_special_tokens=True) for row in NUMBERS]
    found["decoded"] = np.array(json.dumps(decoded))
    for i, (prompt, options) in enumerate(RULES):
        prompt = theirs(prompt, add_special_tokens=False)["input_ids"]
        found[f"prompt{i}"], found[f"rules{i}"] = np.array(prompt, np.int32), np.array(json.dumps(options))
        found[f"said{i}"] = say(model, images, prompt, **options)
    found |= {f"weights/{name}": value.astype(np.float16) for name, value in saved_tensors(model).items()}
    return found


if __name__ == "__main__":
    np.savez_compressed(Path(__file__).with_name("blip.npz"), **cases())
