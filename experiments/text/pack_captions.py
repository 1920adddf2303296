r"""Packs the captions of Multi30k, task 2, into one file: five sentences of each of 29,000 + 1,014 + 1,000 photographs.

Kept are sentences of 4 to ``--num-words`` words of the commonest ones of the training captions. Ten seconds.

    python -m experiments.text.pack_captions --data ../shared/data --out build/captions.npz

The captions may be used for research and education (github multi30k/dataset); they are not part of the project.
"""

import sys
from pathlib import Path

import numpy as np

from experiments.script import DATA, script
from lvm_mtc.data.captions import pack_sentences, read_sentences

FOLDER, FEWEST = "multi30k_task2", 4
PACKED = Path("build/captions.npz")
SPLITS = ("train", "val", "test_2016")


@script(
    data="folder with multi30k_task2 (default: %(default)s)", out="the .npz file to write",
    num_words="words of the longest sentence", vocabulary="number of words, 'no word' included",
)  # fmt: skip
def main(data: Path = DATA, out: Path = PACKED, num_words: int = 16, vocabulary: int = 3000) -> None:
    """Pack the captions into one file."""
    files = {split: [data / FOLDER / f"{split}.{number}.en.gz" for number in range(1, 6)] for split in SPLITS}
    lines = [[line for file in files[split] for line in read_sentences(file)] for split in SPLITS]
    packed = pack_sentences(*lines, num_words=num_words, fewest=FEWEST, vocabulary=vocabulary)
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out, **packed._asdict())
    counts = ", ".join(f"{len(rows)} of {total}" for rows, total in zip(packed[1:4], packed.total, strict=True))
    print(f"{out}: {len(packed.words)} words; sentences to train, to choose and to test by: {counts}")


if __name__ == "__main__":
    sys.exit(main())
