r"""Writes the shipped detector from a run of ``experiments/configs/flashsam.py:distilled``.

    python -m experiments.detector.export --run-dir runs/flashsam_distilled --data build/detection_320.npz

``lvm_mtc/weights/flashsam_n.npz`` holds parameters and running statistics in float16; recipe, seed, data, versions and
the scores on the held-out pictures are inside. ``--size`` takes another size of the input than the last phase's, with
running statistics computed there. Of a run that is not finished, ``--unfinished`` takes the weights of its
last validation, and the file says so.
"""

import sys
from pathlib import Path

from experiments.script import CONFIGS, script
from lvm_mtc.cli.train import read_config
from lvm_mtc.config import from_dict
from lvm_mtc.data.detection_packing import load_detection_set
from lvm_mtc.knowledge.loading import DETECTOR_WEIGHTS
from lvm_mtc.models.weights import load_weights
from lvm_mtc.training.detector.inference import run_detector
from lvm_mtc.training.detector.judge import PROTOCOL, as_json, judge_flashsam, score
from lvm_mtc.training.detector.recipe import DetectorRecipe
from lvm_mtc.training.detector.training import export_detector, finish


def find_weights(recipe: DetectorRecipe, run_dir: Path, unfinished: bool) -> Path:
    """The last phase's weights, or the newest of any validation."""
    phases = [run_dir / f"phase{number}_{phase.size}" for number, phase in enumerate(recipe.phases)]
    if not unfinished:
        return phases[-1] / "weights.npz"
    validated = [folder / "latest.npz" for folder in phases if (folder / "latest.npz").exists()]
    if not validated:
        raise ValueError(f"{run_dir}: no phase has validated yet, so there is no latest.npz")
    return validated[-1]


@script(
    config="the recipe", run_dir="folder of the run", data="pictures to judge on",
    size="input size to ship and judge at; default: the last phase's",
    unfinished="take the last validation's weights", out="the .npz file to write",
)  # fmt: skip
def main(
    config: Path = CONFIGS / "flashsam.py:distilled", run_dir: Path = Path("runs/flashsam_distilled"),
    data: Path = Path("build/detection_320.npz"), size: int | None = None, unfinished: bool = False,
    out: Path = DETECTOR_WEIGHTS,
) -> None:  # fmt: skip
    """Export the trained detector."""
    held_out = load_detection_set(data, "val")
    fields = read_config(config, [])
    recipe = from_dict(DetectorRecipe, {name: value for name, value in fields.items() if name != "about"})
    source = find_weights(recipe, run_dir, unfinished)
    variables, metadata = load_weights(source)
    size, training = size or metadata["size"], load_detection_set(data, "train")
    if size != metadata["size"]:
        variables = finish(recipe, variables["params"], training, size)
    model = dict(variant=recipe.variant, num_classes=recipe.num_classes)
    scores = score(run_detector(variables, held_out.pictures, size, **model, **PROTOCOL), held_out)
    note = as_json(scores) | {"pictures_from": "voc2012_320, val"}
    export_detector(source, out, size, note, batch_stats=variables["batch_stats"])
    # What ships is judged too: half precision must not have cost anything.
    shipped = judge_flashsam(out, held_out, size)
    print(f"{out}: {out.stat().st_size} bytes, at {size} pixels")
    for name in ("ap50", "recall_at_10", "top_box"):
        exact, half = getattr(scores, name), getattr(shipped, name)
        print(f"{name}: {exact.value:.4f} [{exact.low:.4f}, {exact.high:.4f}], in float16 {half.value:.4f}")


if __name__ == "__main__":
    sys.exit(main())
