r"""Trains every codec of the comparison on CIFAR-10, one after another; what is trained already is left alone.

    python -m experiments.results.pack_cifar10 --data ../shared/data --out build/cifar10.npz
    python -m experiments.results.train_cifar10 --data build/cifar10.npz --runs runs [--only token_64 witt_16 ...]

All of one bandwidth ratio see the same number of pictures, drawn with the same key, uncropped, mirrored at random, half
of them over AWGN and half over 4x4 Rayleigh, SNR uniform between 0 and 14 dB. Run folders are named after the codec and
its complex symbols a token; a run that is killed goes on from its last checkpoint. On one core of a server: WITT takes
45 minutes for 51,200 pictures, the token codec five, DeepJSCC one.
"""

import sys
from pathlib import Path
from typing import Any

from experiments.results.training_runs import Run, train_runs

STEPS, FEWER_STEPS, TUNING_STEPS, MANY_STEPS = 1600, 800, 300, 16_000
PICTURES = 32


def _sizes(config: str, field: str, sizes: tuple[int, int, int]) -> dict[str, Run]:
    name, steps = config.removeprefix("cifar10_"), (STEPS, FEWER_STEPS, FEWER_STEPS)
    return {f"{name}_{size}": Run(config, {field: size, "stages.system.total_steps": count})
            for size, count in zip(sizes, steps, strict=True)}  # fmt: skip


def _tuned(start: str, config: str, link: dict[str, Any], **changes: Any) -> Run:
    scenarios = [dict(num_groups=PICTURES, link=link)]
    return Run(config, {"scenarios": scenarios, "stages.system.total_steps": TUNING_STEPS} | changes, start)


RAYLEIGH = dict(fading="rayleigh", convention="rx_per_antenna")
MAGNITUDE = dict(fading="rayleigh_magnitude", num_rx_ant=1, num_tx_ant=1, block_length=1, equalizer="none")
CSI = {"ranges.csi_error_var": [0.0, 0.3]}
TOKEN, DEEPJSCC, WITT = "cifar10_token", "cifar10_deepjscc", "cifar10_witt"
RUNS = {
    **_sizes(TOKEN, "config.num_symbols", (64, 32, 16)),
    **_sizes(DEEPJSCC, "config.num_symbols", (16, 8, 4)),
    **_sizes(WITT, "config.num_symbols", (16, 8, 4)),
    # Principal components that stay on one antenna each at the start.
    "token_64_unspread": Run(TOKEN, {"start.spread": 1}),
    # The channel of WITT's published "Rayleigh" curve.
    **{
        f"{start}_magnitude": _tuned(start, config, MAGNITUDE)
        for start, config in (("token_64", TOKEN), ("deepjscc_16", DEEPJSCC), ("witt_16", WITT))
    },
    # One codec a variant of the L-MMSE equaliser, and one that knows perfect CSI only, all tuned for as long.
    "token_64_csi_perfect": _tuned("token_64", TOKEN, RAYLEIGH),
    **{
        f"token_64_csi_{variant}": _tuned("token_64", TOKEN, {"equalizer": variant} | RAYLEIGH, **CSI)
        for variant in ("paper", "unbiased", "robust")
    },
    # What ten times the pictures give.
    "deepjscc_16_long": Run(DEEPJSCC, {"stages.system.total_steps": MANY_STEPS}),
    "token_64_long": Run(TOKEN, {"stages.system.total_steps": MANY_STEPS}),
    # Principal components of the same pictures.
    **{
        f"pca_{size}": Run(TOKEN, {"config.num_symbols": size, "start.spread": 1}, trained=False)
        for size in (64, 32, 16)
    },
    "pca_64_spread": Run(TOKEN, {}, trained=False),
}
"""Name of the run folder to what is trained there."""


def main(arguments: list[str] | None = None) -> int:
    """Trains; returns 0, or the exit status of the first run that fails."""
    return train_runs("results.train_cifar10", RUNS, Path("build/cifar10.npz"), arguments)


if __name__ == "__main__":
    sys.exit(main())
