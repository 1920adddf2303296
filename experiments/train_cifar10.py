r"""Trains every codec of the comparison on CIFAR-10, one after another; what is trained already is left alone.

    python experiments/pack_cifar10.py --data ../shared/data --out build/cifar10.npz
    python experiments/train_cifar10.py --data build/cifar10.npz --runs runs [--only token_64 witt_16 ...]

All of one bandwidth ratio see the same number of pictures, drawn with the same key, uncropped, mirrored at random, half
of them over AWGN and half over 4x4 Rayleigh, SNR uniform between 0 and 14 dB. Run folders are named after the codec and
its complex symbols a token; a run that is killed goes on from its last checkpoint. On one core of a server: WITT takes
45 minutes for 51,200 pictures, the token codec five, DeepJSCC one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from training_runs import Run, train_runs

STEPS, FEWER_STEPS, TUNING_STEPS, MANY_STEPS = 1600, 800, 300, 16_000
PICTURES = 32


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
    # Principal components of the same pictures.
    **{f"pca_{size}": Run(TOKEN, {"system.num_symbols": size, "spread": 1}, trained=False) for size in (64, 32, 16)},
    "pca_64_spread": Run(TOKEN, {}, trained=False),
}
"""Name of the run folder to what is trained there."""


def main(arguments: list[str] | None = None) -> int:
    """Trains; returns 0, or the exit status of the first run that fails."""
    return train_runs(RUNS, Path("build/cifar10.npz"), "Train the codecs of the comparison on CIFAR-10.", arguments)


if __name__ == "__main__":
    sys.exit(main())
