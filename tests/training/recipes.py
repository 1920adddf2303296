"""Recipes of seconds, and pictures for them."""

from pathlib import Path

import numpy as np

from lvm_mtc import from_dict
from lvm_mtc.training.recipe import Recipe

LINK = dict(num_rx_ant=2, num_tx_ant=2, convention="rx_per_antenna")


def smooth_pictures() -> np.ndarray:
    """``[24, 24, 24, 3]`` uint8."""
    return np.random.default_rng(0).uniform(0, 255, (24, 3, 3, 3)).repeat(8, 1).repeat(8, 2).astype(np.uint8)


def two_scenarios(**second) -> list[dict]:
    """Six pictures: pairs over Rayleigh fading, single ones over AWGN with another configuration."""
    return [
        dict(num_groups=2, num_uavs=2, link=LINK),
        dict(num_groups=2, config=second, link=dict(fading="awgn", **LINK)),
    ]


def numbers(**changes) -> dict:
    """Of a stage of three steps."""
    optimizer = dict(learning_rate=1e-2, warmup_steps=1, eps=1e-2)
    plain = dict(batch_size=4, total_steps=3, log_every=1, checkpoint_every=3, ema_decay=0.9, optimizer=optimizer)
    return plain | changes


TOKENS = dict(
    scheme="lvm_mtc",
    config=dict(variant="linear", image_size=16, patch_size=8, num_symbols=4, num_kept=3),
    scenarios=two_scenarios()[:1],
    ranges=dict(view_jitter=2, knobs=dict(mask_prob=[0.1, 0.5], epsilon=[0.0, 1.0])),
    loss=dict(image_loss="log_mse", token_weight=0.5, rate_weight=0.1),
    start=dict(spread=2),
    stages=dict(token=numbers(), channel=numbers(), system=numbers()),
)
CODEC = dict(
    scheme="deepjscc",
    config=dict(image_size=8, num_symbols=2),
    scenarios=[dict(num_groups=4, link=dict(fading="awgn", **LINK))],
    ranges=dict(view_jitter=2),
    loss=dict(image_loss="log_mse"),
    stages=dict(system=numbers()),
)


def make_recipe(base: dict, /, **changes) -> Recipe:
    """A recipe of plain values, with changes."""
    return from_dict(Recipe, base | changes)


def pack(folder: Path) -> Path:
    """A file of packed pictures in ``folder``."""
    np.savez(folder / "pictures.npz", pictures=smooth_pictures())
    return folder / "pictures.npz"
