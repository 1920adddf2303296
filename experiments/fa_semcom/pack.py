r"""Packs questions about driving scenes: patch features, attention, questions and answers, one file a split.

Pictures of the simulator CARLA (MIT), 779 to train and 249 of another town to test by, and the photographs of
TraPedesVeh (CC0), to test by alone; training pictures stand there mirrored, too. Test questions are balanced, as many
"yes" as "no" for every subject. Ten minutes.

    python -m experiments.fa_semcom.pack --data ../shared/data --out build/vqa

None of this is part of the project, but for three pictures that the demo shows. Boxes are YOLOX-nano's
(``weights/yolox_nano.onnx``), which is the encoder, too.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from experiments.script import DATA, script
from lvm_mtc.data import list_images, load_image
from lvm_mtc.data.packed_questions import PackedQuestions, save_questions
from lvm_mtc.data.resizing import resize_image
from lvm_mtc.data.voc import read_voc_annotation
from lvm_mtc.data.vqa import SUBJECTS, Question, balanced, floor_accuracy, questions_of
from lvm_mtc.data.word_vectors import WordVectors, read_word_vectors
from lvm_mtc.interop.onnx_file import read_onnx
from lvm_mtc.knowledge.asking import Asked, PatchEncoder, Seen, ask, encode_windows, see
from lvm_mtc.knowledge.attention import SLICES
from lvm_mtc.models.patch_features import PICTURE
from lvm_mtc.models.yolox import Yolox

SETS = {
    "carla": ("carla_320", ("train",), SUBJECTS, True),
    "carla_test": ("carla_320", ("test",), SUBJECTS, False),
    "trapedesveh": ("trapedesveh_320", ("train", "test"), ("vehicle", "bicycle", "motorbike", "traffic sign"), False),
}
"""Name to folder, splits, what is annotated there, and whether it is to train by."""
PACKED = Path("build/vqa")
_PICTURES_AT_ONCE = 32


@script(
    data="folder with carla_320, trapedesveh_320 and weights (default: %(default)s)",
    out="folder for the packed files, <set>_<slices>.npz (default: %(default)s)",
    slices=dict(help="windows of a picture that are encoded (default: %(default)s)", choices=SLICES),
    sets=dict(help="which sets (default: all)", choices=tuple(SETS)),
    every="of a split's pictures take every N-th (default: all)",
)  # fmt: skip
def main(
    data: Path = DATA, out: Path = PACKED, slices: str = "base", sets: tuple = tuple(SETS), every: int = 1
) -> None:
    """Pack questions about driving scenes."""
    encoder = PatchEncoder(Yolox(read_onnx(data / "weights" / "yolox_nano.onnx")))
    words = read_word_vectors(data / "weights" / "glove50_top20k_fp16.npz")
    asked = {}
    for name in sets:
        folder, splits, subjects, training = SETS[name]
        files = [file for split in splits for file in list_images(data / folder / split / "JPEGImages")[::every]]
        packed = pack(encoder, words, files, subjects, slices=slices, training=training)
        save_questions(out / f"{name}_{slices}.npz", packed)
        asked[name] = np.concatenate([packed.question, packed.answer[:, None]], axis=1)
        floor = (
            f", {floor_accuracy(asked['carla'], asked[name]):.3f} by the commonest answers" if "carla" in asked else ""
        )
        counts = f"{len(asked[name])} questions about {len(packed.names)} pictures, {len(packed.patches)} windows"
        print(f"{out / name}_{slices}.npz: {counts}{floor}", flush=True)


def pack(
    encoder: PatchEncoder,
    words: WordVectors,
    files: Sequence[Path],
    subjects: Sequence[str],
    *,
    slices: str = "base",
    training: bool = False,
) -> PackedQuestions:
    """Questions about pictures with annotations beside them, ``../Annotations/<name>.xml``."""
    items = [(file, mirrored) for mirrored in ((False, True) if training else (False,)) for file in files]
    annotations = [read_voc_annotation(file.parent.parent / "Annotations" / f"{file.stem}.xml") for file, _ in items]
    questions = [questions_of(a, subjects, mirrored=m) for a, (_, m) in zip(annotations, items, strict=True)]
    if not training:
        flat = np.array([q for of_picture in questions for q in of_picture])
        keep, places = np.zeros(len(flat), bool), np.cumsum([0, *map(len, questions)])
        keep[balanced(flat)] = True
        questions = [
            [q for q, kept in zip(of_picture, keep[start:], strict=False) if kept]
            for of_picture, start in zip(questions, places[:-1], strict=True)
        ]
    store = _Store(slices)
    for start in tqdm(range(0, len(items), _PICTURES_AT_ONCE), disable=not sys.stderr.isatty()):
        chunk = slice(start, start + _PICTURES_AT_ONCE)
        images = np.stack([read_picture(file, mirrored) for file, mirrored in items[chunk]])
        for number, (seen, own) in enumerate(zip(see(encoder, images), questions[chunk], strict=True), start):
            store.add(number, seen, [(q, ask(seen, q.text, words, slices=slices)) for q in own])
        store.encode(encoder)
    return store.packed([f"{file.name}{' mirrored' if mirrored else ''}" for file, mirrored in items])


def read_picture(file: Path, mirrored: bool = False) -> np.ndarray:
    """A picture of any aspect as the encoder takes it, ``[192, 320, 3]`` float32 in [0, 1]."""
    picture = resize_image(load_image(file), PICTURE)
    return np.float32(picture[:, ::-1] if mirrored else picture) / 255


class _Store:
    """What is packed, window by window and question by question."""

    def __init__(self, slices: str):
        self.size = {"base": 1, "grid": 5, "matched": 2}[slices]
        self.patches, self.windows, self.objective, self.open = [], [], [], []
        self.rows: list[tuple] = []

    def add(self, number: int, seen: Seen, asked: Sequence[tuple[Question, Asked]]) -> None:
        """A picture's windows, each once, and its questions."""
        known: dict[bytes, int] = {}
        for question, of in asked:
            chosen = np.full(self.size, -1, np.int32)
            subjective = np.zeros((self.size, of.subjective.shape[1]), np.float32)
            for place, window in enumerate(of.windows):
                if (key := window.tobytes()) not in known:
                    known[key] = len(self.windows)
                    self.windows.append(window)
                    self.objective.append(of.objective[place])
                    self.patches.append(np.float16(seen.patches) if place == 0 else None)
                    if place:
                        self.open.append((known[key], seen.image))
                chosen[place], subjective[place] = known[key], of.subjective[place]
            self.rows.append((question[:2], question.answer, chosen, subjective, number))

    def encode(self, encoder: PatchEncoder) -> None:
        """Features of the slices that wait for them."""
        if self.open:
            numbers, images = zip(*self.open, strict=True)
            for number, features in zip(numbers, encode_windows(encoder, images, [self.windows[n] for n in numbers]),
                                        strict=True):  # fmt: skip
                self.patches[number] = np.float16(features)
            self.open = []

    def packed(self, names: Sequence[str]) -> PackedQuestions:
        """All of it."""
        question, answer, chosen, subjective, picture = (np.array(column) for column in zip(*self.rows, strict=True))
        arrays = (np.stack(part) for part in (self.patches, self.windows, self.objective))
        rest = question.astype(np.int32), answer.astype(np.int32), chosen, subjective, picture.astype(np.int32)
        return PackedQuestions(*arrays, *rest, np.array(names))


if __name__ == "__main__":
    sys.exit(main())
