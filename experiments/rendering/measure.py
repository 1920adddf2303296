"""What the renderer of Gaussians gives where nothing is learned: lifted pixels, and a fit to pictures.

    python -m experiments.rendering.measure --data ../shared/data --out docs/rendering

Minutes on one core, most of them for the fit, which goes on where it was stopped. Writes ``results.json`` into
``--out`` and the tables into the page beside it, ``--out``.md. ``--page-only`` writes them from the old
``results.json``.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from experiments.rendering.lego import fit
from experiments.rendering.lift import copies, rows_of
from experiments.rendering.page import tables
from experiments.script import DATA, PAGE_ONLY, rounded, script, study
from lvm_mtc.data.images import list_images, load_image
from lvm_mtc.data.stereo import load_stereo
from lvm_mtc.data.synthetic_stereo import synthetic_stereo

NUM_SCENES, NUM_TEXTURES, SIDE, REAL_SIZE = 16, 100, 64, (80, 96)


@script(data="holds voc2012_320, stereo/test and multiview/lego", out="folder; the page is beside it", seed="of scenes",
        state="file that the fit is kept in", page_only=PAGE_ONLY)  # fmt: skip
def main(
    data: Path = DATA,
    out: Path = Path("docs/rendering"),
    seed: int = 0,
    state: Path = Path("runs/lego.npz"),
    page_only: bool = False,
) -> None:
    """Measure the renderer of Gaussians without anything learned."""

    def measure() -> dict[str, Any]:
        photographs = list_images(data / "voc2012_320" / "JPEGImages")
        chosen = np.random.default_rng(seed).choice(len(photographs), NUM_TEXTURES, replace=False)
        textures = [load_image(photographs[i]) for i in chosen]
        made = synthetic_stereo(NUM_SCENES, SIDE, seed=seed, textures=textures)
        real, _ = load_stereo(data / "stereo" / "test", REAL_SIZE)
        sources = {"synthetic": made, "Middlebury": real}
        lifted = [row for name, pairs in sources.items() for density in (1, 2) for row in rows_of(name, pairs, density)]
        copied = [copies(name, pairs) for name, pairs in sources.items()]
        state.parent.mkdir(parents=True, exist_ok=True)
        setup = {"side": SIDE, "real_size": REAL_SIZE, "seed": seed}
        results = {"setup": setup, "lifted": lifted, "copied": copied, "lego": fit(data / "multiview" / "lego", state)}
        return rounded(results)

    study(out, page_only, measure, tables)


if __name__ == "__main__":
    sys.exit(main())
