"""A short end-to-end fine-tuning with sharing and its rate switched on, through the library's own training loop."""

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lvm_mtc import LinkConfig
from lvm_mtc.data.images import load_image
from lvm_mtc.data.packing import VOC_FOLDER
from lvm_mtc.data.resizing import fit_image
from lvm_mtc.data.voc import load_voc
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.training import OptimizerConfig, TrainConfig, averaged_params, train
from lvm_mtc.training.examples import Ranges, Scenario, make_batch_fn, make_loss_fn

PICTURES, SIDE = 100, 160
GROUPS, RATE_WEIGHT, TEMPERATURE = 2, 3.0, 0.1


def fine_tune(
    scheme: LvmMtc, params: Any, data: Path, link: LinkConfig, *, num_uavs: int, snr_db: float, steps: int, seed: int
) -> Any:
    """Goes on with step 4 of the training, all parameters, with the rate term.

    Groups are crops of one photograph of VOC's list ``train``, at most 32 pixels apart along each axis; thresholds from
    0 to 0.5, and 0 for half of the groups. A step takes :data:`GROUPS` groups of ``num_uavs``.
    """
    config = dataclasses.replace(scheme.config, sharing_temperature=TEMPERATURE)
    scheme = dataclasses.replace(scheme, config=config)
    scenarios = (Scenario(num_groups=GROUPS, num_uavs=num_uavs, link=link),)
    ranges = Ranges(
        snr_db=(snr_db, snr_db), csi_error_var=(0.0, 0.0), knobs={"mask_prob": (0.25, 0.25), "epsilon": (0.0, 0.5)}
    )
    weights = {"image_loss": "log_mse", "token_weight": 0.1, "rate_weight": RATE_WEIGHT}
    optimizer = OptimizerConfig(
        learning_rate=3e-4, warmup_steps=min(5, steps - 1), b2=0.98, slow=("linear",), slow_factor=0.1
    )
    run = TrainConfig(batch_size=GROUPS * num_uavs, total_steps=steps, optimizer=optimizer, seed=seed, log_every=10)
    examples = load_voc(data / VOC_FOLDER, "train")[:PICTURES]
    pictures = np.stack([fit_image(load_image(example.image_path), SIDE) for example in examples])
    with tempfile.TemporaryDirectory() as folder:
        state = train(
            run, loss_fn=make_loss_fn(scheme.stages()[-1], scheme, scenarios, weights), run_dir=folder,
            batch_fn=make_batch_fn(scheme, scenarios, ranges), data={"pictures": pictures}, init_params=params,
        )  # fmt: skip
    return jax.tree.map(np.asarray, averaged_params(state))
