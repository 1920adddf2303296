"""Packs VOC's pictures as tokens, with questions of presence and descriptions as word vectors, one file a split.

    python -m experiments.multimodal.pack --data ../shared/data --out build/presence

Tokens are the last map of EfficientNet-Lite0 at 256 pixels, averaged to 4 x 4 places, in 128 principal components of
the training pictures' tokens. Asked is about classes that 40 training pictures show at least. None of the pictures and
weights is part of the project. A minute on one core.
"""

import sys
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

from experiments.script import DATA, script
from lvm_mtc.data import load_image
from lvm_mtc.data.presence import (
    NAMES,
    NUM_WORDS,
    PackedPresence,
    crossed_questions,
    description_of,
    question_of,
    save_presence,
    words_of,
)
from lvm_mtc.data.resizing import resize_image
from lvm_mtc.data.voc import VOC_CLASSES, load_voc
from lvm_mtc.data.word_vectors import read_word_vectors
from lvm_mtc.interop.classifier_weights import load_classifier
from lvm_mtc.models.image_classifier import EfficientNetLite0

SIDE, POOLED, WIDTH, AT_ONCE = 256, 2, 128, 8
LEAST = 40
"""Training pictures of a class that is asked about."""
FOURS = {"train": 6000, "val": 250}


@script(data="folder that holds voc2012_320/ and weights/ (default: %(default)s)", out="folder for train.npz, val.npz")
def main(data: Path = DATA, out: Path = Path("build/presence")) -> None:
    """Pack pictures with questions of presence."""
    params = load_classifier(data / "weights" / "efficientnet_lite0_fp16.npz")
    vectors = read_word_vectors(data / "weights" / "glove50_top20k_fp16.npz")
    basis = frequent = None
    if missing := {word for name in NAMES for word in question_of(name).split()} - set(vectors.index):
        raise ValueError(f"no vectors of {', '.join(sorted(missing))}")
    for split, count in FOURS.items():
        examples = load_voc(data / "voc2012_320", split)
        maps = np.concatenate([feature_maps(params, [example.image_path for example in examples[i : i + AT_ONCE]])
                               for i in tqdm(range(0, len(examples), AT_ONCE))])  # fmt: skip
        basis = components(maps) if basis is None else basis
        mean, columns = basis
        names = [{item.name for item in example.annotation.objects} for example in examples]
        present = np.array([[name in own for name in VOC_CLASSES] for own in names])
        frequent = present.sum(0) >= LEAST if frequent is None else frequent
        numbers: dict[str, int] = {}
        asked = words_of([question_of(name) for name in NAMES], numbers)
        described = words_of([description_of(row) for row in present], numbers)
        packed = PackedPresence(
            features=np.float16((np.float32(maps) - mean) @ columns), present=present,
            words=vectors.vectors[[vectors.index[word] for word in numbers]], asked=asked, described=described,
            question=crossed_questions(present & frequent, count),
        )  # fmt: skip
        save_presence(out / f"{split}.npz", packed)
        print(f"{out / split}.npz: {len(examples)} pictures, {len(packed.question)} questions, {NUM_WORDS} words")


def feature_maps(params, files: list[Path]) -> np.ndarray:
    """The classifier's last map of pictures, ``[pictures, 16, 1280]`` float16."""
    images = np.zeros((AT_ONCE, SIDE, SIDE, 3), np.float32)
    images[: len(files)] = np.stack([resize_image(load_image(file), SIDE) for file in files]) / np.float32(255)
    maps = np.asarray(_maps(params, images))
    side = maps.shape[1] // POOLED
    maps = maps.reshape(AT_ONCE, side, POOLED, side, POOLED, -1).mean((2, 4)).astype(np.float16)
    return maps.reshape(AT_ONCE, -1, maps.shape[-1])[: len(files)]


@jax.jit
def _maps(params, images):
    _, state = EfficientNetLite0().apply(
        {"params": params}, images, capture_intermediates=lambda module, _: module.name == "head"
    )
    return jax.nn.relu6(state["intermediates"]["head"]["__call__"][0])


def components(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of tokens, and their first principal components, scaled to a mean square of 1 over all of them."""
    tokens = np.float32(maps.reshape(-1, maps.shape[-1]))
    mean = tokens.mean(0)
    variances, vectors = np.linalg.eigh((tokens - mean).T @ (tokens - mean) / len(tokens))
    kept = vectors[:, ::-1][:, :WIDTH]
    return mean, np.float32(kept / np.sqrt(variances[::-1][:WIDTH].mean()))


if __name__ == "__main__":
    sys.exit(main())
