r"""Writes the driving scenes of the demo: test pictures of CARLA as the transmitter sees them, with a few word vectors.

    python -m experiments.fa_semcom.scenes --data ../shared/data

Pictures are CARLA's (MIT), of the town that nothing was trained on; features and boxes are YOLOX-nano's, vectors are
GloVe's.
"""

import sys
from pathlib import Path

import numpy as np

from experiments.fa_semcom.pack import read_picture
from experiments.script import DATA, script
from lvm_mtc.data.demo_sources import SCENES
from lvm_mtc.data.vqa import KINDS, NAMES, SUBJECTS, question_text
from lvm_mtc.data.word_vectors import WordVectors, read_word_vectors
from lvm_mtc.interop.onnx_file import read_onnx
from lvm_mtc.knowledge.asking import PatchEncoder, see
from lvm_mtc.knowledge.scenes import save_scenes
from lvm_mtc.models.yolox import COCO_CLASSES, Yolox

PICTURES = ("Town05_006600", "Town05_009660", "Town05_016200")
_ALSO = (
    "weather pedestrian pedestrians people van vans taxi cyclist cyclists road street lamp lamps signal "
    "signals color colour red green yellow near far left right front picture image scene see visible any number"
)


@script(data="folder with carla_320 and weights (default: %(default)s)", out="file (default: %(default)s)")
def main(data: Path = DATA, out: Path = SCENES) -> None:
    """Write the demo's driving scenes."""
    encoder = PatchEncoder(Yolox(read_onnx(data / "weights" / "yolox_nano.onnx")))
    words = read_word_vectors(data / "weights" / "glove50_top20k_fp16.npz")
    folder = data / "carla_320" / "test" / "JPEGImages"
    seen = see(encoder, np.stack([read_picture(folder / f"{name}.jpg") for name in PICTURES]))
    save_scenes(out, PICTURES, seen, few(words))
    found = "; ".join(f"{name}: {', '.join(one.labels)}" for name, one in zip(PICTURES, seen, strict=True))
    print(f"{out}: {out.stat().st_size / 2**10:.0f} KiB; {found}")


def few(words: WordVectors) -> WordVectors:
    """The vectors of labels, subjects and of what questions about them are made of, singular and plural."""
    asked = [question_text(kind, subject) for kind in range(len(KINDS)) for subject in range(len(SUBJECTS))]
    texts = " ".join((*COCO_CLASSES, *NAMES, *asked, _ALSO)).lower().replace("_", " ").replace("?", "").split()
    wanted = {form for word in texts for form in (word, f"{word}s", f"{word}es")}
    known = sorted((word for word in wanted if word in words.index), key=words.index.__getitem__)
    return WordVectors({word: n for n, word in enumerate(known)}, words.vectors[[words.index[w] for w in known]])


if __name__ == "__main__":
    sys.exit(main())
