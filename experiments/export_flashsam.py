r"""Writes the shipped detector from a run of ``experiments/configs/flashsam_distilled.py``.

    python experiments/export_flashsam.py --run-dir runs/flashsam_distilled --data build/detection_320.npz

``lvm_mtc/weights/flashsam_n.npz`` holds parameters and running statistics in float16; recipe, seed, data, versions and
the scores on the held-out pictures are inside. ``--size`` takes another size of the input than the last phase's, with
running statistics computed there. Of a run that is not finished, ``--unfinished`` takes the weights of its
last validation, and the file says so.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from judge_detectors import PROTOCOL, as_json, judge_flashsam, score

from lvm_mtc.cli.train import read_config
from lvm_mtc.config import from_dict
from lvm_mtc.data.detection_packing import load_detection_set
from lvm_mtc.models.weights import load_weights
from lvm_mtc.training.detector import export_detector, finish
from lvm_mtc.training.detector_inference import run_detector
from lvm_mtc.training.detector_recipe import DetectorRecipe

HERE = Path(__file__).resolve().parent
WEIGHTS = HERE.parent / "lvm_mtc" / "weights" / "flashsam_n.npz"


def find_weights(recipe: DetectorRecipe, run_dir: Path, unfinished: bool) -> Path:
    """The last phase's weights, or the newest of any validation."""
    phases = [run_dir / f"phase{number}_{phase.size}" for number, phase in enumerate(recipe.phases)]
    if not unfinished:
        return phases[-1] / "weights.npz"
    found = [folder / "latest.npz" for folder in phases if (folder / "latest.npz").exists()]
    if not found:
        raise ValueError(f"{run_dir}: no phase has validated yet, so there is no latest.npz")
    return found[-1]


def main(arguments: list[str] | None = None) -> int:
    """Exports; returns the exit status: 0, or 2 after one line on stderr."""
    parser = argparse.ArgumentParser(description="Export the trained detector.")
    parser.add_argument("--config", type=Path, default=HERE / "configs" / "flashsam_distilled.py", help="the recipe")
    parser.add_argument("--run-dir", type=Path, default=Path("runs/flashsam_distilled"), help="folder of the run")
    parser.add_argument("--data", type=Path, default=Path("build/detection_320.npz"), help="pictures to judge on")
    parser.add_argument("--size", type=int, help="input size to ship and judge at; default: the last phase's")
    parser.add_argument("--unfinished", action="store_true", help="take the last validation's weights")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="the .npz file to write")
    options = parser.parse_args(arguments)
    try:
        held_out = load_detection_set(options.data, "val")
        config = read_config(options.config, [])
        recipe = from_dict(DetectorRecipe, {name: value for name, value in config.items() if name != "about"})
        source = find_weights(recipe, options.run_dir, options.unfinished)
        variables, metadata = load_weights(source)
        size, training = options.size or metadata["size"], load_detection_set(options.data, "train")
        if size != metadata["size"]:
            variables = finish(recipe, variables["params"], training, size)
        model = dict(variant=recipe.variant, num_classes=recipe.num_classes)
        scores = score(run_detector(variables, held_out.pictures, size, **model, **PROTOCOL), held_out)
        note = as_json(scores) | {"pictures_from": "voc2012_320, val"}
        export_detector(source, options.out, size, note, batch_stats=variables["batch_stats"])
        # What ships is judged too: half precision must not have cost anything.
        shipped, _ = judge_flashsam(options.out, held_out, size)
    except (ValueError, OSError) as error:
        print(f"export_flashsam: {error}", file=sys.stderr)
        return 2
    print(f"{options.out}: {options.out.stat().st_size} bytes, at {size} pixels")
    for name in ("ap50", "recall_at_10", "top_box"):
        exact, half = getattr(scores, name), getattr(shipped, name)
        print(f"{name}: {exact.value:.4f} [{exact.low:.4f}, {exact.high:.4f}], in float16 {half.value:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
