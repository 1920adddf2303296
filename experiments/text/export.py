"""Writes the weights of a trained text transceiver as they ship, in half precision.

    python -m experiments.text.export --weights runs/vlm_csc/system/weights.npz

They say which scheme they are for, their recipe, seed, data and words, and the versions that made them.
"""

import sys
from pathlib import Path

from experiments.script import script
from lvm_mtc.cli.sentences import load_text_contender
from lvm_mtc.schemes.loading import TEXT_WEIGHTS
from lvm_mtc.training.recipe import export_weights


@script(weights="of the last stage (default: %(default)s)", out="the file to write (default: %(default)s)")
def main(weights: Path = Path("runs/vlm_csc/system/weights.npz"), out: Path = TEXT_WEIGHTS) -> None:
    """Write the text transceiver's weights as they ship."""
    load_text_contender(weights)
    export_weights(weights, out)
    contender, vocabulary = load_text_contender(out)
    print(f"{out}: {contender.name}, {len(vocabulary.words)} words, {out.stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    sys.exit(main())
