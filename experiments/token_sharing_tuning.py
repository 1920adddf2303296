"""A short end-to-end fine-tuning with sharing and its rate switched on, through the library's own training loop."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
from token_sharing_pictures import read_training_pictures

from lvm_mtc import LinkConfig, System
from lvm_mtc.training import OptimizerConfig, TrainConfig, averaged_params, train
from lvm_mtc.training.objectives import ObjectiveConfig, Scenario, make_batch_fn, make_loss_fn

PICTURES, SIDE = 100, 160
GROUPS, RATE_WEIGHT, TEMPERATURE = 2, 3.0, 0.1


def fine_tune(
    system: System, params: Any, data: Path, link: LinkConfig, *, num_uavs: int, snr_db: float, steps: int, seed: int
) -> Any:
    """Goes on with step 4 of the training, all parameters, with the rate term.

    Groups are crops of one photograph, at most 32 pixels apart along each axis; thresholds from 0 to 0.5, and 0 for
    half of the groups.

    Args:
        system: Whose comparator and alignment are used.
        params: To start from.
        data: Folder that holds ``voc2012_320``; the pictures are of its list ``train``.
        link: The channel.
        num_uavs: UAVs of a group.
        snr_db: dB under the link's convention.
        steps: Training steps of :data:`GROUPS` groups.
        seed: Of the run.

    Returns:
        Tuned parameters.
    """
    config = dataclasses.replace(system.config, sharing_temperature=TEMPERATURE)
    scenarios = (Scenario(num_groups=GROUPS, num_uavs=num_uavs, link=link),)
    objective = ObjectiveConfig(
        snr_db=(snr_db, snr_db), csi_error_var=(0.0, 0.0), mask_prob=(0.25, 0.25), epsilon=(0.0, 0.5),
        image_loss="log_mse", token_weight=0.1, rate_weight=RATE_WEIGHT,
    )  # fmt: skip
    optimizer = OptimizerConfig(
        learning_rate=3e-4, warmup_steps=min(5, steps - 1), b2=0.98, slow=("linear",), slow_factor=0.1
    )
    run = TrainConfig(batch_size=GROUPS * num_uavs, total_steps=steps, optimizer=optimizer, seed=seed, log_every=10)
    with tempfile.TemporaryDirectory() as folder:
        state = train(
            run,
            loss_fn=make_loss_fn("system", config, scenarios, objective),
            batch_fn=make_batch_fn(config, scenarios, objective),
            data={"pictures": read_training_pictures(data, PICTURES, SIDE)},
            init_params=params,
            run_dir=folder,
        )
    return jax.tree.map(np.asarray, averaged_params(state))
