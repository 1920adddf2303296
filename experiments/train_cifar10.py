r"""Trains every codec of the comparison on CIFAR-10, one after another; what is trained already is left alone.

    python experiments/pack_cifar10.py --data ../shared/data --out build/cifar10.npz
    python experiments/train_cifar10.py --data build/cifar10.npz --runs runs [--only token_64 witt_16 ...]

All of one bandwidth ratio see the same number of pictures, drawn with the same key, uncropped, mirrored at random, half
of them over AWGN and half over 4x4 Rayleigh, SNR uniform between 0 and 14 dB. Run folders are named after the codec and
its complex symbols a token; a run that is killed goes on from its last checkpoint. On one core of a server: WITT takes
45 minutes for 51,200 pictures, the token codec five, DeepJSCC one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lvm_mtc.cli.train import read_config
from lvm_mtc.config import from_dict
from lvm_mtc.training.recipe import Recipe, export_linear_codec

CONFIGS = Path(__file__).resolve().parent / "configs"
STEPS, FEWER_STEPS, TUNING_STEPS, MANY_STEPS = 1600, 800, 300, 16_000
PICTURES = 32


class Run(NamedTuple):
    """One training.

    Attributes:
        config: Name of the file in ``configs``.
        changes: Of its fields, dotted name to value.
        start: Run whose weights it begins with.
    """

    config: str
    changes: Mapping[str, Any]
    start: str | None = None


def _scenarios(**link: Any) -> list[dict[str, Any]]:
    return [dict(num_groups=PICTURES, link=link)]


def _sizes(config: str, field: str, sizes: tuple[int, int, int]) -> dict[str, Run]:
    name = config.removeprefix("cifar10_")
    steps = (STEPS, FEWER_STEPS, FEWER_STEPS)
    return {f"{name}_{size}": Run(config, {field: size, "end_to_end.total_steps": count})
            for size, count in zip(sizes, steps, strict=True)}  # fmt: skip


def _tuned(start: str, config: str, scenarios: list[dict[str, Any]], **changes: Any) -> Run:
    return Run(config, {"scenarios": scenarios, "end_to_end.total_steps": TUNING_STEPS} | changes, start)


RAYLEIGH = dict(fading="rayleigh", convention="rx_per_antenna")
MAGNITUDE = dict(fading="rayleigh_magnitude", num_rx_ant=1, num_tx_ant=1, block_length=1, equalizer="none")
CSI = {"objective.csi_error_var": [0.0, 0.3]}
TOKEN, DEEPJSCC, WITT = "cifar10_token", "cifar10_deepjscc", "cifar10_witt"
RUNS = {
    **_sizes(TOKEN, "system.num_symbols", (64, 32, 16)),
    **_sizes(DEEPJSCC, "picture_codec.num_symbols", (16, 8, 4)),
    **_sizes(WITT, "picture_codec.num_symbols", (16, 8, 4)),
    # Principal components that stay on one antenna each at the start.
    "token_64_unspread": Run(TOKEN, {"spread": 1}),
    # The channel of WITT's published "Rayleigh" curve.
    **{f"{start}_magnitude": _tuned(start, config, _scenarios(**MAGNITUDE))
       for start, config in (("token_64", TOKEN), ("deepjscc_16", DEEPJSCC), ("witt_16", WITT))},
    # One codec a variant of the L-MMSE equaliser, and one that knows perfect CSI only, all tuned for as long.
    "token_64_csi_perfect": _tuned("token_64", TOKEN, _scenarios(**RAYLEIGH)),
    **{
        f"token_64_csi_{variant}": _tuned("token_64", TOKEN, _scenarios(equalizer=variant, **RAYLEIGH), **CSI)
        for variant in ("paper", "unbiased", "robust")
    },
    # What ten times the pictures give.
    "deepjscc_16_long": Run(DEEPJSCC, {"end_to_end.total_steps": MANY_STEPS}),
    "token_64_long": Run(TOKEN, {"end_to_end.total_steps": MANY_STEPS}),
}
"""Name of the run folder to what is trained there."""
LINEAR = {f"pca_{size}": (size, 1) for size in (64, 32, 16)} | {"pca_64_spread": (64, 4)}
"""The linear patch-wise codec, which has no training but principal components of the same pictures: its symbols a
token, and over how many each component is spread."""


def weights_of(runs: Path, name: str) -> Path:
    """File of a run's weights."""
    return runs / name / ("weights.npz" if name in LINEAR else "system/weights.npz")


def command(name: str, data: Path, runs: Path) -> list[str]:
    """What trains a run.

    Args:
        name: In ``RUNS``.
        data: File of ``pack_cifar10.py``.
        runs: Folder of the run folders.
    """
    run = RUNS[name]
    program = [sys.executable, "-c", "import sys; from lvm_mtc.cli import main; sys.exit(main())", "train"]
    program += ["--config", str(CONFIGS / f"{run.config}.py"), "--stage", "all", "--data", str(data)]
    program += ["--run-dir", str(runs / name)]
    program += ["--start", str(weights_of(runs, run.start))] if run.start else []
    for field, value in run.changes.items():
        program += ["--set", f"{field}={json.dumps(value)}"]
    return program


def main(arguments: list[str] | None = None) -> int:
    """Trains; returns 0, or the exit status of the first run that fails."""
    parser = argparse.ArgumentParser(description="Train the codecs of the comparison on CIFAR-10.")
    parser.add_argument("--data", type=Path, default=Path("build/cifar10.npz"), help="file of pack_cifar10.py")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the run folders")
    known = [*RUNS, *LINEAR]
    parser.add_argument("--only", nargs="+", choices=known, default=known, metavar="NAME",
                        help=f"of {', '.join(known)} (default: all)")  # fmt: skip
    options = parser.parse_args(arguments)
    for name in options.only:
        if weights_of(options.runs, name).exists():
            continue
        print(name, flush=True)
        if name in LINEAR:
            num_symbols, spread = LINEAR[name]
            config = read_config(CONFIGS / f"{TOKEN}.py", [("system.num_symbols", num_symbols), ("spread", spread)])
            export_linear_codec(from_dict(Recipe, config), options.data, weights_of(options.runs, name))
            continue
        status = subprocess.run(command(name, options.data, options.runs), check=False).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
